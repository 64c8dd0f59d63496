"""The scheduled queues as the rest of kumo sees them: messages go in, attempts follow.

One timer for the earliest moment at which any queue needs a look, one line of queues that wait for a
delivery slot, and a bound on the content that waits in memory. Reception resolves and inserts,
``server`` recovers what the spool has, starts and shuts down, and lets the metrics read the counts.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterator

from kumo.config import SmtpProtocol
from kumo.maybe_awaitable import MaybeAwaitable
from kumo.message import Message, queue_name
from kumo.queue.attempt import Attempt
from kumo.queue.custody import FAULT_DELAY, Custody
from kumo.queue.deferred_injection import DeferredInjection
from kumo.queue.directory import QueueDirectory
from kumo.queue.interfaces import Clock, Deliverer, QueueLog, QueueMetrics, QueuePolicy, QueueStore
from kumo.queue.recovery import Recovery
from kumo.queue.resident_content import ResidentContent
from kumo.queue.retry import inferred_attempts, is_expired
from kumo.queue.scheduled_queue import QueuedMessage, ScheduledQueue
from kumo.queue.timetable import Timetable

_logger = logging.getLogger("kumod.queue")

_RESIDENT_LIMIT = 64 * 1024 * 1024

_PATIENCE = 0.8
"""The part of a shutdown's grace in which deliveries are left to themselves."""


class ScheduledQueues:
    """All scheduled queues of the daemon.

    Args:
        policy: asked for queue configurations, and shown the messages of the deferred queue.
        store: the spool.
        log: where outcomes are recorded.
        deliverer: what delivers into maildirs.
        metrics: counters.
        clock: time; ``LoopClock`` outside tests.
        uniform: gives random numbers from 0 up to, but not including, 1.
        max_attempts: messages that are being delivered at one time.
        resident_limit: octets of content that wait in memory; what is beyond is read back from the spool.
            Unsaved content, which cannot be, may come to twice as much before ``resolve`` waits.
    """

    def __init__(
        self,
        policy: QueuePolicy,
        store: QueueStore,
        log: QueueLog,
        deliverer: Deliverer,
        metrics: QueueMetrics,
        clock: Clock,
        *,
        uniform: Callable[[], float] = random.random,
        max_attempts: int = 16,
        resident_limit: int = _RESIDENT_LIMIT,
    ) -> None:
        self._clock = clock
        self._max_attempts = max_attempts
        self._resident = ResidentContent(resident_limit)
        self._custody = Custody(store, log, metrics, clock, uniform)
        self._directory = QueueDirectory(policy, clock, self._call_up)
        # Not this object's own ``resolve``: attempts that wait for room would keep others from making it.
        injection = DeferredInjection(policy, log, self._custody, self._directory.resolve, self.insert)
        self._attempt = Attempt(deliverer, injection, log, metrics, self._custody)
        self._recovery = Recovery(self._directory, self._custody, clock, self._resident, self._resume)
        self._timetable = Timetable(clock, self._look_at)
        self._line: deque[ScheduledQueue] = deque()
        self._attempts: set[asyncio.Task[None]] = set()
        self._to_save: deque[tuple[ScheduledQueue, QueuedMessage]] = deque()
        self._saver: asyncio.Task[None] | None = None
        self._order = itertools.count()
        self._is_running = False

    def resolve(self, name: str) -> MaybeAwaitable[None]:
        """Make sure that a queue can take messages.

        It waits while too much content is in memory that the spool does not have yet: a slow disk must
        slow down those who send.

        Args:
            name: queue name, not ``null``.

        Raises:
            PolicyError: ``get_queue_config`` failed, now or within the last minute.
            Rejection: a handler called ``kumo.reject``; it counts as a failure.
        """
        pending = self._directory.resolve(name)
        if self._resident.is_crowded:
            return self._resident.room() if pending is None else self._when_there_is_room(pending)
        return pending

    def insert(self, message: Message) -> None:
        """Take a message that is stored, or was accepted to be kept in memory.

        Args:
            message: its queue was resolved; the message becomes the queues' own.

        Raises:
            ValueError: it has no queue name.
        """
        name = queue_name(message.meta, message.recipients)
        queue = self._directory.find(name)
        if queue is None:
            # Forgotten as idle since it was resolved.
            self._recovery.keep(name, message)
            return
        self._admit(queue, self._entry(message))

    async def recover(self, message: Message) -> None:
        """Take a message that the spool had at the start of the daemon.

        Its attempts are inferred from its age. A message whose queue cannot be resolved now stays in
        the spool and is tried again every minute; one without a valid queue name stays there, too.

        Args:
            message: stored; it is stored again if ``has_changed`` says that policy changed it since.
        """
        await self._recovery.recover(message)

    async def start(self) -> None:
        """Begin to deliver."""
        self._is_running = True
        self._timetable.start()
        self._fill_slots()

    async def shutdown(self, grace: float = 10.0) -> None:
        """Stop delivering and save what only the memory knows; nothing may be inserted any more.

        Args:
            grace: seconds that attempts in flight have to finish. When most of them are over, deliveries
                stop after the recipient that they are at. What even that one keeps from returning is
                delivered again after the restart.
        """
        self._is_running = False
        self._timetable.stop()
        await self._directory.close()
        await self._recovery.close()
        tasks = self._attempts if self._saver is None else {*self._attempts, self._saver}
        if tasks:
            # This also lets new tasks take their first step: one cancelled before it would lose its message.
            _done, pending = await asyncio.wait(tasks, timeout=grace * _PATIENCE)
            if pending:
                self._attempt.stop()
                _done, pending = await asyncio.wait(pending, timeout=grace * (1 - _PATIENCE))
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
            # A message that was shown to policy meanwhile may have asked for its queue.
            await self._directory.close()
        entries = itertools.chain(*self._directory, (entry for _, entry in self._to_save))
        messages = [entry.message for entry in entries if entry.message.must_be_saved]
        messages += self._recovery.unsaved()
        await asyncio.gather(*(self._custody.save(message) for message in messages))

    def policy_changed(self) -> None:
        """Ask for every queue's configuration again when it is next needed, a failing one's at once."""
        self._directory.policy_changed()

    def counts(self) -> dict[str, int]:
        """Messages by queue name, those that wait for their queue to be resolved included."""
        counts = {queue.name: len(queue) for queue in self._directory}
        for name, count in self._recovery.counts().items():
            counts[name] = counts.get(name, 0) + count
        return counts

    def messages(self, name: str) -> Iterator[Message]:
        """The messages that wait in a queue, in no order; those being delivered are left out."""
        queue = self._directory.find(name)
        if queue is not None:
            yield from (entry.message for entry in queue)
        yield from self._recovery.messages(name)

    def _entry(self, message: Message) -> QueuedMessage:
        now = self._clock.monotonic()
        unix = self._clock.unix()
        entry = QueuedMessage(message, next(self._order), now - max(unix - message.created, 0.0))
        entry.due = now if message.due is None else now + max(message.due - unix, 0.0)
        return entry

    def _resume(self, queue: ScheduledQueue, message: Message) -> None:
        """Take a message that the spool had, or whose queue was away; its attempts are inferred."""
        entry = self._entry(message)
        entry.is_recovered = True
        age = self._clock.monotonic() - entry.birth
        if not is_expired(queue.config, age):
            message.num_attempts = inferred_attempts(queue.config, age)
        self._admit(queue, entry)

    async def _when_there_is_room(self, pending: Awaitable[None]) -> None:
        await pending
        if self._resident.is_crowded:
            await self._resident.room()

    def _account(self, entry: QueuedMessage) -> None:
        message = entry.message
        entry.octets = message.size
        entry.unsaved = entry.octets if message.must_be_saved else 0
        self._resident.add(entry.octets, entry.unsaved)

    def _admit(self, queue: ScheduledQueue, entry: QueuedMessage) -> None:
        """Put a message where it waits; its content stays in memory only if there is room and use for it."""
        message = entry.message
        size = message.size
        if queue.is_held:
            _announce(queue)
        has_to_wait = queue.is_held or entry.due > self._clock.monotonic()
        if has_to_wait or not self._resident.has_room(size):
            if not message.must_be_saved:
                message.shrink()
            elif self._is_running:
                self._save_first(queue, entry)
                return
        self._wait(queue, entry)

    def _wait(self, queue: ScheduledQueue, entry: QueuedMessage) -> None:
        self._account(entry)
        queue.put(entry, self._clock.monotonic())
        self._call_up(queue)

    def _call_up(self, queue: ScheduledQueue) -> None:
        """Let a queue stand in line if it has work now, else look at it when it will."""
        if queue.is_active:
            return
        if queue.has_work(self._clock.monotonic()):
            queue.is_active = True
            self._line.append(queue)
            self._fill_slots()
        else:
            self._timetable.set(queue)

    def _fill_slots(self) -> None:
        """Start attempts while there are slots, one message a queue in turn."""
        if not self._is_running:
            return
        now = self._clock.monotonic()
        while self._line and len(self._attempts) < self._max_attempts:
            queue = self._line.popleft()
            entry = queue.take(now)
            if entry is None:
                queue.is_active = False
                self._timetable.set(queue)
                continue
            self._line.append(queue)
            self._resident.release(entry.octets, entry.unsaved)
            task = asyncio.get_running_loop().create_task(self._try(queue, entry))
            self._attempts.add(task)
            task.add_done_callback(self._on_attempt_done)

    def _on_attempt_done(self, task: asyncio.Task[None]) -> None:
        self._attempts.discard(task)
        self._fill_slots()

    async def _try(self, queue: ScheduledQueue, entry: QueuedMessage) -> None:
        delay: float | None = 0.0
        try:
            self._refresh(queue)
            delay = await self._attempt.run(queue, entry)
        except Exception:
            _logger.exception("attempt at message %s failed", entry.message.id)
            delay = FAULT_DELAY
        finally:
            # Cancelled as well: the message goes back, so that the shutdown saves it.
            queue.in_flight -= 1
            now = queue.used_at = self._clock.monotonic()
            if delay is None:
                self._call_up(queue)
            else:
                entry.due = now + delay
                entry.message.due = self._clock.unix() + delay
                if delay and entry.message.must_be_saved:
                    self._wait(queue, entry)  # saving it has just failed
                else:
                    self._admit(queue, entry)

    def _refresh(self, queue: ScheduledQueue) -> None:
        if queue.is_stale(self._clock.monotonic()):
            self._directory.resolve(queue.name)

    def _look_at(self, queue: ScheduledQueue) -> None:
        """Do what a queue's time has come for."""
        if not len(queue) and queue.is_idle(self._clock.monotonic()):
            self._directory.forget(queue)
            return
        if len(queue) and queue.is_held:
            self._refresh(queue)
        self._call_up(queue)

    def _save_first(self, queue: ScheduledQueue, entry: QueuedMessage) -> None:
        """Store a message that was to stay in memory, before it waits there for long or with too many."""
        queue.in_flight += 1
        self._account(entry)
        self._to_save.append((queue, entry))
        if self._saver is None:
            self._saver = asyncio.get_running_loop().create_task(self._save_all())

    async def _save_all(self) -> None:
        try:
            while self._to_save:
                batch = list(self._to_save)
                await asyncio.gather(*(self._custody.save(entry.message) for _, entry in batch))
                for queue, entry in batch:
                    self._to_save.popleft()
                    queue.in_flight -= 1
                    self._resident.release(entry.octets, entry.unsaved)
                    entry.message.shrink()
                    self._wait(queue, entry)
        finally:
            self._saver = None


def _announce(queue: ScheduledQueue) -> None:
    if not queue.is_announced:
        queue.is_announced = True
        what = "over SMTP" if isinstance(queue.config.protocol, SmtpProtocol) else "by Lua"
        _logger.info("queue %s: this version does not deliver %s; its messages are kept", queue.name, what)
