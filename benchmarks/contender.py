"""Kernels in a process of their own, one for each instruction set, measured in turn with the others.

The set is chosen when ``kumo_core`` is loaded, so one process can measure one only. ``Contender`` starts
``python -m benchmarks.contender``, which is asked for one sample at a time, and so takes turns with its
rivals.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import NamedTuple, Self

from benchmarks.corpus import octets
from benchmarks.kernels import CONTENDERS, forced_to

SAMPLE_SECONDS = 0.001
"""How long one sample takes at least; shorter ones measure the clock."""


class Question(NamedTuple):
    """What one sample is of.

    Args:
        kernel: a name of ``CONTENDERS``.
        corpus: a name of ``CORPORA`` or ``HOSTILE``.
        size: octets of the content.
    """

    kernel: str
    corpus: str
    size: int


class Contender:
    """The kernels as loaded for one instruction set; ``with`` starts and ends its process.

    Args:
        instruction_set: a value of KUMO_CORE_INSTRUCTION_SET.
    """

    def __init__(self, instruction_set: str) -> None:
        self.instruction_set = instruction_set

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.contender"],
            cwd=Path(__file__).parent.parent,
            env=forced_to(self.instruction_set),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def sample(self, question: Question) -> float:
        """Seconds of one call, by the mean of some."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(question), file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())


def interleaved(contenders: dict[str, tuple[Contender, Question]], rounds: int) -> dict[str, float]:
    """Ask all of them in turn, and again.

    Returns:
        For each the median of its samples, in seconds a call.
    """
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, (contender, question) in contenders.items():
            samples[name].append(contender.sample(question))
    return {name: statistics.median(seconds) for name, seconds in samples.items()}


@cache
def _repeats(question: Question) -> int:
    _seconds(question, 1)
    return max(1, int(SAMPLE_SECONDS / max(_seconds(question, 2), 1e-9)))


_octets = cache(octets)


def _seconds(question: Question, repeats: int) -> float:
    call, data = CONTENDERS[question.kernel], _octets(question.corpus, question.size)
    turns = range(repeats)
    begin = time.perf_counter()
    for _ in turns:
        call(data)
    return (time.perf_counter() - begin) / repeats


def main() -> None:
    """Answer with seconds a call, a line for each question, until there are no more."""
    for line in sys.stdin:
        question = Question(*json.loads(line))
        print(_seconds(question, _repeats(question)), flush=True)


if __name__ == "__main__":
    main()
