# Types for the compiled form of reply_queue.py; see docs/decisions/0005-compiled-session.md.

from kumo.smtp.reply cimport Reply


cdef class ReplyQueue:
    cdef public str _hostname
    cdef public list _more
    cdef public bytes _octets
    cdef public bint _rewrites
    cdef public bint ended
    cdef public list facts
    cdef public list waiting

    cpdef bint has_octets(self)
    cpdef send(self, Reply reply, command=*, mode=*, transaction=*)
    cpdef pending(self)
    cpdef end(self, str reason)
    cpdef bytes take_octets(self)
    cdef _append(self, bytes octets)
    cdef _transmit(self, Reply reply, command, mode, transaction)
