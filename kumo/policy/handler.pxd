# Types for the compiled form of handler.py; see docs/decisions/0005-compiled-session.md.

from kumo.policy.lua_state cimport LuaState


cdef class Handler:
    cdef public object _entry
    cdef public bint _is_startup
    cdef public object _observe
    cdef public bint _takes_connection
    cdef public int arity
    cdef public str event
    cdef public LuaState state

    cpdef _answer(self, outcome)
    cpdef _result(self, tuple outcome)
    cpdef _end(self, frame, double seconds)
