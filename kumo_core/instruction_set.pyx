"""Which vector instructions the kernels use: chosen once, when this module is loaded.

The fastest set that processor and operating system offer, or the one that the environment variable
``KUMO_CORE_INSTRUCTION_SET`` names, for tests, for measurements and where the wide ones cost too much clock. The
results are the same. Every module of this package that scans or changes content calls through it.
"""

import os

cdef extern from "_instruction_sets.h":
    int kumo_available(const kumo_passes **available)

VARIABLE = "KUMO_CORE_INSTRUCTION_SET"
"""The environment variable that names a set."""

INSTRUCTION_SETS = ("avx512", "avx2", "baseline")
"""What may be asked for: AVX-512 with VBMI2, AVX2, and what every processor of the architecture has."""


cdef const kumo_passes *_chosen(wanted) except NULL:
    cdef const kumo_passes *available[3]
    cdef int count = kumo_available(available)
    cdef int i
    if not wanted:
        return available[0]
    if wanted not in INSTRUCTION_SETS:
        raise ValueError(f"{VARIABLE} is {wanted!r}, expected one of {', '.join(INSTRUCTION_SETS)}")
    for i in range(count):
        if available[i].name == wanted.encode():
            return available[i]
    raise ValueError(f"{VARIABLE} is {wanted!r}, which this processor does not have")


passes = _chosen(os.environ.get(VARIABLE))

INSTRUCTION_SET = passes.name.decode()
"""The name of the set in use."""
