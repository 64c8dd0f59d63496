# Types for the compiled form of acceptor.py; see docs/decisions/0005-compiled-session.md.

cdef class Acceptor:
    cdef public object _listening
    cdef public object _loop
    cdef public object _on_connection
    cdef public double _pause
    cdef public object _retry
    cdef public object _waiting
