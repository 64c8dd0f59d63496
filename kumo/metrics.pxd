# Types for the compiled form of metrics.py; see docs/decisions/0005-compiled-session.md.

cdef class Distribution:
    cdef public tuple _bounds
    cdef public list _counts
    cdef public double _sum
