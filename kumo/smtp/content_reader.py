"""Mail content between DATA and end-of-data: scanned where it lies, kept once, cut and unstuffed.

Content over the limit is not kept, yet scanned to its end: were its rest taken for commands, a
message could carry a transaction. Line endings and line lengths are reported, not judged.
Used by ``ServerSession``.
"""

from __future__ import annotations

import io
from typing import Final

from kumo_core.data_scanner import DataScanner, ScanReport
from kumo_core.line import copy_octets, octet_at
from kumo_core.transparency import count_leading_dots, unstuffed_octets

Octets = bytes | bytearray | memoryview
"""A buffer of octets whose slices are octets too."""

_CRLF = b"\r\n"
_LF: Final = 0x0A

_TERMINATOR_LENGTH = 3
"""Octets of ``.`` CRLF; the CRLF before it belongs to the content."""


class ContentReader:
    """Collects the content of one transaction after another.

    Holds at most the limit and a few octets, whatever comes: the dots of transparency are removed
    chunk by chunk, not at the end, so that stuffing cannot swell it.

    Args:
        max_size: octets a content may have, dots of transparency not counted.
        line_length_limit: octets beyond which the report names a line, CRLF not counted.

    Source: RFC 5321 §4.1.1.4, §4.5.2.
    """

    __slots__ = ("_buffer", "_content", "_max_size", "_scanner", "_tail", "is_complete", "is_too_big")

    def __init__(self, max_size: int, line_length_limit: int) -> None:
        self._max_size = max_size
        self._scanner = DataScanner(line_length_limit)
        self._buffer: io.BytesIO | None = None
        self._content = b""
        # DATA's own CRLF counts as a line end before the content.
        self._tail = _CRLF
        self.is_complete = False
        """Whether end-of-data was read; ``take`` is due then."""
        self.is_too_big = False
        """Whether the content is over the limit; it is dropped then."""

    def receive(self, data: Octets, start: int, end: int) -> int:
        """Read content from ``data[start:end]``, which is copied where it is kept.

        Returns:
            How many octets belong to the content, end-of-data included; the rest are commands.
        """
        scanner = self._scanner
        consumed = scanner.scan(data, start, end)
        self.is_complete = is_complete = scanner.complete
        if self.is_too_big:
            return consumed
        length = scanner.content_length
        if length > self._max_size:
            self.is_too_big = True
            self._buffer = None
            return consumed
        if is_complete and self._buffer is None and scanner.scanned == length + _TERMINATOR_LENGTH:
            self._content = copy_octets(data, start, start + length)
        else:
            self._keep(data, start, start + consumed, length)
        return consumed

    def take(self) -> tuple[bytes, ScanReport]:
        """Hand over the content, unstuffed and without end-of-data, and be ready for the next one.

        The content is empty when it was too big.
        """
        buffer = self._buffer
        # BytesIO gives its own octets away here; a join of chunks would need the size twice.
        content = self._content if buffer is None else buffer.getvalue()
        report = self._scanner.report()
        self.discard()
        return content, report

    def discard(self) -> None:
        """Forget what was read and be ready for the next content."""
        self._scanner.reset()
        self._buffer = None
        self._content = b""
        self._tail = _CRLF
        self.is_complete = False
        self.is_too_big = False

    def _keep(self, data: Octets, start: int, end: int, content_length: int) -> None:
        buffer = self._buffer
        if buffer is None:
            buffer = self._buffer = io.BytesIO()
        scanner = self._scanner
        complete = self.is_complete
        removed = scanner.scanned - content_length
        if removed == 0 or (
            complete and removed == _TERMINATOR_LENGTH and buffer.tell() + end - start == scanner.scanned
        ):
            # No line began with a dot so far, save perhaps the last.
            buffer.write(memoryview(data)[start:end])
        else:
            self._write_unstuffed(buffer, data, start, end)
        if complete:
            buffer.truncate(content_length)
        else:
            self._tail = (self._tail + bytes(data[max(start, end - 2) : end]))[-2:]

    def _write_unstuffed(self, buffer: io.BytesIO, data: Octets, start: int, end: int) -> None:
        """Append octets without dots of transparency; the first one that is looked at counts as a line's."""
        tail = self._tail
        line = start
        if tail.endswith(b"\r") and start < end and octet_at(data, start) == _LF:
            line += 1
        elif tail != _CRLF:
            line += count_leading_dots(data, start, end)
        buffer.write(memoryview(data)[start:line])
        buffer.write(unstuffed_octets(data, line, end))
