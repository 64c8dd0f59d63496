# Types for the compiled form of session_settings.py; see docs/decisions/0005-compiled-session.md.

cdef class SessionSettings:
    cdef public object _meta
    cdef public object _parameters
    cdef public object _rewriting_parameters
    cdef public double client_timeout
    cdef public object content_view
    cdef public object hostname
    cdef public object listener
    cdef public object tls_identity

    cpdef describe(self, connection)
