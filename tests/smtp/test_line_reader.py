"""The command-line buffer: what a line is, what is too long, how much is held."""

from __future__ import annotations

import pytest

from kumo.smtp.line_reader import DeafReader, LineReader, NoLine

LIMIT = 10


def read(reader: LineReader) -> list[bytes | NoLine]:
    lines: list[bytes | NoLine] = []
    while (line := reader.next_line()) is not NoLine.INCOMPLETE:
        lines.append(line)
    return lines


@pytest.mark.parametrize(
    ("octets", "lines"),
    [
        (b"", []),
        (b"NOOP\r\n", [b"NOOP"]),
        (b"\r\n", [b""]),
        (b"a\r\nb\r\nc", [b"a", b"b"]),
        (b"a\nb\rc\r\n", [b"a\nb\rc"]),
        (b"a\r\r\n\n\r\n", [b"a\r", b"\n"]),
        (b"0123456789\r\n", [b"0123456789"]),
        (b"0123456789a\r\nb\r\n", [NoLine.TOO_LONG, b"b"]),
        (b"0123456789\r\r\nb\r\n", [NoLine.TOO_LONG, b"b"]),
        (b"0123456789\r", []),
        (b"0123456789abcdef\r\r\r\n\r\n", [NoLine.TOO_LONG, b""]),
        (b"0123456789abcdef\nx\ry\r\nb\r\n", [NoLine.TOO_LONG, b"b"]),
        (b"0123456789abcdef\r\n0123456789abcdef\r\n", [NoLine.TOO_LONG, NoLine.TOO_LONG]),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_lines_end_at_crlf_however_the_input_is_cut(
    octets: bytes, lines: list[bytes | NoLine], size: int
) -> None:
    reader = LineReader(LIMIT)
    got: list[bytes | NoLine] = []
    for i in range(0, len(octets), size):
        reader.feed(octets[i : i + size])
        got += read(reader)
    assert got == lines


@pytest.mark.parametrize("chunk", [b"x", b"x" * 7, b"\r", b"x\r", b"\n", b"x" * 5000])
def test_a_line_without_end_holds_no_more_than_the_limit_and_a_cr(chunk: bytes) -> None:
    reader = LineReader(LIMIT)
    for _ in range(100):
        reader.feed(chunk)
        assert reader.next_line() is NoLine.INCOMPLETE
        assert reader.held_octets() <= LIMIT + 1


def test_no_line_but_the_empty_one_fits_a_limit_of_nothing() -> None:
    reader = LineReader(0)
    reader.feed(b"\r\nx\r\n\r")
    assert read(reader) == [b"", NoLine.TOO_LONG]
    reader.feed(b"\n")
    assert read(reader) == [b""]


def test_the_rest_can_be_taken_and_given_back() -> None:
    reader = LineReader(LIMIT)
    reader.feed(b"DATA\r\nx\r\n")
    assert reader.next_line() == b"DATA"
    assert reader.held_octets() == 3
    assert reader.take_rest() == b"x\r\n"
    assert reader.held_octets() == 0
    assert reader.take_rest() == b""
    reader.feed(b"x\r\n")
    assert reader.next_line() == b"x"


def test_a_new_limit_holds_from_the_next_line_on() -> None:
    reader = LineReader(LIMIT)
    reader.feed(b"0123456789\r\n0123456789\r\n01234\r\n")
    lines = [reader.next_line()]
    reader.limit = 5
    assert lines + read(reader) == [b"0123456789", NoLine.TOO_LONG, b"01234"]


def test_a_deaf_reader_keeps_nothing() -> None:
    reader = DeafReader(LIMIT)
    reader.feed(b"NOOP\r\n")
    assert reader.held_octets() == 0
    assert read(reader) == []
    assert reader.take_rest() == b""
