# Types for the compiled form of timestamp.py; see docs/decisions/0005-compiled-session.md.

cpdef str print_rfc3339(object nanoseconds)
# Less than a second.
cdef str _print_fraction(int nanoseconds)
