# Types for the compiled form of resident_content.py; see docs/decisions/0005-compiled-session.md.

cdef class ResidentContent:
    cdef public Py_ssize_t _limit
    cdef public Py_ssize_t _octets
    cdef public Py_ssize_t _unsaved
    cdef public list _waiters

    cpdef add(self, Py_ssize_t octets, Py_ssize_t unsaved)
