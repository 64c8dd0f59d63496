"""Trace fields: ``Received`` and the supplemental header.

They are made as octets and prepended; a body is never touched. Reception calls it, and policy for
``kumo.apply_supplemental_trace_header``.
"""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import lru_cache
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
    return _date(int(unix))


@lru_cache(maxsize=4)
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
    emails = [recipient.email for recipient in recipients]
    content: dict[str, Any] = {_MARK_KEY: _MARK, "recipient": emails[0] if len(emails) == 1 else emails}
    for name in parameters.include_meta_names:
        value = meta.get(name)
        if value is not None:
            content[name] = value
    try:
        octets = _encode_sorted(content)
    except UnicodeEncodeError:
        octets = _encode_sorted(well_formed(content))
    payload = b64encode(octets).decode("ascii")
    if len(payload) > _PIECE:
        payload = "\r\n\t".join(payload[i : i + _PIECE] for i in range(0, len(payload), _PIECE))
    return f"{parameters.header_name}: {payload}\r\n".encode("ascii")
