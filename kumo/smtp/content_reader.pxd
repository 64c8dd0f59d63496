# Types for the compiled form of content_reader.py; see docs/decisions/0005-compiled-session.md.

cimport cython

from kumo_core.data_scanner cimport DataScanner
from kumo_core.line cimport copy_octets, octet_at
from kumo_core.transparency cimport count_leading_dots, unstuffed_octets

cdef int _LF

cdef Py_ssize_t _TERMINATOR_LENGTH


cdef class ContentReader:
    cdef public object _buffer
    cdef public bytes _content
    # As large as policy likes: a Python integer.
    cdef public object _max_size
    cdef public DataScanner _scanner
    cdef public bytes _tail
    cdef public bint is_complete
    cdef public bint is_too_big

    @cython.locals(consumed=Py_ssize_t, length=Py_ssize_t, scanner=DataScanner, is_complete=bint)
    cpdef Py_ssize_t receive(self, data, Py_ssize_t start, Py_ssize_t end) except -1
    cpdef take(self)
    cpdef discard(self)
    cdef _keep(self, data, Py_ssize_t start, Py_ssize_t end, Py_ssize_t content_length)

    @cython.locals(line=Py_ssize_t)
    cdef _write_unstuffed(self, buffer, data, Py_ssize_t start, Py_ssize_t end)
