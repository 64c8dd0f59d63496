"""Messages that were found in the spool, and those whose queue cannot be resolved for now.

None of them is lost: they stay where they are, are counted, and policy is asked again every minute.
``scheduled_queues`` calls it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator

from kumo.errors import KumoError
from kumo.maybe_awaitable import is_awaitable
from kumo.message import NULL_QUEUE, Message, queue_name
from kumo.queue.attempt import Attempt
from kumo.queue.directory import FAILURE_TTL, QueueDirectory
from kumo.queue.interfaces import Clock, TimerHandle
from kumo.queue.retry import expiry_text, inferred_attempts, is_expired

_logger = logging.getLogger("kumod.queue")


class Recovery:
    """Brings messages into queues that have to be resolved first.

    Args:
        directory: resolves.
        attempt: lets a message expire.
        clock: time.
        insert: takes a message whose queue is there.
    """

    __slots__ = ("_attempt", "_clock", "_directory", "_insert", "_task", "_timer", "_waiting")

    def __init__(
        self, directory: QueueDirectory, attempt: Attempt, clock: Clock, insert: Callable[[Message], None]
    ) -> None:
        self._directory = directory
        self._attempt = attempt
        self._clock = clock
        self._insert = insert
        self._waiting: dict[str, deque[Message]] = {}
        self._timer: TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    async def recover(self, message: Message) -> None:
        """Take a message that the spool had; see ``ScheduledQueues.recover``."""
        try:
            name = queue_name(message.meta, message.recipients)
        except ValueError as error:
            _logger.warning("message %s stays in the spool, it has no queue: %s", message.id, error)
            return
        if name == NULL_QUEUE:
            await self._attempt.forget(message)
            return
        if message.is_resident:
            await self._attempt.save(message)
        if not await self._is_resolved(name):
            self.keep(name, message)
        else:
            await self._resume(name, message)

    def keep(self, name: str, message: Message) -> None:
        """Hold a message until its queue can be resolved."""
        self._waiting.setdefault(name, deque()).append(message)
        if self._timer is None and self._task is None:
            # A queue that was only forgotten as idle is back at once.
            self._set_timer(0.0)

    def counts(self) -> dict[str, int]:
        """Messages that wait, by queue name."""
        return {name: len(messages) for name, messages in self._waiting.items()}

    def messages(self, name: str) -> Iterator[Message]:
        """The messages that wait for a queue."""
        yield from self._waiting.get(name, ())

    def unsaved(self) -> list[Message]:
        """The waiting messages that are in memory only."""
        return [
            message for messages in self._waiting.values() for message in messages if not message.is_stored
        ]

    async def close(self) -> None:
        """Ask no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _set_timer(self, delay: float) -> None:
        self._timer = self._clock.call_at(self._clock.monotonic() + delay, self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._task = asyncio.get_running_loop().create_task(self._resolve_all())

    async def _resolve_all(self) -> None:
        try:
            for name in list(self._waiting):
                if await self._is_resolved(name):
                    messages = self._waiting[name]
                    while messages:
                        # In the deque until it is in its queue: a cancelled task loses none.
                        await self._resume(name, messages[0])
                        messages.popleft()
                    del self._waiting[name]
        finally:
            self._task = None
        if self._waiting:
            self._set_timer(FAILURE_TTL)

    async def _is_resolved(self, name: str) -> bool:
        try:
            pending = self._directory.resolve(name)
            if is_awaitable(pending):
                await pending
        except KumoError as error:
            _logger.warning("messages of queue %s wait in the spool: %s", name, error)
            return False
        return True

    async def _resume(self, name: str, message: Message) -> None:
        queue = self._directory.find(name)
        age = max(self._clock.unix() - message.created, 0.0)
        if queue is not None:
            if is_expired(queue.config, age):
                await self._attempt.expire(message, name, expiry_text(queue.config, age))
                return
            message.num_attempts = inferred_attempts(queue.config, age)
        self._insert(message)
