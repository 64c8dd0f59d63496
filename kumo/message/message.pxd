# Types for the compiled form of message.py; see docs/decisions/0005-compiled-session.md.

cdef class Message:
    cdef public bytes _body
    cdef public bytes _head
    cdef public object due
    cdef public bint has_changed
    cdef public object id
    cdef public bint is_stored
    cdef public object meta
    cdef public Py_ssize_t num_attempts
    cdef public object recipients
    cdef public object sender
