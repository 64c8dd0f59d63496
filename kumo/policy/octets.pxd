# Types for the compiled form of octets.py; see docs/decisions/0005-compiled-session.md.

cpdef str text_of(str octets)
cpdef str octets_of(str text)
