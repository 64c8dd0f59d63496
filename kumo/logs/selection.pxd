# Types for the compiled form of selection.py; see docs/decisions/0005-compiled-session.md.

from kumo.message cimport Message as MessageType


cdef class MetaSelection:
    cdef public tuple _names
    cdef public tuple _prefixes

    cpdef dict select(self, meta)


cdef class HeaderSelection:
    cdef public tuple _names
    cdef public tuple _prefixes
    cdef public tuple _wanted

    cpdef dict select(self, MessageType message)
    cdef list _fields(self, bytes content)
