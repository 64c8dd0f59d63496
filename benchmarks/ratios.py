"""Prints what the goals are stated in: ratios between kernels and their limits, measured interleaved.

``python -m benchmarks.ratios``. Every round measures each contender once, in turn, so that a neighbour on the
machine slows all of them; what is printed are ratios of medians.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from benchmarks import pure_python
from benchmarks.bench_core import KERNELS
from benchmarks.corpus import CORPORA, HOSTILE, SIZES

ROUNDS = 41
ROUND_SECONDS = 0.001


def medians(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return the median seconds a call of each contender takes."""
    repeats = {name: _repeats(call) for name, call in calls.items()}
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            samples[name].append(_seconds(call, repeats[name]))
    return {name: statistics.median(seconds) for name, seconds in samples.items()}


def _seconds(call: Callable[[], object], repeats: int) -> float:
    begin = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - begin) / repeats


def _repeats(call: Callable[[], object]) -> int:
    return max(1, int(ROUND_SECONDS / max(_seconds(call, 3), 1e-9)))


def _row(name: str, data: bytes) -> str:
    def bound(kernel: str) -> Callable[[], object]:
        call = KERNELS[kernel]
        return lambda: call(data)

    names = ("memcpy", "scan", "find_bare", "fix", "line_lengths", "unstuff")
    calls = {kernel: bound(kernel) for kernel in names}
    calls["python"] = lambda: pure_python.scan(data)
    seconds = medians(calls)
    cells = [f"{seconds['memcpy'] / seconds[kernel]:10.2f}" for kernel in names[1:]]
    faster = seconds["python"] / seconds["scan"]
    rate = len(data) / seconds["scan"] / 1e9
    return f"{name:20}{''.join(cells)}{faster:12.0f}{rate:8.1f}{seconds['scan'] * 1e9:10.0f}"


def main() -> None:
    """Print one table a size."""
    for size, octets in SIZES.items():
        print(f"\n{size}: times memcpy (find, fix, lengths: 1 and more is faster than copying)")
        print(f"{'corpus':20}{'scan':>10}{'find':>10}{'fix':>10}{'lengths':>10}{'unstuff':>10}", end="")
        print(f"{'scan/python':>12}{'GB/s':>8}{'ns':>10}")
        for name, make in {**CORPORA, **HOSTILE}.items():
            print(_row(name, make(octets)))


if __name__ == "__main__":
    main()
