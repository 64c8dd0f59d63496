# Types for the compiled form of transaction.py; see docs/decisions/0005-compiled-session.md.

from kumo.smtp.path cimport EnvelopeAddress


cdef class Transaction:
    cdef public EnvelopeAddress sender
    cdef public object declared
    cdef public list recipients
    cdef public list recipients_declared
