# Types for the compiled form of watchdog.py; see docs/decisions/0005-compiled-session.md.

cdef class Watchdog:
    cdef public object _clock
    cdef public double _handler_seconds
    cdef public double _load_seconds
    cdef public dict _next_word
    cdef public double _slow
    cdef public object current
    cdef public bint is_startup
    cdef public double started

    cpdef double begin(self, event, bint is_startup)
    cpdef double end(self, double began)
    cpdef double seconds_since(self, double began)
