"""Prints what the goals are stated in: ratios between kernels and their limits, measured interleaved.

``python -m benchmarks.ratios``. One process for each instruction set, all on one processor; every round
takes one sample of each contender, in turn, so that a neighbour on the machine slows all of them; what is
printed are ratios of medians. With ``--write`` the tables go into ``benchmarks/README.md`` and the plot
beside it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
from collections.abc import Iterator
from typing import Any

from benchmarks import report
from benchmarks.contender import Contender, Question, interleaved
from benchmarks.corpus import CORPORA, HOSTILE, LARGE, SIZES
from benchmarks.kernels import instruction_sets
from benchmarks.plot import Series, bar_chart
from benchmarks.report import Goal, number

PLOT = report.FOLDER / "kernels.svg"

SMALL, CHUNK, BIG = SIZES["2KiB"], SIZES["128KiB"], LARGE["20MB"]

ASKED = ("scan", "find_bare", "fix", "line_lengths", "unstuff", "receive_and_mend")
"""What is measured of each instruction set."""

CLEAN = ("a_text", "b_base64", "c_short_lines", "e_long_lines")
"""Contents with nothing to change in them, as nearly all mail is."""

MEASURED = {
    SMALL: (CORPORA, ("memcpy",), ("scan",)),
    CHUNK: (
        CORPORA | HOSTILE,
        ("memcpy", "memchr", "scan_pure_python", "scan_re"),
        ASKED,
    ),
    BIG: (CORPORA, ("memcpy", "memcpy_in_chunks"), ("scan_in_chunks", "fix")),
}
"""For each size the corpora, what does not depend on the instruction set, and the kernels."""

Seconds = dict[str, dict[str, dict[str, float]]]
"""Of a call, by size, corpus and contender; a kernel's name is followed by its instruction set."""


def measure(rounds: int) -> dict[str, Any]:
    """Measure all there is; large contents a third as often."""
    seconds: Seconds = {}
    sets = instruction_sets()
    with contextlib.ExitStack() as stack:
        contenders = [stack.enter_context(Contender(name)) for name in sets]
        for size, (corpora, others, kernels) in MEASURED.items():
            seconds[str(size)] = {}
            for corpus in corpora:
                asked = {name: (contenders[-1], Question(name, corpus, size)) for name in others}
                for kernel in kernels:
                    for one in contenders:
                        name = f"{kernel} {one.instruction_set}"
                        asked[name] = (one, Question(kernel, corpus, size))
                turns = rounds if size < BIG else max(rounds // 3, 3)
                seconds[str(size)][corpus] = interleaved(asked, turns)
    return {"machine": report.machine(), "rounds": rounds, "instruction_sets": sets, "seconds": seconds}


class Results:
    """What was measured, as ratios.

    Args:
        results: of ``measure``.
    """

    def __init__(self, results: dict[str, Any]) -> None:
        self.sets: list[str] = results["instruction_sets"]
        self._seconds: Seconds = results["seconds"]

    def seconds(self, contender: str, corpus: str, size: int = CHUNK) -> float:
        """Seconds of a call."""
        return self._seconds[str(size)][corpus][contender]

    def rate(self, contender: str, corpus: str, size: int = CHUNK) -> float:
        """GB/s, of 10⁹ octets."""
        return size / self.seconds(contender, corpus, size) / 1e9

    def ratio(self, contender: str, rival: str, corpus: str, size: int = CHUNK) -> float:
        """How much faster the contender is."""
        return self.seconds(rival, corpus, size) / self.seconds(contender, corpus, size)

    def python(self, corpus: str) -> str:
        """The faster one of Python's two."""
        return min("scan_pure_python", "scan_re", key=lambda name: self.seconds(name, corpus))


def rate_table(results: Results) -> str:
    """GB/s of the scan beside its limits and plain Python."""
    contenders = ["memcpy", "memchr", *(f"scan {name}" for name in results.sets)]
    contenders += ["scan_pure_python", "scan_re"]
    heads = ["GB/s, 128 KiB", *(name.replace("scan_", "").replace("_", " ") for name in contenders)]
    rows = [[corpus, *(number(results.rate(name, corpus)) for name in contenders)] for corpus in CORPORA]
    return report.table(heads, rows)


def ratio_table(results: Results) -> str:
    """The kernels as multiples of memcpy, at 128 KiB, on corpora and on what a hostile peer would send."""
    heads = [
        "128 KiB, times memcpy",
        *(f"scan {name}" for name in results.sets),
        "find bare",
        "fix",
        "line lengths",
    ]
    heads += ["unstuff", "receive and mend", "scan ÷ best Python", "cost against a"]
    widest = results.sets[-1]
    kernels = [f"scan {name}" for name in results.sets]
    kernels += [f"{kernel} {widest}" for kernel in ASKED[1:]]
    scan = f"scan {widest}"
    rows = []
    for corpus in CORPORA | HOSTILE:
        cells = [number(results.ratio(kernel, "memcpy", corpus)) for kernel in kernels]
        cells.append(number(results.ratio(scan, results.python(corpus), corpus)))
        cells.append(number(results.seconds(scan, corpus) / results.seconds(scan, "a_text")))
        rows.append([corpus, *cells])
    return report.table(heads, rows)


def size_table(results: Results) -> str:
    """A small message in nanoseconds, a large one as it is received in GB/s."""
    heads = ["corpus"]
    heads += [f"2 KiB, ns, {name}" for name in results.sets]
    heads += [f"20 MB in chunks, GB/s, {name}" for name in results.sets]
    heads += ["memcpy in chunks", "memcpy at once", "fix at once"]
    rows = []
    for corpus in CORPORA:
        cells = [f"{results.seconds(f'scan {name}', corpus, SMALL) * 1e9:.0f}" for name in results.sets]
        names = [f"scan_in_chunks {name}" for name in results.sets]
        names += ["memcpy_in_chunks", "memcpy", f"fix {results.sets[-1]}"]
        rows.append([corpus, *cells, *(number(results.rate(name, corpus, BIG)) for name in names)])
    return report.table(heads, rows)


def goals(results: Results) -> Iterator[Goal]:
    """What the core must reach."""
    for name, bound in (("avx2", 0.40), ("baseline", 0.20)):
        if name in results.sets:
            slowest = min(results.ratio(f"scan {name}", "memcpy", corpus) for corpus in CLEAN)
            yield Goal(f"scan ÷ memcpy on a b c e, the slowest, {name}", slowest, bound)
    best = next(name for name in ("avx2", "sse4", "baseline") if name in results.sets)
    scan = f"scan {best}"
    short = results.seconds(scan, "a_text") / results.seconds(scan, "c_short_lines")
    yield Goal(f"scan of c ÷ scan of a, {best}", short, 0.85)
    # memcpy has the widest registers there are: beside AVX2 stands the set that the processor chooses.
    widest = dict.fromkeys((best, results.sets[-1]))
    for name in widest:
        yield Goal(f"scan ÷ memcpy on f, {name}", results.ratio(f"scan {name}", "memcpy", "f_dotted"), 0.22)
    faster = min(results.ratio(scan, results.python(corpus), corpus) for corpus in CLEAN)
    yield Goal(f"scan ÷ best Python on a b c e, the slowest, {best}", faster, 60)
    slowest_call = max(results.seconds(scan, corpus, SMALL) for corpus in CORPORA) * 1e9
    yield Goal(f"nanoseconds of a scan of 2 KiB, the slowest, {best}", slowest_call, 350, at_most=True)
    for size, text in ((CHUNK, "128 KiB"), (BIG, "20 MB")):
        for name in widest:
            ratio = results.ratio(f"fix {name}", "memcpy", "d_bare_lf", size)
            yield Goal(f"fix ÷ memcpy on d, {text}, {name}", ratio, 0.30)
    for name in results.sets:
        yield from _worst_cases(results, name)


def _worst_cases(results: Results, instruction_set: str) -> Iterator[Goal]:
    """How much dearer than usual a peer can make an octet: for each kernel, and for all that a session calls.

    A session mends what the scan found something in, and takes dots out of what has some: what is usual for
    those two is content with which they have something to do.
    """
    usual = {
        "scan": ("a b c e", CLEAN),
        "line_lengths": ("a b c e", CLEAN),
        "unstuff": ("f", ("f_dotted",)),
        "fix": ("d", ("d_bare_lf",)),
        "receive_and_mend": ("a b c e", CLEAN),
    }
    for kernel, (what, corpora) in usual.items():
        name = f"{kernel} {instruction_set}"
        common = statistics.median(results.seconds(name, corpus) for corpus in corpora)
        dearest = max(results.seconds(name, corpus) for corpus in CORPORA | HOSTILE)
        text = f"{kernel.replace('_', ' ')}, dearest input ÷ {what}, {instruction_set}"
        yield Goal(text, dearest / common, 4, at_most=True)


def plot(results: Results) -> str:
    """GB/s for each corpus against the limits, as SVG."""
    contenders = [("memchr", "limit"), ("memcpy", "other")]
    contenders += [(f"scan {name}", f"kernel{place}") for place, name in enumerate(results.sets)]
    series = [
        Series(name, kind, [results.rate(name, corpus) for corpus in CORPORA]) for name, kind in contenders
    ]
    best_python = [results.rate(results.python(corpus), corpus) for corpus in CORPORA]
    series.append(Series("best plain Python", "python", best_python))
    groups = [corpus.replace("_", " ") for corpus in CORPORA]
    return bar_chart("One scan of 128 KiB, GB/s (logarithmic)", groups, series)


def sections(kept: dict[str, Any]) -> dict[str, str]:
    """The README's sections of these results."""
    results = Results(kept)
    preface = f"{kept['machine']}; {kept['rounds']} rounds, medians."
    return {
        "kernel rates": f"{preface}\n\n{rate_table(results)}",
        "kernel goals": report.goal_table(goals(results)),
        "kernel ratios": ratio_table(results),
        "kernel sizes": size_table(results),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="The kernels as ratios to memcpy, memchr and plain Python.")
    parser.add_argument("--rounds", type=int, default=41, help="samples of each (default: %(default)s)")
    report.add_options(parser)
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # inherited by the contenders
    if not options.saved:
        report.keep("kernels", measure(options.rounds))
    results = report.saved("kernels")
    report.publish(sections(results), write=options.write)
    if options.write:
        PLOT.write_text(plot(Results(results)))


if __name__ == "__main__":
    main()
