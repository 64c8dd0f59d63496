# Types for the compiled form of reception.py; see docs/decisions/0005-compiled-session.md.

from kumo.message cimport Connection as ConnectionType, Message as MessageType
from kumo.smtp cimport ContentReceived as ContentType


cdef class Reception:
    cdef public bint _is_hurried
    cdef public object _log
    cdef public object _new_id
    cdef public object _policy
    cdef public object _queues
    cdef public object _relay_authority
    cdef public object _store
    cdef public set _waits

    cpdef receive(self, ConnectionType connection, ContentType content)
    cdef _begin(self, ConnectionType connection, MessageType message, list recipients, str date)
    cdef _record(self, connection, message, queue, verdict)


cdef _supplement(MessageType message, trace_headers)
cdef str _queue_of(MessageType message)
