"""One logger: which records it writes, what of meta and headers, in which form, to which file.

Called by ``kumo.logs.logs`` for each record; what does not depend on the record is worked out when
the logger is made.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from msgspec.structs import replace

from kumo.config import ANY_RECORD_TYPE, LocalLogs, RecordParameters
from kumo.errors import ConfigError
from kumo.logs.channel import Channel
from kumo.logs.interfaces import RecordFilter
from kumo.logs.record import LogRecord, RecordType, encode_record
from kumo.logs.segment import Destination
from kumo.logs.selection import HeaderSelection, MetaSelection
from kumo.logs.template import RecordTemplate
from kumo.logs.writer import SegmentWriter
from kumo.maybe_awaitable import MaybeAwaitable, is_awaitable
from kumo.message import Message

_LOGGER = logging.getLogger("kumod.logs")

_CONSTRUCTOR = "kumo.configure_local_logs"
_AT_ONCE = 50
"""Records of one report that are made before others have their turn."""
_FILTER_FAILED = "event %s failed; the record is not logged to %s"


@dataclass(frozen=True, slots=True)
class _Plan:
    """How one type of record is written."""

    destination: Destination
    header: str | None
    template: RecordTemplate | None


class LocalLogger:
    """Writes the records that its configuration wants.

    Args:
        config: one ``configure_local_logs``.
        channel: its way to the files.
        writer: the thread behind the channel.
        record_filter: asks the event that the configuration names; None only when it names none.

    Raises:
        ConfigError: a suffix that is a path.
    """

    __slots__ = (
        "_channel",
        "_filter_event",
        "_headers",
        "_is_wanted",
        "_meta",
        "_out_of_band",
        "_plans",
        "_selects",
        "_writer",
    )

    def __init__(
        self, config: LocalLogs, channel: Channel, writer: SegmentWriter, record_filter: RecordFilter | None
    ) -> None:
        self._channel = channel
        self._writer = writer
        self._filter_event = config.filter_event
        self._is_wanted: Callable[[Message], MaybeAwaitable[bool]] | None = None
        if config.filter_event is not None:
            if record_filter is None:
                raise ValueError("a filter event needs a record_filter")
            self._is_wanted = partial(record_filter, config.filter_event)
        self._meta = MetaSelection(config.meta)
        self._headers = HeaderSelection(config.headers)
        self._selects = bool(self._meta or self._headers)
        self._plans = _make_plans(config)
        # Whoever wants a notification's Reception gets its OOB records, whatever `enable` says of those.
        self._out_of_band = _make_plan(config, _own_name(config, RecordType.OOB))

    @property
    def directories(self) -> list[str]:
        """All folders that it may write to."""
        plans = [plan for plan in self._plans.values() if plan is not None]
        if self._plans[RecordType.RECEPTION] is not None:
            plans.append(self._out_of_band)
        return sorted({plan.destination.directory for plan in plans})

    def lift_back_pressure(self) -> None:
        """Make nobody wait for room from now on; ``SegmentWriter.release_waiters`` wakes who does."""
        self._channel.lift_back_pressure()

    def offer(self, record: LogRecord, message: Message) -> MaybeAwaitable[None]:
        """Write a record about a message, or not; waits for the filter and for room.

        Args:
            record: becomes the logger's own.
            message: what it is about.
        """
        plan = self._plans[record.type]
        if plan is None:
            return None
        if self._is_wanted is not None:
            try:
                verdict = self._is_wanted(message)
            except Exception:
                _LOGGER.exception(_FILTER_FAILED, self._filter_event, self._channel.directory)
                return None
            if is_awaitable(verdict):
                return self._offer_later(verdict, plan, record, message)
            if not verdict:
                return None
        return self._write(plan, record, message)

    async def offer_report(
        self, record: LogRecord, message: Message, results: Iterable[LogRecord], *, is_dropped: bool
    ) -> None:
        """Write the records about a delivery status notification, or none of them.

        Args:
            record: its Reception record, whose switch and filter decide for all; becomes the logger's own.
            message: the notification.
            results: OOB records.
            is_dropped: not to write the Reception record itself.
        """
        plan = self._plans[record.type]
        if plan is None or not await self._admits(message):
            return
        self._select(record, message)
        if not is_dropped:
            await self._submit_when_there_is_room(plan, _print_record(plan, record))
        for number, result in enumerate(results, 1):
            line = _print_record(self._out_of_band, replace(result, meta=record.meta, headers=record.headers))
            await self._submit_when_there_is_room(self._out_of_band, line)
            if not number % _AT_ONCE:
                await asyncio.sleep(0)

    def offer_rejection(self, record: LogRecord, meta: dict[str, Any]) -> None:
        """Write a record that has no message, or not; never waits, drops it when there is no room at all.

        Args:
            record: without meta.
            meta: the connection's.
        """
        plan = self._plans[record.type]
        if plan is None:
            return
        if self._channel.is_overfull:
            self._channel.dropped += 1
            return
        if self._meta:
            record = replace(record, meta=self._meta.select(meta))
        line = _print_record(plan, record)
        if line is not None:
            self._writer.submit(self._channel, plan.destination, plan.header, line)

    async def _admits(self, message: Message) -> bool:
        if self._is_wanted is None:
            return True
        try:
            verdict = self._is_wanted(message)
            return await verdict if is_awaitable(verdict) else verdict
        except Exception:
            _LOGGER.exception(_FILTER_FAILED, self._filter_event, self._channel.directory)
            return False

    async def _offer_later(
        self, verdict: Awaitable[bool], plan: _Plan, record: LogRecord, message: Message
    ) -> None:
        try:
            if not await verdict:
                return
        except Exception:
            _LOGGER.exception(_FILTER_FAILED, self._filter_event, self._channel.directory)
            return
        pending = self._write(plan, record, message)
        if pending is not None:
            await pending

    def _write(self, plan: _Plan, record: LogRecord, message: Message) -> MaybeAwaitable[None]:
        if self._selects:
            self._select(record, message)
        line = _print_record(plan, record)
        if line is None:
            return None
        if self._channel.is_full:
            return self._submit_when_there_is_room(plan, line)
        self._writer.submit(self._channel, plan.destination, plan.header, line)
        return None

    def _select(self, record: LogRecord, message: Message) -> None:
        # In place: to make another record of it would take half as long as encoding it does.
        if self._meta:
            record.meta = self._meta.select(message.meta)
        if self._headers:
            record.headers = self._headers.select(message)

    async def _submit_when_there_is_room(self, plan: _Plan, line: bytes | None) -> None:
        if line is None:
            return
        while self._channel.is_full:
            await self._writer.progress()
        self._writer.submit(self._channel, plan.destination, plan.header, line)


def _print_record(plan: _Plan, record: LogRecord) -> bytes | None:
    if plan.template is None:
        return encode_record(record)
    try:
        return plan.template.render(record)
    except Exception:
        _LOGGER.exception("the template for %s failed; the record is not logged", record.type.value)
        return None


def _make_plans(config: LocalLogs) -> dict[RecordType, _Plan | None]:
    by_name = {
        name: _make_plan(config, name) if _parameters(config, name).enable else None
        for name in (*config.per_record, ANY_RECORD_TYPE)
    }
    return {kind: by_name[_own_name(config, kind)] for kind in RecordType}


def _own_name(config: LocalLogs, kind: RecordType) -> str:
    return kind.value if kind.value in config.per_record else ANY_RECORD_TYPE


def _parameters(config: LocalLogs, name: str) -> RecordParameters:
    return config.per_record.get(name, RecordParameters())


def _make_plan(config: LocalLogs, name: str) -> _Plan:
    parameters = _parameters(config, name)
    suffix = parameters.suffix or ""
    if "/" in suffix or "\0" in suffix:
        raise ConfigError(
            f"per_record.{name}.suffix: {suffix!r} is no end of a file name", constructor=_CONSTRUCTOR
        )
    template = None if parameters.template is None else RecordTemplate(parameters.template)
    return _Plan(
        Destination(parameters.log_dir or config.log_dir, suffix), parameters.segment_header, template
    )
