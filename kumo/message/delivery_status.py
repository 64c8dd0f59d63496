"""Delivery status notifications, read out of a whole message.

Lenient about the case of media types, Action and address types, strict about everything else. Reception
calls it for domains that log bounces which come back as mail. The peer chooses the content: the limits
here and in ``multipart`` bound what is looked at.
"""

from __future__ import annotations

import re

from kumo.message.multipart import Part, direct_parts, report_type
from kumo.message.report_fields import ReportFields, blocks, parse_date, parse_typed
from kumo.message.reports import DeliveryStatus, RecipientStatus
from kumo.smtp import EnvelopeAddress, parse_envelope_address

_STATUS_LIMIT = 256 * 1024
"""Octets of the longest notification."""

_RECIPIENT_LIMIT = 200
"""Recipients of which a notification may tell: more would take over 5 ms."""

_LINE_LIMIT = 3000
"""Lines that a notification may have."""

_FIELD_LIMIT = 100
"""Fields that one recipient, or the message, may have."""

_STATUS_TYPES = ("message/delivery-status", "message/global-delivery-status")
_ACTIONS = frozenset({"failed", "delayed", "delivered", "relayed", "expanded"})
_STATUS = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?:[ \t(].*)?", re.DOTALL)


def parse_delivery_status(content: bytes) -> DeliveryStatus | None:
    """Read a delivery status notification.

    Args:
        content: a whole message.

    Returns:
        The notification; None when the message is none: anything required is missing, anything malformed,
        it tells of nobody, or a limit is passed (256 KiB, 3000 lines, 200 recipients, 100 fields each; within
        the first MiB and 32 parts of the message).

    Source: RFC 3464 §2.
    """
    top = report_type(content)
    if top is None:
        return None
    for part in direct_parts(content, top.parameters["boundary"]):
        if part.name in _STATUS_TYPES:
            return _read(content, part)
    return None


def _read(content: bytes, part: Part) -> DeliveryStatus | None:
    if not part.is_whole or part.end - part.body > _STATUS_LIMIT:
        return None
    if content.count(b"\n", part.body, part.end) > _LINE_LIMIT:
        return None
    about_message, *about_recipients = blocks(content[part.body : part.end])
    if not 0 < len(about_recipients) <= _RECIPIENT_LIMIT:
        return None
    try:
        fields = ReportFields(about_message, _FIELD_LIMIT)
        reporting_mta = parse_typed(fields.take_required("reporting-mta"))
        _check(fields, typed=("dsn-gateway", "received-from-mta"), dates=("arrival-date",))
        fields.take("original-envelope-id")
        return DeliveryStatus(
            reporting_mta=reporting_mta, recipients=tuple(_recipient(block) for block in about_recipients)
        )
    except ValueError:
        return None


def _recipient(block: bytes) -> RecipientStatus:
    fields = ReportFields(block, _FIELD_LIMIT)
    action = fields.take_required("action").lower()
    status = _STATUS.fullmatch(fields.take_required("status"))
    if action not in _ACTIONS or status is None:
        raise ValueError("no action or no status")
    original = fields.take("original-recipient")
    diagnostic = fields.take("diagnostic-code")
    diagnostic_type, text = (None, None) if diagnostic is None else parse_typed(diagnostic)
    last_attempt = fields.take("last-attempt-date")
    _check(fields, typed=("remote-mta",), dates=("will-retry-until",))
    fields.take("final-log-id")
    return RecipientStatus(
        final_recipient=_parse_recipient(fields.take_required("final-recipient")),
        action=action,
        status=status[1],
        original_recipient=None if original is None else _parse_recipient(original),
        diagnostic_type=diagnostic_type,
        diagnostic=text,
        last_attempt=None if last_attempt is None else parse_date(last_attempt).timestamp(),
    )


def _check(fields: ReportFields, *, typed: tuple[str, ...], dates: tuple[str, ...]) -> None:
    """Make sure that fields which nobody needs are well formed where they are there."""
    for name in typed:
        value = fields.take(name)
        if value is not None:
            parse_typed(value)
    for name in dates:
        value = fields.take(name)
        if value is not None:
            parse_date(value)


def _parse_recipient(value: str) -> EnvelopeAddress | str:
    kind, text = parse_typed(value)
    if not text:
        raise ValueError("no recipient")
    if kind.lower() != "rfc822":
        return text
    if text.startswith("<") and text.endswith(">"):
        text = text[1:-1]
    address = parse_envelope_address(text)
    if address.is_null:
        raise ValueError("no recipient")
    return address
