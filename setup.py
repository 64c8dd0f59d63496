"""The compiled modules of kumo_core; everything static is in pyproject.toml.

The list of extensions is explicit: a glob that finds nothing would build a wheel without
extensions and say nothing.

Environment switches for developers (any of them rebuilds everything, because cythonize does
not notice a changed directive):

``KUMO_CYTHON_TRACE``     line tracing for coverage
``KUMO_CYTHON_ANNOTATE``  an HTML page a module that shows where Python is called
``KUMO_SANITIZE``         AddressSanitizer and UndefinedBehaviorSanitizer
"""

import os

from Cython.Build import cythonize
from setuptools import Extension, setup

MODULES = ("command", "crlf", "data_scanner", "instruction_set", "line_length", "transparency")

HEADERS = [
    "kumo_core/_avx2.h",
    "kumo_core/_avx512.h",
    "kumo_core/_baseline.h",
    "kumo_core/_changing.h",
    "kumo_core/_classes.h",
    "kumo_core/_grammar.pxd",
    "kumo_core/_instruction_sets.h",
    "kumo_core/_looking.h",
    "kumo_core/_measuring.h",
    "kumo_core/_names.h",
    "kumo_core/_octets.pxd",
    "kumo_core/_passes.h",
    "kumo_core/instruction_set.pxd",
]

TRACE = bool(os.environ.get("KUMO_CYTHON_TRACE"))
ANNOTATE = bool(os.environ.get("KUMO_CYTHON_ANNOTATE"))
SANITIZE = bool(os.environ.get("KUMO_SANITIZE"))

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "initializedcheck": False,
    "cdivision": True,
    "freethreading_compatible": True,
    # Else stubtest reports a __test__ attribute that no stub has.
    "autotestdict": False,
    "linetrace": TRACE,
}

# -O3 unrolls the block loops; distributions build Python with -O2.
COMPILE_ARGS = ["-O3"]
LINK_ARGS: list[str] = []
MACROS: list[tuple[str, str | None]] = []
if SANITIZE:
    COMPILE_ARGS += ["-fsanitize=address,undefined", "-fno-omit-frame-pointer", "-g"]
    LINK_ARGS += ["-fsanitize=address,undefined"]
if TRACE:
    MACROS.append(("CYTHON_TRACE_NOGIL", "1"))

setup(
    ext_modules=cythonize(
        [
            Extension(
                f"kumo_core.{name}",
                [f"kumo_core/{name}.pyx"],
                depends=HEADERS,
                extra_compile_args=COMPILE_ARGS,
                extra_link_args=LINK_ARGS,
                define_macros=MACROS,
            )
            for name in MODULES
        ],
        compiler_directives=DIRECTIVES,
        annotate=ANNOTATE,
        force=TRACE or ANNOTATE or SANITIZE,
    ),
)
