# Types for the compiled form of path.py; see docs/decisions/0005-compiled-session.md.

from kumo_core.command cimport Path


cdef class EnvelopeAddress:
    cdef readonly str local_part
    cdef readonly str domain
    cdef readonly str email


cpdef EnvelopeAddress envelope_address(Path path)
