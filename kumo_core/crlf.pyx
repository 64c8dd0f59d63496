"""Bare CR and bare LF: find the first, or mend all of them.

Clean content, which is nearly all mail, costs one vectorised pass and no copy. Mending costs one more pass
from the first bare line ending on, at much the same price whatever the octets are. What a bare line ending
*means* (Deny, Allow, Fix) is ``kumo.reception``'s to decide.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from kumo_core._octets cimport changed, keep_freed
from kumo_core.instruction_set cimport passes

keep_freed()


def find_bare_line_ending(data):
    """Return the offset of the first CR without LF or LF without CR, or -1.

    Args:
        data: a contiguous bytes-like object; only read, released before the call returns. A CR as its last
            octet is bare.

    Source: RFC 5321 §2.3.8
    """
    cdef Py_buffer view
    cdef Py_ssize_t first
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        first = passes.first_bare(<const unsigned char *> view.buf, view.len)
        return first if first < view.len else -1
    finally:
        PyBuffer_Release(&view)


def fix_line_endings(bytes data not None):
    """Return the content with CRLF in place of every lone CR and every lone LF.

    ``CR CR LF`` becomes two CRLF, ``LF CR`` likewise; the result holds no bare line ending, so mending it
    again changes nothing.

    Returns:
        ``data`` itself when it is clean, else a new object.

    Source: KumoMTA manual, start_esmtp_listener, invalid_line_endings
    """
    cdef const unsigned char *octets = <const unsigned char *> PyBytes_AS_STRING(data)
    cdef Py_ssize_t n = PyBytes_GET_SIZE(data)
    cdef Py_ssize_t first = passes.first_bare(octets, n)
    if first == n:
        return data
    return changed(octets, n, first, passes.mend, passes.count_bare)
