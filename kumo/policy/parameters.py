"""How constructors read their parameters: the first mismatch ends the script, or all are noted.

The second is for ``kumod --validate``. There a value that does not fit is taken out of the table until the
rest can be read, so that the readers need not know about it. Called by ``kumo/policy/api``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple, TypeVar

from kumo.policy.convert import convert
from kumo.policy.findings import Severity
from kumo.policy.readers import Mismatch, read_struct
from kumo.policy.registry import VERSION, PolicyContext

T = TypeVar("T")

_MOST_PROBLEMS = 100
"""Of one table; reading starts over after each."""
_MISSING = re.compile(r"missing field `(.*)`")


class Problem(NamedTuple):
    """One thing in a table that does not fit.

    Args:
        path: of keys, from the outermost; list items count from 1.
        detail: KumoMTA's words.
        hint: what would have been right.
    """

    path: tuple[str, ...]
    detail: str
    hint: str | None


def read_parameters(
    context: PolicyContext,
    given: Any,
    dataclass_type: type[T],
    *,
    constructor: str,
    source: str | None,
    names_alternatives: bool = True,
) -> T | None:
    """Read a constructor's parameters.

    Args:
        context: of the call.
        given: plain values, as ``convert.plain_parameters`` makes them. Under ``--validate`` what does not
            fit is taken out.
        dataclass_type: as for ``convert``.
        constructor: as for ``convert``.
        source: as for ``convert``.
        names_alternatives: as for ``convert``.

    Returns:
        The parameters. Under ``--validate`` those that do not fit have their defaults; None when there
        is nothing to be had without them.

    Raises:
        ConfigError: as ``convert``, but not under ``--validate``.
    """
    findings = context.findings
    value: T | None
    if findings is None:
        value = convert(
            given,
            dataclass_type,
            constructor=constructor,
            source=source,
            names_alternatives=names_alternatives,
        )
    else:
        problems, value = examine(given, dataclass_type, names_alternatives=names_alternatives)
        for problem in problems:
            findings.add(
                problem.detail,
                place=source,
                constructor=constructor,
                key=".".join(problem.path) or None,
                hint=problem.hint,
            )
    warn_of_unused(context, constructor, given, dataclass_type, source)
    return value


def examine(
    given: Any, dataclass_type: type[T], *, names_alternatives: bool = True
) -> tuple[list[Problem], T | None]:
    """Find everything in a table that does not fit, and take it out.

    Returns:
        The problems, and what the rest of the table makes, None if nothing.
    """
    problems: list[Problem] = []
    removed: dict[tuple[str, ...], list[int]] = {}
    while len(problems) < _MOST_PROBLEMS:
        try:
            return problems, read_struct(dataclass_type, given, names_alternatives=names_alternatives)
        except Mismatch as mismatch:
            path = mismatch.path if mismatch.key is None else (*mismatch.path, mismatch.key)
            where = _path_in_original(path, removed)
            # What was taken out for its value is not missed as well.
            missing = _MISSING.fullmatch(mismatch.detail)
            if missing is None or all(problem.path != (*where, missing[1]) for problem in problems):
                problems.append(Problem(where, mismatch.detail, mismatch.hint))
            if not path or not _remove(given, path, removed):
                break
    return problems, None


def warn_of_unused(
    context: PolicyContext,
    constructor: str,
    given: Any,
    dataclass_type: type[Any],
    source: str | None,
) -> None:
    """Say which of the given keys are taken and change nothing."""
    without_effect: frozenset[str] = getattr(dataclass_type, "WITHOUT_EFFECT", frozenset())
    if not without_effect or type(given) is not dict:
        return
    for key in sorted(without_effect & given.keys()):
        text = f"`{key}` is accepted but has no effect in kumo {VERSION}"
        if context.findings is None:
            context.warn_once(f"{constructor}.{key}", f"{constructor}: {text}")
        else:
            context.findings.add(
                text, severity=Severity.WARNING, place=source, constructor=constructor, key=key
            )


def _path_in_original(path: tuple[str, ...], removed: dict[tuple[str, ...], list[int]]) -> tuple[str, ...]:
    """The path as it was before list items in front of it were taken out."""
    steps: list[str] = []
    for depth, step in enumerate(path):
        gone = removed.get(path[:depth], ())
        steps.append(str(_original_index(int(step), gone)) if gone else step)
    return tuple(steps)


def _original_index(index: int, gone: Iterable[int]) -> int:
    for other in sorted(gone):
        if index >= other:
            index += 1
    return index


def _remove(table: Any, path: tuple[str, ...], removed: dict[tuple[str, ...], list[int]]) -> bool:
    """Take what a path leads to out of a tree; False if it leads nowhere."""
    holder = table
    for step in path[:-1]:
        key = _key_in(holder, step)
        if key is None:
            return False
        holder = holder[key]
    key = _key_in(holder, path[-1])
    if key is None:
        return False
    if type(holder) is list:
        gone = removed.setdefault(path[:-1], [])
        gone.append(_original_index(key + 1, gone))
    del holder[key]
    return True


def _key_in(holder: Any, step: str) -> Any:
    """What indexes a dict or list by a step of a path; None: no such item."""
    if type(holder) is dict:
        # Keys that are numbers are text in paths.
        return next((key for key in holder if str(key) == step), None)
    if type(holder) is list and step.isdigit() and 0 < int(step) <= len(holder):
        return int(step) - 1
    return None
