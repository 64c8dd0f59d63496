"""How sessions end: time, end of file, shutdown, refusal at the door; and misuse by the shell."""

from __future__ import annotations

from typing import Any

import pytest

from kumo.errors import LocalProtocolError, Rejection
from kumo.smtp import (
    ConnectionOpened,
    ContentReceived,
    EnvelopeAddress,
    MailReceived,
    Reply,
    ReplyRefused,
    ServerSession,
    SessionEnded,
    Wait,
)
from kumo.smtp.limits import MAX_HELD_OCTETS
from tests.smtp.session_pair import STORED, SessionPair, parameters

IDLE = "421 4.3.2 mx.example.com idle too long\r\n"
SHUTTING_DOWN = "421 4.3.2 mx.example.com shutting down\r\n"
GOGGLES = "250 the goggles do nothing\r\n"


def ended_once(pair: SessionPair) -> bool:
    return (
        pair.session.ended
        and len(pair.of_type(SessionEnded)) == 1
        and isinstance(pair.events[-1], SessionEnded)
    )


# --- the beginning ----------------------------------------------------------------------------


def test_the_banner_waits_for_a_verdict_even_when_the_client_does_not() -> None:
    session = ServerSession(parameters(), 0.0)
    session.receive_data(b"NOOP\r\n", 0.0)
    assert session.next_event() == ConnectionOpened()
    assert session.next_event() is Wait.PAUSED
    has_data = [session.has_data_to_send()]
    session.accept()
    assert session.next_event() is Wait.NEED_DATA
    has_data.append(session.has_data_to_send())
    assert has_data == [False, True]
    assert session.data_to_send().decode() == "220 mx.example.com KumoMTA\r\n" + GOGGLES
    assert session.data_to_send() == b""


@pytest.mark.parametrize("asked", [False, True])
def test_a_connection_refused_at_the_door_hears_421_in_place_of_the_banner(asked: bool) -> None:
    pair = SessionPair(lambda _event: NotImplemented, greet=False)
    if asked:
        pair.pump()
    pair.session.refuse_connection("disk is too full. Try later")
    pair.pump()
    assert pair.said() == "421 4.3.2 mx.example.com disk is too full. Try later\r\n"
    assert pair.of_type(ReplyRefused) == [
        ReplyRefused(Reply(421, "4.3.2 mx.example.com disk is too full. Try later"), None, None, None)
    ]
    assert ended_once(pair)


def test_a_connection_cannot_be_refused_after_its_banner() -> None:
    with pytest.raises(LocalProtocolError, match="answered already"):
        SessionPair().session.refuse_connection("too late")


# --- time -------------------------------------------------------------------------------------


def test_the_deadline_moves_with_every_octet() -> None:
    pair = SessionPair(client_timeout=60)
    assert pair.session.deadline == 60.0
    pair.now = 5.0
    pair.send(b"N")
    assert pair.session.deadline == 65.0
    pair.now = 6.0
    pair.send(b"OOP\r\n")
    assert pair.session.deadline == 66.0
    pair.open_transaction()
    pair.send(b"DATA\r\n")
    pair.now = 7.5
    pair.send(b"x")
    assert pair.session.deadline == 67.5


def test_a_session_without_input_ends_at_its_deadline() -> None:
    pair = SessionPair(client_timeout=60)
    pair.session.handle_timeout(59.9)
    pair.pump()
    assert pair.said() == ""
    pair.session.handle_timeout(60.0)
    pair.pump()
    assert pair.said() == IDLE
    assert ended_once(pair)
    assert pair.session.deadline is None
    assert pair.of_type(ReplyRefused)[0].command is None


def test_a_pause_within_content_ends_the_session_and_nothing_is_kept() -> None:
    pair = SessionPair(client_timeout=60)
    pair.open_transaction()
    pair.send(b"DATA\r\nhalf a mess")
    pair.session.handle_timeout(60.0)
    pair.pump()
    assert pair.said().endswith(IDLE)
    assert pair.of_type(ContentReceived) == []
    assert pair.of_type(ReplyRefused)[0] == ReplyRefused(
        Reply(421, "4.3.2 mx.example.com idle too long"),
        "DATA",
        EnvelopeAddress("sender", "example.com"),
        EnvelopeAddress("r0", "example.org"),
    )
    assert pair.session._content._buffer is None


def test_a_slow_verdict_is_not_the_peers_fault() -> None:
    pair = SessionPair(
        lambda _event: NotImplemented if isinstance(_event, MailReceived) else None, client_timeout=60
    )
    pair.command("MAIL FROM:<>")
    assert pair.session.deadline is None
    pair.session.handle_timeout(1000.0)
    pair.pump()
    assert pair.said() == ""
    pair.session.accept(now=1000.0)
    pair.pump()
    assert pair.said() == "250 OK <>\r\n"
    assert pair.session.deadline == 1060.0


def test_a_slow_refusal_is_not_the_peers_fault() -> None:
    pair = SessionPair(
        lambda _event: NotImplemented if isinstance(_event, MailReceived) else None, client_timeout=60
    )
    pair.command("MAIL FROM:<>")
    pair.session.refuse(Rejection(550, "no"), now=1000.0)
    pair.pump()
    assert pair.session.deadline == 1060.0


def test_a_time_limit_of_nothing_is_due_at_once() -> None:
    pair = SessionPair(client_timeout=0)
    pair.session.handle_timeout(0.0)
    pair.pump()
    assert pair.said() == IDLE


# --- end of file ------------------------------------------------------------------------------


def test_a_peer_that_closes_ends_the_session_without_a_word() -> None:
    pair = SessionPair()
    pair.session.receive_eof(0.0)
    pair.session.receive_eof(0.0)
    pair.pump()
    assert pair.said() == ""
    assert pair.events == [SessionEnded("the peer closed the connection")]
    assert pair.session.next_event() is Wait.PAUSED


def test_a_half_closed_peer_hears_the_replies_to_all_it_sent() -> None:
    held = SessionPair(lambda event: NotImplemented if isinstance(event, ContentReceived) else None)
    held.session.receive_data(
        b"MAIL FROM:<>\r\nRCPT TO:<a@example.org>\r\nDATA\r\nx\r\n.\r\nNOOP\r\nNOO", 0.0
    )
    held.session.receive_eof(0.0)
    held.pump()
    assert not held.session.ended
    assert not held.session.is_reading
    held.session.accept(STORED)
    held.pump()
    assert held.said().endswith(
        "354 Send body; end with CRLF.CRLF\r\n250 OK ids=0123456789abcdef\r\n" + GOGGLES
    )
    assert ended_once(held)


def test_half_a_content_is_dropped_at_the_end_of_file() -> None:
    pair = SessionPair()
    pair.open_transaction()
    pair.send(b"DATA\r\nx\r\n.\r")
    pair.session.receive_eof(0.0)
    pair.pump()
    assert pair.said() == ""
    assert pair.of_type(ContentReceived) == []
    assert ended_once(pair)


def test_octets_after_the_end_of_file_are_our_bug() -> None:
    session = SessionPair().session
    session.receive_eof(0.0)
    with pytest.raises(LocalProtocolError, match="after end of file"):
        session.receive_data(b"x", 0.0)


# --- shutdown ---------------------------------------------------------------------------------


@pytest.mark.parametrize("unfinished", [b"", b"NOO", b"x" * 2000])
def test_an_idle_session_ends_at_once(unfinished: bytes) -> None:
    pair = SessionPair()
    pair.send(unfinished)
    pair.session.shut_down()
    pair.pump()
    assert pair.said() == SHUTTING_DOWN
    assert ended_once(pair)


def test_commands_that_were_sent_already_are_served_first() -> None:
    pair = SessionPair()
    pair.session.receive_data(b"NOOP\r\nMAIL FROM:<>\r\nNO", 0.0)
    pair.session.shut_down()
    pair.session.shut_down()
    pair.pump()
    assert pair.said() == GOGGLES + "250 OK <>\r\n" + SHUTTING_DOWN


def test_content_that_is_still_coming_is_cut_off() -> None:
    pair = SessionPair()
    pair.open_transaction()
    pair.send(b"DATA\r\nhalf")
    pair.session.shut_down()
    pair.pump()
    assert pair.said() == SHUTTING_DOWN
    assert pair.of_type(ReplyRefused)[0].command == "DATA"


def test_a_message_that_is_being_judged_gets_its_answer_first() -> None:
    pair = SessionPair(lambda event: NotImplemented if isinstance(event, ContentReceived) else None)
    pair.open_transaction()
    pair.send(b"DATA\r\nx\r\n.\r\nNOOP\r\n")
    pair.session.shut_down()
    pair.pump()
    assert pair.said() == ""
    pair.session.accept(STORED)
    pair.pump()
    assert pair.said() == "250 OK ids=0123456789abcdef\r\n" + GOGGLES + SHUTTING_DOWN


def test_a_message_that_came_whole_is_taken_even_now() -> None:
    pair = SessionPair()
    pair.open_transaction()
    pair.session.receive_data(b"DATA\r\nx\r\n.\r\n", 0.0)
    pair.session.shut_down()
    pair.pump()
    assert (
        pair.said() == "354 Send body; end with CRLF.CRLF\r\n250 OK ids=0123456789abcdef\r\n" + SHUTTING_DOWN
    )


def test_an_ended_session_has_no_more_to_say() -> None:
    pair = SessionPair()
    pair.command("QUIT")
    pair.session.shut_down()
    pair.session.handle_timeout(1e9)
    pair.session.receive_eof(0.0)
    pair.pump()
    assert pair.said() == ""
    assert ended_once(pair)
    assert pair.events[-1] == SessionEnded("221 So long, and thanks for all the fish!")


# --- what the shell may do wrong ----------------------------------------------------------------


def test_a_paused_session_takes_one_read_more_and_no_flood() -> None:
    session = ServerSession(parameters(), 0.0)
    session.receive_data(b"x" * 200000, 0.0)
    with pytest.raises(LocalProtocolError, match="goes on reading"):
        session.receive_data(b"x", 0.0)


@pytest.mark.parametrize("line_limit", [998, 100_000])
def test_small_reads_while_paused_are_kept_up_to_a_bound(line_limit: int) -> None:
    session = ServerSession(parameters(line_length_hard_limit=line_limit), 0.0)
    for _ in range((MAX_HELD_OCTETS + line_limit) // 1000):
        session.receive_data(b"x" * 1000, 0.0)
    session.receive_data(b"x" * 1000, 0.0)
    with pytest.raises(LocalProtocolError, match="goes on reading"):
        session.receive_data(b"x", 0.0)


def test_a_long_line_that_may_be_so_long_is_no_flood() -> None:
    pair = SessionPair(line_length_hard_limit=100_000)
    segments = [b"NOOP " + b"x" * 70_000, b"x" * 10_000, b"\r\n"]
    assert pair.send_in(segments) == "250 the goggles do nothing\r\n"


@pytest.mark.parametrize("octets", [b"QUIT\r\n" + b"NOOP\r\n" * 1000, b"FOO\r\n" * 1000])
def test_an_ended_session_lets_go_of_its_input(octets: bytes) -> None:
    pair = SessionPair()
    pair.send(octets)
    assert pair.session.ended
    assert not pair.session.is_reading
    assert pair.session._lines.held_octets() == 0
    assert pair.session.deadline is None


def test_all_members_are_slotted() -> None:
    session: Any = SessionPair().session
    for part in (session, session._lines, session._content, session._out, session._dialogue):
        assert not hasattr(part, "__dict__")
