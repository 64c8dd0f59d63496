"""Which vector instructions the kernels use: chosen once, when this module is loaded.

The fastest set that processor and operating system offer, or the one that the environment variable
``KUMO_CORE_INSTRUCTION_SET`` names: for tests, for measurements, and where the wide ones cost too much clock.
Any other name is refused. The results are the same. Every module of this package that scans or changes
content calls through it.
"""

from libc.stdlib cimport getenv
from libc.string cimport strcmp

cdef extern from "_instruction_sets.h":
    enum: KUMO_SETS
    int kumo_available(const kumo_passes **available)

VARIABLE = "KUMO_CORE_INSTRUCTION_SET"
"""The environment variable that names a set."""

INSTRUCTION_SETS = ("avx512", "avx2", "sse4", "baseline")
"""What it may name: AVX-512 with VBMI2, AVX2 with BMI2, SSE4.2 with POPCNT, and what every processor of the
architecture has."""


cdef const kumo_passes *_chosen() except NULL:
    cdef const kumo_passes *available[KUMO_SETS]
    cdef int count = kumo_available(available)
    cdef const char *wanted = getenv("KUMO_CORE_INSTRUCTION_SET")
    cdef int i
    if wanted == NULL or wanted[0] == 0:
        return available[0]
    for i in range(count):
        if strcmp(available[i].name, wanted) == 0:
            return available[i]
    name = wanted.decode("utf-8", "backslashreplace")
    if name in INSTRUCTION_SETS:
        raise ValueError(f"{VARIABLE} is {name!r}, which this processor does not have")
    raise ValueError(f"{VARIABLE} is {name!r}, expected one of {', '.join(INSTRUCTION_SETS)}")


passes = _chosen()

INSTRUCTION_SET = passes.name.decode()
"""The name of the set in use."""
