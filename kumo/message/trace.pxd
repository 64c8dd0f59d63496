# Types for the compiled form of trace.py; see docs/decisions/0005-compiled-session.md.

cimport cython

from kumo.message.connection cimport Connection
from kumo.smtp cimport EnvelopeAddress as AddressType


cdef long long _second
cdef str _second_text

cpdef str received_protocol(Connection connection)
cpdef bytes received_field(
    Connection connection, str message_id, AddressType first_recipient, str date, str protocol=*
)

cpdef bytes supplemental_field(parameters, list recipients, dict meta)


@cython.locals(only=AddressType)
cpdef print_recipients(list recipients)


@cython.locals(second=cython.longlong)
cpdef str received_date(double unix)
