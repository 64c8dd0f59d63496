"""Tables, goals and the README's sections."""

from __future__ import annotations

import re

import pytest

from benchmarks import report
from benchmarks.report import Goal, goal_table, number, table, with_section


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.123, "0.12"),
        (0.4, "0.40"),
        (5.0, "5"),
        (9.999, "10"),
        (10.04, "10"),
        (12.34, "12.3"),
        (99.96, "100"),
        (123.4, "123"),
        (30067.0, "30067"),
        (-0.5, "-0.50"),
    ],
)
def test_a_number_has_the_digits_that_mean_something(value: float, text: str) -> None:
    assert number(value) == text


def test_a_table_is_markdown() -> None:
    assert table(["a", "b"], [["1", "2"], ["3", "4"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |\n| 3 | 4 |"


@pytest.mark.parametrize(
    ("goal", "is_met", "verdict"),
    [
        (Goal("at least", 0.4, 0.4), True, "met"),
        (Goal("at least", 0.39, 0.4), False, "**not met**"),
        (Goal("at most", 0.2, 0.2, at_most=True), True, "met"),
        (Goal("at most", 0.21, 0.2, at_most=True), False, "**not met**"),
        (Goal("unknown", None, 1), False, "not measured"),
    ],
)
def test_a_goal_is_judged(goal: Goal, is_met: bool, verdict: str) -> None:
    assert goal.is_met is is_met
    assert goal_table([goal]).splitlines()[2].endswith(f"| {verdict} |")


README = (
    "before\n<!-- one: written by x -->\nold\n\nold\n<!-- /one -->\n"
    "<!-- one more: y -->\n<!-- /one more -->\n"
)


def test_a_section_is_replaced_and_nothing_else() -> None:
    text = with_section(README, "one", r"new \1")
    assert text == README.replace("old\n\nold\n", "\nnew \\1\n\n")
    assert with_section(text, "one", r"new \1") == text


def test_an_unknown_section_is_an_error() -> None:
    with pytest.raises(ValueError, match="no section 'two'"):
        with_section(README, "two", "text")


def test_the_readme_has_the_marks_of_every_section() -> None:
    text = report.README.read_text()
    opened = re.findall(r"<!-- ([^/:][^:]*):", text)
    assert opened == re.findall(r"<!-- /(.*) -->", text)
    assert {"kernel rates", "kernel goals", "kernel ratios", "kernel sizes"} <= set(opened)
    assert {"peers servers", "peers durable", "peers workers", "policy", "tls", "memory", "soak"} <= set(
        opened
    )
