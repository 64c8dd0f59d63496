"""Octets, and searches over them, that several kernels share; header-only, so it has no module of its own."""

from libc.stdint cimport uint64_t
from libc.string cimport memchr


cdef extern from "string.h" nogil:
    void *memrchr(const void *block, int octet, size_t length)


cdef extern from "_blocks.h" nogil:
    ctypedef struct kumo_findings:
        Py_ssize_t dots
        Py_ssize_t first_bare
        unsigned char bare_lf
        unsigned char bare_cr

    Py_ssize_t take_blocks "kumo_take_blocks"(
        const unsigned char *p, Py_ssize_t start, Py_ssize_t end, kumo_findings *found
    )
    Py_ssize_t first_bare_block "kumo_first_bare_block"(
        const unsigned char *p, Py_ssize_t start, Py_ssize_t end
    )
    Py_ssize_t count_bare "kumo_count_bare"(const unsigned char *p, Py_ssize_t start, Py_ssize_t end)
    Py_ssize_t count_leading_dots "kumo_count_leading_dots"(
        const unsigned char *p, Py_ssize_t start, Py_ssize_t end
    )
    uint64_t load8 "kumo_load8"(const unsigned char *p)
    void copy8 "kumo_copy8"(unsigned char *to, const unsigned char *origin)
    uint64_t equal8 "kumo_equal8"(uint64_t word, uint64_t pattern)
    int first_octet "kumo_first_octet"(uint64_t mask)


cdef enum:
    LF = 0x0A
    CR = 0x0D
    DOT = 0x2E


cdef inline Py_ssize_t last_octet(
    const unsigned char *p, Py_ssize_t start, Py_ssize_t end, int octet
) noexcept nogil:
    """Return the offset of the last such octet in p[start:end], or -1."""
    cdef const unsigned char *hit
    if start >= end:
        return -1
    hit = <const unsigned char *> memrchr(p + start, octet, end - start)
    return -1 if hit == NULL else hit - p


cdef inline Py_ssize_t next_octet(
    const unsigned char *p, Py_ssize_t start, Py_ssize_t end, int octet
) noexcept nogil:
    """Return the offset of the first such octet in p[start:end], or end."""
    cdef const unsigned char *hit
    if start >= end:
        return end
    hit = <const unsigned char *> memchr(p + start, octet, end - start)
    return end if hit == NULL else hit - p


cdef inline Py_ssize_t some_line_end(const unsigned char *p, Py_ssize_t start, Py_ssize_t end) noexcept nogil:
    """Return the offset of one of the last CR and LF in p[start:end], or -1."""
    cdef Py_ssize_t hit
    # Else every line of exactly the limit would be searched twice: its LF is beyond the range.
    if end > start and p[end - 1] == CR:
        return end - 1
    hit = last_octet(p, start, end, LF)
    return hit if hit >= 0 else last_octet(p, start, end, CR)


cdef inline Py_ssize_t first_bare(const unsigned char *p, Py_ssize_t start, Py_ssize_t end) noexcept nogil:
    """Return the offset of the first bare CR or LF that an octet of p[start:end] shows, or -1.

    p[start - 1] is read; a CR is shown by the octet behind it, so it may stand there, and one at the end of
    the range is not judged.
    """
    cdef Py_ssize_t i
    for i in range(first_bare_block(p, start, end), end):
        if p[i] == LF:
            if p[i - 1] != CR:
                return i
        elif p[i - 1] == CR:
            return i - 1
    return -1
