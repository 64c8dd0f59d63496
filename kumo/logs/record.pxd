# Types for the compiled form of record.py; see docs/decisions/0005-compiled-session.md.

cimport cython

from kumo.message cimport Message as MessageType
from kumo.smtp cimport EnvelopeAddress as AddressType


@cython.locals(only=AddressType)
cpdef print_recipients(list recipients)

cpdef reception_protocol(MessageType message)
