# Types for the compiled form of dialogue.py; see docs/decisions/0005-compiled-session.md.

cimport cython

from kumo_core.command cimport Command

from kumo.smtp.events cimport ContentReceived, MailReceived, RecipientReceived
from kumo.smtp.parameters cimport read_mail_parameters, read_rcpt_parameters
from kumo.smtp.path cimport envelope_address
from kumo.smtp.replies cimport address_accepted
from kumo.smtp.reply_queue cimport ReplyQueue
from kumo.smtp.transaction cimport Transaction


cdef dict _HANDLERS


cdef class Dialogue:
    cdef public object _parameters
    cdef public ReplyQueue _out
    cdef public Py_ssize_t _errors
    cdef public Py_ssize_t _accepted_mails
    cdef public Py_ssize_t _stray_responses
    cdef public object state
    cdef public Transaction transaction
    cdef public object greeting
    cdef public bint is_authenticated
    cdef public bint tls_is_active

    @cython.locals(command=Command, handlers=dict)
    cpdef interpret(self, bytes line)
    cpdef accept(self, event, answer)
    cpdef abandon_transaction(self)
    cpdef end_content(self, content, report)
    cpdef _mail(self, Command command, bytes line)
    cpdef _rcpt(self, Command command, bytes line)
    cdef _accept_mail(self, MailReceived event, answer)
    cdef _accept_recipient(self, RecipientReceived event, answer)
    cdef _accept_content(self, ContentReceived event, answer)
    cdef _succeed(self, reply)
    cdef Transaction _open_transaction(self)
    cdef _answer_content(self, reply, mode)
