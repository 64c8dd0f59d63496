# Types for the compiled form of line_reader.py; see docs/decisions/0005-compiled-session.md.

cimport cython

from kumo_core.line cimport copy_octets, find_crlf


cdef class LineReader:
    cdef public Py_ssize_t limit
    cdef public bytes _octets
    cdef public Py_ssize_t _offset
    cdef public bint _swallowing

    cpdef Py_ssize_t held_octets(self)
    cpdef feed(self, bytes octets)

    @cython.locals(octets=bytes, start=Py_ssize_t, end=Py_ssize_t)
    cpdef next_line(self)
    cpdef bytes take_rest(self)

    @cython.locals(octets=bytes, length=Py_ssize_t)
    cdef _bound(self, Py_ssize_t start)


cdef class DeafReader(LineReader):
    pass
