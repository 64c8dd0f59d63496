"""One attempt: load, deliver, log, and only then forget or shorten what the spool has.

That order is the point of this module. A crash between two steps repeats a delivery or a record; it
never loses a recipient. ``scheduled_queues`` runs it in a task and puts back what has to be tried
again.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Callable

from kumo.config import MaildirProtocol
from kumo.egress import Disposition
from kumo.errors import CorruptEntry, SpoolError
from kumo.message import Message
from kumo.queue.clock import pause
from kumo.queue.interfaces import Clock, Deliverer, QueueLog, QueueMetrics, QueueStore
from kumo.queue.retry import base_delay, expiry_text, is_expired, jitter
from kumo.queue.scheduled_queue import QueuedMessage, ScheduledQueue

_logger = logging.getLogger("kumod.queue")

FAULT_DELAY = 60.0
"""Seconds until a message is looked at again after a fault of ours; no attempt is counted."""

_SERVICE = "maildir"


class Attempt:
    """Runs attempts; one object serves all queues.

    Args:
        deliverer: what delivers.
        store: the spool.
        log: where outcomes are recorded.
        metrics: counters.
        clock: time.
        uniform: gives random numbers from 0 up to, but not including, 1.
    """

    __slots__ = ("_clock", "_deliverer", "_log", "_metrics", "_store", "_uniform")

    def __init__(
        self,
        deliverer: Deliverer,
        store: QueueStore,
        log: QueueLog,
        metrics: QueueMetrics,
        clock: Clock,
        uniform: Callable[[], float],
    ) -> None:
        self._deliverer = deliverer
        self._store = store
        self._log = log
        self._metrics = metrics
        self._clock = clock
        self._uniform = uniform

    async def run(self, queue: ScheduledQueue, entry: QueuedMessage) -> float | None:
        """Try to deliver a message, or let it expire where nothing can deliver it any more.

        Args:
            queue: the queue that it was taken from.
            entry: the message; recipients and attempts are brought up to date.

        Returns:
            Seconds until the next attempt; None when the message is finished.
        """
        message = entry.message
        protocol = queue.protocol
        age = self._age(entry)
        if protocol is None and age < queue.config.max_age:
            return 0.0  # the configuration changed after the message was taken
        if protocol is None or (entry.is_recovered and is_expired(queue.config, age)):
            await self._expire(message, queue.name, expiry_text(queue.config, age))
            return None
        entry.is_recovered = False
        if not message.is_resident:
            try:
                await self._store.load_content(message)
            except CorruptEntry:
                _logger.exception("message %s cannot be read back; its files are left alone", message.id)
                return None
            except SpoolError:
                _logger.exception("message %s cannot be read now", message.id)
                return FAULT_DELAY
        disposition = await self._deliver(message, protocol, queue.name)
        await self._insist(
            lambda: self._log.log_disposition(message, disposition, queue.name), "logging", message
        )
        if disposition.delivered:
            self._metrics.total_messages_delivered[_SERVICE] += 1
        if not disposition.failed:
            await self._forget(message)
            return None
        self._metrics.total_messages_transfail[_SERVICE] += 1
        message.recipients = list(disposition.failed)
        if disposition.delivered:
            message.has_changed = True
        return await self._reschedule(queue, entry)

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

    def stop(self) -> None:
        """Have deliveries that take long return with what they have done."""
        self._deliverer.stop()

    async def _expire(self, message: Message, queue: str, text: str) -> None:
        await self._insist(lambda: self._log.log_expiration(message, queue, text), "logging", message)
        self._metrics.total_messages_fail[_SERVICE] += 1
        await self._forget(message)

    async def _forget(self, message: Message) -> None:
        if message.is_stored:
            await self._insist(lambda: self._store.remove([message]), "removing", message)

    async def _deliver(self, message: Message, protocol: MaildirProtocol, queue: str) -> Disposition:
        try:
            return await self._deliverer.deliver(message, protocol, queue)
        except Exception as error:
            _logger.exception("delivering message %s failed", message.id)
            return Disposition(
                delivered=(),
                failed=tuple(message.recipients),
                delivered_response=None,
                failed_response=f"KumoMTA internal: error in deliver_message: {error}",
                delivery_protocol="Maildir",
                session_id=str(uuid.uuid4()),
            )

    async def _reschedule(self, queue: ScheduledQueue, entry: QueuedMessage) -> float | None:
        message = entry.message
        config = queue.config
        delay = base_delay(config, message.num_attempts) + jitter(config, self._uniform())
        message.num_attempts += 1
        age = self._age(entry)
        if is_expired(config, age, delay):
            await self._expire(message, queue.name, expiry_text(config, age, delay))
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

    def _age(self, entry: QueuedMessage) -> float:
        return self._clock.monotonic() - entry.birth
