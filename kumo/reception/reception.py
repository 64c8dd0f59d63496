"""From a finished transaction to stored and queued messages: everything between the dot and its reply.

The order of the steps is the promise of the 250: line endings and lengths, ``smtp_server_data``, the
split into messages, ``Received``, ``smtp_server_message_received``, queues resolved, supplemental
header, stored, logged, queued. Called by the listener; asks policy, spool, log and queues through
``kumo.reception.interfaces``.
"""

from __future__ import annotations

import asyncio
import enum
import time
from collections.abc import Awaitable, Callable, Generator
from typing import Any, NamedTuple

from kumo.config import EsmtpListener
from kumo.errors import PolicyError, Rejection
from kumo.maybe_awaitable import MaybeAwaitable, is_awaitable
from kumo.message import (
    NULL_QUEUE,
    Connection,
    Message,
    queue_name,
    received_date,
    received_field,
    supplemental_field,
)
from kumo.reception.conformance import check_conformance, mend
from kumo.reception.interfaces import Queues, ReceptionLog, ReceptionPolicy, Store
from kumo.reception.split import batches
from kumo.smtp import ContentReceived, Reply

RELAYING_NOT_PERMITTED = Reply(550, "5.7.1 relaying not permitted")

_SLICE = 0.005
"""Seconds that the batches of one transaction may take before other sessions have their turn."""


class Stage(enum.Enum):
    """Where a transaction waits; the values are what a time-out's reply says."""

    RECEIVE = "rx"
    RESOLVE = "resolve"
    STORE = None
    """Not bounded: a store that was begun is waited for, else nobody knows whether it is there."""


class _Wait(NamedTuple):
    """Something a step cannot go on without."""

    stage: Stage
    awaitable: Awaitable[Any]


class _TimedOut(Exception):  # noqa: N818 - control flow inside this module
    """The deadline passed at ``stage``."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.reply = Reply(451, f"4.4.5 data_processing_timeout exceeded ({stage.value})")


_Steps = Generator[_Wait, Any, Reply]


class Reception:
    """Receives the transactions of one listener.

    Args:
        listener: its parameters.
        policy: answers the events.
        store: keeps messages.
        queues: take them on.
        log: records them.
        new_id: makes spool ids.
    """

    __slots__ = (
        "_deadline_after",
        "_is_hurried",
        "_listener",
        "_log",
        "_new_id",
        "_policy",
        "_queues",
        "_store",
        "_trace",
        "_waits",
    )

    def __init__(
        self,
        listener: EsmtpListener,
        policy: ReceptionPolicy,
        store: Store,
        queues: Queues,
        log: ReceptionLog,
        new_id: Callable[[], str],
    ) -> None:
        self._listener = listener
        self._trace = listener.trace_headers
        self._deadline_after = listener.data_processing_timeout
        self._policy = policy
        self._store = store
        self._queues = queues
        self._log = log
        self._new_id = new_id
        self._waits: set[asyncio.Timeout] = set()
        self._is_hurried = False

    def receive(self, connection: Connection, content: ContentReceived) -> MaybeAwaitable[Reply]:
        """Answer for a message.

        Args:
            connection: its session; ``meta`` is copied now.
            content: envelope, unstuffed content and scan report.

        Returns:
            The reply, at once when nothing had to be waited for.

        Raises:
            Rejection: policy refused it; nothing is stored.
            PolicyError: policy failed; nothing is stored.
            SpoolError: it could not be stored; nothing is left of it.
        """
        limit = time.monotonic() + self._deadline_after
        steps = self._steps(connection, content, limit)
        try:
            wait = next(steps)
        except StopIteration as end:
            return _reply_of(end)
        except _TimedOut as timeout:
            return timeout.reply
        return self._finish(steps, wait, limit)

    def hurry(self) -> None:
        """Wait for policy and queues no longer; for a daemon that has waited long enough with its end.

        Transactions that wait for either get the reply of a passed deadline. What is being stored is still
        waited for.
        """
        self._is_hurried = True
        for scope in self._waits:
            scope.reschedule(0.0)

    async def _finish(self, steps: _Steps, wait: _Wait, limit: float) -> Reply:
        """Drive the steps from their first real wait to the end, each bounded by the one deadline."""
        deadline = asyncio.get_running_loop().time() + limit - time.monotonic()
        try:
            while True:
                try:
                    answer = await self._bounded(wait, deadline)
                except Exception as error:  # noqa: BLE001 - handed to the step that waits, which decides
                    wait = steps.throw(error)
                else:
                    wait = steps.send(answer)
        except StopIteration as end:
            return _reply_of(end)
        except _TimedOut as timeout:
            return timeout.reply
        finally:
            steps.close()

    async def _bounded(self, wait: _Wait, deadline: float) -> Any:
        if wait.stage is Stage.STORE:
            return await wait.awaitable
        scope = asyncio.timeout_at(0.0 if self._is_hurried else deadline)
        try:
            async with scope:
                self._waits.add(scope)
                return await wait.awaitable
        except TimeoutError:
            if not scope.expired():
                raise  # a handler's own, not ours
            raise _TimedOut(wait.stage) from None
        finally:
            self._waits.discard(scope)

    def _steps(self, connection: Connection, content: ContentReceived, limit: float) -> _Steps:
        refusal = check_conformance(content.report, self._listener.invalid_line_endings)
        if refusal is not None:
            return refusal
        body = mend(content.content, content.report, self._listener.invalid_line_endings)
        base = Message(self._new_id(), content.sender, content.recipients, dict(connection.meta), body)
        answer = self._policy.on_data(base, connection)
        if answer is not None:
            yield _Wait(Stage.RECEIVE, answer)
        split = self._policy.on_split_transaction(base, connection)
        if is_awaitable(split):
            split = yield _Wait(Stage.RECEIVE, split)
        if split is None:
            split = batches(base.recipients, self._listener.batch_handling)
        # The batches keep the sender of MAIL, whatever smtp_server_data made of it.
        base.sender = content.sender
        messages = yield from self._bifurcate(connection, base, split, limit)
        if not messages:
            return RELAYING_NOT_PERMITTED
        queues = [_queue_of(message) for message in messages]
        for queue in queues:
            if queue != NULL_QUEUE:
                yield from self._resolve(queue)
        yield from self._keep(connection, list(zip(messages, queues, strict=True)))
        return Reply(250, f"OK ids={' '.join([message.id for message in messages])}")

    def _bifurcate(
        self, connection: Connection, base: Message, split: list[Any], limit: float
    ) -> Generator[_Wait, Any, list[Message]]:
        """One message a batch, each with its Received field and seen by policy."""
        date = received_date(time.time()) if self._trace.received_header else ""
        body = base.content
        messages = []
        begun = time.monotonic()
        for recipients in split:
            if not recipients:
                continue
            now = time.monotonic()
            if now > limit:
                raise _TimedOut(Stage.RECEIVE)
            if now - begun > _SLICE:
                yield _Wait(Stage.RECEIVE, asyncio.sleep(0))
                begun = time.monotonic()
            message = Message(self._new_id(), base.sender, recipients, dict(base.meta), body)
            if date:
                message.prepend(received_field(connection, message.id, recipients[0], date))
            answer = self._policy.on_message_received(message, connection)
            if answer is not None:
                yield _Wait(Stage.RECEIVE, answer)
            if message.recipients:
                messages.append(message)
        return messages

    def _resolve(self, queue: str) -> Generator[_Wait, Any, None]:
        """Make sure of one queue; nothing is stored before all of them can take their messages."""
        try:
            answer = self._queues.resolve(queue)
            if answer is not None:
                yield _Wait(Stage.RESOLVE, answer)
        except Rejection as error:
            # The peer asked for nothing that this verdict could answer.
            raise PolicyError(f"queue {queue} cannot be used: {error}") from error

    def _keep(
        self, connection: Connection, messages: list[tuple[Message, str]]
    ) -> Generator[_Wait, Any, None]:
        """Store what a queue will have, record everything, hand over: in this order, all or nothing."""
        if self._trace.supplemental_header:
            for message, _ in messages:
                message.prepend(supplemental_field(self._trace, message.recipients, message.meta))
        queued = [message for message, queue in messages if queue != NULL_QUEUE]
        stored = [] if self._listener.deferred_spool else queued
        if stored:
            yield _Wait(Stage.STORE, self._store.store(stored))
        try:
            for message, queue in messages:
                answer = self._log.log_reception(message, connection, queue)
                if answer is not None:
                    yield _Wait(Stage.STORE, answer)
        except Exception:
            if stored:
                yield _Wait(Stage.STORE, self._store.remove(stored))
            raise
        for message in queued:
            self._queues.insert(message)


def _queue_of(message: Message) -> str:
    try:
        return queue_name(message.meta, message.recipients)
    except ValueError as error:
        raise PolicyError(f"message {message.id} has no queue: {error}") from error


def _reply_of(end: StopIteration) -> Reply:
    reply: Reply = end.value
    return reply
