# Types for the compiled form of reply.py; see docs/decisions/0005-compiled-session.md.

cdef class Reply:
    cdef readonly object code
    cdef readonly str text
    cdef bytes _octets

    cpdef bytes encode(self)
