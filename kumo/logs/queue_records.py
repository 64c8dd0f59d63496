"""What fills a record for what becomes of a queued message. Called by ``kumo.logs.logs``."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from kumo.logs.interfaces import Outcome
from kumo.logs.record import (
    EnhancedCode,
    LogRecord,
    RecordType,
    Response,
    make_response,
    on_one_line,
    reception_protocol,
)
from kumo.logs.timestamp import NANOSECONDS, print_rfc3339
from kumo.message import Message, created_ticks, print_recipients

_NO_LONGER_TRIED = EnhancedCode(5, 4, 7)


def outcome_records(
    message: Message, outcome: Outcome, queue: str, *, node_id: str, now: int
) -> list[LogRecord]:
    """An attempt at a message is over: a Delivery record, a TransientFailure record, or both.

    Args:
        message: with the recipients that were tried.
        outcome: what became of them.
        queue: the scheduled queue's name.
        node_id: dashed UUID of this node.
        now: nanoseconds since 1970.

    Returns:
        The records; each lists all recipients of the message, its text says who fared how.
    """
    return [
        message_record(
            kind,
            message,
            queue,
            make_response(code, text, None),
            node_id=node_id,
            now=now,
            delivery_protocol=outcome.delivery_protocol,
            session_id=outcome.session_id,
        )
        for kind, code, text in (
            (RecordType.DELIVERY, 200, outcome.delivered_response),
            (RecordType.TRANSIENT_FAILURE, 400, outcome.failed_response),
        )
        if text is not None
    ]


def expiration_record(message: Message, queue: str, text: str, *, node_id: str, now: int) -> LogRecord:
    """A message has become too old to be tried again.

    Args:
        message: with the recipients that are given up.
        queue: the scheduled queue's name.
        text: why, without code and enhanced code.
        node_id: dashed UUID of this node.
        now: nanoseconds since 1970.
    """
    response = Response(551, _NO_LONGER_TRIED, on_one_line(text), None)
    return message_record(RecordType.EXPIRATION, message, queue, response, node_id=node_id, now=now)


def message_record(
    kind: RecordType,
    message: Message,
    queue: str,
    response: Response,
    *,
    node_id: str,
    now: int,
    delivery_protocol: str | None = None,
    session_id: str | UnsetType = UNSET,
) -> LogRecord:
    """Something was decided about a message as a whole.

    Args:
        kind: what.
        message: with the recipients that it is about.
        queue: the scheduled queue's name.
        response: why.
        node_id: dashed UUID of this node.
        now: nanoseconds since 1970.
        delivery_protocol: KumoMTA's word, where an attempt was made.
        session_id: dashed UUID of the attempt, likewise.
    """
    ticks = created_ticks(message.id)
    return LogRecord(
        type=kind,
        id=message.id,
        sender=message.sender.email,
        recipient=print_recipients(message.recipients),
        queue=queue,
        site="",
        size=message.size,
        response=response,
        peer_address=None,
        timestamp=now // NANOSECONDS,
        event_time=print_rfc3339(now),
        created=ticks // 10**7,
        created_time=print_rfc3339(ticks * 100),
        num_attempts=message.num_attempts,
        delivery_protocol=delivery_protocol,
        reception_protocol=reception_protocol(message),
        nodeid=node_id,
        session_id=session_id,
    )
