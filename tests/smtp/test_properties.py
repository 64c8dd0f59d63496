"""Whatever is sent and however it is cut: the same replies, the same messages, and no exception."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kumo.smtp import ContentReceived, Event, Reply
from tests.smtp.session_pair import SessionPair, cut

LIMITS: dict[str, Any] = {
    "line_length_hard_limit": 40,
    "max_message_size": 30,
    "max_recipients_per_message": 2,
    "max_messages_per_connection": 4,
    "allow_xclient": True,
}

FRAGMENTS = st.sampled_from(
    [
        b"EHLO c.example\r\n",
        b"HELO x\r\n",
        b"MAIL FROM:<a@example.com>\r\n",
        b"MAIL FROM:<> SIZE=31\r\n",
        b"MAIL FROM:<>\r\n",
        b"RCPT TO:<b@example.org>\r\n",
        b"RCPT TO:<@\r\n",
        b"DATA\r\n",
        b"NOOP\r\n",
        b"RSET\r\n",
        b"AUTH PLAIN AGEAYg==\r\n",
        b"AUTH PLAIN AGEAc2VjcmV0\r\n",
        b"AUTH PLAIN\r\n",
        b"AGEAYg==\r\n",
        b"*\r\n",
        b"XCLIENT ADDR=192.0.2.1 PORT=1\r\n",
        b"XCLIENT PORT=x\r\n",
        b"STARTTLS\r\n",
        b"QUIT\r\n",
        b".\r\n",
        b"..\r\n",
        b".x\r\n",
        b"x" * 41,
        b"body\r\n",
        b"\r\n.\r\n",
        b"\r",
        b"\n",
        b".",
        b"\x00",
        b"\xff",
    ]
)
SENTENCES = st.lists(FRAGMENTS, max_size=40).map(b"".join)
MESSAGES = st.lists(
    st.sampled_from([b"a", b".", b"\r\n", b"\r", b"\n", b"\r\n.", b"\r\n.."]), max_size=25
).map(b"".join)
TRANSACTION = b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n"

WELL_FORMED = re.compile(r"(?:[0-9]{3}[ -][^\x00-\x08\x0a-\x1f\x7f]*\r\n)*\Z")


def run(segments: list[bytes], *, rewrites: bool = False, tls: bool = False) -> tuple[str, list[Event], bool]:
    """Play segments; in the clear nothing behind STARTTLS counts, for its handshake never comes."""
    pair = SessionPair(greet=False, rewrites_replies=rewrites, **LIMITS)
    if tls:
        pair.pump()
        pair.start_tls()
    said = "".join([pair.send(segment) for segment in segments])
    return said, pair.events, pair.session.ended


@settings(max_examples=150, deadline=None)
@given(SENTENCES, st.lists(st.integers(0, 2000), max_size=12), st.booleans())
def test_no_cut_changes_what_a_session_says_and_tells(octets: bytes, places: list[int], tls: bool) -> None:
    whole = run([octets], tls=tls)
    assert run([bytes([octet]) for octet in octets], tls=tls) == whole or not octets
    assert run(cut(octets, places), tls=tls) == whole


@settings(max_examples=150, deadline=None)
@given(MESSAGES, st.lists(st.integers(0, 200), max_size=8))
def test_no_cut_changes_a_message(message: bytes, places: list[int]) -> None:
    octets = TRANSACTION + message + b"\r\n.\r\nNOOP\r\n"
    whole = run([octets])
    assert run([bytes([octet]) for octet in octets]) == whole
    assert run(cut(octets, places)) == whole
    for event in whole[1]:
        if isinstance(event, ContentReceived):
            assert len(event.content) == event.report.content_length <= LIMITS["max_message_size"]


@settings(max_examples=100, deadline=None)
@given(SENTENCES, st.booleans())
def test_rewriting_that_keeps_every_reply_changes_nothing_that_is_said(octets: bytes, tls: bool) -> None:
    assert run([octets], rewrites=True, tls=tls)[0] == run([octets], tls=tls)[0]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=60), FRAGMENTS), max_size=30), st.booleans())
def test_nothing_that_is_sent_raises_and_every_reply_is_well_formed(segments: list[bytes], tls: bool) -> None:
    said, _, _ = run(segments, tls=tls)
    assert WELL_FORMED.match(said)


@pytest.mark.parametrize("seed", range(20))
def test_garbage_ends_in_a_farewell_or_waits_for_more(seed: int) -> None:
    octets = random.Random(seed).randbytes(20000)  # noqa: S311 - a repeatable flood, no secret
    said, _, ended = run([octets, b"\r\n" * 101])
    assert WELL_FORMED.match(said)
    assert ended
    assert said.endswith("421 4.7.0 mx.example.com too many errors\r\n")


@pytest.mark.parametrize("place", range(len(TRANSACTION) + 10))
def test_a_peer_may_close_anywhere(place: int) -> None:
    octets = (TRANSACTION + b"x\r\n.\r\nNO")[:place]
    pair = SessionPair(**LIMITS)
    pair.send(octets)
    pair.session.receive_eof(0.0)
    pair.pump()
    assert pair.session.ended
    assert len(pair.of_type(ContentReceived)) == (1 if place >= len(TRANSACTION) + 6 else 0)


def test_the_same_reply_object_may_answer_many_sessions() -> None:
    reply = Reply(250, "OK")
    for _ in range(2):
        pair = SessionPair(lambda event: reply if isinstance(event, ContentReceived) else None)
        assert pair.send(TRANSACTION + b".\r\n").endswith("250 OK\r\n")
