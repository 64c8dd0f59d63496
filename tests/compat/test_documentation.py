"""docs/compatibility.md says what the code does: a row for each parameter, event, function and method."""

from __future__ import annotations

import dataclasses
import fnmatch
import re
from pathlib import Path

import pytest

from kumo.config import EsmtpListener
from kumo.policy.api import ALL_FUNCTIONS
from kumo.policy.events import FIRED_EVENTS, KNOWN_EVENTS
from kumo.policy.names import MESSAGE_METHODS, known_functions

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "compatibility.md").read_text()

DONE = {"works", "departs", "accepted"}
BY_THE_BRIDGE = {"on", "reject", "disconnect", "make_message", "memoize", "domain_map.new"}
"""Functions that are part of the Lua side itself."""


def states(heading: str) -> dict[str, str]:
    """The state of each name in backticks in the first column of a section's table."""
    section = TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    found = {}
    for row in section.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", row)]
        if len(cells) > 3 and cells[2] in {*DONE, "planned"}:
            for name in re.findall(r"`([^`]+)`", cells[1]):
                found[name.removeprefix("kumo.")] = cells[2]
    assert found, heading
    return found


def state_of(name: str, rows: dict[str, str]) -> str | None:
    """The row of a name, of the longest pattern that fits it, or of its module."""
    if name in rows:
        return rows[name]
    fitting = [pattern for pattern in rows if "*" in pattern and fnmatch.fnmatchcase(name, pattern)]
    if fitting:
        return rows[max(fitting, key=len)]
    return rows.get(name.partition(".")[0])


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(EsmtpListener)])
def test_every_parameter_that_is_taken_has_its_row(field: str) -> None:
    assert states("`kumo.start_esmtp_listener`").get(field) in DONE


@pytest.mark.parametrize("event", sorted(FIRED_EVENTS))
def test_every_event_that_is_fired_works(event: str) -> None:
    assert states("Events").get(event) in DONE


@pytest.mark.parametrize("event", sorted(KNOWN_EVENTS - FIRED_EVENTS))
def test_every_other_event_is_planned(event: str) -> None:
    assert state_of(event, states("Events")) == "planned"


def functions_in_the_documentation() -> dict[str, str]:
    return states("Other constructors") | states("Functions") | {"start_esmtp_listener": "works"}


@pytest.mark.parametrize("name", sorted(set(known_functions())))
def test_every_function_has_its_state(name: str) -> None:
    there = {alias for function in ALL_FUNCTIONS for alias in (function.name, *function.aliases)}
    state = state_of(name, functions_in_the_documentation())
    if name in there | BY_THE_BRIDGE:
        assert state in DONE
    else:
        assert state == "planned"


@pytest.mark.parametrize("name", sorted(MESSAGE_METHODS))
def test_every_message_method_has_its_state(name: str) -> None:
    assert states("Message methods").get(name) in {*DONE, "planned"}
