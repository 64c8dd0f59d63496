# Types for the compiled form of relay_authority.py; see docs/decisions/0005-compiled-session.md.

from kumo.message cimport Connection as ConnectionType


cdef class RelayAuthority:
    cdef public object _policy

    cpdef bint relays_all(self, ConnectionType connection) except -1
