"""Transparency: the dots that a sender put before lines that begin with a dot.

One vectorised pass to count, and only if something changes one allocation of the exact size and one pass
that copies eight octets a step. Knows nothing of the end of data. ``kumo.smtp`` calls ``unstuff`` on received
content, and ``stuff`` on content to be sent.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t

from kumo_core._octets cimport CR, DOT, LF, copy8, count_leading_dots, equal8, first_octet, load8


def unstuff(bytes data not None):
    """Return the content with one leading dot removed from every line that begins with one.

    Args:
        data: content as received, without the end-of-data line. Lines begin at its first octet and after
            every CRLF, not after a bare CR or LF.

    Returns:
        ``data`` itself when no line begins with a dot, else a new object.

    Source: RFC 5321 §4.5.2
    """
    cdef const unsigned char *p = <const unsigned char *> PyBytes_AS_STRING(data)
    cdef Py_ssize_t n = PyBytes_GET_SIZE(data)
    cdef Py_ssize_t dots = _count_leading_dots(p, n)
    if dots == 0:
        return data
    plain = PyBytes_FromStringAndSize(NULL, n - dots)
    _remove_dots(p, n, <unsigned char *> PyBytes_AS_STRING(plain), n - dots)
    return plain


def stuff(bytes data not None):
    """Return the content with one more dot before every line that begins with a dot.

    Args:
        data: content to be sent, without the end-of-data line. Lines begin as for ``unstuff``.

    Returns:
        ``data`` itself when no line begins with a dot, else a new object.

    Source: RFC 5321 §4.5.2
    """
    cdef const unsigned char *p = <const unsigned char *> PyBytes_AS_STRING(data)
    cdef Py_ssize_t n = PyBytes_GET_SIZE(data)
    cdef Py_ssize_t dots = _count_leading_dots(p, n)
    if dots == 0:
        return data
    stuffed = PyBytes_FromStringAndSize(NULL, n + dots)
    _add_dots(p, n, <unsigned char *> PyBytes_AS_STRING(stuffed), n + dots)
    return stuffed


cdef inline bint _is_leading_dot(const unsigned char *p, Py_ssize_t i) noexcept nogil:
    if p[i] != DOT:
        return False
    if i < 2:
        # A lone LF as the first octet ends no line.
        return i == 0
    return p[i - 1] == LF and p[i - 2] == CR


cdef Py_ssize_t _count_leading_dots(const unsigned char *p, Py_ssize_t n) noexcept nogil:
    if n == 0:
        return 0
    return (p[0] == DOT) + count_leading_dots(p, 2, n)


cdef inline uint64_t _leading_dots8(const unsigned char *p) noexcept nogil:
    return (
        equal8(load8(p), 0x2E2E2E2E2E2E2E2E)
        & equal8(load8(p - 1), 0x0A0A0A0A0A0A0A0A)
        & equal8(load8(p - 2), 0x0D0D0D0D0D0D0D0D)
    )


cdef void _remove_dots(
    const unsigned char *p, Py_ssize_t n, unsigned char *out, Py_ssize_t size
) noexcept nogil:
    # The octets behind a dropped dot are copied once more, one place nearer; hence the margins.
    cdef Py_ssize_t i = 0
    cdef Py_ssize_t o = 0
    cdef uint64_t dots
    cdef int k
    while i < n and i < 2:
        if not _is_leading_dot(p, i):
            out[o] = p[i]
            o += 1
        i += 1
    while n - i >= 16 and size - o >= 16:
        dots = _leading_dots8(p + i)
        copy8(out + o, p + i)
        while dots:
            k = first_octet(dots)
            copy8(out + o + k, p + i + k + 1)
            o -= 1
            dots &= dots - 1
        i += 8
        o += 8
    for i in range(i, n):
        if not _is_leading_dot(p, i):
            out[o] = p[i]
            o += 1


cdef void _add_dots(const unsigned char *p, Py_ssize_t n, unsigned char *out, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i = 0
    cdef Py_ssize_t o = 0
    cdef uint64_t dots
    cdef int k
    while i < n and i < 2:
        if _is_leading_dot(p, i):
            out[o] = DOT
            o += 1
        out[o] = p[i]
        o += 1
        i += 1
    while n - i >= 16 and size - o >= 24:
        dots = _leading_dots8(p + i)
        copy8(out + o, p + i)
        while dots:
            k = first_octet(dots)
            o += 1
            copy8(out + o + k, p + i + k)
            dots &= dots - 1
        i += 8
        o += 8
    for i in range(i, n):
        if _is_leading_dot(p, i):
            out[o] = DOT
            o += 1
        out[o] = p[i]
        o += 1
