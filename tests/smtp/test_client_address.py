"""XCLIENT: which addresses are taken, and what becomes of the session."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kumo.errors import DisconnectMode, LocalProtocolError, Rejection
from kumo.smtp import ClientAddressReceived, Reply, ReplyPending, ReplyRefused, Wait
from tests.smtp.session_pair import SessionPair, parameters

BANNER = "220 mx.example.com KumoMTA"

Values = tuple[str | None, int | None, str | None, int | None]


def trusted(verdict: Any = None, **changes: Any) -> SessionPair:
    return SessionPair(
        lambda event: verdict if isinstance(event, ClientAddressReceived) else None,
        allow_xclient=True,
        **changes,
    )


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        ("ADDR=192.0.2.1", ("192.0.2.1", None, None, None)),
        ("port=25", (None, 25, None, None)),
        ("DestAddr=198.51.100.7\tDESTPORT=587", (None, None, "198.51.100.7", 587)),
        (
            "ADDR=192.0.2.1 PORT=1025 DESTADDR=2001:DB8:0::1 DESTPORT=25",
            ("192.0.2.1", 1025, "2001:db8::1", 25),
        ),
        ("ADDR=192+2E0.2.1 PORT=+31+30", ("192.0.2.1", 10, None, None)),
        ("ADDR=192.0.2.1 ADDR=192.0.2.2 PORT=1 PORT=2", ("192.0.2.2", 2, None, None)),
        ("PORT=0 DESTPORT=65535", (None, 0, None, 65535)),
        ("PORT=00025", (None, 25, None, None)),
    ],
)
def test_addresses_are_told_and_the_banner_is_the_answer(arguments: str, values: Values) -> None:
    pair = trusted()
    line = f"xclient {arguments}"
    assert pair.command(line) == BANNER
    assert pair.events == [ClientAddressReceived(*values, line)]


def test_a_mapped_address_is_one_still() -> None:
    pair = trusted()
    pair.command("XCLIENT ADDR=::ffff:192.0.2.1")
    (event,) = pair.events
    assert isinstance(event, ClientAddressReceived)
    assert event.peer_ip in {"::ffff:192.0.2.1", "::ffff:c000:201"}


INVALID_ADDRESSES = [
    "",
    "192.0.2.256",
    "192.0.2",
    "192.0.2.01",
    "3221225985",
    "192.0.2.1/32",
    "[192.0.2.1]",
    "IPV6:2001:db8::1",
    "[UNAVAILABLE]",
    "[TEMPUNAVAIL]",
    "fe80::1%eth0",
    "fe80::1%25eth0",
    "1::2::3",
    "mx.example.com",
    "192.0.2.1+20",
    "192.0.2.1+0D+0A250",
    "+00",
    "+C3+BC",
    "+FF",
    "+D9+A1.0.2.1",
]
INVALID_PORTS = [
    "",
    "-1",
    "65536",
    "99999",
    "000025",
    "25.0",
    "2+35+20",
    "+2B25",
    "+D9+A1",
    "0x19",
    "1_0",
    "smtp",
]


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name in ("ADDR", "DESTADDR") for value in INVALID_ADDRESSES]
    + [(name, value) for name in ("PORT", "DESTPORT") for value in INVALID_PORTS],
)
def test_a_value_that_it_cannot_have_is_named_as_it_was_typed(name: str, value: str) -> None:
    pair = trusted()
    line = f"XCLIENT {name.lower()}={value}"
    reply = Reply(501, f"{name} {value} is invalid")
    assert pair.command(line) == f"501 {reply.text}"
    assert pair.events == [ReplyRefused(reply, line, None, None)]


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ("NAME=spam.example", "NAME"),
        ("Proto=ESMTP", "Proto"),
        ("ADDR=192.0.2.1 helO=x PORT=odd", "helO"),
        ("login=+FF", "login"),
        ("\tADDR=192.0.2.1 \t ADDRESS=192.0.2.1", "ADDRESS"),
    ],
)
def test_a_name_that_is_none_of_ours_is_named_as_it_was_typed(arguments: str, name: str) -> None:
    assert trusted().command(f"XCLIENT {arguments}") == f"501 parameter {name} is not supported"


def test_nothing_is_told_unless_all_of_it_is_right() -> None:
    pair = trusted()
    assert pair.command("XCLIENT ADDR=192.0.2.1 PORT=x ADDR=x") == "501 PORT x is invalid"
    assert pair.of_type(ClientAddressReceived) == []


@pytest.mark.parametrize(
    "rest", ["", " ", " ADDR", " =x", " ADDR=a=b", " ADDR=+0", " ADDR=+0g", " ADDR=ü", " ADDR=1 "]
)
def test_the_grammar_comes_before_permission(rest: str) -> None:
    for pair in (trusted(), SessionPair()):
        assert pair.command(f"XCLIENT{rest}") == "501 Syntax error in command or arguments"


def test_permission_comes_before_the_transaction_and_that_before_the_values() -> None:
    for pair, said in (
        (SessionPair(), "550 insufficient authorization"),
        (trusted(), "503 mail transaction in progress"),
    ):
        pair.command("MAIL FROM:<>")
        assert pair.command("XCLIENT ADDR=odd") == said
        assert pair.command("RCPT TO:<a@example.org>").startswith("250")
        pair.command("RSET")
    assert SessionPair().command("XCLIENT ADDR=odd") == "550 insufficient authorization"


@pytest.mark.parametrize(
    ("mode", "said", "ended"),
    [
        (DisconnectMode.IF_421, "550 5.7.1 not that one", False),
        (DisconnectMode.FORCE_DISCONNECT, "550 5.7.1 not that one", True),
        (
            DisconnectMode.FOLLOW_WITH_421,
            "550 5.7.1 not that one\r\n421 mx.example.com disconnecting due to previous error",
            True,
        ),
    ],
)
def test_a_refusal_is_the_only_reply(mode: DisconnectMode, said: str, ended: bool) -> None:
    pair = trusted(Rejection(550, "5.7.1 not that one", mode))
    assert pair.command("XCLIENT ADDR=192.0.2.1") == said
    assert pair.session.ended is ended
    assert pair.of_type(ReplyRefused)[0].command == "XCLIENT ADDR=192.0.2.1"


def test_a_fault_of_ours_ends_the_session() -> None:
    pair = trusted(NotImplemented)
    pair.command("XCLIENT ADDR=192.0.2.1")
    pair.session.fail()
    pair.pump()
    assert pair.said() == "421 4.3.0 mx.example.com technical difficulties\r\n"
    assert pair.of_type(ReplyRefused)[0].command == "XCLIENT ADDR=192.0.2.1"


def test_greeting_tls_and_authentication_are_kept() -> None:
    pair = trusted()
    pair.start_tls()
    pair.command("EHLO c.example")
    pair.command("AUTH PLAIN AHVzZXIAc2VjcmV0")
    assert pair.command("XCLIENT ADDR=192.0.2.1") == BANNER
    assert pair.session.greeting == "c.example"
    assert pair.session.tls_is_active
    assert pair.session.is_authenticated


def test_the_new_address_may_have_another_banner_and_no_more_trust() -> None:
    pair = trusted(NotImplemented)
    assert pair.send(b"XCLIENT ADDR=192.0.2.1\r\nXCLIENT ADDR=192.0.2.2\r\nEHLO c.example\r\n") == ""
    assert pair.waits_for() is Wait.PAUSED
    pair.session.set_parameters(parameters(hostname="other.example", banner="Hi", max_message_size=7))
    pair.session.accept()
    pair.pump()
    assert pair.said() == (
        "220 other.example Hi\r\n"
        "550 insufficient authorization\r\n"
        "250-other.example Aloha c.example\r\n"
        "250-PIPELINING\r\n250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n"
        "250-SIZE 7\r\n250 STARTTLS\r\n"
    )


def test_rewriting_sees_the_command_of_a_refusal_only() -> None:
    pair = SessionPair(allow_xclient=True, rewrites_replies=True)
    pair.send(b"XCLIENT PORT=25\r\nXCLIENT PORT=x\r\n")
    assert pair.of_type(ReplyPending) == [
        ReplyPending(Reply(220, "mx.example.com KumoMTA"), None),
        ReplyPending(Reply(501, "PORT x is invalid"), "XCLIENT PORT=x"),
    ]


@pytest.mark.parametrize("answer", [True, ("x",), Reply(220, "x")])
def test_an_answer_is_our_bug(answer: Any) -> None:
    pair = trusted(NotImplemented)
    pair.command("XCLIENT PORT=25")
    with pytest.raises(LocalProtocolError):
        pair.session.accept(answer)


ATTRIBUTES = st.lists(
    st.tuples(
        st.sampled_from(["ADDR", "port", "DestAddr", "DESTPORT", "NAME", "x-1"]),
        st.text("0123456789abcdefABCDEF.:+%[]\x85\xa0 \t", max_size=12),
        st.text(" \t", min_size=1, max_size=3),
    ),
    max_size=6,
)


@settings(max_examples=300, deadline=None)
@given(ATTRIBUTES, st.booleans())
def test_whatever_is_named_gets_one_reply(attributes: list[tuple[str, str, str]], allow: bool) -> None:
    pair = SessionPair(allow_xclient=allow)
    line = "XCLIENT" + "".join(f"{blanks}{name}={value}" for name, value, blanks in attributes)
    said = pair.command(line)
    assert "\r" not in said
    assert said.startswith(("220 ", "501 ") if allow else ("550 ", "501 Syntax"))
