# Types for the compiled form of lua_state.py; see docs/decisions/0005-compiled-session.md.

from kumo.policy.watchdog cimport Watchdog


cdef class LuaState:
    cdef public object _abandoned
    cdef public object _bridge
    cdef public double _next_collection
    cdef public dict _objects
    cdef public object _runtime
    cdef public str _trace
    cdef public object _values
    cdef public Py_ssize_t active
    cdef public object connections
    cdef public object context
    cdef public object messages
    cdef public object numbers
    cdef public object surroundings
    cdef public Py_ssize_t untidied
    cdef public Watchdog watchdog
