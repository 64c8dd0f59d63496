"""Command lines as they lie in a buffer: where one ends, and octets taken out of it.

Nothing here is fast because of what it does, but because no slice, search or number goes through the
interpreter: ``kumo.smtp`` and ``kumo.listener`` call them for every read and every line.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memchr

from kumo_core._octets cimport octets_between


cpdef Py_ssize_t find_crlf(bytes octets, Py_ssize_t start) except -2:
    """Return the offset of the first CRLF, or -1.

    Args:
        octets: what is looked through; only read.
        start: offset of the first octet that is looked at.

    Raises:
        ValueError: the offset is not within the octets.

    Source: RFC 5321 §2.3.8
    """
    if octets is None:
        raise TypeError("octets must be bytes, not None")
    cdef Py_ssize_t length = PyBytes_GET_SIZE(octets)
    cdef const char *first = PyBytes_AS_STRING(octets)
    cdef const char *lf
    if not 0 <= start <= length:
        raise ValueError(f"no offset {start} in {length} octets")
    # A CR in front of the LF counts from `start` on only. Lines end in CRLF, so hardly an LF is in vain.
    cdef Py_ssize_t at = start + 1
    while at < length:
        lf = <const char *> memchr(first + at, b"\n", length - at)
        if lf == NULL:
            return -1
        if lf[-1] == b"\r":
            return lf - first - 1
        at = lf - first + 1
    return -1


cpdef int octet_at(data, Py_ssize_t place) except -1:
    """Return the value of one octet.

    Args:
        data: a contiguous bytes-like object; only read, released before the call returns.
        place: its offset.

    Raises:
        ValueError: the offset is not within the data.
    """
    cdef Py_buffer view
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        if not 0 <= place < view.len:
            raise ValueError(f"no octet {place} in {view.len}")
        return (<const unsigned char *> view.buf)[place]
    finally:
        PyBuffer_Release(&view)


cpdef bytes copy_octets(data, Py_ssize_t start, Py_ssize_t end):
    """Return ``data[start:end]`` as an object of its own.

    Args:
        data: a contiguous bytes-like object; only read, released before the call returns.
        start: offset of the first octet.
        end: offset behind the last one.

    Raises:
        ValueError: the offsets are not within the data.
    """
    cdef Py_buffer view
    cdef const unsigned char *octets = octets_between(data, start, end, &view)
    try:
        return PyBytes_FromStringAndSize(<const char *> octets, end - start)
    finally:
        PyBuffer_Release(&view)
