# Types for the compiled form of metrics.py; see docs/decisions/0005-compiled-session.md.

cdef class Distribution:
    cdef public tuple _bounds
    cdef public double _first_bound
    cdef public list _counts
    cdef public double _sum

    cpdef observe(self, double seconds)
