"""Bare CR and bare LF: find the first, or mend all of them.

Clean content, which is nearly all mail, costs one vectorised pass and no copy. Mending costs one pass to
count, one allocation of the exact size and one pass that copies eight octets a step: linear, whatever the
input. What a bare line ending *means* (Deny, Allow, Fix) is ``kumo.reception``'s to decide.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t

from kumo_core._octets cimport CR, LF, copy8, count_bare, equal8, first_bare, first_octet, load8


def find_bare_line_ending(data):
    """Return the offset of the first CR without LF or LF without CR, or -1.

    Args:
        data: a contiguous bytes-like object; only read, released before the call returns. A CR as its last
            octet is bare.

    Source: RFC 5321 §2.3.8
    """
    cdef Py_buffer view
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        return _first_bare(<const unsigned char *> view.buf, view.len)
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
    cdef const unsigned char *p = <const unsigned char *> PyBytes_AS_STRING(data)
    cdef Py_ssize_t n = PyBytes_GET_SIZE(data)
    cdef Py_ssize_t size
    if _first_bare(p, n) < 0:
        return data
    size = n + _count_bare(p, n)
    mended = PyBytes_FromStringAndSize(NULL, size)
    _mend(p, n, <unsigned char *> PyBytes_AS_STRING(mended), size)
    return mended


cdef Py_ssize_t _first_bare(const unsigned char *p, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t hit
    if n == 0:
        return -1
    if p[0] == LF:
        return 0
    hit = first_bare(p, 1, n)
    return n - 1 if hit < 0 and p[n - 1] == CR else hit


cdef Py_ssize_t _count_bare(const unsigned char *p, Py_ssize_t n) noexcept nogil:
    return (p[0] == LF) + count_bare(p, 1, n) + (p[n - 1] == CR)


cdef void _mend(const unsigned char *p, Py_ssize_t n, unsigned char *out, Py_ssize_t size) noexcept nogil:
    # Copies eight octets and then repairs: at each bare line ending the missing octet goes in and the rest of
    # the eight is copied once more, one place further on; hence the margins. Also where every octet needs it,
    # this is twice as fast as going octet by octet.
    cdef Py_ssize_t i = 1
    cdef Py_ssize_t o = 0
    cdef uint64_t bare
    cdef int k
    if p[0] == LF:
        out[0] = CR
        o = 1
    out[o] = p[0]
    o += 1
    while n - i >= 16 and size - o >= 32:
        bare = equal8(load8(p + i), 0x0A0A0A0A0A0A0A0A) ^ equal8(load8(p + i - 1), 0x0D0D0D0D0D0D0D0D)
        copy8(out + o, p + i)
        while bare:
            k = first_octet(bare)
            out[o + k] = CR if p[i + k] == LF else LF
            o += 1
            copy8(out + o + k, p + i + k)
            bare &= bare - 1
        i += 8
        o += 8
    for i in range(i, n):
        if (p[i] == LF) != (p[i - 1] == CR):
            out[o] = CR if p[i] == LF else LF
            o += 1
        out[o] = p[i]
        o += 1
    if p[n - 1] == CR:
        out[o] = LF
