# Types for the compiled form of message_events.py; see docs/decisions/0005-compiled-session.md.

cdef class ReceptionEvents:
    cdef public object _engine


cdef class QueueEvents:
    cdef public object _engine


cdef class StorageEvents:
    cdef public object _engine
