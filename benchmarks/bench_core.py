"""Every kernel over every corpus at every size, beside memcpy, memchr, Python, ``re`` and the oracle.

Run with ``--benchmark-enable``; the numbers mean something only as ratios inside one run, or against a run
that was saved on the same quiet machine (``--benchmark-autosave``, then ``pytest-benchmark compare``).
"""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING

import pytest

from benchmarks import corpus as corpora
from benchmarks.corpus import CORPORA, HOSTILE, LARGE, SIZES
from benchmarks.kernels import (
    CHUNKED,
    COMMANDS,
    CONTENDERS,
    KERNELS,
    LIMIT,
    LIMITS,
    PYTHON,
    SECTIONS,
    Call,
    find_subject,
    scan_in_chunks,
)
from kumo_core import parse_command
from tests.core import reference

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

ORACLES: dict[str, Call] = {
    "scan": lambda data: reference.scan(data, LIMIT),
    "find_bare": reference.find_bare_line_ending,
    "fix": reference.fix_line_endings,
    "line_lengths": lambda data: reference.check_line_lengths(data, LIMIT),
    "unstuff": reference.unstuff,
    "stuff": reference.stuff,
}

octets = cache(corpora.octets)


def measure(benchmark: BenchmarkFixture, call: Call, data: bytes) -> None:
    """Measure one call and note its octets a second."""
    benchmark(call, data)
    if benchmark.stats is not None:
        benchmark.extra_info["octets"] = len(data)
        benchmark.extra_info["octets_per_second"] = round(len(data) / benchmark.stats.stats.median)


@pytest.mark.parametrize("kernel", [*LIMITS, *KERNELS, *PYTHON])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("corpus", CORPORA)
def test_kernel(benchmark: BenchmarkFixture, corpus: str, size: str, kernel: str) -> None:
    benchmark.group = f"{size} {corpus}"
    measure(benchmark, CONTENDERS[kernel], octets(corpus, SIZES[size]))


@pytest.mark.parametrize("kernel", [*LIMITS, *CHUNKED, *KERNELS, *PYTHON])
@pytest.mark.parametrize("size", LARGE)
@pytest.mark.parametrize("corpus", CORPORA)
def test_large(benchmark: BenchmarkFixture, corpus: str, size: str, kernel: str) -> None:
    benchmark.group = f"{size} {corpus}"
    measure(benchmark, CONTENDERS[kernel], octets(corpus, LARGE[size]))


@pytest.mark.parametrize("kernel", ORACLES)
@pytest.mark.parametrize("corpus", CORPORA)
def test_oracle(benchmark: BenchmarkFixture, corpus: str, kernel: str) -> None:
    benchmark.group = f"128KiB {corpus}"
    measure(benchmark, ORACLES[kernel], octets(corpus, SIZES["128KiB"]))


@pytest.mark.parametrize("kernel", ["memcpy", *KERNELS])
@pytest.mark.parametrize("corpus", HOSTILE)
def test_hostile(benchmark: BenchmarkFixture, corpus: str, kernel: str) -> None:
    benchmark.group = f"128KiB {corpus}"
    measure(benchmark, CONTENDERS[kernel], octets(corpus, SIZES["128KiB"]))


@pytest.mark.parametrize("chunk_size", [1, 16, 256, 1460, 16384, 131072])
def test_scan_in_chunks(benchmark: BenchmarkFixture, chunk_size: int) -> None:
    benchmark.group = "128KiB a_text in chunks"
    measure(benchmark, partial(scan_in_chunks, octets=chunk_size), octets("a_text", SIZES["128KiB"]))


@pytest.mark.parametrize("chunk_size", [65536, 131072, 262144])
@pytest.mark.parametrize("corpus", CORPORA)
def test_large_in_chunks(benchmark: BenchmarkFixture, corpus: str, chunk_size: int) -> None:
    benchmark.group = f"20MB {corpus} in chunks"
    measure(benchmark, partial(scan_in_chunks, octets=chunk_size), octets(corpus, LARGE["20MB"]))


@pytest.mark.parametrize("command", COMMANDS)
def test_parse_command(benchmark: BenchmarkFixture, command: str) -> None:
    benchmark.group = "commands"
    measure(benchmark, parse_command, COMMANDS[command])


@pytest.mark.parametrize("section", SECTIONS)
def test_find_fields(benchmark: BenchmarkFixture, section: str) -> None:
    benchmark.group = "header sections"
    measure(benchmark, find_subject, SECTIONS[section])
