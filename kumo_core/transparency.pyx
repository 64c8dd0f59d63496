"""Transparency: the dots that a sender put before lines that begin with a dot.

One vectorised pass to the first such dot, and only if there is one an allocation and a pass that copies the
rest. Knows nothing of the end of data. ``kumo.smtp`` calls ``unstuff`` on received content, and ``stuff`` on
content to be sent.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from kumo_core._octets cimport changed, keep_freed
from kumo_core.instruction_set cimport passes

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
    cdef Py_ssize_t first = _first_dot(data)
    if first < 0:
        return data
    return changed(data, first, passes.unstuff, NULL)


def stuff(bytes data not None):
    """Return the content with one more dot before every line that begins with a dot.

    Args:
        data: content to be sent, without the end-of-data line. Lines begin as for ``unstuff``.

    Returns:
        ``data`` itself when no line begins with a dot, else a new object.

    Source: RFC 5321 §4.5.2
    """
    cdef Py_ssize_t first = _first_dot(data)
    if first < 0:
        return data
    return changed(data, first, passes.stuff, passes.count_dots)


cdef Py_ssize_t _first_dot(bytes data) noexcept:
    """Return the offset of the first dot that begins a line, or -1."""
    cdef Py_ssize_t n = PyBytes_GET_SIZE(data)
    cdef Py_ssize_t first = passes.first_dot(<const unsigned char *> PyBytes_AS_STRING(data), n)
    return first if first < n else -1
