"""Messages that were found in the spool, and those whose queue cannot be resolved for now.

None of them is lost: they stay where they are, are counted, and policy is asked again every minute.
Nothing here waits for a log or for a removal, so that one bad entry never holds up the others.
``scheduled_queues`` calls it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, NamedTuple

from kumo.errors import KumoError
from kumo.maybe_awaitable import is_awaitable
from kumo.message import NULL_QUEUE, Message, queue_name
from kumo.queue.custody import Custody
from kumo.queue.directory import FAILURE_TTL, QueueDirectory
from kumo.queue.interfaces import Clock, TimerHandle
from kumo.queue.resident_content import ResidentContent
from kumo.queue.scheduled_queue import ScheduledQueue

_logger = logging.getLogger("kumod.queue")

_RESUMED_AT_ONCE = 100
"""Messages that get into their queue before other work has its turn."""


class _Waiting(NamedTuple):
    message: Message
    octets: int
    """What its content counts for; all of it is in memory only."""


class Recovery:
    """Brings messages into queues that have to be resolved first.

    Args:
        directory: resolves.
        custody: saves and drops messages.
        clock: time.
        resident: the account of content in memory.
        resume: takes a message, not a new one, into its queue.
    """

    __slots__ = (
        "_clock",
        "_custody",
        "_directory",
        "_is_closed",
        "_resident",
        "_resume",
        "_tasks",
        "_timer",
        "_waiting",
    )

    def __init__(
        self,
        directory: QueueDirectory,
        custody: Custody,
        clock: Clock,
        resident: ResidentContent,
        resume: Callable[[ScheduledQueue, Message], None],
    ) -> None:
        self._custody = custody
        self._clock = clock
        self._directory = directory
        self._resident = resident
        self._resume = resume
        self._waiting: dict[str, deque[_Waiting]] = {}
        self._timer: TimerHandle | None = None
        self._tasks: dict[str | None, asyncio.Task[None]] = {}
        """What brings in the messages of one queue each; under None what goes through all of them."""
        self._is_closed = False

    async def recover(self, message: Message) -> None:
        """Take a message that the spool had; see ``ScheduledQueues.recover``."""
        try:
            name = queue_name(message.meta, message.recipients)
        except ValueError as error:
            _logger.warning("message %s stays in the spool, it has no queue: %s", message.id, error)
            return
        if name == NULL_QUEUE:
            await self._custody.drop(message)
            return
        if message.must_be_saved:
            await self._custody.save(message)
        queue = await self._resolved(name)
        if queue is None:
            self._hold(name, message)
            self._set_timer()
        else:
            self._resume(queue, message)

    def keep(self, name: str, message: Message) -> None:
        """Hold a message whose queue was forgotten as idle, if only until policy has answered once more."""
        self._hold(name, message)
        self._start(name, self._bring_in(name))

    def counts(self) -> dict[str, int]:
        """Messages that wait, by queue name."""
        return {name: len(waiting) for name, waiting in self._waiting.items()}

    def messages(self, name: str) -> Iterator[Message]:
        """The messages that wait for a queue."""
        yield from (message for message, _ in self._waiting.get(name, ()))

    def unsaved(self) -> list[Message]:
        """The waiting messages that the spool does not have as they are."""
        return [
            message for waiting in self._waiting.values() for message, _ in waiting if message.must_be_saved
        ]

    async def close(self) -> None:
        """Ask no more."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _hold(self, name: str, message: Message) -> None:
        message.shrink()
        octets = message.size
        self._resident.add(octets, octets)
        self._waiting.setdefault(name, deque()).append(_Waiting(message, octets))

    def _set_timer(self) -> None:
        if self._waiting and self._timer is None and None not in self._tasks and not self._is_closed:
            self._timer = self._clock.call_at(self._clock.monotonic() + FAILURE_TTL, self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._start(None, self._bring_in_all())

    def _start(self, key: str | None, work: Coroutine[Any, Any, None]) -> None:
        """Run a task, unless there is one for the same that is not over."""
        if key in self._tasks:
            work.close()
            return
        task = self._tasks[key] = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(lambda _: self._on_done(key))

    def _on_done(self, key: str | None) -> None:
        del self._tasks[key]
        self._set_timer()

    async def _bring_in_all(self) -> None:
        for name in list(self._waiting):
            await self._bring_in(name)

    async def _bring_in(self, name: str) -> None:
        while True:
            queue = await self._resolved(name)
            # Looked up after each wait: another task may have been here.
            waiting = self._waiting.get(name)
            if queue is None or waiting is None:
                return
            for _ in range(min(len(waiting), _RESUMED_AT_ONCE)):
                message, octets = waiting.popleft()
                self._resident.release(octets, octets)
                self._resume(queue, message)
            if not waiting:
                del self._waiting[name]
                return
            await asyncio.sleep(0)

    async def _resolved(self, name: str) -> ScheduledQueue | None:
        """The queue of that name; None, and said so, when policy has none for it now."""
        try:
            pending = self._directory.resolve(name)
            if is_awaitable(pending):
                await pending
        except KumoError as error:
            _logger.warning("messages of queue %s wait: %s", name, error)
            return None
        return self._directory.find(name)
