"""What is content, where it ends, what is handed over, and what is not kept."""

from __future__ import annotations

import pytest

from kumo.smtp import ContentReceived, EnvelopeAddress, Reply, ReplyRefused
from tests.smtp.session_pair import SessionPair

TOO_BIG = "552 5.3.4 message too big\r\n"


@pytest.mark.parametrize(
    ("wire", "content"),
    [
        pytest.param(b".\r\n", b"", id="dot at once: DATA's own CRLF counts"),
        pytest.param(b"\r\n.\r\n", b"\r\n", id="an empty line"),
        pytest.param(b"a\r\n.\r\n", b"a\r\n", id="a line"),
        pytest.param(b"..\r\n.\r\n", b".\r\n", id="stuffed first line"),
        pytest.param(b"..a\r\n.\r\n", b".a\r\n", id="stuffed first line with more"),
        pytest.param(b"a\r\n..\r\n...\r\n.\r\n", b"a\r\n.\r\n..\r\n", id="stuffed lines"),
        pytest.param(b".a\r\nb\r\n.c\r\n.\r\n", b"a\r\nb\r\nc\r\n", id="dots that were not stuffed"),
        pytest.param(b"a.\r\n.b.\r\n.\r\n", b"a.\r\nb.\r\n", id="dots elsewhere stay"),
        pytest.param(b"a\n.\nb\n.\r\n\r\n.\r\n", b"a\n.\nb\n.\r\n\r\n", id="bare LF is no line end"),
        pytest.param(b"a\r.\rb\r.\r\n\r\n.\r\n", b"a\r.\rb\r.\r\n\r\n", id="bare CR is no line end"),
        pytest.param(b"a\r\n.\n\r\n.\r\n", b"a\r\n\n\r\n", id="dot and LF is a stuffed line"),
        pytest.param(b"a\r\n.\r\r\n.\r\n", b"a\r\n\r\r\n", id="dot and CR CR LF is a stuffed line"),
        pytest.param(b"\x00\x80\xff\x0b\x85\r\n.\r\n", b"\x00\x80\xff\x0b\x85\r\n", id="any octet"),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_content_is_unstuffed_and_ends_where_it_ends(wire: bytes, content: bytes, size: int) -> None:
    pair = SessionPair()
    pair.open_transaction()
    pair.command("DATA")
    said = pair.send_in(wire[i : i + size] for i in range(0, len(wire), size))
    (event,) = pair.of_type(ContentReceived)
    assert event.content == content
    assert event.report.content_length == len(content)
    assert said == "250 OK ids=0123456789abcdef\r\n"


@pytest.mark.parametrize("split", range(1, 14))
def test_an_end_of_data_may_be_cut_anywhere_and_what_follows_are_commands(split: int) -> None:
    pair = SessionPair()
    pair.open_transaction()
    pair.command("DATA")
    wire = b"a\r\n.b\r\n.\r\nNOOP\r\n"
    said = pair.send(wire[:split]) + pair.send(wire[split:])
    assert said == "250 OK ids=0123456789abcdef\r\n250 the goggles do nothing\r\n"
    assert pair.of_type(ContentReceived)[0].content == b"a\r\nb\r\n"


def test_the_content_is_bytes_of_its_own() -> None:
    pair = SessionPair()
    pair.open_transaction()
    pair.command("DATA")
    shared = bytearray(b"..secret\r\n.\r\nNO")
    pair.session.receive_data(memoryview(shared), 0.0)
    shared[:] = b"x" * 100  # fails while anyone keeps an export of it
    pair.pump()
    (event,) = pair.of_type(ContentReceived)
    assert type(event.content) is bytes
    assert event.content == b".secret\r\n"
    pair.said()
    assert pair.send(b"OP\r\n") == "250 the goggles do nothing\r\n"


def test_only_the_named_part_of_a_buffer_is_read() -> None:
    pair = SessionPair()
    pair.session.receive_data(memoryview(b"....NOOP\r\n...."), 0.0, 4, 10)
    pair.pump()
    assert pair.said() == "250 the goggles do nothing\r\n"
    pair.open_transaction()
    pair.command("DATA")
    pair.session.receive_data(memoryview(b"zzabc\r\n.\r\nNOOP\r\nzz"), 0.0, 2, 16)
    pair.pump()
    assert pair.of_type(ContentReceived)[0].content == b"abc\r\n"
    assert pair.said().endswith("nothing\r\n")
    assert pair.send(b"NOOP\r\n") == "250 the goggles do nothing\r\n"


def test_line_ends_and_lengths_are_reported_and_not_judged() -> None:
    pair = SessionPair(line_length_hard_limit=40)
    event = pair.content(b"a\rb\nc\r\n" + b"x" * 41 + b"\r\n.\r\n")
    assert event.report.bare_cr
    assert event.report.bare_lf
    assert event.report.first_bare_offset == 1
    assert event.report.longest_line_over_limit == 41
    assert event.content == b"a\rb\nc\r\n" + b"x" * 41 + b"\r\n"


def test_each_content_has_a_report_of_its_own() -> None:
    pair = SessionPair()
    assert pair.content(b"a\nb\r\n.\r\n").report.bare_lf
    pair.events.clear()
    assert not pair.content(b"a\r\n.\r\n").report.bare_lf


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize(
    ("wire", "fits"),
    [
        pytest.param(b"a" * 8 + b"\r\n.\r\n", True, id="as much as allowed"),
        pytest.param(b"a" * 9 + b"\r\n.\r\n", False, id="one more"),
        pytest.param(b"." + b"." * 8 + b"\r\n.\r\n", True, id="the dot of transparency does not count"),
        pytest.param(b".\r\r\n..\r\n...\r\n.\r\n", True, id="dots of transparency nowhere count"),
        pytest.param(b".\r\r\n..\r\n....\r\n.\r\n", False, id="one more among dots"),
        pytest.param(b"a" * 10 + b"\r\n.\r\n", False, id="over with the line end"),
        pytest.param(b"a" * 500 + b"\r\n..\r\n.x\r\n.\r\n", False, id="far over"),
    ],
)
def test_the_size_limit_is_exact_after_unstuffing(wire: bytes, fits: bool, size: int) -> None:
    pair = SessionPair(max_message_size=10)
    pair.open_transaction()
    pair.command("DATA")
    said = pair.send_in(wire[i : i + size] for i in range(0, len(wire), size))
    assert bool(pair.of_type(ContentReceived)) is fits
    assert said == ("250 OK ids=0123456789abcdef\r\n" if fits else TOO_BIG)


def test_content_over_the_limit_is_not_kept_while_it_comes() -> None:
    pair = SessionPair(max_message_size=1000)
    pair.open_transaction()
    pair.command("DATA")
    kept = []
    for _ in range(50):
        pair.send(b"a" * 900)
        kept.append(pair.session._content._buffer is not None)
        assert pair.session._lines.held_octets() == 0
    assert kept == [True] + [False] * 49


def test_dots_of_transparency_are_not_kept_while_content_comes() -> None:
    pair = SessionPair(max_message_size=100)
    pair.open_transaction()
    pair.command("DATA")
    pair.send(b"..\r\n" * 33)
    buffer = pair.session._content._buffer
    assert buffer is not None
    assert buffer.getvalue() == b".\r\n" * 33


def test_the_transaction_is_over_after_too_big_and_the_refusal_is_told() -> None:
    pair = SessionPair(max_message_size=1)
    pair.open_transaction()
    pair.command("DATA")
    assert (
        pair.send(b"MAIL FROM:<x@y>\r\n.\r\nDATA\r\n")
        == TOO_BIG + "503 5.5.0 MAIL FROM must be issued first\r\n"
    )
    assert pair.of_type(ReplyRefused)[0] == ReplyRefused(
        Reply(552, "5.3.4 message too big"),
        "DATA",
        EnvelopeAddress("sender", "example.com"),
        EnvelopeAddress("r0", "example.org"),
    )


def test_a_good_content_follows_one_that_was_too_big() -> None:
    pair = SessionPair(max_message_size=10)
    pair.open_transaction()
    pair.command("DATA")
    pair.send(b"a" * 100 + b"\r\n.\r\n")
    assert pair.content(b"short\r\n.\r\n").content == b"short\r\n"


def test_an_empty_content_fits_a_limit_of_nothing() -> None:
    pair = SessionPair(max_message_size=0)
    assert pair.content(b".\r\n").content == b""


def test_after_refused_data_pipelined_content_is_commands() -> None:
    pair = SessionPair()
    said = pair.send(b"MAIL FROM:<a@example.com>\r\nRCPT TO:<>\r\nDATA\r\nSubject: x\r\n\r\nhi\r\n.\r\n")
    assert [line[:3] for line in said.split("\r\n")] == ["250", "501", "503", "501", "501", "502", "501", ""]
    assert pair.of_type(ContentReceived) == []


@pytest.mark.parametrize("first", [b"abc\r\n.\r\n", b"..abc\r\n.\r\n", b"a\r\n" * 50 + b".\r\n"])
def test_a_stuffed_first_line_is_one_whatever_content_came_before(first: bytes) -> None:
    pair = SessionPair(max_message_size=100)
    for wire in (first, b"..x\r\n.\r\n"):
        pair.open_transaction()
        pair.command("DATA")
        pair.send_in(wire[i : i + 1] for i in range(len(wire)))
    assert pair.of_type(ContentReceived)[-1].content == b".x\r\n"


def test_limits_as_large_as_policy_can_set_are_none() -> None:
    largest = 2**63 - 1
    pair = SessionPair(
        line_length_hard_limit=largest,
        max_message_size=largest,
        max_messages_per_connection=largest,
        max_recipients_per_message=largest,
    )
    pair.open_transaction()
    pair.command("DATA")
    line = b"x" * 100_000 + b"\r\n"
    assert (
        pair.send(line + b".\r\nNOOP\r\n") == "250 OK ids=0123456789abcdef\r\n250 the goggles do nothing\r\n"
    )
    (event,) = pair.of_type(ContentReceived)
    assert event.content == line
    assert event.report.longest_line_over_limit == 0
