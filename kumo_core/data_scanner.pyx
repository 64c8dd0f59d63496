# cython: auto_pickle=False
"""What the octets behind a DATA command are: where they end and whether their lines are sound.

One vectorised pass over every chunk while it is in the cache, and backward jumps for the line length; no
allocation, and four octets carried from chunk to chunk. Never raises on what a peer sent and never judges it:
``kumo.smtp`` feeds it, ``kumo.smtp`` and ``kumo.reception`` decide. It does not keep the content.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.string cimport memcpy, memmove

from typing import NamedTuple

from kumo_core._octets cimport (
    CR,
    DOT,
    LF,
    first_bare,
    kumo_findings,
    last_octet,
    next_octet,
    some_line_end,
    take_blocks,
)


cdef enum:
    # An end-of-data is five octets long, so the four before a chunk can be the start of one.
    CARRIED = 4


class ScanReport(NamedTuple):
    """What was seen in the content so far; final once the scanner is complete.

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

    content_length: int
    bare_cr: bool
    bare_lf: bool
    first_bare_offset: int
    stuffed_lines: int
    longest_line_over_limit: int


cdef inline Py_ssize_t _end_of_data(const unsigned char *p, Py_ssize_t start, Py_ssize_t end) noexcept nogil:
    """Return the offset behind the first end of data that an octet of p[start:end] completes, or end."""
    cdef Py_ssize_t i
    for i in range(start, end):
        if p[i] == LF and p[i - 1] == CR and p[i - 2] == DOT and p[i - 3] == LF and p[i - 4] == CR:
            return i + 1
    return end


@cython.final
cdef class DataScanner:
    """Finds the end of data in chunks of any size and takes stock of the content before it.

    Only ``CRLF . CRLF`` ends the data; the CRLF of the DATA command line, which the scanner does not see,
    counts as the first one. How the octets are cut into chunks never changes the result.

    Args:
        line_length_limit: octets that a line may have, its line end and the dot that transparency added not
            counted. CRLF, a lone LF and a lone CR end a line.

    Raises:
        ValueError: the limit is negative.

    Source: RFC 5321 §4.1.1.4, §4.5.2, §4.5.3.1.6
    """

    cdef Py_ssize_t _limit
    cdef Py_ssize_t _scanned
    cdef Py_ssize_t _first_bare
    cdef Py_ssize_t _stuffed
    # Octets of the line that the last chunk left open.
    cdef Py_ssize_t _open_line
    cdef Py_ssize_t _longest
    cdef bint _bare_cr
    cdef bint _bare_lf
    cdef bint _complete
    cdef unsigned char _last[CARRIED]

    def __init__(self, Py_ssize_t line_length_limit=998):
        if line_length_limit < 0:
            raise ValueError(f"a line length limit cannot be negative, got {line_length_limit}")
        self._limit = line_length_limit
        self.reset()

    def reset(self):
        """Begin a new content with the same limit."""
        self._scanned = 0
        self._first_bare = -1
        self._stuffed = 0
        self._open_line = 0
        self._longest = 0
        self._bare_cr = False
        self._bare_lf = False
        self._complete = False
        # The line end of the DATA command: a dot on the very first line needs no case of its own.
        self._last[0] = 0
        self._last[1] = 0
        self._last[2] = CR
        self._last[3] = LF

    def scan(self, chunk, Py_ssize_t start=0, Py_ssize_t end=-1):
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
        if self._complete:
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

    @property
    def complete(self):
        """Whether the end of data was seen."""
        return self._complete

    @property
    def scanned(self):
        """Octets consumed so far; once complete they include the three of ``.`` CRLF."""
        return self._scanned

    @property
    def content_length(self):
        """Octets of the content after removal of the dots, its last CRLF included, the end-of-data line not.

        Before the end of data a lower bound that leaves out what may yet be part of the end-of-data line.
        """
        return self._content_length()

    def report(self):
        """Return what was seen so far."""
        cdef Py_ssize_t longest = self._longest
        if self._open_line > self._limit and self._open_line > longest:
            longest = self._open_line
        return ScanReport(
            self._content_length(),
            self._bare_cr,
            self._bare_lf,
            self._first_bare,
            self._stuffed_lines(),
            longest,
        )

    cdef Py_ssize_t _pending(self) noexcept:
        # Octets at the end of what was seen that are an end-of-data if the right ones follow.
        cdef const unsigned char *last = self._last
        if last[3] == DOT and last[2] == LF and last[1] == CR:
            return 1
        if last[3] == CR and last[2] == DOT and last[1] == LF and last[0] == CR:
            return 2
        return 0

    cdef Py_ssize_t _stuffed_lines(self) noexcept:
        # take_blocks judges dots two octets late; one with another octet than CR behind it is decided.
        cdef const unsigned char *last = self._last
        if last[3] != CR and last[2] == DOT and last[1] == LF and last[0] == CR:
            return self._stuffed + 1
        return self._stuffed

    cdef Py_ssize_t _content_length(self) noexcept:
        if self._complete:
            return self._scanned - self._stuffed - 3
        return self._scanned - self._stuffed_lines() - self._pending()

    cdef Py_ssize_t _take(self, const unsigned char *p, Py_ssize_t n) noexcept:
        """Take in p[:n]; return how many octets of it belong to the content and its end-of-data line."""
        cdef unsigned char seam[2 * CARRIED]
        cdef Py_ssize_t head = n if n < CARRIED else CARRIED
        cdef Py_ssize_t end
        if n == 0:
            return 0
        # The first octets are looked at behind those carried, so that looking back needs no case of its own.
        memcpy(seam, self._last, CARRIED)
        memcpy(seam + CARRIED, p, head)
        end = self._take_range(seam, CARRIED, CARRIED + head, self._scanned - CARRIED) - CARRIED
        if not self._complete:
            end = self._take_range(p, head, n, self._scanned)
        self._measure_lines(p, end)
        self._scanned += end
        if end >= CARRIED:
            memcpy(self._last, p + end - CARRIED, CARRIED)
        else:
            memmove(self._last, self._last + end, CARRIED - end)
            memcpy(self._last + CARRIED - end, p, end)
        return end

    cdef Py_ssize_t _take_range(
        self, const unsigned char *p, Py_ssize_t start, Py_ssize_t end, Py_ssize_t offset,
    ) noexcept:
        """Take in p[start:end], of which p[0] has that offset in the content.

        Returns:
            The offset in p behind an end of data, else end.
        """
        cdef kumo_findings found
        cdef Py_ssize_t stop
        found.dots = 0
        found.first_bare = -1
        found.bare_lf = 0
        found.bare_cr = 0
        stop = take_blocks(p, start, end, &found)
        if stop < end:
            end = _end_of_data(p, stop, end)
            # Short of its LF, which would stop it again; so the dot of the end of data is not counted either.
            take_blocks(p, stop, end - 1, &found)
            self._complete = True
        self._stuffed += found.dots
        if found.first_bare >= 0:
            self._bare_lf |= found.bare_lf
            self._bare_cr |= found.bare_cr
            if self._first_bare < 0:
                self._first_bare = offset + first_bare(p, found.first_bare, end)
        return end

    cdef void _measure_lines(self, const unsigned char *p, Py_ssize_t n) noexcept:
        """Measure the lines in p[:n], the first of which may have begun in an earlier chunk.

        Looks for a line end in the last place where the line's limit allows one and goes on behind it.
        """
        # Of the open line; before the chunk when negative.
        cdef Py_ssize_t start = -self._open_line
        cdef Py_ssize_t next_lf = -1
        cdef Py_ssize_t beyond, hit
        while n - start > self._limit:
            beyond = max(start + self._limit + 1, 0)
            hit = some_line_end(p, max(start, 0), beyond)
            if hit >= 0:
                start = hit + 1
            elif self._removes_dot(p, start):
                start += 1
            else:
                # The next LF is remembered: else long lines that end in CR would look for it again and again.
                if next_lf < beyond:
                    next_lf = next_octet(p, beyond, n, LF)
                hit = next_octet(p, beyond, next_lf, CR)
                if hit == n:
                    break
                self._longest = max(self._longest, hit - start)
                start = hit + 1
        hit = last_octet(p, max(start, 0), n, LF)
        hit = max(hit, last_octet(p, max(start, hit + 1, 0), n, CR))
        if hit >= 0:
            start = hit + 1
        if start < n and self._removes_dot(p, start):
            start += 1
        self._open_line = n - start

    cdef inline bint _removes_dot(self, const unsigned char *p, Py_ssize_t start) noexcept:
        """Whether the line that begins there begins with a dot that transparency removes."""
        cdef unsigned char before, second_before
        if start < 0 or p[start] != DOT:
            return False
        before = p[start - 1] if start > 0 else self._last[CARRIED - 1]
        second_before = p[start - 2] if start > 1 else self._last[CARRIED - 2 + start]
        return before == LF and second_before == CR
