"""The one exception that the core raises on what a peer sent."""

from __future__ import annotations

import enum


class Fault(enum.Enum):
    """Which part of a command line could not be read; ``kumo.smtp`` maps it to a reply."""

    UTF8 = "utf8"
    """The line is not UTF-8."""
    SENDER = "sender"
    """``MAIL FROM:`` is followed by something that is not a reverse-path."""
    RECIPIENT = "recipient"
    """``RCPT TO:`` is followed by something that is not a forward-path."""
    ARGUMENTS = "arguments"
    """The verb is known, its arguments are not."""
    UNPARSABLE = "unparsable"
    """No verb at all, or a control character in the line."""


class WireSyntaxError(ValueError):
    """A command line that does not follow RFC 5321's grammar.

    Args:
        fault: which part.
        offset: octet of the line at which reading stopped.
        expected: what the grammar wants there, for our log; holds nothing of the peer's.
    """

    def __init__(self, fault: Fault, offset: int, expected: str) -> None:
        super().__init__(f"expected {expected} at octet {offset}")
        self.fault = fault
        self.offset = offset
        self.expected = expected
