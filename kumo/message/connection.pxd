# Types for the compiled form of connection.py; see docs/decisions/0005-compiled-session.md.

cdef class Connection:
    cdef public str peer_ip
    cdef public object peer_port
    cdef public str local_ip
    cdef public object local_port
    cdef public str session_id
    cdef public str hostname
    cdef public dict meta
    cdef public str ehlo_domain
    cdef public bint is_authenticated
    cdef public str tls_protocol_version
    cdef public str tls_cipher
    cdef public tuple tls_peer_subject_name
    cdef public object listener
    cdef public object auth_info
    cdef public dict listener_domains
