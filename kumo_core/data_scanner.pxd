"""``data_scanner`` for modules that are compiled: called as C does, and its fields without a look-up."""

from kumo_core.instruction_set cimport kumo_lines, kumo_seam


cdef class ScanReport:
    cdef readonly Py_ssize_t content_length
    cdef readonly bint bare_cr
    cdef readonly bint bare_lf
    cdef readonly Py_ssize_t first_bare_offset
    cdef readonly Py_ssize_t stuffed_lines
    cdef readonly Py_ssize_t longest_line_over_limit


cdef class DataScanner:
    cdef readonly bint complete
    cdef readonly Py_ssize_t scanned
    cdef readonly Py_ssize_t content_length
    cdef Py_ssize_t _first_bare
    cdef Py_ssize_t _stuffed
    cdef bint _bare_cr
    cdef bint _bare_lf
    cdef kumo_seam _seam
    cdef kumo_lines _lines

    cpdef reset(self)
    cpdef Py_ssize_t scan(self, chunk, Py_ssize_t start=*, Py_ssize_t end=*) except -1
    cpdef ScanReport report(self)
    cdef Py_ssize_t _pending(self) noexcept
    cdef Py_ssize_t _stuffed_lines(self) noexcept
    cdef void _note_length(self) noexcept
    cdef Py_ssize_t _take(self, const unsigned char *p, Py_ssize_t n) noexcept
