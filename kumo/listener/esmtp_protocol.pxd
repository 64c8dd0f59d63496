# Types for the compiled form of esmtp_protocol.py; see docs/decisions/0005-compiled-session.md.

cimport cython

from kumo.listener.changing_connection cimport ChangingConnection
from kumo.listener.cohorts cimport stage_of
from kumo.smtp cimport ServerSession as Session
from kumo_core.line cimport octet_at

cdef dict _ACTIONS
cdef int _LF
cdef Py_ssize_t COMMAND_OCTETS
cdef Py_ssize_t _SHORT


cdef class EsmtpConnection(ChangingConnection):
    cdef public object _content_since
    cdef public bint _has_ended
    cdef public bint _has_new_greeting
    cdef public bint _has_written
    cdef public bint _is_due
    cdef public bint _is_storing
    cdef public double _processing_since
    cdef public double _transaction_since

    @cython.locals(session=Session)
    cpdef buffer_updated(self, Py_ssize_t nbytes)
    cdef _pump(self, double now)
    cdef _open_session(self, transport, double now)
    cdef _send_soon(self)
    cdef bint _is_alone(self) except? -1
    cdef _send(self)
    cdef _write(self, bytes rest)
    cpdef go_on(self, double now)
    cpdef send_due(self)
    cpdef bytes take_due(self)
    cpdef sent(self, bytes rest)
    cdef _note_greeting(self, Session session)
    cdef _processed(self)
    cdef _ask(self, Session session, question, subject)
