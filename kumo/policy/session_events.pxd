# Types for the compiled form of session_events.py; see docs/decisions/0005-compiled-session.md.

cdef class SessionEvents:
    cdef public dict _handlers
