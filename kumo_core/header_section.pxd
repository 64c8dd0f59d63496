"""The functions of ``header_section``, for modules that are compiled and call them as C does."""


cpdef Py_ssize_t find_section_end(bytes content, Py_ssize_t limit) except -1

cpdef list find_fields(bytes content, Py_ssize_t section_end, tuple names, Py_ssize_t limit)
