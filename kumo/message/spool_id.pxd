# Types for the compiled form of spool_id.py; see docs/decisions/0005-compiled-session.md.

cimport cython


cdef class SpoolIdSource:
    # Ticks of 100 ns since 1582: they fit into 60 bits.
    cdef public long long _last
    cdef public str _tail

    @cython.locals(ticks=cython.longlong, digits=str)
    cpdef str new_id(self, object now=*)


cpdef object created_ticks(str spool_id)
