# Types for the compiled form of outbox.py; see docs/decisions/0005-compiled-session.md.

cdef class Outbox:
    cdef public object _loop
    cdef public list _waiting
    cdef public bint is_attended

    cpdef add(self, sender)
    cpdef flush(self)
