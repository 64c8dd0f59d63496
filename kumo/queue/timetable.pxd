# Types for the compiled form of timetable.py; see docs/decisions/0005-compiled-session.md.

cdef class Timetable:
    cdef public object _clock
    cdef public bint _is_running
    cdef public object _look_at
    cdef public object _order
    cdef public object _timer
    cdef public double _timer_at
    cdef public list _wakes
