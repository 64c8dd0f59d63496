"""What ``data_scanner`` reports, for modules that are compiled and reach its fields without a look-up."""


cdef class ScanReport:
    cdef readonly Py_ssize_t content_length
    cdef readonly bint bare_cr
    cdef readonly bint bare_lf
    cdef readonly Py_ssize_t first_bare_offset
    cdef readonly Py_ssize_t stuffed_lines
    cdef readonly Py_ssize_t longest_line_over_limit
