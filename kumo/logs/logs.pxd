# Types for the compiled form of logs.py; see docs/decisions/0005-compiled-session.md.

cdef class Logs:
    cdef public object _clock
    cdef public bint _is_closed
    cdef public tuple _loggers
    cdef public str _node_id
    cdef public object _writer

    cdef _offer(self, record, message)
