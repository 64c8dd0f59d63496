"""Transparency: the dots that a sender put before lines that begin with a dot.

One vectorised pass to the first such dot, and only if there is one an allocation and a pass that copies the
rest. Knows nothing of the end of data. ``kumo.smtp`` calls ``unstuffed_octets`` on what it receives;
``unstuff`` and ``stuff`` are for whole contents.
"""

from cpython.buffer cimport PyBuffer_Release
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcmp, memset

from kumo_core._octets cimport changed, keep_freed, octets_between
from kumo_core.instruction_set cimport STEP, passes

keep_freed()


def unstuff(bytes data not None):
    """Return the content with one leading dot removed from every line that begins with one.

    Args:
        data: content as received, without the end-of-data line. Lines begin at its first octet and after
            every CRLF, not after a bare CR or LF.

    Returns:
        ``data`` itself when no line begins with a dot, else a new object.

    Source: RFC 5321 §4.5.2
    """
    cdef const unsigned char *octets = <const unsigned char *> PyBytes_AS_STRING(data)
    cdef Py_ssize_t n = PyBytes_GET_SIZE(data)
    cdef Py_ssize_t first = passes.first_dot(octets, n)
    if first == n:
        return data
    return changed(octets, n, first, passes.unstuff, NULL)


cpdef bytes unstuffed_octets(data, Py_ssize_t start, Py_ssize_t end):
    """Return what ``unstuff`` makes of ``data[start:end]``, as an object of its own, with one copy.

    Args:
        data: a contiguous bytes-like object; only read, released before the call returns.
        start: offset of the first octet, where a line begins.
        end: offset behind the last one.

    Raises:
        ValueError: the offsets are not within the data.

    Source: RFC 5321 §4.5.2
    """
    cdef Py_buffer view
    cdef const unsigned char *octets = octets_between(data, start, end, &view)
    cdef Py_ssize_t n = end - start
    cdef Py_ssize_t first
    try:
        first = passes.first_dot(octets, n)
        if first == n:
            return PyBytes_FromStringAndSize(<const char *> octets, n)
        return changed(octets, n, first, passes.unstuff, NULL)
    finally:
        PyBuffer_Release(&view)


cpdef Py_ssize_t count_leading_dots(data, Py_ssize_t start, Py_ssize_t end) except -1:
    """Return how many dots ``data[start:end]`` begins with.

    Args:
        data: a contiguous bytes-like object; only read, released before the call returns.
        start: offset of the first octet.
        end: offset behind the last one.

    Raises:
        ValueError: the offsets are not within the data.
    """
    cdef Py_buffer view
    cdef const unsigned char *octets = octets_between(data, start, end, &view)
    cdef unsigned char[STEP] dots
    cdef Py_ssize_t n = end - start
    cdef Py_ssize_t count = 0
    try:
        # Nobody writes such content but to hold the server up, so it is passed over by many octets at a time.
        memset(dots, c".", STEP)
        while n - count >= STEP and memcmp(octets + count, dots, STEP) == 0:
            count += STEP
        while count < n and octets[count] == c".":
            count += 1
        return count
    finally:
        PyBuffer_Release(&view)


def stuff(bytes data not None):
    """Return the content with one more dot before every line that begins with a dot.

    Args:
        data: content to be sent, without the end-of-data line. Lines begin as for ``unstuff``.

    Returns:
        ``data`` itself when no line begins with a dot, else a new object.

    Source: RFC 5321 §4.5.2
    """
    cdef const unsigned char *octets = <const unsigned char *> PyBytes_AS_STRING(data)
    cdef Py_ssize_t n = PyBytes_GET_SIZE(data)
    cdef Py_ssize_t first = passes.first_dot(octets, n)
    if first == n:
        return data
    return changed(octets, n, first, passes.stuff, passes.count_dots)
