# Types for the compiled form of writer.py; see docs/decisions/0005-compiled-session.md.

from kumo.logs.channel cimport Channel


cdef class SegmentWriter:
    cdef public tuple _channels
    cdef public object _closing
    cdef public str _droppable
    cdef public Py_ssize_t _dropped
    cdef public double _drops_reported_at
    cdef public bint _is_closing
    cdef public bint _is_failing
    cdef public bint _is_over
    cdef public object _monotonic
    cdef public set _patient
    cdef public object _queue
    cdef public double _reported_at
    cdef public double _retry_interval
    cdef public Py_ssize_t _settled
    cdef public Py_ssize_t _submitted
    cdef public Py_ssize_t _taken
    cdef public object _thread
    cdef public object _urgent
    cdef public list _waiters
    cdef public object _wake

    cpdef submit(self, Channel channel, destination, header, line)
