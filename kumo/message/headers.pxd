# Types for the compiled form of headers.py; see docs/decisions/0005-compiled-session.md.

from kumo_core.header_section cimport find_fields, find_section_end


cpdef Py_ssize_t header_section_end(bytes content) except -1
cpdef list named_fields(bytes content, tuple wanted)
cdef list _named(bytes content, tuple wanted, Py_ssize_t limit)
