# Types for the compiled form of octets.py; see docs/decisions/0005-compiled-session.md.

# Objects: a method of a `str` that is None would be called without a look.
cpdef str text_of(octets)
cpdef str octets_of(text)
