"""One attempt: load, deliver, log, and only then forget or shorten what the spool has.

That order is the point of this module. A crash between two steps repeats a delivery or a record; it
never loses a recipient. ``scheduled_queues`` runs it in a task and puts back what has to be tried
again.
"""

from __future__ import annotations

import logging
import uuid

from kumo.config import MaildirProtocol
from kumo.egress import Disposition
from kumo.errors import CorruptEntry, SpoolError
from kumo.message import Message
from kumo.queue.custody import FAULT_DELAY, Custody
from kumo.queue.deferred_injection import DeferredInjection
from kumo.queue.interfaces import Deliverer, QueueLog, QueueMetrics
from kumo.queue.retry import expiry_text, is_expired
from kumo.queue.scheduled_queue import QueuedMessage, ScheduledQueue

_logger = logging.getLogger("kumod.queue")


class Attempt:
    """Runs attempts; one object serves all queues.

    Args:
        deliverer: what delivers.
        injection: what the messages of the deferred queue get in place of a delivery.
        log: where outcomes are recorded.
        metrics: counters.
        custody: of the messages.
    """

    __slots__ = ("_custody", "_deliverer", "_injection", "_log", "_metrics")

    def __init__(
        self,
        deliverer: Deliverer,
        injection: DeferredInjection,
        log: QueueLog,
        metrics: QueueMetrics,
        custody: Custody,
    ) -> None:
        self._deliverer = deliverer
        self._injection = injection
        self._log = log
        self._metrics = metrics
        self._custody = custody

    async def run(self, queue: ScheduledQueue, entry: QueuedMessage) -> float | None:
        """Try to deliver a message, or let it expire where nothing can deliver it any more.

        Args:
            queue: the queue that it was taken from.
            entry: the message; recipients and attempts are brought up to date.

        Returns:
            Seconds until the next attempt; None when the message is finished, or another queue's.
        """
        message = entry.message
        age = self._custody.age(entry)
        if queue.is_held and age < queue.config.max_age:
            return 0.0  # the configuration changed after the message was taken
        if queue.is_held or (entry.is_recovered and is_expired(queue.config, age)):
            await self._custody.expire(queue, message, expiry_text(queue.config, age))
            return None
        # Read now: the configuration may change while the content is loaded.
        protocol = queue.protocol
        entry.is_recovered = False
        try:
            await self._custody.load(message)
        except CorruptEntry:
            _logger.exception("message %s cannot be read back; its files are left alone", message.id)
            return None
        except SpoolError:
            _logger.exception("message %s cannot be read now", message.id)
            return FAULT_DELAY
        if protocol is None:
            return await self._injection.run(queue, entry)
        return await self._deliver(queue, entry, protocol)

    def stop(self) -> None:
        """Have deliveries that take long return with what they have done."""
        self._deliverer.stop()

    async def _deliver(
        self, queue: ScheduledQueue, entry: QueuedMessage, protocol: MaildirProtocol
    ) -> float | None:
        message = entry.message
        disposition = await self._ask_deliverer(message, protocol, queue.name)
        await self._custody.record(
            lambda: self._log.log_disposition(message, disposition, queue.name), message
        )
        if disposition.delivered:
            self._metrics.total_messages_delivered[queue.service] += 1
        if not disposition.failed:
            await self._custody.forget(message)
            return None
        message.recipients = list(disposition.failed)
        if disposition.delivered:
            message.has_changed = True
        return await self._custody.put_off(queue, entry)

    async def _ask_deliverer(self, message: Message, protocol: MaildirProtocol, queue: str) -> Disposition:
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
