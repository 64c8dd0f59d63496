"""Line endings and line lengths of a message: the verdict on what the scanner saw.

The scanner counts while the octets come in; here its report becomes a reply, or mended content.
Dot stuffing is not looked at: the content is unstuffed already, and a line that mending makes to
start with a dot is data like any other.
"""

from __future__ import annotations

from kumo.config import LineEndings
from kumo.smtp import Reply
from kumo_core import ScanReport, fix_line_endings

BARE_LINE_ENDING = Reply(552, "5.6.0 message data must use CRLF for line endings")
LINE_TOO_LONG = Reply(500, "5.2.3 line too long")


def check_conformance(report: ScanReport, line_endings: LineEndings) -> Reply | None:
    """Judge a message by its scan report.

    Line endings come first: with ``Deny``, mail with bare LF is told of its line endings, not of one
    very long line. A line is what CRLF, a bare CR or a bare LF ends, so with ``Fix`` the lengths are
    those after mending, and with ``Allow`` every accepted line end counts as one.

    Args:
        report: of the whole content.
        line_endings: the listener's ``invalid_line_endings``.

    Returns:
        The refusal, or None.
    """
    if (report.bare_cr or report.bare_lf) and line_endings is LineEndings.DENY:
        return BARE_LINE_ENDING
    if report.longest_line_over_limit:
        return LINE_TOO_LONG
    return None


def mend(content: bytes, report: ScanReport, line_endings: LineEndings) -> bytes:
    """Give every bare CR and LF its other half where the listener says ``Fix``.

    Args:
        content: of a message that ``check_conformance`` let pass.
        report: its scan report.
        line_endings: the listener's ``invalid_line_endings``.

    Returns:
        The same object when nothing had to change.
    """
    if (report.bare_cr or report.bare_lf) and line_endings is LineEndings.FIX:
        return fix_line_endings(content)
    return content
