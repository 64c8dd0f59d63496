# Types for the compiled form of server_session.py; see docs/decisions/0005-compiled-session.md.

from kumo.smtp.content_reader cimport ContentReader
from kumo.smtp.dialogue cimport Dialogue
from kumo.smtp.line_reader cimport LineReader
from kumo.smtp.reply_queue cimport ReplyQueue
from kumo_core.line cimport copy_octets


cdef Py_ssize_t MAX_HELD_OCTETS


cdef class ServerSession:
    cdef public object _parameters
    cdef public double _progress
    cdef public LineReader _lines
    cdef public ContentReader _content
    cdef public ReplyQueue _out
    cdef public Dialogue _dialogue
    cdef public object _awaiting
    cdef public bint _eof
    cdef public bint _stopping

    cpdef receive_data(self, data, double now, Py_ssize_t start=*, Py_ssize_t end=*)
    cpdef bint is_receiving_content(self)
    cpdef accept(self, answer=*, now=*)
    cpdef next_event(self)
    cpdef bint has_data_to_send(self)
    cpdef bytes data_to_send(self)
    cdef _advance(self)
    cdef _advance_content(self)
    cdef _starve(self)
    cdef _take_awaited(self, now)
