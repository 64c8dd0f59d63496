# Types for the compiled form of message_events.py; see docs/decisions/0005-compiled-session.md.

cdef class ReceptionEvents:
    cdef public dict _handlers


cdef class QueueEvents:
    cdef public dict _handlers


cdef class StorageEvents:
    cdef public object _engine
    cdef public dict _handlers
