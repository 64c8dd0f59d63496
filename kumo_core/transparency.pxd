"""Functions of ``transparency``, for modules that are compiled and call them as C does."""


cpdef bytes unstuffed_octets(data, Py_ssize_t start, Py_ssize_t end)

cpdef Py_ssize_t count_leading_dots(data, Py_ssize_t start, Py_ssize_t end) except -1
