# Types for the compiled form of spool_id.py; see docs/decisions/0005-compiled-session.md.

cimport cython


cdef class SpoolIdSource:
    # Ticks of 100 ns since 1582: they fit into 60 bits.
    cdef public long long _era
    cdef public long long _last
    cdef public str _node
    cdef public str _tail

    @cython.locals(nanoseconds=cython.longlong, ticks=cython.longlong, era=cython.longlong, digits=str)
    cpdef str new_id(self, object now=*)


cdef long long _BASE
cdef long long _EPOCH_TICKS
cdef long long _ERA
cdef Py_ssize_t _ID_LENGTH


@cython.locals(ticks=cython.longlong)
cpdef long long created_ticks(str spool_id) except? -1


@cython.locals(place=Py_ssize_t, code=cython.longlong)
cdef long long _append_digits(long long number, str text, Py_ssize_t start, Py_ssize_t end) except? -1
