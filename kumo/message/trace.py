"""Trace fields: ``Received`` and the supplemental header.

They are made as octets and prepended; a body is never touched. Reception calls it, and policy for
``kumo.apply_supplemental_trace_header``.
"""

from __future__ import annotations

import time
from binascii import a2b_base64, b2a_base64
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from kumo.config import TraceHeaders
from kumo.message.connection import Connection
from kumo.message.octets import well_formed
from kumo.smtp import EnvelopeAddress

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_MARK_KEY = "_@_"
_MARK = "\\_/"
"""What tells this header from any other ``X-`` field when a report brings it back."""

_PIECE = 75
"""Characters of base64 on one line."""

_PAYLOAD_LIMIT = 16 * 1024
"""Characters of the longest base64 that is taken back."""

_DEPTH_LIMIT = 100
"""Levels of the deepest value that is taken back; what is put in again is one or two deeper."""

# The second that was printed last, which many messages share.
_second: int = -1
_second_text: str = ""

_decode = msgspec.json.Decoder().decode
_encode_sorted = msgspec.json.Encoder(order="sorted").encode


def received_protocol(connection: Connection) -> str:
    """The words after ``with``: the protocol and, under TLS, its version and cipher.

    Source: RFC 3848 (the names).
    """
    if connection.tls_protocol_version is None:
        return "ESMTP"
    name = "ESMTPSA" if connection.is_authenticated else "ESMTPS"
    # The blank at the end makes two before `id`, as KumoMTA writes it.
    return f"{name} ({connection.tls_protocol_version}:{connection.tls_cipher}) "


def received_field(
    connection: Connection,
    message_id: str,
    first_recipient: EnvelopeAddress,
    date: str,
    protocol: str | None = None,
) -> bytes:
    """Make the ``Received`` field of a message.

    Args:
        connection: the session it came in on.
        message_id: its spool id.
        first_recipient: the first of its recipients.
        date: what ``received_date`` gave.
        protocol: what ``received_protocol`` gave; None asks it.

    Returns:
        Four lines, each with CRLF.

    Source: RFC 5321 §4.4; the layout is KumoMTA's to the octet.
    """
    if protocol is None:
        protocol = received_protocol(connection)
    return (
        f"Received: from {connection.ehlo_domain or 'unspecified'} ({connection.peer_ip})\r\n"
        f"  by {connection.hostname} (KumoMTA {connection.local_ip}) \r\n"
        f"  with {protocol} id {message_id} for <{first_recipient.email}>;\r\n"
        f"  {date}\r\n"
    ).encode("utf-8", "surrogateescape")


def received_date(unix: float) -> str:
    """Print a time in UTC as RFC 5322 has it, the day of the month without a leading zero.

    Args:
        unix: seconds since 1970; the fraction is dropped.
    """
    global _second, _second_text  # noqa: PLW0603 - what `lru_cache` would keep, at a fraction of its price
    second = int(unix)
    if second != _second or not _second_text:
        _second_text = _date(second)
        _second = second
    return _second_text


def _date(second: int) -> str:
    t = time.gmtime(second)
    return (
        f"{_DAYS[t.tm_wday]}, {t.tm_mday} {_MONTHS[t.tm_mon - 1]} {t.tm_year} "
        f"{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} +0000"
    )


def supplemental_field(
    parameters: TraceHeaders, recipients: Sequence[EnvelopeAddress], meta: Mapping[str, Any]
) -> bytes:
    """Make the supplemental header, which tells from a bounce or complaint what it is about.

    Args:
        parameters: field name, and the meta keys to carry; keys that are absent or None are left out.
        recipients: the message's recipients.
        meta: the message's meta.

    Returns:
        The field, folded after 75 characters of base64, with CRLF.

    Source: KumoMTA manual, start_esmtp_listener/trace_headers.
    """
    content: dict[str, Any] = {_MARK_KEY: _MARK, "recipient": print_recipients(recipients)}
    for name in parameters.include_meta_names:
        value = meta.get(name)
        if value is not None:
            content[name] = value
    try:
        octets = _encode_sorted(content)
    except UnicodeEncodeError:
        octets = _encode_sorted(well_formed(content))
    payload = b2a_base64(octets, newline=False)
    if len(payload) > _PIECE:
        payload = b"\r\n\t".join([payload[i : i + _PIECE] for i in range(0, len(payload), _PIECE)])
    return b"".join((parameters.header_name.encode("ascii"), b": ", payload, b"\r\n"))


def print_recipients(recipients: Sequence[EnvelopeAddress]) -> str | list[str]:
    """Recipients as the supplemental header and log records show them: one as a string, else an array."""
    if len(recipients) == 1:
        only = recipients[0]
        return only.email
    return [recipient.email for recipient in recipients]


def supplemental_content(raw: bytes) -> dict[str, Any] | None:
    """Read back what a supplemental header holds.

    Args:
        raw: the field body; may be folded.

    Returns:
        The JSON object without its mark; None when this is any other field, is damaged, or has more than
        16 384 characters or 100 levels.

    Source: KumoMTA manual, start_esmtp_listener/trace_headers; RFC 4648 §4.
    """
    payload = raw.translate(None, b" \t\r\n\f")
    # What begins with a brace begins with "e": other fields are not decoded in vain.
    if not payload.startswith(b"e") or len(payload) > _PAYLOAD_LIMIT:
        return None
    try:
        octets = a2b_base64(payload)
        if b2a_base64(octets, newline=False) != payload:
            return None  # characters that do not belong, padding that does not fit
        content = _decode(octets)
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict) or content.pop(_MARK_KEY, None) != _MARK or not _is_shallow(content):
        return None
    return content


def _is_shallow(value: Any) -> bool:
    """Whether a value can be written again: the peer made it, and the encoder recurses."""
    level = [value]
    for _ in range(_DEPTH_LIMIT):
        level = [
            item
            for container in level
            if isinstance(container, dict | list)
            for item in (container.values() if isinstance(container, dict) else container)
        ]
        if not level:
            return True
    return False
