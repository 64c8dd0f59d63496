# cython: auto_pickle=False
"""What the octets behind a DATA command are: where they end and whether their lines are sound.

One vectorised pass over every chunk while it is in the cache, which measures lines where one could be too
long; no allocation, and four bits carried from chunk to chunk. Never raises on what a peer sent and never
judges it: ``kumo.smtp`` feeds it, ``kumo.smtp`` and ``kumo.reception`` decide. It does not keep the
content.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint64_t

from kumo_core.instruction_set cimport NOWHERE, kumo_findings, passes


@cython.final
@cython.freelist(8)
cdef class ScanReport:
    """What was seen in the content so far; final once the scanner is complete. A value.

    Attributes:
        content_length: as ``DataScanner.content_length``.
        bare_cr: whether there is a CR that no LF follows.
        bare_lf: whether there is an LF that no CR precedes.
        first_bare_offset: octets of raw content before the first bare CR or LF; -1 without one. Counts the
            dots that transparency added.
        stuffed_lines: lines that begin with a dot, the end-of-data line left out. From each exactly one dot
            is to be removed. A dot that may yet turn out to be the end of data is not counted.
        longest_line_over_limit: octets in the longest line over the limit, without its line end and without
            the dot that is to be removed; 0 when every line keeps to the limit.
    """

    def __init__(
        self,
        Py_ssize_t content_length,
        bint bare_cr,
        bint bare_lf,
        Py_ssize_t first_bare_offset,
        Py_ssize_t stuffed_lines,
        Py_ssize_t longest_line_over_limit,
    ):
        self.content_length = content_length
        self.bare_cr = bare_cr
        self.bare_lf = bare_lf
        self.first_bare_offset = first_bare_offset
        self.stuffed_lines = stuffed_lines
        self.longest_line_over_limit = longest_line_over_limit

    def __eq__(self, other):
        if not isinstance(other, ScanReport):
            return NotImplemented
        return _fields(self) == _fields(<ScanReport> other)

    def __hash__(self):
        return hash(_fields(self))

    def __repr__(self):
        return (
            "ScanReport(content_length={}, bare_cr={}, bare_lf={}, first_bare_offset={}, stuffed_lines={},"
            " longest_line_over_limit={})".format(*_fields(self))
        )


cdef tuple _fields(ScanReport report):
    return (
        report.content_length,
        report.bare_cr,
        report.bare_lf,
        report.first_bare_offset,
        report.stuffed_lines,
        report.longest_line_over_limit,
    )


@cython.final
cdef class DataScanner:
    """Finds the end of data in chunks of any size and takes stock of the content before it.

    Only ``CRLF . CRLF`` ends the data; the CRLF of the DATA command line, which the scanner does not see,
    counts as the first one. How the octets are cut into chunks never changes the result.

    Attributes:
        complete: whether the end of data was seen.
        scanned: octets consumed so far; once complete they include the three of ``.`` CRLF.
        content_length: octets of the content after removal of the dots, its last CRLF included, the line that
            ends the data not. Before it a lower bound that leaves out what may yet be part of that line.

    Args:
        line_length_limit: octets that a line may have, its line end and the dot that transparency added not
            counted. CRLF, a lone LF and a lone CR end a line.

    Raises:
        ValueError: the limit is negative.

    Source: RFC 5321 §4.1.1.4, §4.5.2, §4.5.3.1.6
    """

    def __init__(self, Py_ssize_t line_length_limit=998):
        if line_length_limit < 0:
            raise ValueError(f"a line length limit cannot be negative, got {line_length_limit}")
        self._lines.limit = line_length_limit
        self.reset()

    cpdef reset(self):
        """Begin a new content with the same limit."""
        self.scanned = 0
        self.content_length = 0
        self._first_bare = -1
        self._stuffed = 0
        self._lines.start = 0
        self._lines.longest = 0
        self._lines.is_long = False
        self._bare_cr = False
        self._bare_lf = False
        self.complete = False
        # The line end of the DATA command: a dot on the very first line needs no case of its own.
        self._seam.cr = 0
        self._seam.line = <uint64_t> 1 << 63
        self._seam.dot = 0
        self._seam.dot_cr = 0

    cpdef Py_ssize_t scan(self, chunk, Py_ssize_t start=0, Py_ssize_t end=-1) except -1:
        """Take in the next octets, up to the end of data at most.

        Args:
            chunk: a contiguous bytes-like object; only read, released before the call returns.
            start: offset of the first octet to look at.
            end: offset behind the last one; -1 stands for the length of the chunk.

        Returns:
            How many octets of ``chunk[start:end]`` were consumed: all of them, or those up to and with the LF
            of the end of data. The octets behind it are commands.

        Raises:
            ValueError: the scanner is complete, or the offsets are not within the chunk.
        """
        cdef Py_buffer view
        if self.complete:
            raise ValueError("scan() after the end of data; reset() begins a new content")
        PyObject_GetBuffer(chunk, &view, PyBUF_SIMPLE)
        try:
            if end == -1:
                end = view.len
            if not 0 <= start <= end <= view.len:
                raise ValueError(f"no octets {start} to {end} in a chunk of {view.len}")
            return self._take(<const unsigned char *> view.buf + start, end - start)
        finally:
            PyBuffer_Release(&view)

    cpdef ScanReport report(self):
        """Return what was seen so far."""
        cdef Py_ssize_t longest = self._lines.longest
        cdef Py_ssize_t open_line = -self._lines.start
        if open_line > self._lines.limit and open_line > longest:
            longest = open_line
        # Made without a call of its constructor, which would take a tuple of arguments apart.
        cdef ScanReport report = ScanReport.__new__(ScanReport)
        report.content_length = self.content_length
        report.bare_cr = self._bare_cr
        report.bare_lf = self._bare_lf
        report.first_bare_offset = self._first_bare
        report.stuffed_lines = self._stuffed_lines()
        report.longest_line_over_limit = longest
        return report

    cdef Py_ssize_t _pending(self) noexcept:
        """Octets at the end of what was seen that are an end-of-data if the right ones follow."""
        if self.complete:
            return 0
        if self._seam.dot >> 63:
            return 1
        return 2 if self._seam.dot_cr >> 63 else 0

    cdef Py_ssize_t _stuffed_lines(self) noexcept:
        return self._stuffed - (self._pending() > 0)

    cdef void _note_length(self) noexcept:
        if self.complete:
            self.content_length = self.scanned - self._stuffed - 3
        else:
            self.content_length = self.scanned - self._stuffed_lines() - self._pending()

    cdef Py_ssize_t _take(self, const unsigned char *p, Py_ssize_t n) noexcept:
        """Take in p[:n]; return how many octets of it belong to the content and its end-of-data line."""
        cdef kumo_findings found
        cdef Py_ssize_t end
        if n == 0:
            return 0
        found.end = found.dots = 0
        found.first_bare = NOWHERE
        found.bare_lf = found.bare_cr = 0
        end = passes.take(p, n, &self._seam, &self._lines, &found)
        self.complete = found.end > 0
        # The dot of the end of data was counted like those of stuffed lines.
        self._stuffed += found.dots - self.complete
        if self._first_bare < 0 and found.first_bare != NOWHERE:
            self._first_bare = self.scanned + found.first_bare
        self._bare_lf |= found.bare_lf != 0
        self._bare_cr |= found.bare_cr != 0
        self.scanned += end
        self._note_length()
        return end
