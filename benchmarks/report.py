"""Tables as Markdown, goals met or not, and the README whose tables are what the scripts printed.

A script measures into plain values, which are kept as JSON, makes sections of Markdown of them, prints
those, and with ``--write`` puts them between their marks in ``benchmarks/README.md``:

    <!-- NAME: written by python -m benchmarks.SCRIPT -->
    ...
    <!-- /NAME -->
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).resolve().parent
README = FOLDER / "README.md"
RESULTS = FOLDER.parent / ".benchmarks" / "kumo"
"""Where results are kept; beside the runs that pytest-benchmark saves, and like them not in git."""


class Goal(NamedTuple):
    """A ratio that is to be reached.

    Args:
        text: what it is of.
        measured: the ratio; None when something that it needs was not measured.
        bound: what it must reach.
        at_most: whether it must stay at or below the bound, not at or above it.
    """

    text: str
    measured: float | None
    bound: float
    at_most: bool = False

    @property
    def is_met(self) -> bool:
        """Whether it was measured and is reached."""
        if self.measured is None:
            return False
        return self.measured <= self.bound if self.at_most else self.measured >= self.bound

    def row(self) -> list[str]:
        """The cells of its row in ``goal_table``."""
        sign = "≤" if self.at_most else "≥"
        if self.measured is None:
            return [self.text, f"{sign} {number(self.bound)}", "-", "not measured"]
        verdict = "met" if self.is_met else "**not met**"
        return [self.text, f"{sign} {number(self.bound)}", number(self.measured), verdict]


def number(value: float) -> str:
    """A number with the digits that mean something: at most three, all those before the point."""
    if abs(value) >= 100:
        return f"{value:.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}".removesuffix(".0")
    return f"{value:.2f}".removesuffix(".00")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def goal_table(goals: Iterable[Goal]) -> str:
    """The goals, what was measured, and whether it is enough."""
    return table(["goal", "required", "measured", ""], (goal.row() for goal in goals))


def machine() -> str:
    """One sentence about where something was measured."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*: (.*)", cpuinfo)
    compiler = subprocess.run(["gcc", "--version"], capture_output=True, text=True, check=False).stdout
    version = re.search(r"(\d+\.\d+\.\d+)\s*$", compiler.partition("\n")[0])
    return (
        f"{os.cpu_count()} processors ({model.group(1) if model else platform.machine()}), "
        f"Linux {platform.release().partition('-')[0]}, gcc {version.group(1) if version else 'unknown'}, "
        f"CPython {platform.python_version()}"
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that ``publish`` and ``saved`` understand."""
    parser.add_argument("--write", action="store_true", help="put the tables into benchmarks/README.md")
    parser.add_argument(
        "--saved", action="store_true", help="measure nothing: make the tables of the last results anew"
    )


def saved(name: str) -> dict[str, Any]:
    """The results that were kept under a name."""
    path = RESULTS / f"{name}.json"
    if not path.exists():
        raise SystemExit(f"no results are kept at {path}; run without --saved")
    results: dict[str, Any] = json.loads(path.read_text())
    return results


def keep(name: str, results: dict[str, Any]) -> None:
    """Keep results for ``saved``; earlier ones of that name are replaced."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n")


def publish(sections: dict[str, str], *, write: bool) -> None:
    """Print sections, and put them into the README if asked to."""
    for section in sections.values():
        print(f"{section}\n")
    if write:
        text = README.read_text()
        for name, section in sections.items():
            text = with_section(text, name, section)
        README.write_text(text)


def with_section(text: str, name: str, section: str) -> str:
    """The text with what stands between the marks of a section replaced.

    Raises:
        ValueError: the text has no such marks.
    """
    marks = re.compile(rf"(<!-- {re.escape(name)}:[^\n]*-->\n).*?(<!-- /{re.escape(name)} -->)", re.DOTALL)
    if marks.search(text) is None:
        raise ValueError(f"no section {name!r} between <!-- {name}: ... --> and <!-- /{name} -->")
    return marks.sub(lambda found: f"{found.group(1)}\n{section}\n\n{found.group(2)}", text)
