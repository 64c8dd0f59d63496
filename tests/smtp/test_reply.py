"""How replies become octets, and that no text can forge another reply."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kumo.errors import Rejection, RemoteProtocolError
from kumo.smtp import Reply, replies
from kumo_core import Fault


@pytest.mark.parametrize(
    ("code", "text", "octets"),
    [
        (250, "OK", b"250 OK\r\n"),
        (250, "", b"250 \r\n"),
        (550, "one\ntwo", b"550-one\r\n550 two\r\n"),
        (550, "one\r\ntwo\r\n", b"550-one\r\n550-two\r\n550 \r\n"),
        (550, "\n", b"550-\r\n550 \r\n"),
        (550, "a\rb", b"550 a?b\r\n"),
        (550, "a\tb\x00\x1b[31m\x7f", b"550 a\tb??[31m?\r\n"),
        (550, "a\u2028b\x85c", b"550 a?b?c\r\n"),
        (550, "a\ud800", b"550 a?\r\n"),
        (250, "OK <jörg@example.com>", "250 OK <jörg@example.com>\r\n".encode()),
        (7, "passed on", b"7 passed on\r\n"),
        (1234, "a\nb", b"1234-a\r\n1234 b\r\n"),
    ],
)
def test_a_reply_becomes_octets(code: int, text: str, octets: bytes) -> None:
    assert Reply(code, text).encode() == octets


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_any_text_makes_a_well_formed_reply(text: str) -> None:
    lines = Reply(550, text).encode().split(b"\r\n")
    assert lines.pop() == b""
    *first, last = lines
    assert all(line.startswith(b"550-") for line in first)
    assert last.startswith(b"550 ")
    assert not re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", b"".join(lines))


@pytest.mark.parametrize(
    ("code", "is_refusal"), [(399, False), (400, True), (599, True), (600, False), (250, False), (354, False)]
)
def test_4xx_and_5xx_are_refusals(code: int, is_refusal: bool) -> None:
    assert Reply(code, "").is_refusal is is_refusal


def test_a_reply_is_made_of_what_an_exception_carries() -> None:
    assert Reply.of(Rejection(550, "no")) == Reply(550, "no")
    assert Reply.of(RemoteProtocolError(501, "what")) == Reply(501, "what")


def test_every_fault_of_the_parser_has_a_reply() -> None:
    assert set(replies.OF_FAULT) == set(Fault)
    assert {reply.code for reply in replies.OF_FAULT.values()} == {501}
