"""The regression gate for the kernels: instructions under callgrind, the same to the digit in every run.

``python -m benchmarks.instructions`` counts and compares with ``instructions.json``; it exits with 1 when
a kernel needs over 3 % more than there, and names it. ``--update`` writes the counts there. They depend on
the compiler and on Python, so they are kept for each combination; where there are none for this one, it
says so and exits with 0.

What is counted is the difference between 20 calls and 10, in the compiled modules alone: not in the
interpreter and the C library, whose allocator takes other turns in another folder or with other packages (7 %
of a call on 2 KiB were seen). valgrind knows AVX2, not AVX-512.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from benchmarks.corpus import CORPORA, SIZES, octets
from benchmarks.kernels import COMMANDS, INSTRUCTION_SET, KERNELS, SECTIONS, find_subject, instruction_sets
from kumo_core import parse_command

BASELINE = Path(__file__).with_suffix(".json")

FOLDER = Path(__file__).resolve().parent.parent / ".benchmarks" / "callgrind"
"""For contents and counts while it runs."""

TOLERANCE = 0.03
"""How much more a kernel may need than in the baseline."""

CALLS = 10
"""Calls of the first of the two runs whose difference counts."""

WARM_UP = 32
"""Calls before the first that counts: the interpreter adapts to what it runs."""

TIMEOUT = 110.0
"""Seconds that one run under valgrind may take."""

CACHE_LINE = 64
"""Octets of a line of the cache."""

_HEAD = bytes.__basicsize__ - 1
"""Octets of an object before its content, which the terminating NUL follows."""

_MARK = "getppid"
"""A function of the C library that nothing calls but ``os.getppid``: callgrind dumps its counts there."""

_COST = frozenset("0123456789+-*")
"""What a line with a position and its cost begins with."""

Counts = dict[str, int]
"""Instructions of ten calls, by kernel, corpus, size and instruction set."""


class Difference(NamedTuple):
    """A count that is not as in the baseline.

    Args:
        name: kernel, corpus, size and instruction set.
        old: instructions in the baseline.
        new: instructions now.
    """

    name: str
    old: int
    new: int

    @property
    def share(self) -> float:
        """How much more, as a share of the old count."""
        return self.new / self.old - 1

    def __str__(self) -> str:
        return f"{self.name}: {self.old} -> {self.new} instructions ({self.share:+.1%})"


def differences(old: Counts, new: Counts) -> list[Difference]:
    """What changed, the worst first."""
    changed = [
        Difference(name, old[name], new[name]) for name in new if old.get(name, new[name]) != new[name]
    ]
    return sorted(changed, key=lambda difference: difference.share, reverse=True)


def toolchain() -> str:
    """What the counts depend on, as one line."""
    compiler = os.environ.get("CC", "gcc")
    said = subprocess.run([compiler, "-dumpfullversion"], capture_output=True, text=True, check=False)
    python = ".".join(platform.python_version_tuple()[:2])
    cython = ".".join(version("Cython").split(".")[:2])
    c_library = " ".join(platform.libc_ver())
    return (
        f"{platform.machine()}, {compiler} {said.stdout.strip() or 'unknown'}, {c_library}, "
        f"CPython {python}, Cython {cython}"
    )


# --- under valgrind -----------------------------------------------------------------------------


def questions(contents: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    """What is counted, by name.

    Args:
        contents: a folder with a file for each corpus and size.
    """
    for size in SIZES:
        for corpus in CORPORA:
            data = aligned((contents / f"{corpus} {size}").read_bytes())
            for kernel, call in KERNELS.items():
                yield f"{kernel} {corpus} {size}", _bound(call, data)
    for name, line in COMMANDS.items():
        yield f"parse_command {name}", _bound(parse_command, line)
    for name, content in SECTIONS.items():
        yield f"find_fields {name}", _bound(find_subject, content)


def aligned(content: bytes) -> bytes:
    """A copy whose octets begin where a line of the cache does, which the kernels' first step depends on."""
    # Those that lie elsewhere are kept until the end, or the next would be made in the same place.
    copies = [bytes(memoryview(content)) for _ in range(CACHE_LINE)]
    return next(copy for copy in copies if (id(copy) + _HEAD) % CACHE_LINE == 0)


def _bound(call: Callable[[bytes], object], data: bytes) -> Callable[[], object]:
    return lambda: call(data)


def call_all(contents: Path) -> None:
    """Call everything, with a mark before and behind what is counted."""
    for _, call in questions(contents):
        for calls in (WARM_UP, CALLS, 2 * CALLS):
            turns = range(calls)
            os.getppid()
            for _ in turns:
                call()
        os.getppid()


# --- outside ------------------------------------------------------------------------------------


def count(instruction_set: str) -> Counts:
    """Run all calls under callgrind with one instruction set."""
    # Always the same folder: its name is among the strings that the interpreter has to keep somewhere.
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    for size, length in SIZES.items():
        for corpus in CORPORA:
            (FOLDER / f"{corpus} {size}").write_bytes(octets(corpus, length))
    _run(instruction_set)
    numbers = range(
        2, len(list(FOLDER.glob("out.*"))) + 1
    )  # the first part is what came before the first mark
    parts = [kernel_instructions((FOLDER / f"out.{number}").read_text()) for number in numbers]
    names = [name for name, _ in questions(FOLDER)]
    shutil.rmtree(FOLDER)
    counts = {}
    for place, name in enumerate(names):
        # Of each four parts: warm-up, calls, twice as many, what leads to the next question.
        once, twice = parts[4 * place + 1 : 4 * place + 3]
        counts[f"{name} {instruction_set}"] = twice - once
    return counts


def _run(instruction_set: str) -> None:
    # Nothing else of the environment: what is in it moves the stack.
    environment = {
        "PATH": "/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "PYTHONHASHSEED": "0",
        INSTRUCTION_SET: instruction_set,
    }
    program = [sys.executable, "-m", "benchmarks.instructions", "--under-valgrind"]
    # At other addresses the vector loops of the C library take other turns, and dictionaries other slots.
    valgrind = [_found("setarch"), "--addr-no-randomize", _found("valgrind"), "--tool=callgrind"]
    valgrind += [f"--dump-before={_MARK}", f"--callgrind-out-file={FOLDER}/out"]
    # First without valgrind: a module that had to be compiled leaves another heap behind than a loaded one.
    for command in (program, [*valgrind, *program]):
        done = subprocess.run(
            command,
            cwd=Path(__file__).parent.parent,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{command[0]} ended with {done.returncode}:\n{done.stderr}")


def _found(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        raise SystemExit(f"{program} is not installed; make instructions tells the package")
    return path


def kernel_instructions(part: str) -> int:
    """What callgrind counted in the kernels' own code.

    Args:
        part: a file that it wrote.

    Source: Valgrind manual, Callgrind format specification.
    """
    objects: dict[str, str] = {}
    total = 0
    is_kernel = is_callee = False
    for line in part.splitlines():
        if line.startswith(("ob=", "cob=")):
            # A name stands where its number does for the first time, be it that of what is called.
            number, _, name = line.partition("=")[2].partition(" ")
            name = objects.setdefault(number, name)
            if line.startswith("ob="):
                is_kernel = "/kumo_core/" in name
        elif line.startswith("calls="):
            is_callee = True  # the next line has what was called, which counts where it is
        elif line[:1] in _COST:
            total += int(line.split()[1]) if is_kernel and not is_callee else 0
            is_callee = False
    return total


def judge(old: Counts | None, new: Counts) -> tuple[list[str], bool]:
    """What is to be said about the counts, and whether they pass.

    Args:
        old: the baseline of this toolchain, if there is one.
        new: what was counted.
    """
    update = "python -m benchmarks.instructions --update"
    if old is None:
        return [f"no baseline for this toolchain, nothing is judged; to make one, run {update}"], True
    changed = differences(old, new)
    worse = [one for one in changed if one.new > one.old * (1 + TOLERANCE)]
    unknown = sorted(new.keys() - old.keys())
    lines = [f"over {TOLERANCE:+.0%}: {difference}" for difference in worse]
    lines += [f"not in the baseline: {name}; run {update}" for name in unknown]
    better = [difference for difference in changed if difference.share < -TOLERANCE]
    lines += [f"better, {update} keeps it: {difference}" for difference in better]
    largest = f", the largest change {changed[0]}" if changed else ", each as in the baseline"
    lines.append(f"{len(new)} counts{largest}")
    return lines, not worse and not unknown


def main() -> int:
    """Count, and judge or update."""
    parser = argparse.ArgumentParser(description="Instructions of the kernels, judged against a baseline.")
    parser.add_argument("--update", action="store_true", help="make these counts the baseline")
    parser.add_argument("--under-valgrind", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.under_valgrind:
        call_all(FOLDER)
        return 0
    baselines: dict[str, Counts] = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    key = toolchain()
    print(key)
    new: Counts = {}
    for instruction_set in instruction_sets():
        if instruction_set != "avx512":
            new |= count(instruction_set)
    if options.update:
        baselines[key] = new
        BASELINE.write_text(json.dumps(baselines, indent=1, sort_keys=True) + "\n")
        print(f"{len(new)} counts written")
        return 0
    lines, passes = judge(baselines.get(key), new)
    print("\n".join(lines))
    return 0 if passes else 1


if __name__ == "__main__":
    sys.exit(main())
