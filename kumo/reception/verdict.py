"""What becomes of one message: relayed, dropped, recorded as the report that it is.

``relay_authority`` says what may be done for its sender and recipient; here its content decides with it.
"""

from __future__ import annotations

from typing import NamedTuple

from kumo.config import ReportHandling
from kumo.message import (
    DeliveryStatus,
    FeedbackReport,
    parse_delivery_status,
    parse_feedback_report,
)
from kumo.reception.relay_authority import RelayDisposition


class Verdict(NamedTuple):
    """What becomes of one message.

    Args:
        is_relayed: queued, and stored unless its queue says otherwise.
        feedback: it is this complaint.
        delivery_status: it is this notification.
    """

    is_relayed: bool
    feedback: FeedbackReport | None = None
    delivery_status: DeliveryStatus | None = None

    @property
    def is_taken(self) -> bool:
        """Whether the message has reached somebody, if only the log."""
        return self.is_relayed or self.feedback is not None or self.delivery_status is not None


RELAYED = Verdict(is_relayed=True)
DROPPED = Verdict(is_relayed=False)

_Reports = tuple[FeedbackReport | None, DeliveryStatus | None]


class ReportReader:
    """Reads the reports of one transaction; a content that its messages share is read once."""

    __slots__ = ("_body", "_reports", "_wanted")

    def __init__(self) -> None:
        self._body: bytes | None = None
        self._wanted = (False, False)
        self._reports: _Reports = (None, None)

    def judge(self, disposition: RelayDisposition, body: bytes) -> Verdict:
        """Decide about a message; it is only looked at where reports are to be logged.

        Args:
            disposition: of its sender and first recipient.
            body: its content; trace fields in front make no difference and may be left out. However large
                and of whatever shape, reading it takes a few milliseconds at most.
        """
        wanted = (disposition.logs_arf, disposition.logs_oob)
        if wanted == (False, False):
            return RELAYED if disposition.may_relay else DROPPED
        if body is not self._body or wanted != self._wanted:
            self._body, self._wanted, self._reports = body, wanted, _read(body, *wanted)
        feedback, delivery_status = self._reports
        if feedback is not None:
            return Verdict(disposition.log_arf is ReportHandling.LOG_THEN_RELAY, feedback)
        if delivery_status is not None:
            is_relayed = disposition.log_oob is ReportHandling.LOG_THEN_RELAY
            return Verdict(is_relayed, delivery_status=delivery_status)
        return RELAYED if disposition.may_relay else DROPPED


def _read(body: bytes, is_arf_wanted: bool, is_oob_wanted: bool) -> _Reports:
    """A content as complaint, else as notification."""
    feedback = parse_feedback_report(body) if is_arf_wanted else None
    if feedback is not None or not is_oob_wanted:
        return feedback, None
    return None, parse_delivery_status(body)
