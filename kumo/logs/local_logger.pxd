# Types for the compiled form of local_logger.py; see docs/decisions/0005-compiled-session.md.

cdef class LocalLogger:
    cdef public object _channel
    cdef public object _filter_event
    cdef public object _headers
    cdef public object _is_wanted
    cdef public object _meta
    cdef public object _out_of_band
    cdef public dict _plans
    cdef public bint _selects
    cdef public object _writer

    cpdef offer(self, record, message)
    cpdef _write(self, plan, record, message)
    cpdef _with_selection(self, record, message)
