"""The function of ``sending``, for modules that are compiled and call it as C does."""


cpdef list send_together(list descriptors, list contents)
