# Types for the compiled form of cidr.py; see docs/decisions/0005-compiled-session.md.

cdef class CidrSet:
    cdef public dict _cache
    cdef public tuple _entries
    cdef public object _tree
