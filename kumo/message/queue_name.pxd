# Types for the compiled form of queue_name.py; see docs/decisions/0005-compiled-session.md.

cpdef str queue_name(meta, recipients)
cdef str _composed(str domain, tenant, campaign, routing_domain)
cdef _text(meta, str key)
cdef str _domain(recipients)
