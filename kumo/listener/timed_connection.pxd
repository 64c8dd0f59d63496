# Types for the compiled form of timed_connection.py; see docs/decisions/0005-compiled-session.md.

cdef class TimedConnection:
    cdef public object _connection
    cdef public object _context
    cdef public object _flow
    cdef public bint _has_eof
    cdef public bint _is_closing
    cdef public bint _is_held_back
    cdef public double _linger_until
    cdef public bint _may_linger
    cdef public object _session
    cdef public object _settings
    cdef public object _timer
    cdef public object _transport
    cdef public object _verdict
    cdef public object _view
    cdef public double _writable_since
