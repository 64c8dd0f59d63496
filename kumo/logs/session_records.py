"""What fills a record for what happens in an SMTP session. Called by ``kumo.logs.logs``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from kumo.logs.record import (
    EnhancedCode,
    LogRecord,
    PeerAddress,
    RecordType,
    Response,
    make_response,
    reception_protocol,
)
from kumo.logs.timestamp import NANOSECONDS, print_rfc3339
from kumo.message import (
    Connection,
    DeliveryStatus,
    FeedbackReport,
    Message,
    RecipientStatus,
    created_ticks,
    print_recipients,
)
from kumo.smtp import EnvelopeAddress, Reply

# Bound once: reading a member off its class is slow.
_RECEPTION = RecordType.RECEPTION

_RECEIVED = Response(250, None, "", None)
_DIAGNOSTIC = re.compile(r"([0-9]{1,5}) (.*)", re.DOTALL)
_LARGEST_CODE = 65535
_UNKNOWN_CODE = 550


def reception_record(
    message: Message, connection: Connection, queue: str, node_id: str, now: int
) -> LogRecord:
    """A message was accepted from an SMTP session.

    Args:
        message: as it will be queued.
        connection: the session it came in on.
        queue: the queue's name.
        node_id: dashed UUID of this node.
        now: nanoseconds since 1970.
    """
    ticks = created_ticks(message.id)
    record = LogRecord(
        _RECEPTION,
        message.id,
        message.sender.email,
        print_recipients(message.recipients),
        queue,
        "",  # site
        message.size,
        _RECEIVED,
        PeerAddress(connection.ehlo_domain or "", connection.peer_ip),
        now // NANOSECONDS,
        print_rfc3339(now),
        ticks // 10**7,
        print_rfc3339(ticks * 100),
        message.num_attempts,
        reception_protocol=reception_protocol(message),
        nodeid=node_id,
        session_id=connection.session_id,
    )
    if connection.tls_protocol_version is None:
        return record
    cipher, version, subject_name = _tls_fields(connection)
    return replace(
        record, tls_cipher=cipher, tls_protocol_version=version, tls_peer_subject_name=subject_name
    )


def feedback_record(reception: LogRecord, report: FeedbackReport) -> LogRecord:
    """A complaint was accepted.

    Args:
        reception: its Reception record, in whose place this one is written.
        report: what it says.
    """
    return replace(reception, type=RecordType.FEEDBACK, feedback_report=report)


def out_of_band_records(
    message: Message, connection: Connection, queue: str, status: DeliveryStatus, *, node_id: str, now: int
) -> Iterator[LogRecord]:
    """A delivery status notification was accepted: an OOB record for each recipient that failed.

    Args:
        message: the notification.
        connection: the session it came in on.
        queue: its queue's name.
        status: what it says.
        node_id: dashed UUID of this node.
        now: nanoseconds since 1970.
    """
    ticks = created_ticks(message.id)
    for recipient in status.recipients:
        if recipient.action != "failed":
            continue
        time = now if recipient.last_attempt is None else int(recipient.last_attempt) * NANOSECONDS
        yield LogRecord(
            type=RecordType.OOB,
            id=message.id,
            sender=message.recipients[0].email if message.recipients else "",
            recipient=str(recipient.original_recipient or recipient.final_recipient),
            queue=queue,
            site="",
            size=0,
            response=_out_of_band_response(recipient),
            peer_address=PeerAddress(status.reporting_mta.name, connection.peer_ip),
            timestamp=time // NANOSECONDS,
            event_time=print_rfc3339(time),
            created=ticks // 10**7,
            created_time=print_rfc3339(ticks * 100),
            num_attempts=0,
            reception_protocol=reception_protocol(message),
            nodeid=node_id,
            session_id=connection.session_id,
        )


def rejection_record(
    connection: Connection,
    reply: Reply,
    command: str | None,
    sender: EnvelopeAddress | None,
    recipient: EnvelopeAddress | None,
    *,
    node_id: str,
    now: int,
) -> LogRecord:
    """A session was answered with a 4xx or 5xx reply.

    Args:
        connection: the session.
        reply: as it was sent.
        command: what it answers, None for the banner and the like.
        sender: of the open transaction.
        recipient: the last one that was accepted.
        node_id: dashed UUID of this node.
        now: nanoseconds since 1970.
    """
    event_time = print_rfc3339(now)
    cipher, version, subject_name = _tls_fields(connection)
    return LogRecord(
        type=RecordType.REJECTION,
        id="",
        sender=sender.email if sender is not None else "",
        recipient=recipient.email if recipient is not None else "",
        queue="",
        site="",
        size=0,
        response=make_response(reply.code, reply.text, command),
        peer_address=PeerAddress(connection.ehlo_domain or "", connection.peer_ip),
        timestamp=now // NANOSECONDS,
        event_time=event_time,
        created=now // NANOSECONDS,
        created_time=event_time,
        num_attempts=0,
        reception_protocol=None,
        nodeid=node_id,
        tls_cipher=cipher,
        tls_protocol_version=version,
        tls_peer_subject_name=subject_name,
        session_id=connection.session_id,
    )


def _tls_fields(connection: Connection) -> tuple[str | UnsetType, str | UnsetType, Sequence[str] | UnsetType]:
    version = connection.tls_protocol_version
    if version is None:
        return UNSET, UNSET, UNSET
    return connection.tls_cipher or "", version, connection.tls_peer_subject_name or ()


def _out_of_band_response(recipient: RecipientStatus) -> Response:
    enhanced_code = EnhancedCode(*map(int, recipient.status.split(".")))
    code, text = _UNKNOWN_CODE, ""
    if recipient.diagnostic is not None and (recipient.diagnostic_type or "").lower() == "smtp":
        text = recipient.diagnostic
        match = _DIAGNOSTIC.fullmatch(text)
        if match is not None and int(match[1]) <= _LARGEST_CODE:
            code, text = int(match[1]), match[2]
    return Response(code, enhanced_code, text, None)
