# Types for the compiled form of dialogue.py; see docs/decisions/0005-compiled-session.md.

from kumo.smtp.reply_queue cimport ReplyQueue


cdef class Dialogue:
    cdef public object _parameters
    cdef public ReplyQueue _out
    cdef public Py_ssize_t _errors
    cdef public Py_ssize_t _accepted_mails
    cdef public Py_ssize_t _stray_responses
    cdef public object state
    cdef public object transaction
    cdef public object greeting
    cdef public bint is_authenticated
    cdef public bint tls_is_active

    cpdef interpret(self, bytes line)
    cpdef accept(self, event, answer)
    cpdef abandon_transaction(self)
    cpdef end_content(self, content, report)
    cdef _succeed(self, reply)
    cdef _open_transaction(self)
    cdef _answer_content(self, reply, mode)
