# Types for the compiled form of reception.py; see docs/decisions/0005-compiled-session.md.

cdef class Reception:
    cdef public bint _is_hurried
    cdef public object _log
    cdef public object _new_id
    cdef public object _policy
    cdef public object _queues
    cdef public object _relay_authority
    cdef public object _store
    cdef public set _waits
