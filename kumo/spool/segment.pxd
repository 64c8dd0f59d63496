# Types for the compiled form of segment.py; see docs/decisions/0005-compiled-session.md.

cdef class Segment:
    cdef public object begun
    cdef public object descriptor
    cdef public object end
    cdef public object identity
    cdef public object is_damaged
    cdef public object is_sound
    cdef public object live
    cdef public object marker
    cdef public object moved
    cdef public object number
    cdef public object octets
    cdef public object path
    cdef public object stuck
    cdef public object tag
