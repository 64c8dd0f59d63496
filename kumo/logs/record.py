"""Log records: KumoMTA's schema, and what fills it for each kind of event.

The order of the fields is the order of the keys in the JSON line. What a logger selects of meta and
headers is put in afterwards. Nothing here writes; ``kumo.logs.logs`` calls it.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from kumo.logs.interfaces import Outcome
from kumo.logs.timestamp import NANOSECONDS, print_rfc3339
from kumo.message import Connection, Message, created_ticks
from kumo.smtp import EnvelopeAddress, Reply


class RecordType(enum.Enum):
    """Kinds of records; values are KumoMTA's words."""

    # Members are unique, and Enum's own hash is a Python call on every look-up in a table.
    __hash__ = object.__hash__

    RECEPTION = "Reception"
    DELIVERY = "Delivery"
    BOUNCE = "Bounce"
    TRANSIENT_FAILURE = "TransientFailure"
    EXPIRATION = "Expiration"
    ADMIN_BOUNCE = "AdminBounce"
    OOB = "OOB"
    FEEDBACK = "Feedback"
    REJECTION = "Rejection"
    ADMIN_REBIND = "AdminRebind"
    DEFERRED_INJECTION_REBIND = "DeferredInjectionRebind"
    DELAYED = "Delayed"
    XFER_OUT = "XferOut"
    XFER_IN = "XferIn"


class EnhancedCode(msgspec.Struct, frozen=True, gc=False, rename={"class_": "class"}):
    """An enhanced status code. Source: RFC 3463 §2."""

    class_: int
    subject: int
    detail: int


class Response(msgspec.Struct, frozen=True, gc=False):
    """A reply as records show it; ``content`` has no line break."""

    code: int
    enhanced_code: EnhancedCode | None
    content: str
    command: str | None


class PeerAddress(msgspec.Struct, frozen=True, gc=False):
    """Who is at the other end: the name it gave in EHLO, or nothing, and its IP without port."""

    name: str
    addr: str


class _RecordHead(msgspec.Struct, frozen=True):
    """What every record has. It may be given by position: a keyword costs as much as three fields."""

    type: RecordType
    id: str
    sender: str
    recipient: str | list[str]
    queue: str
    site: str
    size: int
    response: Response
    peer_address: PeerAddress | None
    timestamp: int
    event_time: str
    created: int
    created_time: str
    num_attempts: int


class LogRecord(_RecordHead, frozen=True, kw_only=True):
    """One record.

    Source: KumoMTA manual, log record.
    """

    bounce_classification: str = "Uncategorized"
    egress_pool: str | None = None
    egress_source: str | None = None
    source_address: dict[str, str] | None = None
    feedback_report: dict[str, Any] | None = None
    meta: dict[str, Any] = {}
    headers: dict[str, str | list[str]] = {}
    delivery_protocol: str | None = None
    reception_protocol: str | None
    nodeid: str
    tls_cipher: str | UnsetType = UNSET
    tls_protocol_version: str | UnsetType = UNSET
    tls_peer_subject_name: Sequence[str] | UnsetType = UNSET
    provider_name: str | UnsetType = UNSET
    session_id: str | UnsetType = UNSET


# Bound once: reading a member off its class is slow.
_RECEPTION = RecordType.RECEPTION

_RECEIVED = Response(250, None, "", None)
_NO_LONGER_TRIED = EnhancedCode(5, 4, 7)
_ENHANCED_CODE = re.compile(r"([245])\.([0-9]{1,3})\.([0-9]{1,3}) ")
_SURROGATES = re.compile("[\ud800-\udfff]")


def reception_record(
    message: Message, connection: Connection, queue: str, *, node_id: str, now: int
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
        _print_recipients(message.recipients),
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
        reception_protocol=_reception_protocol(message),
        nodeid=node_id,
        session_id=connection.session_id,
    )
    if connection.tls_protocol_version is None:
        return record
    cipher, version, subject_name = _tls_fields(connection)
    return msgspec.structs.replace(
        record, tls_cipher=cipher, tls_protocol_version=version, tls_peer_subject_name=subject_name
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
        _message_record(
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
    response = Response(551, _NO_LONGER_TRIED, _on_one_line(text), None)
    return _message_record(RecordType.EXPIRATION, message, queue, response, node_id=node_id, now=now)


def make_response(code: int, text: str, command: str | None) -> Response:
    """Take a reply apart as records show it.

    Args:
        code: reply code.
        text: reply text; an enhanced code before it is split off, from each of its lines.
        command: what the reply answers.

    Source: RFC 2034 §4 (enhanced codes in multi-line replies).
    """
    enhanced_code, content = _split_enhanced_code(text)
    return Response(code, enhanced_code, content, command)


def encode_record(record: LogRecord) -> bytes:
    """Encode a record as one JSON object and LF.

    Text that is not proper Unicode is mended, because a log line must not fail on what a peer sent.
    """
    try:
        return _encode(record) + b"\n"
    except UnicodeEncodeError:
        return _encode(record_fields(record)) + b"\n"


def record_fields(record: LogRecord) -> dict[str, Any]:
    """The record as a dict in key order, with mended text."""
    fields: dict[str, Any] = _mended(msgspec.to_builtins(record, enc_hook=str))
    return fields


_encode = msgspec.json.Encoder(enc_hook=str).encode


def _message_record(
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
    ticks = created_ticks(message.id)
    return LogRecord(
        type=kind,
        id=message.id,
        sender=message.sender.email,
        recipient=_print_recipients(message.recipients),
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
        reception_protocol=_reception_protocol(message),
        nodeid=node_id,
        session_id=session_id,
    )


def _print_recipients(recipients: list[EnvelopeAddress]) -> str | list[str]:
    if len(recipients) == 1:
        return recipients[0].email
    return [recipient.email for recipient in recipients]


def _reception_protocol(message: Message) -> str | None:
    # Policy may have put anything there.
    protocol = message.meta.get("reception_protocol")
    return protocol if isinstance(protocol, str) else None


def _tls_fields(connection: Connection) -> tuple[str | UnsetType, str | UnsetType, Sequence[str] | UnsetType]:
    version = connection.tls_protocol_version
    if version is None:
        return UNSET, UNSET, UNSET
    return connection.tls_cipher or "", version, connection.tls_peer_subject_name or ()


@lru_cache(maxsize=256)
def _split_enhanced_code(text: str) -> tuple[EnhancedCode | None, str]:
    match = _ENHANCED_CODE.match(text)
    if match is None:
        return None, _on_one_line(text)
    code = EnhancedCode(*map(int, match.groups()))
    prefix = match.group()
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return code, " ".join(line.removeprefix(prefix) for line in lines)


def _on_one_line(text: str) -> str:
    if "\n" in text or "\r" in text:
        return text.replace("\r\n", " ").replace("\n", " ").replace("\r", " ")
    return text


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, dict):
        return {_mended(key): _mended(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_mended(entry) for entry in value]
    return value
