"""Complaints in the Abuse Reporting Format, read out of a whole message.

Lenient about the case of media types and of report-type, strict about everything else. Reception calls it
for domains that log complaints. The peer chooses the content: the limits here and in ``multipart`` bound
what is looked at, and what a log record carries of it.
"""

from __future__ import annotations

import ipaddress
from codecs import utf_8_decode
from typing import Any

from kumo.config import unmapped
from kumo.message.headers import header_section_end, x_fields
from kumo.message.multipart import Part, direct_parts, report_type
from kumo.message.report_fields import ReportFields, blocks, parse_date, parse_number, parse_typed
from kumo.message.reports import FeedbackReport
from kumo.message.trace import supplemental_content

_REPORT_LIMIT = 64 * 1024
"""Octets of the longest report."""

_LINE_LIMIT = 3000
"""Lines that a report may have."""

_FIELD_LIMIT = 500
"""Fields that a report may have."""

_ENCODED_LIMIT = 2 * 1024
"""Characters of fields in which encoded-words are decoded, which takes long."""

_ORIGINAL_LIMIT = 128 * 1024
"""Octets of the reported message that are kept: they become one line of the log, made while all wait."""

_ORIGINAL_HEADER_LIMIT = 32 * 1024
"""Octets of the reported message in which the supplemental header is looked for."""

_X_FIELD_LIMIT = 200
"""Fields of the reported message that are tried as the supplemental header."""

_LARGEST_U32 = 2**32 - 1

_ORIGINAL_TYPES = ("message/rfc822", "text/rfc822-headers")


def parse_feedback_report(content: bytes) -> FeedbackReport | None:
    """Read a complaint.

    Args:
        content: a whole message.

    Returns:
        The report; None when the message is none: anything required is missing, anything malformed, or a
        limit is passed (64 KiB, 3000 lines, 500 fields; within the first MiB and 32 parts of the message).
        Of the reported message 128 KiB are kept, cut between two characters.

    Source: RFC 5965 §2, §3; KumoMTA manual, log record, Feedback.
    """
    top = report_type(content)
    if top is None or top.parameters.get("report-type", "").lower() != "feedback-report":
        return None
    report = original = None
    for part in direct_parts(content, top.parameters["boundary"]):
        if report is None and part.name == "message/feedback-report":
            report = part
        elif original is None and part.name in _ORIGINAL_TYPES:
            original = part
        if report is not None and original is not None:
            break
    if report is None or not report.is_whole or report.end - report.body > _REPORT_LIMIT:
        return None
    if content.count(b"\n", report.body, report.end) > _LINE_LIMIT:
        return None
    try:
        fields = ReportFields(next(blocks(content[report.body : report.end])), _FIELD_LIMIT, _ENCODED_LIMIT)
        return _make_report(fields, content, original)
    except ValueError:
        return None


def _make_report(fields: ReportFields, content: bytes, original: Part | None) -> FeedbackReport:
    incidents = fields.take("incidents")
    mail_from = fields.take("original-mail-from")
    reporting_mta = fields.take("reporting-mta")
    source_ip = fields.take("source-ip")
    return FeedbackReport(
        feedback_type=fields.take_required("feedback-type"),
        user_agent=fields.take_required("user-agent"),
        version=fields.take_required("version"),
        arrival_date=_arrival_date(fields),
        incidents=None if incidents is None else parse_number(incidents, _LARGEST_U32),
        original_envelope_id=fields.take("original-envelope-id"),
        original_mail_from=None if mail_from is None else _without_brackets(mail_from),
        reporting_mta=None if reporting_mta is None else parse_typed(reporting_mta)._asdict(),
        source_ip=None if source_ip is None else str(unmapped(ipaddress.ip_address(source_ip))),
        authentication_results=fields.take_all("authentication-results"),
        original_rcpto_to=[_without_brackets(value) for value in fields.take_all("original-rcpt-to")],
        reported_domain=fields.take_all("reported-domain"),
        reported_uri=fields.take_all("reported-uri"),
        extensions=fields.rest(),
        original_message=None if original is None else _original_message(content, original),
        supplemental_trace=None if original is None else _supplemental_trace(content, original),
    )


def _arrival_date(fields: ReportFields) -> str | None:
    """RFC 3339 in UTC; a date that is none is passed over."""
    for name in ("arrival-date", "received-date"):
        value = fields.take(name)
        if value is None:
            continue
        try:
            return parse_date(value).replace(tzinfo=None).isoformat() + "Z"
        except ValueError:
            continue
    return None


def _without_brackets(address: str) -> str:
    return address[1:-1] if address.startswith("<") and address.endswith(">") else address


def _original_message(content: bytes, part: Part) -> str | list[int]:
    end = min(part.end, part.body + _ORIGINAL_LIMIT)
    is_whole = part.is_whole and end == part.end
    octets = content[part.body : end]
    if not is_whole:
        octets = octets.removesuffix(b"\r")
    octets = octets.replace(b"\r\n", b"\n")
    try:
        # A character that was cut in two at the end is left out.
        text, _ = utf_8_decode(octets, "strict", is_whole)
    except UnicodeDecodeError:
        return list(octets)
    return text


def _supplemental_trace(content: bytes, part: Part) -> dict[str, Any] | None:
    head = content[part.body : min(part.end, part.body + _ORIGINAL_HEADER_LIMIT)]
    for field in x_fields(head[: header_section_end(head)], _X_FIELD_LIMIT):
        trace = supplemental_content(field.raw)
        if trace is not None:
            return trace
    return None
