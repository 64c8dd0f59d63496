# Types for the compiled form of changing_connection.py; see docs/decisions/0005-compiled-session.md.

from kumo.listener.timed_connection cimport TimedConnection


cdef class ChangingConnection(TimedConnection):
    cdef public object _header
    cdef public bint _may_relay
    cdef public object _service
    cdef public object _tls
