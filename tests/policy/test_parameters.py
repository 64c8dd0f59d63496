"""Everything that is wrong with a table, and what is left of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from kumo.config import EsmtpListener, LocalLogs, QueueConfig, Spool
from kumo.errors import ConfigError
from kumo.policy.findings import Findings
from kumo.policy.parameters import examine, read_parameters


def found(table: Any, dataclass_type: type[Any]) -> list[tuple[str, str]]:
    problems, _ = examine(table, dataclass_type)
    return [(".".join(problem.path), problem.detail.partition(",")[0]) for problem in problems]


@dataclass(frozen=True)
class Lists:
    names: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()


@pytest.mark.parametrize(
    ("table", "dataclass_type", "expected"),
    [
        ({}, EsmtpListener, []),
        ({"banner": "x"}, EsmtpListener, []),
        (
            {"b": 1, "a": 2, "banner": 3, "max_message_size": -1},
            EsmtpListener,
            [
                ("a", "unknown field `a`"),
                ("b", "unknown field `b`"),
                ("banner", "invalid type: integer `3`"),
                ("max_message_size", "invalid value: integer `-1`"),
            ],
        ),
        (
            {"peer": {"10.0.0.0/8": {"x": 1, "banner": 2, "via": {"10.0.0.1": {"y": 1}}}}},
            EsmtpListener,
            [
                ("peer.10.0.0.0/8.x", "unknown field `x`"),
                ("peer.10.0.0.0/8.banner", "invalid type: integer `2`"),
                ("peer.10.0.0.0/8.via.10.0.0.1.y", "unknown field `y`"),
            ],
        ),
        (
            {"trace_headers": {"x": 1, "supplemental_header": 1}},
            EsmtpListener,
            [
                ("trace_headers.x", "unknown field `x`"),
                ("trace_headers.supplemental_header", "invalid type: integer `1`"),
            ],
        ),
        (
            {1: "x", "banner": 2},
            EsmtpListener,
            [("1", "invalid type: integer `1`"), ("banner", "invalid type: integer `2`")],
        ),
        ([1], EsmtpListener, [("", "invalid type: sequence")]),
        ({"path": "/x"}, Spool, [("", "missing field `name`")]),
        ({"path": 1, "name": "data"}, Spool, [("path", "invalid type: integer `1`")]),
        (
            {"names": ["a", 1, "b", 2, 3], "numbers": ["x", 1]},
            Lists,
            [
                ("names.2", "invalid type: integer `1`"),
                ("names.4", "invalid type: integer `2`"),
                ("names.5", "invalid type: integer `3`"),
                ("numbers.1", 'invalid type: string "x"'),
            ],
        ),
        (
            {"protocol": {"smtp": {"x": 1}}, "max_age": "soon"},
            QueueConfig,
            [("max_age", 'invalid value: string "soon"'), ("protocol.smtp.x", "unknown field `x`")],
        ),
        ({"log_dir": "/x", "compression_level": 99}, LocalLogs, [("", "invalid value: integer `99`")]),
    ],
)
def test_all_problems_are_found(
    table: Any, dataclass_type: type[Any], expected: list[tuple[str, str]]
) -> None:
    assert found(table, dataclass_type) == expected


def test_what_fits_is_kept() -> None:
    problems, value = examine({"banner": 1, "hostname": "mx.example", "nonsense": 2}, EsmtpListener)
    assert len(problems) == 2
    assert value == EsmtpListener(hostname="mx.example")


def test_problems_of_one_table_are_bounded() -> None:
    problems, value = examine({f"x{number}": 1 for number in range(1000)}, EsmtpListener)
    assert (len(problems), value) == (100, None)


def test_hints_are_kept() -> None:
    problems, _ = examine({"bannner": 1}, EsmtpListener)
    assert problems[0].hint == "did you mean `banner`?"


def test_without_validating_the_first_problem_is_raised(lua: Any) -> None:
    with pytest.raises(ConfigError, match="unknown field `a`"):
        read_parameters(
            lua.context, {"a": 1, "b": 2}, EsmtpListener, constructor="kumo.x", source="init.lua:3"
        )


def test_under_validate_all_are_noted_with_the_line(lua: Any) -> None:
    lua.findings = Findings()
    value = read_parameters(
        lua.context, {"a": 1, "b": 2}, EsmtpListener, constructor="kumo.x", source="init.lua:3"
    )
    assert value == EsmtpListener()
    assert [
        (finding.source, finding.line, finding.constructor, finding.key) for finding in lua.findings.sorted()
    ] == [("init.lua", 3, "kumo.x", "a"), ("init.lua", 3, "kumo.x", "b")]
