# Types for the compiled form of record.py; see docs/decisions/0005-compiled-session.md.

from kumo.message cimport Message as MessageType


cpdef reception_protocol(MessageType message)
