"""The compiled modules of kumo_core; everything static is in pyproject.toml.

The list of extensions is explicit: a glob that finds nothing would build a wheel without
extensions and say nothing.

Environment switches for developers (any of them rebuilds everything, because cythonize does
not notice a changed directive):

``KUMO_CYTHON_TRACE``     line tracing for coverage
``KUMO_CYTHON_ANNOTATE``  an HTML page a module that shows where Python is called
``KUMO_SANITIZE``         AddressSanitizer and UndefinedBehaviorSanitizer

Beside the kernels, some modules of ``kumo`` that every message passes through are compiled as they are: plain
Python, whose ``.pxd`` beside it gives types to its classes. They run uncompiled just as well, only slower.

``KUMO_PURE_PYTHON``      leaves them uncompiled; so do tracing and sanitizers
``KUMO_PROFILE``          ``record`` makes them note which of their code runs, beside their object files, and
                          ``use`` compiles them with what was noted; ``make profiled`` does both. Needs gcc
"""

import os
import pathlib

from Cython.Build import cythonize
from setuptools import Extension, setup

MODULES = (
    "command",
    "crlf",
    "data_scanner",
    "header_section",
    "instruction_set",
    "line",
    "line_length",
    "transparency",
)

# Written in Cython as well, for the system calls that they make.
SYSTEM_CALLS = ("kumo.listener.sending",)

# What pays, and by how much, stands in docs/decisions/0005-compiled-session.md. Compiled code gives the
# interpreter away only where it waits: in the log writer's loop kumo.logs.segment does, hence it is not here.
COMPILED_PYTHON = (
    "kumo.config.cidr",
    "kumo.health.admission",
    "kumo.listener.acceptor",
    "kumo.listener.changing_connection",
    "kumo.listener.cohorts",
    "kumo.listener.context",
    "kumo.listener.esmtp_protocol",
    "kumo.listener.flow_control",
    "kumo.listener.outbox",
    "kumo.listener.session_settings",
    "kumo.listener.timed_connection",
    "kumo.logs.channel",
    "kumo.logs.local_logger",
    "kumo.logs.logs",
    "kumo.logs.record",
    "kumo.logs.selection",
    "kumo.logs.session_records",
    "kumo.logs.timestamp",
    "kumo.logs.writer",
    "kumo.maybe_awaitable",
    "kumo.message.connection",
    "kumo.message.headers",
    "kumo.message.message",
    "kumo.message.queue_name",
    "kumo.message.spool_id",
    "kumo.message.trace",
    "kumo.metrics",
    "kumo.policy.bindings.meta",
    "kumo.policy.handler",
    "kumo.policy.lua_state",
    "kumo.policy.message_events",
    "kumo.policy.octets",
    "kumo.policy.session_events",
    "kumo.policy.watchdog",
    "kumo.queue.directory",
    "kumo.queue.resident_content",
    "kumo.queue.scheduled_queue",
    "kumo.queue.scheduled_queues",
    "kumo.queue.timetable",
    "kumo.reception.conformance",
    "kumo.reception.declared",
    "kumo.reception.reception",
    "kumo.reception.relay_authority",
    "kumo.reception.split",
    "kumo.smtp.content_reader",
    "kumo.smtp.dialogue",
    "kumo.smtp.events",
    "kumo.smtp.line_reader",
    "kumo.smtp.parameters",
    "kumo.smtp.path",
    "kumo.smtp.replies",
    "kumo.smtp.reply",
    "kumo.smtp.reply_queue",
    "kumo.smtp.server_session",
    "kumo.smtp.transaction",
    "kumo.spool.journal",
    "kumo.spool.journal_group",
    "kumo.spool.requests",
    "kumo.spool.segment",
    "kumo.spool.stored_envelope",
    "kumo.spool.writer",
)

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
    "kumo_core/_moving.h",
    "kumo_core/_names.h",
    "kumo_core/_octets.pxd",
    "kumo_core/_of_set.h",
    "kumo_core/_passes.h",
    "kumo_core/_shuffling.h",
    "kumo_core/_sixteen.h",
    "kumo_core/_sse4.h",
    "kumo_core/_tables.h",
    "kumo_core/command.pxd",
    "kumo_core/data_scanner.pxd",
    "kumo_core/header_section.pxd",
    "kumo_core/instruction_set.pxd",
    "kumo_core/line.pxd",
    "kumo_core/transparency.pxd",
    "kumo/listener/_sending.h",
    "kumo/listener/sending.pxd",
]

TRACE = bool(os.environ.get("KUMO_CYTHON_TRACE"))
ANNOTATE = bool(os.environ.get("KUMO_CYTHON_ANNOTATE"))
SANITIZE = bool(os.environ.get("KUMO_SANITIZE"))

# An editable install compiles into a folder that it throws away; the Makefile asks for one that does not.
NOTHING = bool(os.environ.get("KUMO_COMPILE_NOTHING"))
PURE_PYTHON = NOTHING or TRACE or SANITIZE or bool(os.environ.get("KUMO_PURE_PYTHON"))
PROCESSORS = os.cpu_count() or 1

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

# What is plain Python stays so: its checks, its division, and annotations that say nothing about C. An
# attribute of None is to be an AttributeError, not a wild read.
PYTHON_DIRECTIVES = {
    "language_level": 3,
    "nonecheck": True,
    "annotation_typing": False,
    "freethreading_compatible": True,
    "autotestdict": False,
}

PROFILE = os.environ.get("KUMO_PROFILE", "")

# Without what a debugger of C would want, which a third of the compiler's time goes into. Calls of the
# interpreter go straight to it: by way of each module's table of jumps, a pass over sixty modules for each
# message, they took 4 to 6 % of the time.
PYTHON_COMPILE_ARGS = ["-g0", "-fno-plt"]
PYTHON_LINK_ARGS: list[str] = []
if PROFILE == "record":
    # The threads of the logs and the spool count as well.
    PYTHON_COMPILE_ARGS += ["-fprofile-generate", "-fprofile-update=atomic"]
    PYTHON_LINK_ARGS += ["-fprofile-generate"]
elif PROFILE == "use":
    # What ran lies together, what did not is made small: a connection's message touches half as many pages.
    PYTHON_COMPILE_ARGS += ["-fprofile-use", "-fprofile-correction"]
    if not any(pathlib.Path("build").rglob("*.gcda")):
        raise SystemExit("KUMO_PROFILE=use: no notes are in build/; make profiled makes them, and needs gcc")
elif PROFILE:
    raise SystemExit(f"KUMO_PROFILE={PROFILE}: it is record or use")

# -O3 unrolls the block loops; distributions build Python with -O2.
COMPILE_ARGS = ["-O3"]
# Python is built with sums that wrap, for its own code's sake. The passes overflow nowhere, which
# tests/core/portability.c is for; where the compiler may count on it, SSE scans with 28 GB/s in place of 22.
PASSES = "kumo_core.instruction_set"
PASSES_ARGS = ["-fno-wrapv"]
LINK_ARGS: list[str] = []
MACROS: list[tuple[str, str | None]] = []
if SANITIZE:
    COMPILE_ARGS += ["-fsanitize=address,undefined", "-fno-omit-frame-pointer", "-g"]
    LINK_ARGS += ["-fsanitize=address,undefined"]
if TRACE:
    MACROS.append(("CYTHON_TRACE_NOGIL", "1"))

kernels = cythonize(
    [
        Extension(
            name,
            [f"{name.replace('.', '/')}.pyx"],
            depends=HEADERS,
            extra_compile_args=COMPILE_ARGS + (PASSES_ARGS if name == PASSES else []),
            extra_link_args=LINK_ARGS,
            define_macros=MACROS,
        )
        for name in (*(f"kumo_core.{kernel}" for kernel in MODULES), *SYSTEM_CALLS)
        if not NOTHING
    ],
    compiler_directives=DIRECTIVES,
    annotate=ANNOTATE,
    nthreads=PROCESSORS,
    force=TRACE or ANNOTATE or SANITIZE,
)
modules = cythonize(
    [
        Extension(
            name,
            [f"{name.replace('.', '/')}.py"],
            # Of the kernels' headers those that say what a scanner is made of.
            include_dirs=["kumo_core"],
            extra_compile_args=PYTHON_COMPILE_ARGS,
            extra_link_args=PYTHON_LINK_ARGS,
        )
        for name in COMPILED_PYTHON
        if not PURE_PYTHON
    ],
    compiler_directives=PYTHON_DIRECTIVES,
    annotate=ANNOTATE,
    nthreads=PROCESSORS,
    force=ANNOTATE,
)

setup(
    ext_modules=[*kernels, *modules],
    # Neither make nor distutils notices a changed option.
    options={"build_ext": {"parallel": PROCESSORS, "force": bool(PROFILE)}},
)
