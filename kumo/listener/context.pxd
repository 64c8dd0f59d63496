# Types for the compiled form of context.py; see docs/decisions/0005-compiled-session.md.

from kumo.listener.cohorts cimport Cohorts
from kumo.listener.outbox cimport Outbox
from kumo.metrics cimport Histogram


cdef class ListenerContext:
    cdef public object _config
    cdef public object _fixed_settings
    cdef public object _read_buffer
    cdef public dict _services
    cdef public dict _settings
    cdef public object accounting_log
    cdef public object admission
    cdef public Cohorts cohorts
    cdef public object command_view
    cdef public object hostname
    cdef public bint is_shutting_down
    cdef public object loop
    cdef public object messages_received
    cdef public object metrics
    cdef public object now
    cdef public object on_empty
    cdef public Outbox outbox
    cdef public object policy
    cdef public Histogram process_data_duration
    cdef public Histogram read_data_duration
    cdef public object receiver
    cdef public object rejection_log
    cdef public object relay_check
    cdef public set sessions
    cdef public object tls
    cdef public Histogram transaction_duration

    cpdef new_connection(self, tuple peer, tuple local)
    cpdef forget(self, session)


cpdef str new_session_id()
