"""Log records: KumoMTA's schema, and how a record becomes a line.

The order of the fields is the order of the keys in the JSON line. What a logger selects of meta and
headers is put in afterwards. ``session_records`` and ``queue_records`` fill it.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from kumo.message import FeedbackReport, Message


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


class _RecordHead(msgspec.Struct):
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


class LogRecord(_RecordHead, kw_only=True):
    """One record; never changed but for ``meta`` and ``headers``, by the logger that it was made for.

    Source: KumoMTA manual, log record.
    """

    bounce_classification: str = "Uncategorized"
    egress_pool: str | None = None
    egress_source: str | None = None
    source_address: dict[str, str] | None = None
    feedback_report: FeedbackReport | None = None
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


_ENHANCED_CODE = re.compile(r"([245])\.([0-9]{1,3})\.([0-9]{1,3}) ")
_SURROGATES = re.compile("[\ud800-\udfff]")


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
        return _encode_lines((record,))
    except UnicodeEncodeError:
        return encode_json(record_fields(record)) + b"\n"


def record_fields(record: LogRecord) -> dict[str, Any]:
    """The record as a dict in key order, with mended text."""
    fields: dict[str, Any] = msgspec.to_builtins(record, enc_hook=str)
    # A report's text was mended when the report was read, and it may hold 10**5 numbers.
    return {key: value if key == "feedback_report" else mended(value) for key, value in fields.items()}


_encoder = msgspec.json.Encoder(enc_hook=str)
_encode_lines = _encoder.encode_lines

encode_json = _encoder.encode
"""Encode as JSON; what JSON does not know becomes text.

Raises:
    UnicodeEncodeError: there is text in it that has to be ``mended``.
"""


def reception_protocol(message: Message) -> str | None:
    """How a message came in, as its meta says."""
    # Policy may have put anything there.
    protocol = message.meta.get("reception_protocol")
    return protocol if isinstance(protocol, str) else None


@lru_cache(maxsize=256)
def _split_enhanced_code(text: str) -> tuple[EnhancedCode | None, str]:
    match = _ENHANCED_CODE.match(text)
    if match is None:
        return None, on_one_line(text)
    code = EnhancedCode(*map(int, match.groups()))
    prefix = match.group()
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return code, " ".join(line.removeprefix(prefix) for line in lines)


def on_one_line(text: str) -> str:
    """A text with blanks in place of its line breaks."""
    if "\n" in text or "\r" in text:
        return text.replace("\r\n", " ").replace("\n", " ").replace("\r", " ")
    return text


def mended(value: Any) -> Any:
    """Copy a JSON-able value with U+FFFD in place of lone surrogates."""
    if isinstance(value, str):
        return _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, dict):
        return {mended(key): mended(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [mended(entry) for entry in value]
    return value
