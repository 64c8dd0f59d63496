# Types for the compiled form of outbox.py; see docs/decisions/0005-compiled-session.md.

cdef class Outbox:
    cdef public object _loop
    cdef public list _waiting

    cpdef add(self, sender)
