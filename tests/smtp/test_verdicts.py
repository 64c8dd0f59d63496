"""Accept, refuse and fail at every event, and what becomes of the connection."""

from __future__ import annotations

from typing import Any

import pytest

from kumo.errors import DisconnectMode, LocalProtocolError, Rejection
from kumo.smtp import (
    ConnectionOpened,
    ContentReceived,
    EnvelopeAddress,
    Event,
    GreetingReceived,
    MailReceived,
    RecipientReceived,
    Reply,
    ReplyRefused,
    SessionEnded,
    Wait,
)
from tests.smtp.session_pair import STORED, SessionPair, Verdict

WHOLE = b"EHLO c.example\r\nMAIL FROM:<sender@example.com>\r\nRCPT TO:<r0@example.org>\r\nDATA\r\n"
FOLLOW_UP = "421 mx.example.com disconnecting due to previous error\r\n"
DIFFICULTIES = "421 4.3.0 mx.example.com technical difficulties\r\n"
SENDER = EnvelopeAddress("sender", "example.com")
RECIPIENT = EnvelopeAddress("r0", "example.org")


def at(kind: type[Any], answer: Any) -> Verdict:
    """Answer events of one kind so, accept all others."""
    return lambda event: answer if isinstance(event, kind) else None


def play(verdict: Verdict) -> tuple[SessionPair, str]:
    """Banner and a whole transaction, in step with the server as far as it goes."""
    pair = SessionPair(verdict, greet=False)
    pair.pump()
    said = pair.said()
    for line in WHOLE.splitlines(keepends=True):
        said = pair.send(line) or said
    if pair.session.is_receiving_content():
        said = pair.send(b"x\r\n.\r\n")
    return pair, said


@pytest.mark.parametrize(
    ("kind", "command", "sender", "recipient"),
    [
        (GreetingReceived, "EHLO c.example", None, None),
        (MailReceived, "MAIL FROM:<sender@example.com>", None, None),
        (RecipientReceived, "RCPT TO:<r0@example.org>", SENDER, None),
        (ContentReceived, "DATA", SENDER, RECIPIENT),
    ],
)
def test_a_refusal_is_sent_and_told_and_the_session_goes_on(
    kind: type[Any], command: str, sender: EnvelopeAddress | None, recipient: EnvelopeAddress | None
) -> None:
    pair, _ = play(at(kind, Rejection(550, "5.7.0 no")))
    refused = pair.of_type(ReplyRefused)
    assert refused[0] == ReplyRefused(Reply(550, "5.7.0 no"), command, sender, recipient)
    assert not pair.session.ended
    assert pair.command("NOOP").startswith("250")


@pytest.mark.parametrize("kind", [GreetingReceived, MailReceived, RecipientReceived, ContentReceived])
@pytest.mark.parametrize(
    ("code", "mode", "tail"),
    [
        (421, DisconnectMode.IF_421, "421 no\r\n"),
        (451, DisconnectMode.FORCE_DISCONNECT, "451 no\r\n"),
        (250, DisconnectMode.FORCE_DISCONNECT, "250 no\r\n"),
        (550, DisconnectMode.FOLLOW_WITH_421, "550 no\r\n" + FOLLOW_UP),
        (421, DisconnectMode.FOLLOW_WITH_421, "421 no\r\n"),
    ],
)
def test_a_refusal_that_disconnects(kind: type[Any], code: int, mode: DisconnectMode, tail: str) -> None:
    pair, said = play(at(kind, Rejection(code, "no", mode)))
    assert said == tail
    assert pair.session.ended
    assert isinstance(pair.events[-1], SessionEnded)


@pytest.mark.parametrize(
    ("code", "mode", "said"),
    [
        (550, DisconnectMode.IF_421, "550 no\r\n"),
        (421, DisconnectMode.IF_421, "421 no\r\n"),
        (250, DisconnectMode.FORCE_DISCONNECT, "250 no\r\n"),
        (554, DisconnectMode.FOLLOW_WITH_421, "554 no\r\n" + FOLLOW_UP),
    ],
)
def test_a_refused_connection_ends_whatever_the_code(code: int, mode: DisconnectMode, said: str) -> None:
    pair = SessionPair(at(ConnectionOpened, Rejection(code, "no", mode)), greet=False)
    assert pair.send(b"EHLO c.example\r\n") == said
    assert pair.session.ended
    assert pair.session.greeting is None


def test_a_refusal_of_several_lines_has_the_code_on_each() -> None:
    pair = SessionPair(at(MailReceived, Rejection(550, "5.7.1 one\r\n5.7.1 two\n")))
    assert pair.command("MAIL FROM:<>") == "550-5.7.1 one\r\n550-5.7.1 two\r\n550 "


def test_a_refusal_without_text_is_the_bare_code() -> None:
    pair = SessionPair(at(MailReceived, Rejection(550, "")))
    assert pair.send(b"MAIL FROM:<>\r\n") == "550 \r\n"


def test_a_refused_greeting_leaves_greeting_and_transaction() -> None:
    pair = SessionPair(
        lambda event: (
            Rejection(550, "no") if isinstance(event, GreetingReceived) and event.verb == "EHLO" else None
        )
    )
    pair.command("HELO first.example")
    pair.open_transaction()
    assert pair.command("EHLO second.example") == "550 no"
    assert pair.session.greeting == "first.example"
    assert pair.command("DATA").startswith("354")


def test_a_refused_sender_opens_no_transaction_and_does_not_count() -> None:
    pair = SessionPair(at(MailReceived, Rejection(550, "no")), max_messages_per_connection=1)
    assert pair.command("MAIL FROM:<>") == "550 no"
    assert pair.command("MAIL FROM:<>") == "550 no"
    assert pair.command("RCPT TO:<x@example.org>").startswith("503")


def test_a_refused_recipient_is_none_and_the_others_stay() -> None:
    def refuse_x(event: Event) -> Any:
        if isinstance(event, RecipientReceived) and event.recipient.local_part == "x":
            return Rejection(451, "later")
        return None

    pair = SessionPair(refuse_x)
    pair.open_transaction()
    assert pair.command("RCPT TO:<x@example.org>") == "451 later"
    pair.command("DATA")
    pair.send(b".\r\n")
    assert pair.of_type(ContentReceived)[0].recipients == (RECIPIENT,)


def test_a_refused_recipient_frees_no_place_and_takes_none() -> None:
    pair = SessionPair(
        lambda event: (
            Rejection(550, "no")
            if isinstance(event, RecipientReceived)
            and event.recipient.local_part == "x"
            and not event.over_limit
            else None
        ),
        max_recipients_per_message=1,
    )
    pair.command("MAIL FROM:<>")
    assert pair.command("RCPT TO:<x@example.org>") == "550 no"
    assert pair.command("RCPT TO:<y@example.org>").startswith("250")
    assert pair.command("RCPT TO:<x@example.org>") == "452 4.5.3 too many recipients"


def test_a_shell_may_refuse_a_recipient_over_the_limit_for_a_reason_of_its_own() -> None:
    pair = SessionPair(at(RecipientReceived, Rejection(550, "5.7.1 relaying")), max_recipients_per_message=0)
    pair.command("MAIL FROM:<>")
    assert pair.command("RCPT TO:<y@example.org>") == "550 5.7.1 relaying"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (STORED, "250 OK ids=0123456789abcdef\r\n"),
        (Reply(250, "one\ntwo"), "250-one\r\n250 two\r\n"),
        (Reply(550, "5.7.1 relaying not permitted"), "550 5.7.1 relaying not permitted\r\n"),
        (Rejection(451, "4.4.5 later"), "451 4.4.5 later\r\n"),
    ],
)
def test_the_transaction_is_over_once_content_is_answered(answer: Any, said: str) -> None:
    pair, heard = play(at(ContentReceived, answer))
    assert heard == said
    assert pair.command("DATA") == "503 5.5.0 MAIL FROM must be issued first"
    assert pair.command("MAIL FROM:<>") == "250 OK <>"


def test_a_content_reply_of_421_ends_the_session() -> None:
    pair, said = play(at(ContentReceived, Reply(421, "4.3.0 full")))
    assert said == "421 4.3.0 full\r\n"
    assert pair.session.ended


def test_policy_may_replace_the_keywords_of_ehlo() -> None:
    pair = SessionPair(at(GreetingReceived, ("8BITMIME", "X-OURS a")))
    assert (
        pair.command("EHLO c.example") == "250-mx.example.com Aloha c.example\r\n250-8BITMIME\r\n250 X-OURS a"
    )


def test_policy_may_leave_no_keyword() -> None:
    pair = SessionPair(at(GreetingReceived, ()))
    assert pair.command("EHLO c.example") == "250 mx.example.com Aloha c.example"


def test_keywords_do_not_show_in_the_answer_to_helo() -> None:
    pair = SessionPair(at(GreetingReceived, ("8BITMIME",)))
    assert pair.command("HELO c.example") == "250 Hello c.example!"


def test_commands_wait_in_order_while_a_verdict_is_due() -> None:
    pair = SessionPair(at(MailReceived, NotImplemented))
    assert pair.send(b"NOOP\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\n") == (
        "250 the goggles do nothing\r\n"
    )
    assert pair.waits_for() is Wait.PAUSED
    assert not pair.session.is_reading
    assert pair.session.deadline is None
    pair.session.accept()
    pair.pump()
    assert pair.said() == "250 OK <a@example.com>\r\n250 OK <b@example.org>\r\n"
    assert pair.waits_for() is Wait.NEED_DATA
    assert pair.session.is_reading


def test_what_comes_while_content_is_judged_are_commands() -> None:
    pair = SessionPair(at(ContentReceived, NotImplemented))
    pair.open_transaction()
    pair.command("DATA")
    receiving = [pair.session.is_receiving_content()]
    assert pair.send(b"x\r\n.\r\nNO") == ""
    receiving.append(pair.session.is_receiving_content())
    assert receiving == [True, False]
    assert pair.send(b"OP\r\n") == ""
    pair.session.accept(STORED)
    pair.pump()
    assert pair.said() == "250 OK ids=0123456789abcdef\r\n250 the goggles do nothing\r\n"


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        (ConnectionOpened, None),
        (GreetingReceived, "EHLO c.example"),
        (MailReceived, "MAIL FROM:<sender@example.com>"),
        (RecipientReceived, "RCPT TO:<r0@example.org>"),
        (ContentReceived, "DATA"),
    ],
)
def test_a_fault_of_ours_ends_the_session(kind: type[Any], command: str | None) -> None:
    pair = SessionPair(at(kind, NotImplemented), greet=False)
    for line in WHOLE.splitlines(keepends=True):
        pair.send(line)
    pair.send(b".\r\n")
    pair.session.fail()
    pair.pump()
    assert pair.said() == DIFFICULTIES
    assert pair.of_type(ReplyRefused)[-1].command == command
    assert pair.session.ended
    pair.session.fail()
    pair.pump()
    assert pair.said() == ""


def test_the_cause_of_a_fault_is_for_the_log_only() -> None:
    pair = SessionPair(at(MailReceived, NotImplemented))
    pair.command("MAIL FROM:<>")
    pair.session.fail("handler failed: secret")
    pair.pump()
    assert pair.said() == DIFFICULTIES
    (refused,) = pair.of_type(ReplyRefused)
    assert refused.command == "Error in SmtpServerSession: handler failed: secret"


def test_a_session_can_fail_without_a_verdict_being_due() -> None:
    pair = SessionPair()
    pair.open_transaction()
    pair.command("DATA")
    pair.session.fail()
    pair.pump()
    assert pair.said() == DIFFICULTIES
    assert pair.of_type(ReplyRefused) == [
        ReplyRefused(Reply(421, "4.3.0 mx.example.com technical difficulties"), "DATA", SENDER, RECIPIENT)
    ]


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        (ConnectionOpened, Reply(250, "x")),
        (MailReceived, Reply(250, "x")),
        (RecipientReceived, ("x",)),
        (ContentReceived, None),
        (ContentReceived, ("x",)),
    ],
)
def test_an_answer_that_an_event_does_not_take_is_our_bug(kind: type[Any], answer: Any) -> None:
    pair = SessionPair(at(kind, NotImplemented), greet=False)
    pair.pump()
    for line in (*WHOLE.splitlines(keepends=True), b".\r\n"):
        if not pair.session.is_reading:
            break
        pair.send(line)
    with pytest.raises(LocalProtocolError):
        pair.session.accept(answer)
    assert pair.session.next_event() is Wait.PAUSED


@pytest.mark.parametrize("verdict", ["accept", "refuse"])
def test_a_verdict_that_nobody_asked_for_is_our_bug(verdict: str) -> None:
    session = SessionPair().session
    with pytest.raises(LocalProtocolError, match="no event asked"):
        session.accept() if verdict == "accept" else session.refuse(Rejection(550, "no"))
