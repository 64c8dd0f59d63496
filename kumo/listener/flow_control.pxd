# Types for the compiled form of flow_control.py; see docs/decisions/0005-compiled-session.md.

cdef class FlowControl:
    cdef public object _carrier
    cdef public double _still_since
    cdef public double _time_limit
    cdef public object _transport
    cdef public Py_ssize_t _unsent
    cdef public bint is_writing_paused

    cpdef watch_writing(self, double now)
    cpdef double give_up_at(self, double now)
    cpdef Py_ssize_t _unsent_octets(self)
