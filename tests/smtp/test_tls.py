"""STARTTLS: nothing that was said in the clear counts inside TLS, and nothing behind it is ever read."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kumo.errors import DisconnectMode, LocalProtocolError, Rejection
from kumo.smtp import (
    CredentialsReceived,
    Event,
    MailReceived,
    Reply,
    ReplyPending,
    ReplyRefused,
    SessionEnded,
    TlsRequested,
    TlsStarting,
    Wait,
)
from tests.smtp.session_pair import SessionPair, Verdict, cut

READY = "220 Ready to Start TLS\r\n"
GOGGLES = "250 the goggles do nothing\r\n"
CLOSED = SessionEnded("the peer closed the connection")


def at(kind: type[Any], answer: Any) -> Verdict:
    return lambda event: answer if isinstance(event, kind) else None


def requested(answer: Any = None, **changes: Any) -> SessionPair:
    """A session whose client asked for TLS; ``answer`` is the shell's."""
    pair = SessionPair(at(TlsRequested, answer), **changes)
    pair.send(b"STARTTLS\r\n")
    return pair


# --- the order of things ------------------------------------------------------------------------


def test_the_shell_is_asked_then_told_when_the_220_is_there_to_be_sent() -> None:
    pair = SessionPair()
    assert pair.send(b"starttls\r\n") == READY
    assert pair.events == [TlsRequested("starttls"), TlsStarting()]
    assert pair.waits_for() is Wait.PAUSED
    assert pair.session.next_event() is Wait.PAUSED
    state = [(pair.session.tls_is_active, pair.session.is_reading)]
    pair.session.tls_started()
    pair.pump()
    assert pair.waits_for() is Wait.NEED_DATA
    state.append((pair.session.tls_is_active, pair.session.is_reading))
    assert state == [(False, False), (True, True)]
    assert pair.send(b"NOOP\r\n") == GOGGLES


def test_the_220_is_not_there_before_the_shell_agreed() -> None:
    pair = requested(NotImplemented)
    assert pair.said() == ""
    assert pair.waits_for() is Wait.PAUSED
    assert pair.session.deadline is None
    pair.session.accept()
    pair.pump()
    assert pair.said() == READY


def test_greeting_transaction_and_errors_are_those_of_a_new_session() -> None:
    pair = SessionPair()
    pair.command("EHLO c.example")
    pair.open_transaction()
    pair.command("STARTTLS")
    assert pair.session.greeting is None
    pair.finish_handshake()
    assert pair.command("RCPT TO:<a@example.org>") == "503 5.5.0 MAIL FROM must be issued first"
    assert pair.command("MAIL FROM:<>") == "250 OK <>"
    refused = pair.of_type(ReplyRefused)
    assert [(event.sender, event.recipient) for event in refused] == [(None, None)]


def test_messages_before_tls_count_as_messages_of_the_connection() -> None:
    pair = SessionPair(max_messages_per_connection=1)
    pair.open_transaction()
    pair.command("STARTTLS")
    pair.finish_handshake()
    assert pair.command("MAIL FROM:<>") == "452 4.5.3 too many messages on this connection"


def test_tls_is_asked_for_once() -> None:
    pair = SessionPair()
    pair.start_tls()
    assert pair.command("STARTTLS") == "501 Cannot STARTTLS as TLS is already active"
    assert pair.of_type(ReplyRefused)[0].command == "STARTTLS"
    assert pair.send(b"NOOP\r\n") == GOGGLES
    assert pair.of_type(TlsRequested, TlsStarting) == []


# --- what comes behind STARTTLS -----------------------------------------------------------------

INJECTED = [
    b"NOOP\r\n",
    b"EHLO evil.example\r\n",
    b"MAIL FROM:<evil@example.com>\r\n",
    b"RCPT TO:<b@example.org>\r\n",
    b"DATA\r\n",
    b"From: evil\r\n\r\ntext\r\n.\r\n",
    b"AUTH PLAIN AHVzZXIAc2VjcmV0\r\n",
    b"STARTTLS\r\n",
    b"QUIT\r\n",
    b"MAIL FROM:<evil@exa",
    b"x" * 5000,
    b"\r",
    b"\n",
    b"\x16\x03\x01\x02\x00",
]


def check_nothing_was_read(pair: SessionPair) -> None:
    """The session is inside TLS as if it had begun there."""
    assert pair.finish_handshake() == ""
    assert pair.events[-1] == TlsStarting()
    assert pair.session._lines.held_octets() == 0
    assert pair.session.greeting is None
    assert not pair.session.is_authenticated
    assert not pair.session.is_receiving_content()
    assert pair.send(b"NOOP\r\nRCPT TO:<a@example.org>\r\n") == (
        GOGGLES + "503 5.5.0 MAIL FROM must be issued first\r\n"
    )
    assert pair.command("AUTH PLAIN AHVzZXIAc2VjcmV0") == "235 2.7.0 AUTH OK!"


FLIGHTS = st.lists(st.one_of(st.sampled_from(INJECTED), st.binary(max_size=20)), max_size=12).map(b"".join)


@settings(max_examples=200, deadline=None)
@given(FLIGHTS, st.lists(st.integers(0, 2000), max_size=12))
def test_nothing_behind_starttls_is_read_however_it_is_cut(injected: bytes, places: list[int]) -> None:
    octets = b"EHLO c.example\r\nMAIL FROM:<>\r\nSTARTTLS\r\n" + injected
    pair = SessionPair()
    said = pair.send_in(cut(octets, places))
    assert said.endswith("250 STARTTLS\r\n250 OK <>\r\n" + READY)
    check_nothing_was_read(pair)


@pytest.mark.parametrize("injected", INJECTED)
@pytest.mark.parametrize("cut", ["with the command", "while the shell thinks", "before the handshake"])
def test_no_moment_is_the_right_one(injected: bytes, cut: str) -> None:
    pair = SessionPair(at(TlsRequested, NotImplemented))
    pair.send(b"STARTTLS\r\n" + (injected if cut == "with the command" else b""))
    if cut == "while the shell thinks":
        pair.send(injected)
    pair.session.accept()
    pair.pump()
    assert pair.said() == READY
    if cut == "before the handshake":
        assert pair.send(injected) == ""
    check_nothing_was_read(pair)


def test_a_flood_during_the_handshake_is_not_kept() -> None:
    pair = requested()
    for _ in range(100):
        pair.session.receive_data(b"x" * 10000, 0.0)
        assert pair.session._lines.held_octets() == 0
    check_nothing_was_read(pair)


def test_the_rest_of_an_overlong_line_does_not_swallow_the_first_one_inside_tls() -> None:
    pair = requested()
    pair.send(b"x" * 2000)
    pair.finish_handshake()
    assert pair.send(b"NOOP\r\n") == GOGGLES


def test_commands_before_starttls_in_the_same_segment_are_served() -> None:
    pair = SessionPair()
    assert pair.send(b"NOOP\r\nSTARTTLS\r\nNOOP\r\n") == GOGGLES + READY


# --- where there is no handshake ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("rejection", "said", "ended"),
    [
        (Rejection(454, "4.7.0 TLS not available"), "454 4.7.0 TLS not available\r\n", False),
        (Rejection(421, "4.3.0 mx"), "421 4.3.0 mx\r\n", True),
        (Rejection(550, "no", DisconnectMode.FORCE_DISCONNECT), "550 no\r\n", True),
    ],
)
def test_the_shell_may_refuse(rejection: Rejection, said: str, ended: bool) -> None:
    pair = SessionPair(at(TlsRequested, rejection))
    pair.command("EHLO c.example")
    pair.open_transaction()
    assert pair.send(b"STARTTLS\r\nDATA\r\n") == said + (
        "" if ended else "354 Send body; end with CRLF.CRLF\r\n"
    )
    assert pair.of_type(TlsStarting) == []
    assert pair.of_type(ReplyRefused)[0].command == "STARTTLS"
    assert pair.session.greeting == "c.example"
    assert pair.session.ended is ended


def test_a_fault_of_ours_takes_the_place_of_the_220() -> None:
    pair = requested(NotImplemented)
    pair.session.fail()
    pair.pump()
    assert pair.said() == "421 4.3.0 mx.example.com technical difficulties\r\n"
    assert pair.of_type(ReplyRefused)[0].command == "STARTTLS"
    assert pair.of_type(TlsStarting) == []


@pytest.mark.parametrize("answer", [True, Reply(220, "x"), ("x",)])
def test_an_answer_is_our_bug(answer: Any) -> None:
    pair = requested(NotImplemented)
    with pytest.raises(LocalProtocolError):
        pair.session.accept(answer)


# --- rewriting ----------------------------------------------------------------------------------


def rewriting(answer: Any) -> SessionPair:
    def verdict(event: Event) -> Any:
        return answer if isinstance(event, ReplyPending) and event.reply.code == 220 else None

    pair = SessionPair(greet=False, rewrites_replies=True)
    pair.pump()
    pair.said()
    pair.verdict = verdict
    return pair


@pytest.mark.parametrize("said", [READY, "220-Ready\r\n220 Go\r\n"])
def test_a_220_that_is_still_one_starts_the_handshake(said: str) -> None:
    pair = rewriting(Reply(220, "Ready\nGo") if "Go" in said else None)
    assert pair.send(b"STARTTLS\r\nNOOP\r\n") == said
    assert pair.events[-1] == TlsStarting()
    pair.verdict = at(object, None)
    check_nothing_was_read(pair)


@pytest.mark.parametrize("code", [454, 554])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", "503 5.5.0 MAIL FROM must be issued first\r\n"),
        (b"MAIL FROM:<>\r\n", "503 5.5.0 RCPT TO must be issued first\r\n"),
        (b"MAIL FROM:<>\r\nRCPT TO:<a@example.org>\r\n", "354 Send body; end with CRLF.CRLF\r\n"),
    ],
)
def test_a_220_made_a_refusal_leaves_the_session_as_it_was(before: bytes, after: str, code: int) -> None:
    pair = rewriting(Reply(code, "no TLS today"))
    pair.send(b"EHLO c.example\r\n" + before)
    said = pair.send(b"STARTTLS\r\nDATA\r\n")
    assert said == f"{code} no TLS today\r\n{after}"
    assert pair.of_type(TlsStarting) == []
    assert pair.session.greeting == "c.example"
    assert not pair.session.tls_is_active


def test_a_220_made_a_421_ends_the_session() -> None:
    pair = rewriting(Reply(421, "no TLS today"))
    assert pair.send(b"STARTTLS\r\nNOOP\r\n") == "421 no TLS today\r\n"
    assert pair.session.ended
    assert pair.of_type(TlsStarting) == []


def test_nothing_is_forgotten_and_nobody_is_told_while_the_220_is_being_rewritten() -> None:
    pair = rewriting(NotImplemented)
    pair.send(b"EHLO c.example\r\nSTARTTLS\r\n")
    assert pair.send(b"NOOP\r\n") == ""
    assert pair.session.greeting == "c.example"
    assert pair.of_type(TlsStarting) == []
    pair.session.accept()
    pair.pump()
    assert pair.said() == READY
    assert pair.events[-1] == TlsStarting()


def test_a_fault_while_the_220_is_being_rewritten_takes_its_place() -> None:
    pair = rewriting(NotImplemented)
    pair.send(b"STARTTLS\r\n")
    pair.session.fail()
    pair.pump()
    assert pair.said() == "421 4.3.0 mx.example.com technical difficulties\r\n"
    assert pair.of_type(TlsStarting) == []


# --- time and ends ------------------------------------------------------------------------------


def test_the_handshake_has_no_deadline_here_and_a_new_one_begins_with_it() -> None:
    pair = requested(client_timeout=60)
    assert pair.session.deadline is None
    pair.session.handle_timeout(1000.0)
    pair.pump()
    assert pair.said() == ""
    pair.session.tls_started(now=1000.0)
    pair.pump()
    assert pair.session.deadline == 1060.0


def test_a_peer_that_closes_during_the_handshake_ends_the_session_without_a_word() -> None:
    pair = requested()
    pair.said()
    pair.session.receive_eof(0.0)
    pair.session.receive_eof(0.0)
    pair.pump()
    assert pair.said() == ""
    assert pair.of_type(SessionEnded) == [CLOSED]
    with pytest.raises(LocalProtocolError, match="no handshake"):
        pair.session.tls_started()


def test_a_peer_that_has_closed_its_side_gets_its_220_and_no_handshake() -> None:
    pair = SessionPair()
    pair.session.receive_data(b"STARTTLS\r\nNOOP\r\n", 0.0)
    pair.session.receive_eof(0.0)
    pair.pump()
    assert pair.said() == READY
    assert pair.of_type(TlsStarting) == []
    assert pair.events[-1] == CLOSED


def test_a_fault_during_the_handshake_ends_the_session_without_a_word() -> None:
    pair = requested()
    pair.said()
    pair.session.fail("secret")
    pair.session.fail()
    pair.pump()
    assert pair.said() == ""
    assert pair.of_type(ReplyRefused) == []
    assert pair.of_type(SessionEnded) == [SessionEnded("technical difficulties")]
    assert not pair.session.is_reading
    assert pair.session.deadline is None
    pair.session.receive_eof(0.0)
    pair.pump()
    assert len(pair.of_type(SessionEnded)) == 1


def test_a_shutdown_is_told_inside_tls() -> None:
    pair = requested()
    pair.said()
    pair.session.shut_down()
    pair.pump()
    assert pair.said() == ""
    assert pair.finish_handshake() == "421 4.3.2 mx.example.com shutting down\r\n"


def test_a_peer_that_closes_inside_tls_within_content_leaves_no_message() -> None:
    pair = SessionPair()
    pair.start_tls()
    pair.open_transaction()
    pair.send(b"DATA\r\nhalf a mess")
    pair.session.receive_eof(0.0)
    pair.pump()
    assert pair.events[-1] == CLOSED


@pytest.mark.parametrize("moment", ["before", "pending", "after"])
def test_a_handshake_that_nobody_asked_for_is_our_bug(moment: str) -> None:
    pair = requested(NotImplemented) if moment == "pending" else SessionPair()
    if moment == "after":
        pair.start_tls()
    with pytest.raises(LocalProtocolError, match="no handshake"):
        pair.session.tls_started()


@pytest.mark.parametrize("verdict", ["accept", "refuse"])
def test_a_verdict_on_a_handshake_is_our_bug(verdict: str) -> None:
    session = requested().session
    with pytest.raises(LocalProtocolError, match="handshake"):
        session.accept() if verdict == "accept" else session.refuse(Rejection(550, "no"))
    session.tls_started()
    assert session.tls_is_active


def test_what_was_authenticated_before_is_forgotten() -> None:
    pair = SessionPair()
    pair.session._dialogue.is_authenticated = True
    pair.start_tls()
    assert not pair.session.is_authenticated
    pair.command("AUTH PLAIN AHVzZXIAc2VjcmV0")
    assert len(pair.of_type(CredentialsReceived)) == 1
    assert pair.of_type(MailReceived) == []
