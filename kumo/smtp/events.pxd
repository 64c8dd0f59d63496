# Types for the compiled form of events.py; see docs/decisions/0005-compiled-session.md.

from kumo_core.data_scanner cimport ScanReport

from kumo.smtp.path cimport EnvelopeAddress
from kumo.smtp.reply cimport Reply


cdef class ConnectionOpened:
    pass


cdef class GreetingReceived:
    cdef readonly str verb
    cdef readonly str domain
    cdef readonly tuple keywords
    cdef readonly str command


cdef class MailReceived:
    cdef readonly EnvelopeAddress sender
    cdef readonly object declared
    cdef readonly str command


cdef class RecipientReceived:
    cdef readonly EnvelopeAddress sender
    cdef readonly EnvelopeAddress recipient
    cdef readonly object declared
    cdef readonly bint over_limit
    cdef readonly str command


cdef class ContentReceived:
    cdef readonly EnvelopeAddress sender
    cdef readonly tuple recipients
    cdef readonly object declared
    cdef readonly tuple recipients_declared
    cdef readonly bytes content
    cdef readonly ScanReport report


cdef class ReplyPending:
    cdef readonly Reply reply
    cdef readonly str command


cdef class ReplyRefused:
    cdef readonly Reply reply
    cdef readonly str command
    cdef readonly EnvelopeAddress sender
    cdef readonly EnvelopeAddress recipient


cdef class SessionEnded:
    cdef readonly str reason
