"""What each command does to the session and what its event tells."""

from __future__ import annotations

import pytest

from kumo.smtp import (
    NO_RECIPIENT_PARAMETERS,
    NOTHING_DECLARED,
    NULL_REVERSE_PATH,
    POSTMASTER,
    ContentReceived,
    DeclaredParameters,
    EnvelopeAddress,
    GreetingReceived,
    MailReceived,
    RecipientParameters,
    RecipientReceived,
    ReplyRefused,
)
from tests.smtp.session_pair import SessionPair

SENDER = EnvelopeAddress("sender", "example.com")
KEYWORDS = ("PIPELINING", "ENHANCEDSTATUSCODES", "8BITMIME", "SMTPUTF8", "SIZE 20971520", "STARTTLS")
XCLIENT_KEYWORD = "XCLIENT ADDR PORT DESTADDR DESTPORT"


def test_ehlo_tells_the_normalised_domain_and_the_keywords() -> None:
    pair = SessionPair()
    pair.command("ehlo Client.EXAMPLE")
    assert pair.events == [GreetingReceived("EHLO", "client.example", KEYWORDS, "ehlo Client.EXAMPLE")]
    assert pair.session.greeting == "client.example"


@pytest.mark.parametrize(
    ("tls", "allow_xclient", "last"),
    [
        (False, True, ("STARTTLS", XCLIENT_KEYWORD)),
        (True, False, ("AUTH PLAIN",)),
        (True, True, ("AUTH PLAIN", XCLIENT_KEYWORD)),
    ],
)
def test_what_is_offered_follows_tls_and_trust(tls: bool, allow_xclient: bool, last: tuple[str, ...]) -> None:
    pair = SessionPair(allow_xclient=allow_xclient)
    if tls:
        pair.start_tls()
    pair.command("EHLO c.example")
    (event,) = pair.events
    assert isinstance(event, GreetingReceived)
    assert event.keywords == (*KEYWORDS[:-1], *last)


def test_helo_tells_no_keywords() -> None:
    pair = SessionPair()
    pair.command("HELO [IPv6:::1]")
    assert pair.events == [GreetingReceived("HELO", "[IPv6:::1]", (), "HELO [IPv6:::1]")]


def test_a_session_without_greeting_has_none() -> None:
    assert SessionPair().session.greeting is None


def test_a_malformed_greeting_leaves_the_earlier_one_and_the_transaction() -> None:
    pair = SessionPair()
    pair.command("EHLO first.example")
    pair.open_transaction()
    assert pair.command("EHLO -bad-") == "501 Syntax error in command or arguments"
    assert pair.session.greeting == "first.example"
    assert pair.command("DATA").startswith("354")


@pytest.mark.parametrize(
    "domain",
    [
        pytest.param("x" * 64 + ".example", id="label too long"),
        pytest.param(".".join(["abcdefghi"] * 26), id="name too long"),
        pytest.param("ü_b.example", id="no A-label"),
        pytest.param("[IPv6:fe80::1%eth0]", id="zone"),
    ],
)
def test_a_greeting_that_dns_could_not_hold_is_a_syntax_error(domain: str) -> None:
    pair = SessionPair()
    assert pair.command(f"EHLO {domain}") == "501 Syntax error in command or arguments"
    assert pair.session.greeting is None


@pytest.mark.parametrize(
    ("line", "sender", "declared", "reply"),
    [
        ("MAIL FROM:<sender@example.com>", SENDER, NOTHING_DECLARED, "250 OK <sender@example.com>"),
        ("MAIL FROM:<>", NULL_REVERSE_PATH, NOTHING_DECLARED, "250 OK <>"),
        ("mail  from: sender@Example.COM", SENDER, NOTHING_DECLARED, "250 OK <sender@example.com>"),
        (
            "MAIL FROM:<> SIZE=0 BODY=7bit RET=FULL ENVID=QQ314159",
            NULL_REVERSE_PATH,
            DeclaredParameters(size=0, body="7BIT", ret="FULL", envid="QQ314159"),
            "250 OK <>",
        ),
        ("MAIL FROM:<> AUTH=<> X=1", NULL_REVERSE_PATH, NOTHING_DECLARED, "250 OK <>"),
    ],
)
def test_mail_tells_sender_and_declaration(
    line: str, sender: EnvelopeAddress, declared: DeclaredParameters, reply: str
) -> None:
    pair = SessionPair()
    assert pair.command(line) == reply
    assert pair.events == [MailReceived(sender, declared, line)]


@pytest.mark.parametrize(
    ("line", "recipient", "declared", "reply"),
    [
        ("RCPT TO:<Postmaster>", POSTMASTER, NO_RECIPIENT_PARAMETERS, "250 OK <Postmaster>"),
        ("rcpt to:<POSTMASTER>", POSTMASTER, NO_RECIPIENT_PARAMETERS, "250 OK <Postmaster>"),
        (
            "RCPT TO:<a.b@[192.0.2.1]> NOTIFY=never",
            EnvelopeAddress("a.b", "[192.0.2.1]"),
            RecipientParameters(notify="NEVER"),
            "250 OK <a.b@[192.0.2.1]>",
        ),
        (
            'RCPT TO:<"a b"@example.org> SIZE=odd',
            EnvelopeAddress('"a b"', "example.org"),
            NO_RECIPIENT_PARAMETERS,
            '250 OK <"a b"@example.org>',
        ),
    ],
)
def test_rcpt_tells_recipient_and_declaration(
    line: str, recipient: EnvelopeAddress, declared: RecipientParameters, reply: str
) -> None:
    pair = SessionPair()
    pair.command("MAIL FROM:<sender@example.com>")
    pair.events.clear()
    assert pair.command(line) == reply
    assert pair.events == [RecipientReceived(SENDER, recipient, declared, over_limit=False, command=line)]


def test_content_comes_with_the_whole_envelope() -> None:
    pair = SessionPair()
    pair.command("MAIL FROM:<sender@example.com> BODY=8BITMIME")
    pair.command("RCPT TO:<a@example.org> NOTIFY=NEVER")
    pair.command("RCPT TO:<b@example.org>")
    pair.command("DATA")
    pair.send(b"hello\r\n.\r\n")
    (event,) = pair.of_type(ContentReceived)
    assert event.sender == SENDER
    assert [r.email for r in event.recipients] == ["a@example.org", "b@example.org"]
    assert event.declared == DeclaredParameters(body="8BITMIME")
    assert event.recipients_declared == (RecipientParameters(notify="NEVER"), NO_RECIPIENT_PARAMETERS)
    assert event.content == b"hello\r\n"


def test_duplicate_recipients_are_kept() -> None:
    pair = SessionPair()
    pair.open_transaction()
    pair.command("RCPT TO:<r0@example.org>")
    pair.command("DATA")
    pair.send(b".\r\n")
    assert [r.email for r in pair.of_type(ContentReceived)[0].recipients] == ["r0@example.org"] * 2


@pytest.mark.parametrize("command", ["EHLO x.example", "HELO x.example", "RSET"])
def test_a_transaction_is_reset_by(command: str) -> None:
    pair = SessionPair()
    pair.open_transaction()
    assert pair.command(command).startswith("250")
    assert pair.command("DATA") == "503 5.5.0 MAIL FROM must be issued first"
    assert pair.command("MAIL FROM:<>") == "250 OK <>"


@pytest.mark.parametrize("command", ["NOOP", "NOOP word", "HELP", "VRFY x", "XCLIENT ADDR=192.0.2.1", "FOO"])
def test_a_transaction_survives(command: str) -> None:
    pair = SessionPair()
    pair.open_transaction()
    pair.command(command)
    assert pair.command("DATA").startswith("354")


def test_a_recipient_over_the_limit_is_told_to_the_shell_and_refused_by_the_session() -> None:
    pair = SessionPair(max_recipients_per_message=0)
    pair.command("MAIL FROM:<sender@example.com>")
    assert pair.command("RCPT TO:<a@example.org>") == "452 4.5.3 too many recipients"
    (event,) = pair.of_type(RecipientReceived)
    assert event.over_limit
    assert pair.command("DATA") == "503 5.5.0 RCPT TO must be issued first"


def test_a_refused_mail_does_not_count_as_a_message() -> None:
    pair = SessionPair(max_messages_per_connection=1)
    assert pair.command("MAIL FROM:<a@example.com> SIZE=99999999").startswith("552")
    assert pair.command("MAIL FROM:<a@example.com> SIZE=x").startswith("501")
    assert pair.command("MAIL FROM:<a@example.com>").startswith("250")


def test_no_message_is_taken_where_none_is_allowed() -> None:
    pair = SessionPair(max_messages_per_connection=0)
    assert pair.command("MAIL FROM:<>") == "452 4.5.3 too many messages on this connection"
    assert pair.events == [
        ReplyRefused(pair.events[0].reply, "MAIL FROM:<>", None, None)  # type: ignore[union-attr]
    ]


def test_nothing_after_quit_is_looked_at() -> None:
    pair = SessionPair()
    assert pair.send(b"QUIT\r\nNOOP\r\n") == "221 So long, and thanks for all the fish!\r\n"
    assert pair.send(b"NOOP\r\n") == ""


@pytest.mark.parametrize(
    ("line", "code", "command"),
    [
        (b"FOO bar\r\n", 502, "FOO bar"),
        (b"RCPT TO:<x@example.org>\r\n", 503, "RCPT TO:<x@example.org>"),
        (b"NOOP \xff\r\n", 501, "NOOP \ufffd"),
        (b"x" * 999 + b"\r\n", 500, None),
        (b"AUTH PLAIN AGEAYg==\r\n", 524, "AUTH PLAIN ***"),
        (b"XCLIENT ADDR=192.0.2.1\r\n", 550, "XCLIENT ADDR=192.0.2.1"),
    ],
)
def test_a_refused_command_is_told_with_its_line(line: bytes, code: int, command: str | None) -> None:
    pair = SessionPair()
    pair.send(line)
    (event,) = pair.of_type(ReplyRefused)
    assert event.reply.code == code
    assert event.command == command


def test_a_refusal_within_a_transaction_tells_sender_and_last_recipient() -> None:
    pair = SessionPair()
    pair.open_transaction(recipients=2)
    pair.command("FOO")
    (event,) = pair.of_type(ReplyRefused)
    assert event.sender == SENDER
    assert event.recipient == EnvelopeAddress("r1", "example.org")


def test_ninety_nine_errors_are_borne() -> None:
    pair = SessionPair()
    pair.send(b"FOO\r\n" * 99)
    assert not pair.session.ended


@pytest.mark.parametrize("line", [b"x" * 999, b"QUIT ", b"\xff", b"DATA", b"HELP", b"AUTH LOGIN"])
def test_every_kind_of_protocol_error_counts(line: bytes) -> None:
    pair = SessionPair()
    said = pair.send((line + b"\r\n") * 101)
    assert pair.session.ended
    assert said.count("\r\n") == 101
    assert said.endswith("421 4.7.0 mx.example.com too many errors\r\n")


@pytest.mark.parametrize(
    "line", [b"XCLIENT ADDR=192.0.2.1\r\n", b"AUTH PLAIN\r\n", b"MAIL FROM:<> SIZE=20971521\r\n"]
)
def test_what_is_refused_but_well_formed_neither_counts_nor_begins_a_new_row(line: bytes) -> None:
    pair = SessionPair()
    pair.send(b"FOO\r\n" * 99 + line * 200)
    assert not pair.session.ended
    pair.send(b"FOO\r\n")
    assert pair.session.ended
