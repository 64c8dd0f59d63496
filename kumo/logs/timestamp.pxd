# Types for the compiled form of timestamp.py; see docs/decisions/0005-compiled-session.md.

cimport cython

cdef long long _second
cdef str _second_text

cpdef str print_rfc3339(object nanoseconds)


@cython.locals(seconds=cython.longlong, fraction=int)
cdef str _print_usual(long long nanoseconds)

# Less than a second.
cdef str _print_fraction(int nanoseconds)
