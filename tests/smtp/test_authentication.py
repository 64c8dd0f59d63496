"""AUTH PLAIN: what a response may be, what comes of it, and that none of it is seen by anyone else."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from kumo.errors import DisconnectMode, LocalProtocolError, Rejection, RemoteProtocolError
from kumo.smtp import (
    CredentialsReceived,
    Event,
    Reply,
    ReplyPending,
    ReplyRefused,
    SessionEnded,
    Wait,
)
from kumo.smtp.authentication import loggable_command, read_plain_response, read_response_line
from tests.smtp.session_pair import SessionPair

MASKED = "AUTH PLAIN ***"
SECRET = "tr0ub4dor&3"  # noqa: S105 - guards nothing
DIFFICULTIES = "421 4.3.0 mx.example.com technical difficulties\r\n"


def encoded(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


def plain(authz_id: str, authn_id: str, password: str) -> str:
    return encoded(f"{authz_id}\0{authn_id}\0{password}".encode())


RESPONSE = plain("", "user", SECRET)


def inside_tls(verdict: Any = None, **changes: Any) -> SessionPair:
    """A session inside TLS; ``verdict`` answers credentials."""
    pair = SessionPair(
        lambda event: verdict if isinstance(event, CredentialsReceived) else None, greet=False, **changes
    )
    pair.pump()
    pair.command("STARTTLS")
    pair.finish_handshake()
    pair.events.clear()
    return pair


# --- what a response says -----------------------------------------------------------------------

WELL_FORMED = [
    pytest.param("admin\0user\0pw", ("admin", "user", "pw"), id="all three"),
    pytest.param("\0user\0pw", ("user", "user", "pw"), id="no authz_id"),
    pytest.param("\0user\0", ("user", "user", ""), id="no password"),
    pytest.param("\0\0", ("", "", ""), id="nothing at all"),
    pytest.param("ü\0ß@ö\0ﬀ \t\r\n", ("ü", "ß@ö", "ﬀ \t\r\n"), id="as they are"),
]


@pytest.mark.parametrize(("text", "fields"), WELL_FORMED)
def test_a_response_is_three_fields(text: str, fields: tuple[str, str, str]) -> None:
    event = read_plain_response(encoded(text.encode()).encode(), MASKED)
    assert (event.authz_id, event.authn_id, event.password) == fields
    assert event.command == MASKED


MALFORMED = [
    pytest.param(b"=", "base64", id="padding alone"),
    pytest.param(b"AGEAYg", "base64", id="no padding"),
    pytest.param(b"AGEAYg=", "base64", id="half the padding"),
    pytest.param(b"AGEAYg===", "base64", id="too much padding"),
    pytest.param(b"AGEAYg==AGEAYg==", "base64", id="padding in the middle"),
    pytest.param(b"AGEAYh==", "base64", id="stray bits"),
    pytest.param(b"AGE-Yg==", "base64", id="alphabet of URLs"),
    pytest.param(b"AGEA Yg==", "base64", id="blank within"),
    pytest.param(b" AGEAYg==", "base64", id="blank before"),
    pytest.param(b"AGEAYg== ", "base64", id="blank behind"),
    pytest.param(b"AGEA\nYg==", "base64", id="bare LF"),
    pytest.param(b"AGEAYg==\r", "base64", id="bare CR"),
    pytest.param(b"A\0GEAYg==", "base64", id="NUL"),
    pytest.param(b"**", "base64", id="stars"),
    pytest.param(b"A", "base64", id="one letter"),
    pytest.param(b"", "fields", id="empty"),
    pytest.param(encoded(b"user").encode(), "fields", id="one field"),
    pytest.param(encoded(b"user\0pw").encode(), "fields", id="two fields"),
    pytest.param(encoded(b"a\0b\0c\0d").encode(), "fields", id="four fields"),
    pytest.param(encoded(b"\0" * 600).encode(), "fields", id="NULs"),
    pytest.param(encoded(b"\xff\0b\0c").encode(), "UTF-8", id="authz_id not UTF-8"),
    pytest.param(encoded(b"a\0\xc0\x80\0c").encode(), "UTF-8", id="authn_id overlong"),
    pytest.param(encoded(b"a\0b\0\xed\xa0\x80").encode(), "UTF-8", id="password a surrogate"),
]
TEXTS = {
    "base64": "5.5.2 Invalid base64 response",
    "fields": "5.5.2 Invalid decoded PLAIN response",
    "UTF-8": "5.5.2 Invalid UTF8 in decoded PLAIN response",
}


@pytest.mark.parametrize(("response", "fault"), MALFORMED)
def test_anything_else_is_refused(response: bytes, fault: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        read_plain_response(response, MASKED)
    assert (caught.value.code, caught.value.text) == (501, TEXTS[fault])
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    ("line", "code", "text"),
    [
        (None, 500, "5.5.6 authentication exchange line too long"),
        (b"*", 501, "5.5.0 AUTH cancelled by client"),
        (b"AGEA\xff", 501, "5.5.2 Invalid UTF-8 in authentication exchange"),
        (b"AGEA\xc3\xbc", 501, TEXTS["base64"]),
    ],
)
def test_a_line_that_is_no_response(line: bytes | None, code: int, text: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        read_response_line(line)
    assert (caught.value.code, caught.value.text) == (code, text)


@pytest.mark.parametrize(("response", "fault"), MALFORMED)
def test_a_malformed_line_ends_the_exchange_and_not_the_session(response: bytes, fault: str) -> None:
    pair = inside_tls()
    said = pair.send(b"AUTH PLAIN\r\n" + response + b"\r\nNOOP\r\n")
    assert said == f"334  \r\n501 {TEXTS[fault]}\r\n250 the goggles do nothing\r\n"
    assert pair.events == [ReplyRefused(Reply(501, TEXTS[fault]), MASKED, None, None)]


# --- what comes of it ---------------------------------------------------------------------------

WAYS = [
    pytest.param([f"AUTH PLAIN {RESPONSE}"], id="initial response"),
    pytest.param(["auth PLAIN", RESPONSE], id="response on its own line"),
]


def give(pair: SessionPair, lines: list[str]) -> str:
    return [pair.command(line) for line in lines][-1]


@pytest.mark.parametrize("lines", WAYS)
@pytest.mark.parametrize(
    ("verdict", "said", "is_authenticated"),
    [
        (True, "235 2.7.0 AUTH OK!", True),
        (False, "535 5.7.8 AUTH invalid", False),
        (Rejection(454, "4.7.0 later"), "454 4.7.0 later", False),
    ],
)
def test_the_verdict_decides(lines: list[str], verdict: Any, said: str, is_authenticated: bool) -> None:
    pair = inside_tls(verdict)
    assert give(pair, lines) == said
    assert pair.session.is_authenticated is is_authenticated
    (event,) = pair.of_type(CredentialsReceived)
    assert event == CredentialsReceived("user", "user", SECRET, MASKED)
    refused = [] if is_authenticated else [ReplyRefused(Reply(int(said[:3]), said[4:]), MASKED, None, None)]
    assert pair.of_type(ReplyRefused) == refused
    assert pair.command("NOOP").startswith("250")


@pytest.mark.parametrize("lines", WAYS)
def test_a_rejection_may_disconnect(lines: list[str]) -> None:
    pair = inside_tls(Rejection(535, "no", DisconnectMode.FOLLOW_WITH_421))
    assert give(pair, lines) == "535 no\r\n421 mx.example.com disconnecting due to previous error"
    assert pair.session.ended


@pytest.mark.parametrize("lines", WAYS)
def test_a_fault_of_ours_ends_the_session_with_the_command_masked(lines: list[str]) -> None:
    pair = inside_tls(NotImplemented)
    give(pair, lines)
    pair.session.fail()
    pair.pump()
    assert pair.said() == DIFFICULTIES
    assert pair.of_type(ReplyRefused)[0].command == MASKED


@pytest.mark.parametrize("answer", [None, Reply(235, "x"), 1, ("x",)])
def test_an_answer_that_is_neither_yes_nor_no_is_our_bug(answer: Any) -> None:
    pair = inside_tls(NotImplemented)
    pair.command(f"AUTH PLAIN {RESPONSE}")
    with pytest.raises(LocalProtocolError, match="True or False"):
        pair.session.accept(answer)
    assert not pair.session.is_authenticated


@pytest.mark.parametrize("command", ["RSET", "EHLO c.example", "HELO c.example", "NOOP"])
def test_who_a_client_is_survives(command: str) -> None:
    pair = inside_tls(True)
    pair.command(f"AUTH PLAIN {RESPONSE}")
    pair.command(command)
    assert pair.session.is_authenticated
    assert pair.command("AUTH PLAIN") == "503 5.5.1 AUTH me once, can't get authed again!"


def test_a_wrong_password_may_be_tried_again_and_again() -> None:
    pair = inside_tls(False)
    assert pair.send(f"AUTH PLAIN {RESPONSE}\r\n".encode() * 300) == "535 5.7.8 AUTH invalid\r\n" * 300
    assert not pair.session.ended


@pytest.mark.parametrize("lines", [["AUTH PLAIN", "*"], ["AUTH PLAIN", "x"], ["AUTH PLAIN ="]])
def test_a_hundred_exchanges_in_a_row_that_come_to_nothing_end_the_session(lines: list[str]) -> None:
    pair = inside_tls()
    said = pair.send("".join(f"{line}\r\n" for line in lines).encode() * 101)
    assert said.endswith("421 4.7.0 mx.example.com too many errors\r\n")
    assert said.count("501 ") == 100


# --- the line after the 334 ---------------------------------------------------------------------

COMMANDS = ["RSET", "QUIT", "NOOP", "EHLO c.example", "MAIL FROM:<>", "STARTTLS", "AUTH PLAIN", "DATA"]


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_is_one_there(command: str) -> None:
    pair = inside_tls()
    assert pair.command("AUTH PLAIN") == "334  "
    assert pair.command(command).startswith("501 5.5.2 Invalid ")
    assert [event.command for event in pair.of_type(ReplyRefused)] == [MASKED]
    assert pair.session.greeting is None
    assert not pair.session.ended
    assert pair.command("MAIL FROM:<>") == "250 OK <>"


@pytest.mark.parametrize("length", [999, 16384, 1000000])
def test_a_line_over_the_limit_is_dropped_whole(length: int) -> None:
    pair = inside_tls()
    pair.send(b"AUTH PLAIN\r\n")
    for _ in range(length // 100):
        assert pair.send(b"A" * 100) == ""
        assert pair.session._lines.held_octets() <= 999
    said = pair.send(b"A" * 99 + b"\r\nNOOP\r\n")
    assert said == "500 5.5.6 authentication exchange line too long\r\n250 the goggles do nothing\r\n"
    assert pair.events == [
        ReplyRefused(Reply(500, "5.5.6 authentication exchange line too long"), MASKED, None, None)
    ]


def test_a_peer_that_closes_there_ends_the_session_without_a_word() -> None:
    pair = inside_tls()
    pair.send(b"AUTH PLAIN\r\nAGEA")
    pair.session.receive_eof(0.0)
    pair.pump()
    assert pair.said() == ""
    assert pair.events == [SessionEnded("the peer closed the connection")]


def test_a_client_that_says_nothing_there_is_idle() -> None:
    pair = inside_tls(client_timeout=60)
    pair.now = 7.0
    pair.send(b"AUTH PLAIN\r\n")
    assert pair.session.deadline == 67.0
    pair.session.handle_timeout(67.0)
    pair.pump()
    assert pair.said() == "421 4.3.2 mx.example.com idle too long\r\n"
    assert pair.session.ended


def test_a_shutdown_does_not_wait_for_a_response() -> None:
    pair = inside_tls()
    pair.send(b"AUTH PLAIN\r\n")
    pair.session.shut_down()
    pair.pump()
    assert pair.said() == "421 4.3.2 mx.example.com shutting down\r\n"


def test_a_response_that_came_already_is_served_before_a_shutdown() -> None:
    pair = inside_tls(True)
    pair.session.receive_data(f"AUTH PLAIN\r\n{RESPONSE}\r\n".encode(), 0.0)
    pair.session.shut_down()
    pair.pump()
    assert pair.said() == "334  \r\n235 2.7.0 AUTH OK!\r\n421 4.3.2 mx.example.com shutting down\r\n"


def test_commands_wait_while_credentials_are_judged() -> None:
    pair = inside_tls(NotImplemented)
    assert pair.send(f"AUTH PLAIN\r\n{RESPONSE}\r\nNOOP\r\n".encode()) == "334  \r\n"
    assert pair.waits_for() is Wait.PAUSED
    assert pair.session.deadline is None
    pair.session.accept(True)
    pair.pump()
    assert pair.said() == "235 2.7.0 AUTH OK!\r\n250 the goggles do nothing\r\n"


# --- rewriting ----------------------------------------------------------------------------------


def rewriting(replacements: dict[int, Reply], verdict: bool) -> SessionPair:
    def answer(event: Event) -> Any:
        if isinstance(event, ReplyPending):
            return replacements.get(event.reply.code)
        return verdict if isinstance(event, CredentialsReceived) else None

    pair = SessionPair(answer, greet=False, rewrites_replies=True)
    pair.pump()
    pair.command("STARTTLS")
    pair.finish_handshake()
    pair.events.clear()
    return pair


@pytest.mark.parametrize("verdict", [True, False])
@pytest.mark.parametrize("lines", WAYS)
def test_rewriting_sees_every_reply_and_no_secret(lines: list[str], verdict: bool) -> None:
    pair = rewriting({}, verdict)
    give(pair, lines)
    shown = [(event.reply.code, event.command) for event in pair.of_type(ReplyPending)]
    last = (235, None) if verdict else (535, MASKED)
    assert shown == [*([(334, None)] * (len(lines) - 1)), last]


def test_after_a_334_rewritten_to_a_refusal_commands_are_commands() -> None:
    pair = rewriting({334: Reply(454, "4.7.0 not now")}, verdict=True)
    said = pair.send(b"AUTH PLAIN\r\nNOOP\r\n")
    assert said == "454 4.7.0 not now\r\n250 the goggles do nothing\r\n"


def test_a_response_behind_a_334_that_was_refused_is_no_response_and_still_secret() -> None:
    pair = rewriting({334: Reply(454, "4.7.0 not now")}, verdict=True)
    pair.send(f"AUTH PLAIN\r\n{RESPONSE}\r\n".encode())
    assert pair.of_type(CredentialsReceived) == []
    assert RESPONSE not in repr(pair.events)
    assert pair.of_type(ReplyRefused)[-1].command == "***"


# --- secrets ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rewrites", [False, True])
@pytest.mark.parametrize(
    "lines",
    [
        [f"AUTH PLAIN {RESPONSE}"],
        [f"AUTH PLAIN  {RESPONSE}"],
        [f"AUTH PLAIN {RESPONSE} "],
        [f"AUTH PLAIN {RESPONSE}="],
        [f"AUTH PLAIN {RESPONSE} {RESPONSE}"],
        [f"AUTH LOGIN {RESPONSE}"],
        ["AUTH PLAIN", RESPONSE],
        ["AUTH PLAIN", RESPONSE + "="],
        ["AUTH PLAIN", RESPONSE + "\0"],
        ["AUTH PLAIN", RESPONSE * 100],
        ["AUTH LOGIN", RESPONSE],
        ["AUTH LOGIN", RESPONSE + " "],
    ],
)
@pytest.mark.parametrize("tls", [False, True])
def test_no_event_and_no_representation_shows_a_password(lines: list[str], rewrites: bool, tls: bool) -> None:
    pair = SessionPair(rewrites_replies=rewrites)
    if tls:
        pair.start_tls()
    pair.send("".join(f"{line}\r\n" for line in lines).encode())
    shown = repr(pair.events) + repr(pair.session) + repr(pair.session._dialogue)
    assert SECRET not in shown
    assert RESPONSE.rstrip("=") not in shown
    for event in pair.events:
        if not isinstance(event, CredentialsReceived):
            assert SECRET not in str(event)


STRAY_ROWS = [
    (["AUTH LOGIN", encoded(b"user"), encoded(SECRET.encode())], ["AUTH LOGIN", "***", "***"]),
    (["AUTH LOGIN", "user", SECRET, "FOO"], ["AUTH LOGIN", "***", "***", "FOO"]),
    (["AUTH PLAIN", f"\0user\0{SECRET}"], ["AUTH PLAIN", "***"]),
    (["AUTH PLAIN", SECRET, "vrfy x", "FOO"], ["AUTH PLAIN", "***", "vrfy x", "FOO"]),
    (["AUTH PLAIN", "NOOP", SECRET], ["AUTH PLAIN", "***"]),
    (["AUTH PLAIN", "", SECRET, "FOO"], ["AUTH PLAIN", "***", "***", "FOO"]),
    (["FOO", "AUTH", "FOO"], ["FOO", "AUTH", "***"]),
]


@pytest.mark.parametrize(("lines", "shown"), STRAY_ROWS)
def test_what_is_said_to_an_auth_that_was_refused_is_not_shown(lines: list[str], shown: list[str]) -> None:
    pair = SessionPair()
    pair.send("".join(f"{line}\r\n" for line in lines).encode())
    assert [event.command for event in pair.of_type(ReplyRefused)] == shown


def test_what_follows_a_response_that_was_refused_is_not_shown() -> None:
    pair = inside_tls()
    pair.send(f"AUTH PLAIN\r\nuser\r\n{SECRET}\r\nNOOP\r\n".encode())
    assert [event.command for event in pair.of_type(ReplyRefused)] == [MASKED, "***"]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"AUTH", "AUTH"),
        (b"AUTH PLAIN", "AUTH PLAIN"),
        (b"auth scram-sha-256 c2VjcmV0", "AUTH scram-sha-256 ***"),
        (b"AUTH PLAIN  c2VjcmV0 more", "AUTH PLAIN ***"),
        (b"AUTH PLAIN\x00c2VjcmV0", "AUTH ***"),
        (b" AUTH PLAIN c2VjcmV0", "AUTH PLAIN ***"),
        (b"AUTH=c2VjcmV0", "AUTH"),
        (b"AUTHOR c2VjcmV0==", "AUTH ***"),
        (b"AGEAYg==", "***"),
        (b" AGEAYg== ", "***"),
        (b"AGEAYg", "***"),
        (b"AGEAYgB", "***"),
        (b"AGEAYgBj", "***"),
        (b"AGEA\x00Yg=\xff", "***"),
        (b"AGFiYg==", "AGFiYg=="),
        (b"A", "A"),
        (b"NOOP", "NOOP"),
        (b"NOOP \xe2\x82", "NOOP \ufffd"),
    ],
)
def test_a_secret_never_gets_into_a_log(line: bytes, text: str) -> None:
    assert loggable_command(line) == text
