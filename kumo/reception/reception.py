"""From a finished transaction to stored and queued messages: everything between the dot and its reply.

The order of the steps is the promise of the 250: line endings and lengths, ``smtp_server_data``, the
split into messages, ``Received``, ``smtp_server_message_received``, queues resolved, relay rights and
reports, supplemental header, stored, logged, queued. Called by the listener; asks policy, spool, log and
queues through ``kumo.reception.interfaces``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic, time
from typing import Any

from kumo.config import TraceHeaders
from kumo.errors import PolicyError, Rejection
from kumo.maybe_awaitable import MaybeAwaitable, is_awaitable
from kumo.message import (
    DEFERRED_INJECTION_QUEUE,
    NULL_QUEUE,
    Connection,
    Message,
    queue_name,
    received_date,
    received_field,
    supplemental_field,
)
from kumo.reception.conformance import check_conformance, mend
from kumo.reception.declared import DSN_RCPT, declare, keep_own
from kumo.reception.interfaces import Queues, ReceptionLog, ReceptionPolicy, Store
from kumo.reception.relay_authority import REFUSE, RELAY, RelayAuthority
from kumo.reception.split import batches
from kumo.reception.steps import SLICE, Stage, Steps, TimedOut, Wait, others_turn
from kumo.reception.verdict import DROPPED, RELAYED, ReportReader, Verdict
from kumo.smtp import ContentReceived, EnvelopeAddress, Reply

_STORE = Stage.STORE

RELAYING_NOT_PERMITTED = Reply(550, "5.7.1 relaying not permitted")


class Reception:
    """Receives the transactions of all listeners, each as its connection's ``listener`` says.

    Args:
        policy: answers the events.
        relay_authority: says which messages are relayed and which looked at as reports.
        store: keeps messages.
        queues: take them on.
        log: records them.
        new_id: makes spool ids.
    """

    __slots__ = (
        "_is_hurried",
        "_log",
        "_new_id",
        "_policy",
        "_queues",
        "_relay_authority",
        "_store",
        "_waits",
    )

    def __init__(
        self,
        policy: ReceptionPolicy,
        relay_authority: RelayAuthority,
        store: Store,
        queues: Queues,
        log: ReceptionLog,
        new_id: Callable[[], str],
    ) -> None:
        self._policy = policy
        self._relay_authority = relay_authority
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
        listener = connection.listener
        limit = monotonic() + listener.data_processing_timeout
        refusal = check_conformance(content.report, listener.invalid_line_endings)
        if refusal is not None:
            return refusal
        body = mend(content.content, content.report, listener.invalid_line_endings)
        base = Message(self._new_id(), content.sender, content.recipients, dict(connection.meta), body)
        declare(base.meta, content)
        replies: list[Reply] = []
        steps = self._steps(connection, base, limit, replies)
        try:
            # What is returned would come as an exception, which takes as long as a dozen other calls.
            wait = next(steps, None)
        except TimedOut as timeout:
            return timeout.reply
        if wait is None:
            return replies[0]
        if wait.stage is _STORE and isinstance(wait.awaitable, asyncio.Future):
            return self._when_stored(steps, wait.awaitable, limit, replies)
        return self._finish(steps, wait, limit, replies)

    def hurry(self) -> None:
        """Wait for policy and queues no longer; for a daemon that has waited long enough with its end.

        Transactions that wait for either get the reply of a passed deadline. What is being stored is still
        waited for.
        """
        self._is_hurried = True
        for scope in self._waits:
            scope.reschedule(0.0)

    def _when_stored(
        self, steps: Steps[None], stored: asyncio.Future[Any], limit: float, replies: list[Reply]
    ) -> asyncio.Future[Reply]:
        """Go on with the steps when their messages are stored; a task would cost as much as storing them."""
        reply: asyncio.Future[Reply] = stored.get_loop().create_future()
        stored.add_done_callback(partial(self._go_on, steps, reply, limit, replies))
        return reply

    def _go_on(
        self,
        steps: Steps[None],
        reply: asyncio.Future[Reply],
        limit: float,
        replies: list[Reply],
        stored: asyncio.Future[Any],
    ) -> None:
        if reply.cancelled():
            steps.close()
            return
        try:
            if stored.cancelled():
                wait = steps.throw(asyncio.CancelledError())
            else:
                error = stored.exception()
                wait = steps.send(stored.result()) if error is None else steps.throw(error)
        except StopIteration:
            reply.set_result(replies[0])
        except asyncio.CancelledError:
            reply.cancel()
        except TimedOut as timeout:
            reply.set_result(timeout.reply)
        except Exception as error:  # noqa: BLE001 - the listener's to judge
            reply.set_exception(error)
        else:
            # Seldom: others' turn, a full log, a message to be taken back.
            rest = asyncio.ensure_future(self._finish(steps, wait, limit, replies))
            rest.add_done_callback(partial(_pass_on, reply))

    async def _finish(self, steps: Steps[None], wait: Wait, limit: float, replies: list[Reply]) -> Reply:
        """Drive the steps from their first real wait to the end, each bounded by the one deadline."""
        deadline = asyncio.get_running_loop().time() + limit - monotonic()
        try:
            while True:
                try:
                    answer = await self._bounded(wait, deadline)
                except Exception as error:  # noqa: BLE001 - handed to the step that waits, which decides
                    wait = steps.throw(error)
                else:
                    wait = steps.send(answer)
        except StopIteration:
            return replies[0]
        except TimedOut as timeout:
            return timeout.reply
        finally:
            steps.close()

    async def _bounded(self, wait: Wait, deadline: float) -> Any:
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
            raise TimedOut(wait.stage) from None
        finally:
            self._waits.discard(scope)

    def _steps(
        self, connection: Connection, base: Message, limit: float, replies: list[Reply]
    ) -> Steps[None]:
        """All that is done for a transaction; its reply is put into ``replies``."""
        sender = base.sender
        answer = self._policy.on_data(base, connection)
        if answer is not None:
            yield Wait(Stage.RECEIVE, answer)
        split = self._policy.on_split_transaction(base, connection)
        if is_awaitable(split):
            split = yield Wait(Stage.RECEIVE, split)
        if split is None:
            split = batches(base.recipients, connection.listener.batch_handling)
        # The batches keep the sender of MAIL, whatever smtp_server_data made of it.
        base.sender = sender
        messages = yield from self._bifurcate(connection, base, split, limit)
        if not messages:
            replies.append(RELAYING_NOT_PERMITTED)
            return
        queues = [_queue_of(message) for message in messages]
        for queue in queues:
            if queue != NULL_QUEUE:
                yield from self._resolve(queue)
        if self._relay_authority.relays_all(connection):
            verdicts = [RELAYED] * len(messages)
        else:
            verdicts = yield from self._judge(connection, messages)
        yield from self._keep(connection, messages, queues, verdicts)
        if verdicts[0] is not RELAYED and not _is_taken(verdicts, queues):
            replies.append(RELAYING_NOT_PERMITTED)
        else:
            replies.append(Reply(250, f"OK ids={' '.join([message.id for message in messages])}"))

    def _bifurcate(
        self, connection: Connection, base: Message, split: list[Any], limit: float
    ) -> Steps[list[Message]]:
        """One message a batch, each with its Received field and seen by policy, at once or later."""
        date = received_date(time()) if connection.listener.trace_headers.received_header else ""
        body = base.content
        messages = []
        # What nobody shares needs no copy, and the id that policy may have seen already stays.
        is_whole = len(split) == 1
        begun = monotonic()
        for recipients in split:
            if not recipients:
                continue
            now = monotonic()
            if now > limit:
                raise TimedOut(Stage.RECEIVE)
            if now - begun > SLICE:
                yield others_turn(Stage.RECEIVE)
                begun = monotonic()
            message = base if is_whole else Message(self._new_id(), base.sender, [], dict(base.meta), body)
            answer = self._begin(connection, message, recipients, date)
            if answer is not None:
                yield Wait(Stage.RECEIVE, answer)
            if message.recipients:
                messages.append(message)
        return messages

    def _begin(
        self, connection: Connection, message: Message, recipients: list[EnvelopeAddress], date: str
    ) -> MaybeAwaitable[None]:
        """Make a message what its batch says, and show it to policy."""
        message.recipients = list(recipients)
        if DSN_RCPT in message.meta:
            keep_own(message.meta, recipients)
        if date:
            message.prepend(received_field(connection, message.id, recipients[0], date))
        if connection.listener.deferred_queue:
            message.meta["queue"] = DEFERRED_INJECTION_QUEUE
            return None
        return self._policy.on_message_received(message, connection)

    def _resolve(self, queue: str) -> Steps[None]:
        """Make sure of one queue; nothing is stored before all of them can take their messages."""
        try:
            answer = self._queues.resolve(queue)
            if answer is not None:
                yield Wait(Stage.RESOLVE, answer)
        except Rejection as error:
            # The peer asked for nothing that this verdict could answer.
            raise PolicyError(f"queue {queue} cannot be used: {error}") from error

    def _judge(self, connection: Connection, messages: Sequence[Message]) -> Steps[list[Verdict]]:
        """Decide about each message by its sender and first recipient, as policy left them."""
        verdicts = []
        reports = ReportReader()
        begun = monotonic()
        for message in messages:
            if monotonic() - begun > SLICE:
                yield others_turn(Stage.RECEIVE)
                begun = monotonic()
            disposition = self._relay_authority.disposition(connection, message.sender, message.recipients[0])
            if disposition is RELAY:
                verdicts.append(RELAYED)
            elif disposition is REFUSE:
                verdicts.append(DROPPED)
            else:
                if is_awaitable(disposition):
                    disposition = yield Wait(Stage.RECEIVE, disposition)
                # The body alone, which siblings share: what stands before it are trace fields.
                verdicts.append(reports.judge(disposition, message.segments[1]))
        return verdicts

    def _keep(
        self, connection: Connection, messages: list[Message], queues: list[str], verdicts: list[Verdict]
    ) -> Steps[None]:
        """Store what a queue will have, record everything, hand over: in this order, all or nothing."""
        listener = connection.listener
        trace_headers = listener.trace_headers
        if trace_headers.supplemental_header:
            for message in messages:
                _supplement(message, trace_headers)
        queued = [
            message
            for place, message in enumerate(messages)
            if queues[place] != NULL_QUEUE and verdicts[place].is_relayed
        ]
        stored = [] if listener.deferred_spool else queued
        if stored:
            yield Wait(Stage.STORE, self._store.store(stored))
        try:
            begun = monotonic()
            for place, message in enumerate(messages):
                if monotonic() - begun > SLICE:
                    yield others_turn(Stage.STORE)
                    begun = monotonic()
                answer = self._record(connection, message, queues[place], verdicts[place])
                if answer is not None:
                    yield Wait(Stage.STORE, answer)
        except Exception:
            if stored:
                yield Wait(Stage.STORE, self._store.remove(stored))
            raise
        for message in queued:
            self._queues.insert(message)

    def _record(
        self, connection: Connection, message: Message, queue: str, verdict: Verdict
    ) -> MaybeAwaitable[None]:
        if verdict is RELAYED:
            return self._log.log_reception(message, connection, queue)
        return self._log.log_reception(
            message,
            connection,
            queue,
            feedback=verdict.feedback,
            delivery_status=verdict.delivery_status,
            is_dropped_report=verdict.delivery_status is not None and not verdict.is_relayed,
        )


def _supplement(message: Message, trace_headers: TraceHeaders) -> None:
    message.prepend(supplemental_field(trace_headers, message.recipients, message.meta))


def _queue_of(message: Message) -> str:
    try:
        return queue_name(message.meta, message.recipients)
    except ValueError as error:
        raise PolicyError(f"message {message.id} has no queue: {error}") from error


def _is_taken(verdicts: Sequence[Verdict], queues: Sequence[str]) -> bool:
    """Whether anything became of the transaction; queue ``null`` takes all, for relaying or not."""
    return any(
        verdict.is_taken or queue == NULL_QUEUE for verdict, queue in zip(verdicts, queues, strict=True)
    )


def _pass_on(reply: asyncio.Future[Reply], rest: asyncio.Task[Reply]) -> None:
    error = asyncio.CancelledError() if rest.cancelled() else rest.exception()
    if reply.cancelled():
        return
    if error is None:
        reply.set_result(rest.result())
    elif isinstance(error, asyncio.CancelledError):
        reply.cancel()
    else:
        reply.set_exception(error)
