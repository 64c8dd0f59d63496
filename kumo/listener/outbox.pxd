# Types for the compiled form of outbox.py; see docs/decisions/0005-compiled-session.md.

cimport cython

from kumo.listener.sending cimport send_each, send_together


cdef class Sender:
    cdef public int descriptor

    cpdef bytes take_due(self)
    cpdef sent(self, bytes rest)
    cpdef send_due(self)


cdef class Outbox:
    cdef public object _loop
    cdef public object _switches
    cdef public Py_ssize_t _turns_apart
    cdef public Py_ssize_t _turns_together
    cdef public list _waiting
    cdef public bint is_attended

    cpdef add(self, Sender sender)

    @cython.locals(sender=Sender, octets=bytes, rest=bytes)
    cpdef flush(self)
    cdef list _send(self, list descriptors, list contents)
