"""Parameters that change while a session runs: when they may, and that every part goes by them."""

from __future__ import annotations

from typing import Any

import pytest

from kumo.errors import LocalProtocolError, Rejection
from kumo.smtp import (
    ClientAddressReceived,
    ConnectionOpened,
    ContentReceived,
    MailReceived,
    Reply,
    ReplyPending,
    ServerSession,
)
from tests.smtp.session_pair import SessionPair, parameters

OTHERS: dict[str, Any] = {
    "hostname": "other.example",
    "banner": "Hi",
    "client_timeout": 7,
    "line_length_hard_limit": 40,
    "max_message_size": 5,
    "max_recipients_per_message": 1,
    "max_messages_per_connection": 2,
    "allow_xclient": True,
}


def paused_at(kind: type[Any], **changes: Any) -> SessionPair:
    pair = SessionPair(
        lambda event: NotImplemented if isinstance(event, kind) else None, greet=False, **changes
    )
    pair.pump()
    return pair


def go_on(pair: SessionPair, **changes: Any) -> str:
    pair.session.set_parameters(parameters(**{**OTHERS, **changes}))
    pair.session.accept()
    pair.pump()
    return pair.said()


def opened() -> SessionPair:
    """New parameters while the banner waits."""
    pair = paused_at(ConnectionOpened)
    assert go_on(pair) == "220 other.example Hi\r\n"
    return pair


def renamed() -> SessionPair:
    """New parameters while an address is judged."""
    pair = SessionPair(allow_xclient=True)
    pair.verdict = lambda event: NotImplemented if isinstance(event, ClientAddressReceived) else None
    pair.command("XCLIENT PORT=25")
    assert go_on(pair) == "220 other.example Hi\r\n"
    return pair


MOMENTS = pytest.mark.parametrize("make", [opened, renamed])


@MOMENTS
@pytest.mark.parametrize(
    ("octets", "said"),
    [
        (b"HELO c.example\r\n", "250 Hello c.example!"),
        (b"x" * 41 + b"\r\n", "500 5.2.3 line too long"),
        (b"x" * 40 + b"\r\n", "502 5.5.1 Command unimplemented"),
        (b"MAIL FROM:<> SIZE=6\r\n", "552 5.3.4 message too big"),
        (b"XCLIENT PORT=x\r\n", "501 PORT x is invalid"),
        (
            b"MAIL FROM:<>\r\nRCPT TO:<a@example.org>\r\nRCPT TO:<b@example.org>\r\n",
            "452 4.5.3 too many recipients",
        ),
        (
            b"MAIL FROM:<>\r\nRCPT TO:<a@example.org>\r\nDATA\r\n12345\r\n.\r\n",
            "552 5.3.4 message too big",
        ),
        (
            b"MAIL FROM:<>\r\nRSET\r\n" * 2 + b"MAIL FROM:<>\r\n",
            "452 4.5.3 too many messages on this connection",
        ),
    ],
)
def test_every_part_goes_by_the_new_ones(make: Any, octets: bytes, said: str) -> None:
    assert make().send(octets).splitlines()[-1] == said


@MOMENTS
def test_keywords_and_farewell_are_of_the_new_ones(make: Any) -> None:
    pair = make()
    assert pair.send(b"EHLO c.example\r\n").splitlines()[-3:] == [
        "250-SIZE 5",
        "250-STARTTLS",
        "250 XCLIENT ADDR PORT DESTADDR DESTPORT",
    ]
    assert pair.session.deadline == 7.0
    pair.session.handle_timeout(7.0)
    pair.pump()
    assert pair.said() == "421 4.3.2 other.example idle too long\r\n"


@MOMENTS
def test_the_report_of_a_content_goes_by_the_new_line_limit(make: Any) -> None:
    pair = make()
    pair.verdict = lambda _event: None
    pair.send(b"RSET\r\nMAIL FROM:<>\r\nRCPT TO:<a@example.org>\r\nDATA\r\n")
    assert pair.session._content._max_size == 5
    pair.send(b"abc\r\n.\r\n")
    assert pair.of_type(ContentReceived)[0].content == b"abc\r\n"


def test_a_session_that_comes_to_rewrite_does_so_from_the_banner_on() -> None:
    pair = paused_at(ConnectionOpened)
    go_on(pair, rewrites_replies=True)
    assert pair.of_type(ReplyPending) == [ReplyPending(Reply(220, "other.example Hi"), None)]


def test_what_was_counted_stays_counted() -> None:
    pair = SessionPair(allow_xclient=True)
    pair.send(b"MAIL FROM:<>\r\nRSET\r\n" * 3 + b"FOO\r\n" * 60)
    pair.verdict = lambda event: NotImplemented if isinstance(event, ClientAddressReceived) else None
    pair.command("XCLIENT PORT=25")
    go_on(pair)
    assert pair.command("MAIL FROM:<>") == "452 4.5.3 too many messages on this connection"


def test_errors_stay_counted_over_an_address_that_is_refused() -> None:
    pair = SessionPair(
        lambda event: Rejection(550, "no") if isinstance(event, ClientAddressReceived) else None,
        allow_xclient=True,
    )
    pair.send(b"FOO\r\n" * 99 + b"XCLIENT PORT=25\r\n")
    assert not pair.session.ended
    pair.command("FOO")
    assert pair.session.ended


def test_commands_that_wait_are_read_by_the_new_ones() -> None:
    pair = SessionPair(allow_xclient=True)
    pair.verdict = lambda event: NotImplemented if isinstance(event, ClientAddressReceived) else None
    pair.send(b"XCLIENT PORT=25\r\n" + b"x" * 41 + b"\r\nNOOP\r\n")
    assert go_on(pair) == (
        "220 other.example Hi\r\n500 5.2.3 line too long\r\n250 the goggles do nothing\r\n"
    )


def test_a_connection_refused_at_the_door_hears_the_new_name() -> None:
    pair = paused_at(ConnectionOpened)
    pair.session.set_parameters(parameters(**OTHERS))
    pair.session.refuse_connection("later")
    assert pair.said() == "421 4.3.2 other.example later\r\n"


def test_before_anything_came_parameters_may_change_again_and_again() -> None:
    session = ServerSession(parameters(), 0.0)
    session.set_parameters(parameters(hostname="one.example"))
    session.next_event()
    session.set_parameters(parameters(hostname="two.example"))
    session.accept()
    assert session.data_to_send() == b"220 two.example KumoMTA\r\n"


@pytest.mark.parametrize("moment", ["ready", "mail", "content", "tls", "ended", "refused", "rewriting"])
def test_at_any_other_moment_it_is_our_bug(moment: str) -> None:
    pair = paused_at(
        ReplyPending if moment == "rewriting" else MailReceived, rewrites_replies=moment == "rewriting"
    )
    match moment:
        case "mail":
            pair.command("MAIL FROM:<>")
        case "content":
            pair.verdict = lambda _event: None
            pair.open_transaction()
            pair.command("DATA")
        case "tls":
            pair.command("STARTTLS")
        case "ended":
            pair.command("QUIT")
        case "refused":
            pair = paused_at(ConnectionOpened)
            pair.session.refuse(Rejection(550, "no"))
    with pytest.raises(LocalProtocolError, match="parameters change"):
        pair.session.set_parameters(parameters(**OTHERS))
