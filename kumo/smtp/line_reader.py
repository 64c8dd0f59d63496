"""The buffer of command lines: octets in, whole lines out, and no memory for what is over the limit.

It never judges what a line says. Used by ``ServerSession``.
"""

from __future__ import annotations

import enum

from kumo_core.line import copy_octets, find_crlf


class NoLine(enum.Enum):
    """What ``next_line`` may answer in place of a line."""

    INCOMPLETE = enum.auto()
    """No CRLF yet."""
    TOO_LONG = enum.auto()
    """A line over the limit came to its end and was dropped."""


_INCOMPLETE = NoLine.INCOMPLETE
_TOO_LONG = NoLine.TOO_LONG


class LineReader:
    """Splits input at CRLF and at nothing else; a bare CR or LF is part of its line.

    Between two calls of ``next_line`` that answer ``INCOMPLETE`` it holds at most the limit and one
    octet. A line over the limit is swallowed up to its own CRLF, also when a chunk ends between the
    CR and the LF: an LF left over would be the beginning of the next command.

    Args:
        limit: octets that a line may have, CRLF not counted.
    """

    __slots__ = ("_octets", "_offset", "_swallowing", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        """Octets that a line may have, CRLF not counted; a new one holds from the next line on."""
        self._octets = b""
        self._offset = 0
        self._swallowing = False

    def held_octets(self) -> int:
        """How many octets wait to be read."""
        return len(self._octets) - self._offset

    def feed(self, octets: bytes) -> None:
        """Append input."""
        if self._offset == len(self._octets):
            self._octets = octets
        else:
            self._octets = self._octets[self._offset :] + octets
        self._offset = 0

    def next_line(self) -> bytes | NoLine:
        """The next line without its CRLF, as a copy; or why there is none."""
        octets = self._octets
        if not octets:
            return _INCOMPLETE
        start = self._offset
        end = find_crlf(octets, start)
        if end < 0:
            self._bound(start)
            return _INCOMPLETE
        if end + 2 == len(octets):
            self._octets = b""
            self._offset = 0
        else:
            self._offset = end + 2
        if self._swallowing:
            self._swallowing = False
            return _TOO_LONG
        if end - start > self.limit:
            return _TOO_LONG
        return copy_octets(octets, start, end)

    def take_rest(self) -> bytes:
        """Hand over everything that waits; content follows a DATA command without a new read."""
        octets = self._octets[self._offset :]
        self._octets = b""
        self._offset = 0
        return octets

    def _bound(self, start: int) -> None:
        octets = self._octets
        length = len(octets) - start
        if octets.endswith(b"\r"):
            length -= 1
        if length > self.limit:
            self._swallowing = True
            # The CR may be the first half of the line's CRLF.
            self._octets = octets[-1:] if octets.endswith(b"\r") else b""
            self._offset = 0


class DeafReader(LineReader):
    """Stands in while nothing that comes may be read: what it is fed is dropped at once."""

    __slots__ = ()

    def feed(self, octets: bytes) -> None:
        """Forget input."""
