"""What reports that came in as mail say: complaints and delivery status notifications, as values."""

from __future__ import annotations

from typing import Any, NamedTuple

from msgspec import Struct

from kumo.smtp import EnvelopeAddress


class MtaName(NamedTuple):
    """A typed name, for example of a reporting MTA.

    Args:
        mta_type: for example ``dns``.
        name: the rest.
    """

    mta_type: str
    name: str


class FeedbackReport(Struct, frozen=True, kw_only=True):
    """A complaint: the ``feedback_report`` of a log record, in its order of keys.

    Source: RFC 5965; KumoMTA manual, log record, Feedback.
    """

    feedback_type: str
    user_agent: str
    version: str
    arrival_date: str | None = None
    """RFC 3339."""
    incidents: int | None = None
    original_envelope_id: str | None = None
    original_mail_from: str | None = None
    """Without angle brackets."""
    reporting_mta: dict[str, str] | None = None
    source_ip: str | None = None
    authentication_results: list[str] = []
    original_rcpto_to: list[str] = []
    """KumoMTA's spelling."""
    reported_domain: list[str] = []
    reported_uri: list[str] = []
    extensions: dict[str, list[str]] = {}
    original_message: str | list[int] | None = None
    """With LF line ends; numbers of octets when it is no UTF-8."""
    supplemental_trace: dict[str, Any] | None = None
    """What the supplemental header of the reported message held."""


class RecipientStatus(Struct, frozen=True, kw_only=True):
    """One recipient of a delivery status notification.

    Args:
        final_recipient: as address where the type is ``rfc822``, else the text.
        action: lower case.
        status: enhanced status code as text.
        original_recipient: likewise.
        diagnostic_type: type of Diagnostic-Code.
        diagnostic: its text.
        last_attempt: Unix time.

    Source: RFC 3464 §2.3.
    """

    final_recipient: EnvelopeAddress | str
    action: str
    status: str
    original_recipient: EnvelopeAddress | str | None = None
    diagnostic_type: str | None = None
    diagnostic: str | None = None
    last_attempt: float | None = None


class DeliveryStatus(Struct, frozen=True, kw_only=True):
    """A delivery status notification.

    Source: RFC 3464 §2.
    """

    reporting_mta: MtaName
    recipients: tuple[RecipientStatus, ...]
