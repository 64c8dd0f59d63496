"""Every reply passes policy when it rewrites replies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kumo.errors import DisconnectMode, LocalProtocolError, Rejection
from kumo.smtp import (
    ContentReceived,
    Event,
    MailReceived,
    Reply,
    ReplyPending,
    ReplyRefused,
    SessionEnded,
    Wait,
)
from tests.smtp.session_pair import SessionPair


def rewriting(rewrite: Callable[[Reply], Reply | None], **others: Any) -> SessionPair:
    def verdict(event: Event) -> Any:
        if isinstance(event, ReplyPending):
            return rewrite(event.reply)
        return others.get(type(event).__name__)

    return SessionPair(verdict, greet=False, rewrites_replies=True)


def keep(_reply: Reply) -> None:
    return None


def test_every_reply_is_shown_with_the_command_it_answers() -> None:
    pair = rewriting(keep)
    pair.send(
        b"FOO\r\nEHLO c.example\r\nRCPT TO:<x@example.org>\r\nMAIL FROM:<a@example.com>\r\n"
        b"RCPT TO:<b@example.org>\r\nDATA\r\nx\r\n.\r\nRSET\r\nQUIT\r\n"
    )
    shown = [(event.reply.code, event.command) for event in pair.of_type(ReplyPending)]
    assert shown == [
        (220, None),
        (502, "FOO"),
        (250, None),
        (503, "RCPT TO:<x@example.org>"),
        (250, None),
        (250, None),
        (354, None),
        (250, "DATA"),
        (250, None),
        (221, None),
    ]
    assert pair.session.ended


def test_replies_that_are_kept_go_out_as_they_were() -> None:
    octets = b"EHLO c.example\r\nMAIL FROM:<>\r\nFOO\r\nQUIT\r\n"
    plain = SessionPair(greet=False)
    assert rewriting(keep).send(octets) == plain.send(octets)


def test_a_rewritten_reply_goes_out_and_is_what_the_log_gets() -> None:
    pair = rewriting(lambda reply: Reply(554, "5.0.0 go\naway") if reply.code == 502 else None)
    pair.pump()
    pair.said()
    assert pair.send(b"FOO\r\n") == "554-5.0.0 go\r\n554 away\r\n"
    assert pair.of_type(ReplyRefused) == [ReplyRefused(Reply(554, "5.0.0 go\naway"), "FOO", None, None)]


def test_a_success_rewritten_to_a_refusal_is_told_and_a_refusal_made_a_success_is_not() -> None:
    replacements = {220: Reply(450, "no"), 502: Reply(250, "fine")}
    pair = rewriting(lambda reply: replacements.get(reply.code))
    assert pair.send(b"FOO\r\n") == "450 no\r\n250 fine\r\n"
    assert pair.of_type(ReplyRefused) == [ReplyRefused(Reply(450, "no"), None, None, None)]


def test_the_session_ends_when_the_rewritten_code_is_421() -> None:
    pair = rewriting(lambda reply: Reply(421, "enough") if reply.code == 502 else None)
    assert pair.send(b"FOO\r\nNOOP\r\n").endswith("421 enough\r\n")
    assert pair.session.ended


def test_the_session_goes_on_when_a_421_was_rewritten() -> None:
    pair = rewriting(
        lambda reply: Reply(450, "wait") if reply.code == 421 else None, MailReceived=Rejection(421, "go")
    )
    assert pair.send(b"MAIL FROM:<>\r\nNOOP\r\n").endswith("450 wait\r\n250 the goggles do nothing\r\n")


def test_a_forced_disconnect_stays_one_whatever_the_rewritten_code() -> None:
    rejection = Rejection(550, "no", DisconnectMode.FORCE_DISCONNECT)
    pair = rewriting(lambda reply: Reply(250, "fine") if reply.code == 550 else None, MailReceived=rejection)
    assert pair.send(b"MAIL FROM:<>\r\nNOOP\r\n").endswith("250 fine\r\n")
    assert pair.session.ended


def test_the_421_that_follows_is_shown_as_well() -> None:
    pair = rewriting(
        lambda reply: Reply(421, "bye") if reply.code == 421 else None,
        MailReceived=Rejection(550, "no", DisconnectMode.FOLLOW_WITH_421),
    )
    assert pair.send(b"MAIL FROM:<>\r\nNOOP\r\n").endswith("550 no\r\n421 bye\r\n")
    assert pair.session.ended


def test_no_421_follows_where_the_rewritten_code_was_421_already() -> None:
    pair = rewriting(
        lambda reply: Reply(421, "bye") if reply.code == 550 else None,
        MailReceived=Rejection(550, "no", DisconnectMode.FOLLOW_WITH_421),
    )
    assert pair.send(b"MAIL FROM:<>\r\n").endswith("\r\n421 bye\r\n")
    assert pair.session.ended


def test_a_banner_rewritten_to_421_ends_the_session() -> None:
    pair = rewriting(lambda _reply: Reply(421, "closed today"))
    assert pair.send(b"NOOP\r\n") == "421 closed today\r\n"


def test_the_hundredth_error_and_the_farewell_are_both_shown() -> None:
    pair = rewriting(keep)
    said = pair.send(b"FOO\r\n" * 101)
    assert said.endswith("502 5.5.1 Command unimplemented\r\n421 4.7.0 mx.example.com too many errors\r\n")
    assert pair.session.ended


def test_commands_wait_while_a_reply_is_being_rewritten() -> None:
    pair = rewriting(lambda _reply: NotImplemented)
    assert pair.send(b"NOOP\r\n") == ""
    for said in ("220 mx.example.com KumoMTA\r\n", "250 the goggles do nothing\r\n"):
        assert pair.waits_for() is Wait.PAUSED
        assert not pair.session.is_reading
        assert pair.session.deadline is None
        pair.session.accept()
        pair.pump()
        assert pair.said() == said
    assert pair.waits_for() is Wait.NEED_DATA


def test_content_that_comes_while_the_354_is_being_rewritten_is_content() -> None:
    pending: list[Reply] = []

    def hold_354(reply: Reply) -> Any:
        if reply.code == 354:
            pending.append(reply)
            return NotImplemented
        return None

    pair = rewriting(hold_354)
    pair.send(b"MAIL FROM:<>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n")
    pair.send(b"QUIT\r\n.\r\n")
    assert pending
    pair.session.accept()
    pair.pump()
    assert pair.of_type(ContentReceived)[0].content == b"QUIT\r\n"


def test_after_a_354_rewritten_to_a_refusal_commands_are_commands() -> None:
    pair = rewriting(lambda reply: Reply(451, "not now") if reply.code == 354 else None)
    said = pair.send(b"MAIL FROM:<>\r\nRCPT TO:<b@example.org>\r\nDATA\r\nNOOP\r\nDATA\r\n")
    assert said.endswith(
        "451 not now\r\n250 the goggles do nothing\r\n503 5.5.0 MAIL FROM must be issued first\r\n"
    )


def test_a_fault_while_rewriting_is_answered_without_rewriting() -> None:
    pair = rewriting(lambda _reply: NotImplemented)
    pair.pump()
    pair.session.fail()
    pair.pump()
    assert pair.said() == "421 4.3.0 mx.example.com technical difficulties\r\n"
    assert isinstance(pair.events[-1], SessionEnded)


def test_a_fault_of_another_kind_is_shown_before_it_is_sent() -> None:
    pair = rewriting(keep, MailReceived=NotImplemented)
    pair.send(b"MAIL FROM:<>\r\n")
    pair.session.fail()
    pair.pump()
    assert pair.of_type(ReplyPending)[-1].command == "MAIL FROM:<>"
    assert pair.said() == "421 4.3.0 mx.example.com technical difficulties\r\n"
    assert pair.of_type(MailReceived)


def test_the_idle_421_is_shown_once() -> None:
    pair = rewriting(keep)
    pair.pump()
    pair.said()
    pair.session.handle_timeout(60.0)
    pair.session.handle_timeout(61.0)
    pair.pump()
    assert pair.said() == "421 4.3.2 mx.example.com idle too long\r\n"


@pytest.mark.parametrize("answer", [("x",), "250 x"])
def test_a_replacement_that_is_no_reply_is_our_bug(answer: Any) -> None:
    pair = rewriting(lambda _reply: NotImplemented)
    pair.pump()
    with pytest.raises(LocalProtocolError):
        pair.session.accept(answer)


def test_a_pending_reply_cannot_be_refused() -> None:
    pair = rewriting(lambda _reply: NotImplemented)
    pair.pump()
    with pytest.raises(LocalProtocolError):
        pair.session.refuse(Rejection(550, "no"))
