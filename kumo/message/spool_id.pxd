# Types for the compiled form of spool_id.py; see docs/decisions/0005-compiled-session.md.

cdef class SpoolIdSource:
    # Ticks of 100 ns since 1582: they fit into 60 bits.
    cdef public long long _last
    cdef public str _tail
