# Types for the compiled form of channel.py; see docs/decisions/0005-compiled-session.md.

cdef class Channel:
    cdef public object _clock
    cdef public object _dirty_since
    cdef public object _files
    cdef public object _level
    cdef public object _max_duration
    cdef public object _max_size
    cdef public object _monotonic
    cdef public dict _opened_at
    cdef public double _rejection_limit
    cdef public double _room
    cdef public dict _segments
    cdef public object directory
    cdef public Py_ssize_t dropped
    cdef public Py_ssize_t submitted
    cdef public Py_ssize_t taken
