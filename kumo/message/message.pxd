# Types for the compiled form of message.py; see docs/decisions/0005-compiled-session.md.

from kumo.smtp cimport EnvelopeAddress as AddressType


cdef class Message:
    cdef public bytes _body
    cdef public bytes _head
    cdef public object due
    cdef public bint has_changed
    cdef public str id
    cdef public bint is_stored
    cdef public dict meta
    cdef public Py_ssize_t num_attempts
    cdef public list recipients
    cdef public AddressType sender

    cpdef prepend(self, bytes fields)
