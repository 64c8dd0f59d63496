# Types for the compiled form of relay_authority.py; see docs/decisions/0005-compiled-session.md.

cdef class RelayAuthority:
    cdef public object _policy
