# Types for the compiled form of journal.py; see docs/decisions/0005-compiled-session.md.

cdef class Location:
    cdef public object record
    cdef public object segment


cdef class _Batch:
    cdef public object bases
    cdef public object detached
    cdef public object failed
    cdef public object lost
    cdef public object too_long
    cdef public object written


cdef class Journal:
    cdef public object _active
    cdef public object _closed
    cdef public object _directory
    cdef public object _files
    cdef public object _flush
    cdef public object _index
    cdef public object _is_named
    cdef public object _numbers
    cdef public object _set_aside
    cdef public object _spares
    cdef public object _times_taken_back
