# Types for the compiled form of metrics.py; see docs/decisions/0005-compiled-session.md.

cimport cython


cdef class Distribution:
    cdef public tuple _bounds
    cdef public list _counts
    cdef public double _first_bound
    cdef public double _sum

    @cython.locals(place=Py_ssize_t)
    cpdef observe(self, double seconds)


cdef class Histogram(Distribution):
    cdef public str documentation
    cdef public str name
