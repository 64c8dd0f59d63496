"""The functions of ``sending``, for modules that are compiled and call them as C does."""


cpdef list send_each(list descriptors, list contents)

cpdef list send_together(list descriptors, list contents)

cpdef long involuntary_switches()
