"""What ``command`` reads, for modules that are compiled and reach its fields without a look-up."""


cdef class Path:
    cdef readonly str local_part
    cdef readonly str domain
    cdef readonly bint is_literal


cdef class Command:
    cdef readonly str verb
    cdef readonly str argument
    cdef readonly Path path
    cdef readonly tuple parameters
