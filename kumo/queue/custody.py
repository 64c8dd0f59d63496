"""Care for a message that is ours: loaded, saved, put off, given up, and forgotten last of all.

A record or a removal that does not work is repeated until it does, so that no outcome is missing from
the log and no message is lost. What is done to a message in an attempt is ``attempt``'s and
``deferred_injection``'s business; how its state is kept is decided here.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from kumo.message import Message
from kumo.queue.clock import pause
from kumo.queue.interfaces import Clock, QueueLog, QueueMetrics, QueueStore
from kumo.queue.retry import base_delay, expiry_text, is_expired, jitter
from kumo.queue.scheduled_queue import QueuedMessage, ScheduledQueue

_logger = logging.getLogger("kumod.queue")

FAULT_DELAY = 60.0
"""Seconds until a message is looked at again after a fault of ours; no attempt is counted."""


class Custody:
    """Keeps spool and log in step with the messages; one object serves all queues.

    Args:
        store: the spool.
        log: where outcomes are recorded.
        metrics: counters.
        clock: time.
        uniform: gives random numbers from 0 up to, but not including, 1.
    """

    __slots__ = ("_clock", "_log", "_metrics", "_store", "_uniform")

    def __init__(
        self,
        store: QueueStore,
        log: QueueLog,
        metrics: QueueMetrics,
        clock: Clock,
        uniform: Callable[[], float],
    ) -> None:
        self._store = store
        self._log = log
        self._metrics = metrics
        self._clock = clock
        self._uniform = uniform

    def age(self, entry: QueuedMessage) -> float:
        """Seconds since a message was made."""
        return self._clock.monotonic() - entry.birth

    async def load(self, message: Message) -> None:
        """Make the message's content resident.

        Raises:
            CorruptEntry: the spool has no content for it.
            SpoolError: it cannot be read now.
        """
        if not message.is_resident:
            await self._store.load_content(message)

    async def save(self, message: Message) -> bool:
        """Bring the spool up to date with a message.

        Returns:
            Whether that worked; if not, the log has the reason.
        """
        try:
            await self._store.store([message])
        except Exception:
            _logger.exception("message %s cannot be stored; it is kept in memory", message.id)
            return False
        message.has_changed = False
        return True

    async def drop(self, message: Message) -> None:
        """Take a message off the spool; one that cannot be removed is found again at the next start."""
        try:
            await self._store.remove([message])
        except Exception:
            _logger.exception("message %s cannot be removed from the spool", message.id)

    async def record(self, write: Callable[[], Awaitable[None]], message: Message) -> None:
        """Write to the log, however often it takes.

        Args:
            write: writes the records once.
            message: what they are about.
        """
        await self._insist(write, "logging", message)

    async def forget(self, message: Message) -> None:
        """Take a finished message off the spool, however often it takes."""
        if message.is_stored:
            await self._insist(lambda: self._store.remove([message]), "removing", message)

    async def expire(self, queue: ScheduledQueue, message: Message, text: str) -> None:
        """Record that a message is given up as too old, and forget it.

        Args:
            queue: that it was taken from.
            message: with the recipients that are given up.
            text: what the record says.
        """
        await self.record(lambda: self._log.log_expiration(message, queue.name, text), message)
        await self.give_up(queue, message)

    async def give_up(self, queue: ScheduledQueue, message: Message) -> None:
        """Count and forget a message that is not tried again; the log has it."""
        self._metrics.total_messages_fail[queue.service] += 1
        await self.forget(message)

    async def put_off(self, queue: ScheduledQueue, entry: QueuedMessage) -> float | None:
        """Count a failed attempt, which is in the log by now; save what has changed, or let it expire.

        Returns:
            Seconds until the next attempt; None when the message is finished.
        """
        message = entry.message
        config = queue.config
        self._metrics.total_messages_transfail[queue.service] += 1
        delay = base_delay(config, message.num_attempts) + jitter(config, self._uniform())
        message.num_attempts += 1
        age = self.age(entry)
        if is_expired(config, age, delay):
            await self.expire(queue, message, expiry_text(config, age, delay))
            return None
        if message.must_be_saved:
            await self.save(message)
        return delay

    async def _insist(self, step: Callable[[], Awaitable[None]], what: str, message: Message) -> None:
        """Repeat a step until it works.

        The delivery slot stays taken meanwhile: to deliver on without log or spool would be to deliver
        all of it again after a restart.
        """
        wait = 1.0
        while True:
            try:
                await step()
            except Exception:
                _logger.exception("%s message %s failed; trying again in %d s", what, message.id, wait)
            else:
                return
            await pause(self._clock, wait)
            wait = min(wait * 2, FAULT_DELAY)
