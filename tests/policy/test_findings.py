"""How findings are placed and ordered."""

from __future__ import annotations

import pytest

from kumo.errors import ConfigError, PolicyError
from kumo.policy.findings import Findings, Severity


@pytest.mark.parametrize(
    ("message", "place", "expected"),
    [
        ("init.lua:3: boom\nstack traceback:\n\tx", None, ("init.lua", 3, "boom")),
        ("/etc/a:b/init.lua:3: boom", None, ("/etc/a:b/init.lua", 3, "boom")),
        ("boom", None, (None, None, "boom")),
        ("boom", "init.lua:3", ("init.lua", 3, "boom")),
        ("boom", "domains.toml", ("domains.toml", None, "boom")),
        ("init.lua:3: boom", "other.lua:4", ("other.lua", 4, "init.lua:3: boom")),
    ],
)
def test_places(message: str, place: str | None, expected: tuple[str | None, int | None, str]) -> None:
    findings = Findings()
    findings.add(message, place=place)
    (found,) = findings.sorted()
    assert (found.source, found.line, found.message) == expected


@pytest.mark.parametrize(
    ("place", "source"),
    [("...ery/long/init.lua:3", "/very/very/long/init.lua"), ("...other.lua:3", "...other.lua")],
)
def test_a_path_that_lua_shortened_is_the_scripts_if_it_ends_like_it(place: str, source: str) -> None:
    findings = Findings("/very/very/long/init.lua")
    findings.add(f"{place}: boom")
    assert [found.source for found in findings.sorted()] == [source]


def test_they_are_sorted_by_file_and_line_and_each_is_there_once() -> None:
    findings = Findings()
    for place in ("b.lua:1", None, "a.lua:10", "a.lua:9", "a.lua", "a.lua:9"):
        findings.add("x", place=place)
    assert [(found.source, found.line) for found in findings.sorted()] == [
        ("a.lua", None),
        ("a.lua", 9),
        ("a.lua", 10),
        ("b.lua", 1),
        (None, None),
    ]


@pytest.mark.parametrize(("is_end", "partial"), [(False, False), (True, True)])
def test_what_ends_the_script_leaves_it_partial(is_end: bool, partial: bool) -> None:
    findings = Findings()
    (findings.add_end if is_end else findings.add_error)(PolicyError("boom"))
    assert findings.is_partial is partial


def test_errors_become_findings() -> None:
    findings = Findings()
    findings.add_error(ConfigError("bad", constructor="kumo.x", source="init.lua:2", hint="good"))
    findings.add_end(PolicyError("init.lua:3: boom"))
    first, second = findings.sorted()
    assert (first.message, first.constructor, first.line, first.hint) == ("bad", "kumo.x", 2, "good")
    assert (second.message, second.line, second.severity) == ("boom", 3, Severity.ERROR)
