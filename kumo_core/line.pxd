"""The functions of ``line``, for modules that are compiled and call them as C does."""


cpdef Py_ssize_t find_crlf(bytes octets, Py_ssize_t start) except -2

cpdef int octet_at(data, Py_ssize_t place) except -1

cpdef bytes copy_octets(data, Py_ssize_t start, Py_ssize_t end)
