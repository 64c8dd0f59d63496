# Types for the compiled form of requests.py; see docs/decisions/0005-compiled-session.md.

cdef class Entry:
    cdef public object id
    cdef public object is_update
    cdef public object meta
    cdef public object segments


cdef class StoreRequest:
    cdef public object entries
    cdef public object error
    cdef public object manifest
    cdef public object manifest_temporary
    cdef public object placements


cdef class RemoveRequest:
    cdef public object error
    cdef public object spool_ids
