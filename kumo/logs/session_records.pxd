# Types for the compiled form of session_records.py; see docs/decisions/0005-compiled-session.md.

from kumo.logs.record cimport reception_protocol
from kumo.logs.timestamp cimport print_rfc3339
from kumo.message cimport Connection as ConnectionType, Message as MessageType

cdef long long NANOSECONDS


cpdef reception_record(MessageType message, ConnectionType connection, str queue, str node_id, long long now)
