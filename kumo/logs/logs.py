"""The logs as the other rooms see them: all configured loggers behind one object.

Fits what ``kumo.listener``, ``kumo.reception`` and ``kumo.queue`` ask of their logs. Records are made
and encoded on the event loop, written by one thread. Without any logger each call is a no-op.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from copy import copy

from kumo.config import LocalLogs
from kumo.errors import ConfigError
from kumo.logs.channel import Channel
from kumo.logs.interfaces import Outcome, RecordFilter
from kumo.logs.local_logger import LocalLogger
from kumo.logs.queue_records import expiration_record, message_record, outcome_records
from kumo.logs.record import LogRecord, RecordType, make_response
from kumo.logs.segment import FileCalls, prepare_directory
from kumo.logs.session_records import (
    feedback_record,
    out_of_band_records,
    reception_record,
    rejection_record,
)
from kumo.logs.writer import SegmentWriter
from kumo.maybe_awaitable import MaybeAwaitable
from kumo.message import Connection, DeliveryStatus, FeedbackReport, Message
from kumo.smtp import EnvelopeAddress, Reply

DEFERRED_INJECTION_PROTOCOL = "DeferredSmtpInjection"
"""KumoMTA's word for policy's deferred event as a delivery protocol."""


class Logs:
    """Writes log records.

    Args:
        configs: one for each ``configure_local_logs``.
        node_id: dashed UUID of this node.
        record_filter: asks a policy event whether to log a record about a message.
        clock: nanoseconds since 1970.
        monotonic: seconds that no clock adjustment moves.
        files: system calls.
        retry_interval: seconds after which a failed write is tried again.

    Raises:
        ConfigError: a configuration that cannot be used.
    """

    def __init__(
        self,
        configs: Sequence[LocalLogs],
        node_id: str,
        record_filter: RecordFilter | None = None,
        clock: Callable[[], int] = time.time_ns,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        files: FileCalls | None = None,
        retry_interval: float = 1.0,
    ) -> None:
        self._node_id = node_id
        self._clock = clock
        files = files or FileCalls()
        channels = [Channel(config, clock, monotonic, files) for config in configs]
        self._writer = SegmentWriter(channels, monotonic=monotonic, retry_interval=retry_interval)
        self._loggers = tuple(
            LocalLogger(config, channel, self._writer, record_filter)
            for config, channel in zip(configs, channels, strict=True)
        )
        self._is_closed = False

    @property
    def backlog(self) -> int:
        """Records that wait for the thread."""
        return self._writer.backlog

    def start(self) -> None:
        """Mark what an earlier process left as complete, and start the writer's thread.

        Raises:
            ConfigError: a log folder cannot be made or read.
        """
        for logger in self._loggers:
            for directory in logger.directories:
                try:
                    prepare_directory(directory)
                except OSError as error:
                    raise ConfigError(
                        f"log_dir {directory}: {error.strerror}", constructor="kumo.configure_local_logs"
                    ) from error
        if self._loggers:
            self._writer.start()

    async def close(self) -> None:
        """Write all records, complete all segments. Afterwards a message can be logged no more."""
        self._is_closed = True
        await self._writer.close()

    def release_waiters(self) -> None:
        """Let nobody wait for room any more: who does has his record queued at once.

        For the start of the end, when sessions have to finish though the disk cannot be written: their
        messages are on the spool. Those who wait for a record to reach its file go on waiting, until
        ``close``.
        """
        for logger in self._loggers:
            logger.lift_back_pressure()
        self._writer.release_waiters()

    async def written(self) -> None:
        """Wait until all records so far have reached the operating system.

        Raises:
            OSError: the logs were closed while the disk could not be written.
        """
        await self._writer.written()

    def log_reception(
        self,
        message: Message,
        connection: Connection,
        queue: str,
        *,
        feedback: FeedbackReport | None = None,
        delivery_status: DeliveryStatus | None = None,
        is_dropped_report: bool = False,
    ) -> MaybeAwaitable[None]:
        """Write a Reception record; waits only for a filter or for room.

        Args:
            message: as it will be queued.
            connection: the session it came in on.
            queue: the queue's name.
            feedback: makes it a Feedback record, and ``delivery_status`` is not looked at.
            delivery_status: adds an OOB record for each recipient that failed, to each logger that wants
                the Reception record.
            is_dropped_report: with ``delivery_status``: not to write the Reception record itself.

        Raises:
            RuntimeError: the logs are closed.
        """
        if not self._loggers:
            return None
        now = self._clock()
        record = reception_record(message, connection, queue, node_id=self._node_id, now=now)
        if feedback is not None:
            return self._offer(feedback_record(record, feedback), message)
        if delivery_status is None:
            return self._offer(record, message)
        waits = [
            logger.offer_report(
                copy(record),
                message,
                out_of_band_records(
                    message, connection, queue, delivery_status, node_id=self._node_id, now=now
                ),
                is_dropped=is_dropped_report,
            )
            for logger in self._loggers
        ]
        return _all_of(waits)

    def log_rejection(
        self,
        connection: Connection,
        reply: Reply,
        command: str | None,
        sender: EnvelopeAddress | None,
        recipient: EnvelopeAddress | None,
    ) -> None:
        """Write a Rejection record, or drop it when far too many records wait; never waits.

        Args:
            connection: the session.
            reply: as it was sent.
            command: what it answers.
            sender: of the open transaction.
            recipient: the last one that was accepted.
        """
        if self._is_closed or not self._loggers:
            return
        record = rejection_record(
            connection, reply, command, sender, recipient, node_id=self._node_id, now=self._clock()
        )
        for logger in self._loggers:
            logger.offer_rejection(record, connection.meta)

    async def log_disposition(self, message: Message, outcome: Outcome, queue: str) -> None:
        """Write the records of one delivery attempt; returns once they have reached the file.

        Args:
            message: with the recipients that were tried.
            outcome: what became of them.
            queue: the scheduled queue's name.

        Raises:
            RuntimeError: the logs are closed.
            OSError: they were closed meanwhile and could not be written.
        """
        if self._loggers:
            await self._write_through(
                outcome_records(message, outcome, queue, node_id=self._node_id, now=self._clock()), message
            )

    async def log_expiration(self, message: Message, queue: str, text: str) -> None:
        """Write an Expiration record; returns once it has reached the file.

        Args:
            message: with the recipients that are given up.
            queue: the scheduled queue's name.
            text: why, without code and enhanced code.

        Raises:
            RuntimeError: the logs are closed.
            OSError: they were closed meanwhile and could not be written.
        """
        if self._loggers:
            record = expiration_record(message, queue, text, node_id=self._node_id, now=self._clock())
            await self._write_through([record], message)

    async def log_bounce(
        self, message: Message, queue: str, code: int, text: str, *, delivery_protocol: str | None = None
    ) -> None:
        """Write a Bounce record: a message is given up; returns once it has reached the file.

        Args:
            message: with the recipients that are given up.
            queue: the scheduled queue's name.
            code: reply code.
            text: why; an enhanced code before it is split off.
            delivery_protocol: KumoMTA's word, where an attempt was made.

        Raises:
            RuntimeError: the logs are closed.
            OSError: they were closed meanwhile and could not be written.
        """
        await self._log_decision(RecordType.BOUNCE, message, queue, code, text, delivery_protocol)

    async def log_transient_failure(
        self, message: Message, queue: str, code: int, text: str, *, delivery_protocol: str | None = None
    ) -> None:
        """Write a TransientFailure record: a message is tried again; returns once it has reached the file.

        Args:
            message: with the recipients that failed.
            queue: the scheduled queue's name.
            code: reply code.
            text: why; an enhanced code before it is split off.
            delivery_protocol: KumoMTA's word, where an attempt was made.

        Raises:
            RuntimeError: the logs are closed.
            OSError: they were closed meanwhile and could not be written.
        """
        await self._log_decision(RecordType.TRANSIENT_FAILURE, message, queue, code, text, delivery_protocol)

    async def log_deferred_injection_rebind(self, message: Message, queue: str) -> None:
        """Write a DeferredInjectionRebind record; returns once it has reached the file.

        Args:
            message: as it goes on.
            queue: the name of the queue that it goes to.

        Raises:
            RuntimeError: the logs are closed.
            OSError: they were closed meanwhile and could not be written.
        """
        await self._log_decision(
            RecordType.DEFERRED_INJECTION_REBIND, message, queue, 250, "ok", DEFERRED_INJECTION_PROTOCOL
        )

    async def _log_decision(
        self, kind: RecordType, message: Message, queue: str, code: int, text: str, protocol: str | None
    ) -> None:
        if self._loggers:
            record = message_record(
                kind,
                message,
                queue,
                make_response(code, text, None),
                node_id=self._node_id,
                now=self._clock(),
                delivery_protocol=protocol,
            )
            await self._write_through([record], message)

    async def _write_through(self, records: Iterable[LogRecord], message: Message) -> None:
        for record in records:
            pending = self._offer(record, message)
            if pending is not None:
                await pending
        await self._writer.written()

    def _offer(self, record: LogRecord, message: Message) -> MaybeAwaitable[None]:
        if len(self._loggers) == 1:
            return self._loggers[0].offer(record, message)
        offers = [logger.offer(copy(record), message) for logger in self._loggers]
        waits = [wait for wait in offers if wait is not None]
        return _all_of(waits) if waits else None


async def _all_of(waits: Iterable[Awaitable[None]]) -> None:
    await asyncio.gather(*waits)
