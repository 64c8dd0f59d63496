"""Every kernel over every corpus, beside memcpy, ``bytes.count``, plain Python and the tests' oracle.

Run with ``--benchmark-enable``; the numbers mean something only as ratios inside one run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks import pure_python
from benchmarks.corpus import CORPORA, HOSTILE, SIZES
from kumo_core import (
    DataScanner,
    check_line_lengths,
    find_bare_line_ending,
    fix_line_endings,
    parse_command,
    stuff,
    unstuff,
)
from tests.core import reference

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_benchmark.fixture import BenchmarkFixture

LIMIT = 998
_scanner = DataScanner(LIMIT)


def scan(data: bytes) -> int:
    _scanner.reset()
    return _scanner.scan(data)


KERNELS: dict[str, Callable[[bytes], object]] = {
    "memcpy": lambda data: bytes(memoryview(data)),
    "bytes_count": lambda data: data.count(b"\n"),
    "scan": scan,
    "scan_pure_python": pure_python.scan,
    "find_bare": find_bare_line_ending,
    "find_bare_pure_python": pure_python.find_bare_line_ending,
    "fix": fix_line_endings,
    "fix_pure_python": pure_python.fix_line_endings,
    "line_lengths": lambda data: check_line_lengths(data, LIMIT),
    "line_lengths_pure_python": lambda data: pure_python.check_line_lengths(data, LIMIT),
    "unstuff": unstuff,
    "unstuff_pure_python": pure_python.unstuff,
    "stuff": stuff,
}
ORACLES: dict[str, Callable[[bytes], object]] = {
    "scan": lambda data: reference.scan(data, LIMIT),
    "find_bare": reference.find_bare_line_ending,
    "fix": reference.fix_line_endings,
    "line_lengths": lambda data: reference.check_line_lengths(data, LIMIT),
    "unstuff": reference.unstuff,
    "stuff": reference.stuff,
}
COMMANDS = {
    "mail": b"MAIL FROM:<sender@example.com>",
    "mail_size_body": b"MAIL FROM:<sender@example.com> SIZE=2048 BODY=8BITMIME",
    "rcpt": b"RCPT TO:<recipient@example.org>",
    "rcpt_utf8": "RCPT TO:<empfänger@müller.example>".encode(),
    "rcpt_ipv6": b"RCPT TO:<a@[IPv6:2001:db8::1]>",
    "ehlo": b"EHLO mail.example.com",
    "data": b"DATA",
    "unknown": b"GET / HTTP/1.1",
}


def measure(benchmark: BenchmarkFixture, call: Callable[[bytes], object], data: bytes) -> None:
    """Measure one call and note its octets a second."""
    benchmark(call, data)
    if benchmark.stats is not None:
        benchmark.extra_info["octets_per_second"] = round(len(data) / benchmark.stats.stats.median)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("corpus", CORPORA)
def test_kernel(benchmark: BenchmarkFixture, corpus: str, size: str, kernel: str) -> None:
    benchmark.group = f"{size} {corpus}"
    measure(benchmark, KERNELS[kernel], CORPORA[corpus](SIZES[size]))


@pytest.mark.parametrize("kernel", ORACLES)
@pytest.mark.parametrize("corpus", CORPORA)
def test_oracle(benchmark: BenchmarkFixture, corpus: str, kernel: str) -> None:
    benchmark.group = f"128KiB {corpus}"
    measure(benchmark, ORACLES[kernel], CORPORA[corpus](SIZES["128KiB"]))


@pytest.mark.parametrize("kernel", ["memcpy", "scan", "fix", "line_lengths", "unstuff", "stuff"])
@pytest.mark.parametrize("corpus", HOSTILE)
def test_hostile(benchmark: BenchmarkFixture, corpus: str, kernel: str) -> None:
    benchmark.group = f"128KiB {corpus}"
    measure(benchmark, KERNELS[kernel], HOSTILE[corpus](SIZES["128KiB"]))


@pytest.mark.parametrize("chunk_size", [1, 16, 256, 1460, 16384, 131072])
def test_scan_in_chunks(benchmark: BenchmarkFixture, chunk_size: int) -> None:
    def in_chunks(data: bytes) -> None:
        _scanner.reset()
        for start in range(0, len(data), chunk_size):
            _scanner.scan(data, start, min(start + chunk_size, len(data)))

    benchmark.group = "128KiB a_text in chunks"
    measure(benchmark, in_chunks, CORPORA["a_text"](SIZES["128KiB"]))


@pytest.mark.parametrize("command", COMMANDS)
def test_parse_command(benchmark: BenchmarkFixture, command: str) -> None:
    benchmark.group = "commands"
    measure(benchmark, parse_command, COMMANDS[command])
