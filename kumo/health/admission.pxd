# Types for the compiled form of admission.py; see docs/decisions/0005-compiled-session.md.

cdef class Admission:
    cdef public object _disk
    cdef public object _memory
    cdef public bint is_shutting_down
    cdef public bint is_spool_ready
    cdef public object spool_fault

    cpdef refusal(self)
    cdef bint _is_memory_short(self)
