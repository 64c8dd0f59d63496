"""The passes of the instruction set in use, for the modules of this package."""

from libc.stdint cimport uint64_t


cdef extern from "_passes.h" nogil:
    enum: STEP "KUMO_STEP"
    enum: NOWHERE "KUMO_NOWHERE"

    ctypedef struct kumo_seam:
        uint64_t cr
        uint64_t line
        uint64_t dot
        uint64_t dot_cr

    ctypedef struct kumo_findings:
        Py_ssize_t end
        Py_ssize_t dots
        Py_ssize_t first_bare
        uint64_t bare_lf
        uint64_t bare_cr

    ctypedef struct kumo_lines:
        Py_ssize_t limit
        Py_ssize_t start
        Py_ssize_t longest
        bint is_long

    ctypedef struct kumo_change:
        const unsigned char *octets "from"
        Py_ssize_t taken
        Py_ssize_t length
        unsigned char *to
        Py_ssize_t made
        Py_ssize_t room

    ctypedef struct kumo_passes:
        const char *name
        Py_ssize_t (*take)(
            const unsigned char *p, Py_ssize_t n, kumo_seam *seam, kumo_lines *lines, kumo_findings *found
        ) noexcept
        Py_ssize_t (*first_bare)(const unsigned char *p, Py_ssize_t n) noexcept
        Py_ssize_t (*first_dot)(const unsigned char *p, Py_ssize_t n) noexcept
        Py_ssize_t (*count_bare)(const kumo_change *change) noexcept
        Py_ssize_t (*count_dots)(const kumo_change *change) noexcept
        void (*mend)(kumo_change *change) noexcept
        void (*stuff)(kumo_change *change) noexcept
        void (*unstuff)(kumo_change *change) noexcept
        Py_ssize_t (*skip_lines)(
            const unsigned char *p, Py_ssize_t start, Py_ssize_t n, Py_ssize_t limit
        ) noexcept


# Set once, when the module is loaded.
cdef const kumo_passes *passes
