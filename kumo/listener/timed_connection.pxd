# Types for the compiled form of timed_connection.py; see docs/decisions/0005-compiled-session.md.

from kumo.listener.context cimport ListenerContext
from kumo.listener.flow_control cimport FlowControl
from kumo.listener.outbox cimport Sender
from kumo.listener.session_settings cimport SessionSettings
from kumo.message cimport Connection as ConnectionType
from kumo.smtp cimport ServerSession as Session


cdef class TimedConnection(Sender):
    cdef public ConnectionType _connection
    cdef public ListenerContext _context
    cdef public FlowControl _flow
    cdef public bint _has_eof
    cdef public bint _has_input
    cdef public bint _is_closing
    cdef public bint _is_held_back
    cdef public double _linger_until
    cdef public bint _may_linger
    cdef public Session _session
    cdef public SessionSettings _settings
    cdef public object _timer
    cdef public object _transport
    cdef public object _verdict
    cdef public object _view
    cdef public double _writable_since

    cdef _pump(self, double now)
    cdef _hold_back(self)
    cdef _let_go_on(self)
    cdef _close(self, double now)
    cdef _look_again_after(self, double seconds)
    cdef _enforce_limits(self, double now)
