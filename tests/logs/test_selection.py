from __future__ import annotations

from typing import Any

import pytest

from kumo.logs.selection import HeaderSelection, MetaSelection
from tests.logs.samples import make_message

META = {
    "tenant": "t1",
    "Tenant": "t2",
    "campaign": None,
    "x_a": 1,
    "x_b": None,
    "x": False,
    "list": [1, "two"],
}


@pytest.mark.parametrize(
    ("patterns", "selected"),
    [
        ((), {}),
        (("tenant",), {"tenant": "t1"}),
        (("Tenant",), {"Tenant": "t2"}),
        (("TENANT",), {}),
        (("absent", "tenant"), {"tenant": "t1"}),
        (("campaign",), {}),
        (("x",), {"x": False}),
        (("x_*",), {"x_a": 1, "x_b": None}),
        (("X_*",), {}),
        (("x*", "list"), {"list": [1, "two"], "x_a": 1, "x_b": None, "x": False}),
        (("*",), META),
        (("x_*", "x_a"), {"x_a": 1, "x_b": None}),
        (("t*t",), {}),
    ],
)
def test_meta_is_selected_by_name_or_prefix(patterns: tuple[str, ...], selected: dict[str, Any]) -> None:
    selection = MetaSelection(patterns)
    assert selection.select(META) == selected
    assert bool(selection) == bool(patterns)


CONTENT = (
    b"SUBJECT: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\n"
    b"X-One: a\r\n"
    b"x-two: b\r\n folded\r\n"
    b"X-ONE: c\r\n"
    b"no field at all\r\n"
    b"x-one: d\r\n"
    b"\r\n"
    b"X-One: body\r\n"
)


@pytest.mark.parametrize(
    ("patterns", "selected"),
    [
        ((), {}),
        (("subject",), {"SUBJECT": "gr\u00fc\u00dfe"}),
        (("X-TWO",), {"x-two": "b folded"}),
        (("x-one",), {"X-One": ["a", "c", "d"]}),
        (("X-*",), {"X-One": ["a", "c", "d"], "x-two": "b folded"}),
        (("x-t*", "Subject"), {"SUBJECT": "gr\u00fc\u00dfe", "x-two": "b folded"}),
        (("absent",), {}),
        (("received",), {"Received": "by kumo"}),
        (
            ("*",),
            {
                "Received": "by kumo",
                "SUBJECT": "gr\u00fc\u00dfe",
                "X-One": ["a", "c", "d"],
                "x-two": "b folded",
            },
        ),
    ],
)
def test_headers_are_selected_without_regard_to_case(
    patterns: tuple[str, ...], selected: dict[str, Any]
) -> None:
    message = make_message(body=CONTENT)
    message.prepend(b"Received: by kumo\r\n")
    selection = HeaderSelection(patterns)
    assert selection.select(message) == selected
    assert bool(selection) == bool(patterns)


def test_selecting_headers_does_not_join_trace_fields_and_body() -> None:
    message = make_message(body=CONTENT)
    message.prepend(b"Received: by kumo\r\n")
    HeaderSelection(["subject"]).select(message)
    assert message.segments == (b"Received: by kumo\r\n", CONTENT)


def test_a_message_without_trace_fields_has_its_headers() -> None:
    assert HeaderSelection(["x-two"]).select(make_message(body=CONTENT)) == {"x-two": "b folded"}


def test_a_message_that_is_not_in_memory_has_no_headers() -> None:
    assert HeaderSelection(["*"]).select(make_message(body=None)) == {}
