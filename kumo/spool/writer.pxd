# Types for the compiled form of writer.py; see docs/decisions/0005-compiled-session.md.

cdef class Job:
    cdef public object chore
    cdef public object error
    cdef public object future
    cdef public object messages
    cdef public object removal
    cdef public object request


cdef class Writer:
    cdef public object _batches
    cdef public object _engine
    cdef public object _health
    cdef public object _on_error
    cdef public object _submitted
    cdef public object _thread
