# Types for the compiled form of cohorts.py; see docs/decisions/0005-compiled-session.md.

from kumo.listener.outbox cimport Outbox

cdef bytes _STAGES


cdef class Cohorts:
    cdef public list _cohort
    cdef public bint _is_due
    cdef public object _loop
    cdef public Outbox _outbox
    cdef public list _waiting

    cpdef add(self, member, Py_ssize_t stage)
    cdef list _gather(self)
    cdef _call_for_run(self)


cpdef Py_ssize_t stage_of(Py_ssize_t first) except -1
