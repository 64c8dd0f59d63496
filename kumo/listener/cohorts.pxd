# Types for the compiled form of cohorts.py; see docs/decisions/0005-compiled-session.md.

from kumo.listener.outbox cimport Outbox

cdef bytes _STAGES


cdef class Cohorts:
    cdef public Py_ssize_t _count
    cdef public bint _is_due
    cdef public object _loop
    cdef public Outbox _outbox
    cdef public list _since
    cdef public Py_ssize_t _turn
    cdef public list _waiting

    cpdef add(self, member, Py_ssize_t stage)
    cdef Py_ssize_t _next_stage(self) except -1


cpdef Py_ssize_t stage_of(Py_ssize_t first) except -1
