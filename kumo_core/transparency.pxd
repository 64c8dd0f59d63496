"""A function of ``transparency``, for modules that are compiled and call it as C does."""


cpdef bytes unstuffed_octets(data, Py_ssize_t start, Py_ssize_t end)
