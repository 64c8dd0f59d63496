# Types for the compiled form of directory.py; see docs/decisions/0005-compiled-session.md.

cdef class QueueDirectory:
    cdef public object _clock
    cdef public object _failures
    cdef public object _flights
    cdef public Py_ssize_t _generation
    cdef public object _marking
    cdef public object _on_change
    cdef public object _policy
    cdef public dict _queues
