from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.corpus import CORPORA, HOSTILE
from kumo_core import DataScanner, ScanReport
from tests.core import reference
from tests.core.strategies import BLOCK, LIMIT, STEP, streams

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer


def seen(
    content_length: int = 0,
    *,
    bare_cr: bool = False,
    bare_lf: bool = False,
    first_bare_offset: int = -1,
    stuffed_lines: int = 0,
    longest_line_over_limit: int = 0,
) -> ScanReport:
    return ScanReport(
        content_length, bare_cr, bare_lf, first_bare_offset, stuffed_lines, longest_line_over_limit
    )


CLEAN = seen()

LARGEST_LEAD = 2 * BLOCK + 2 * STEP
"""Octets before what is searched: over two borders between blocks."""

ENDED = [
    # The line end of the DATA command counts as the first.
    (b".\r\n", 3, CLEAN),
    (b".\r\nQUIT\r\n", 3, CLEAN),
    (b"\r\n.\r\n", 5, seen(content_length=2)),
    (b"a\r\n.\r\n", 6, seen(content_length=3)),
    (b"a\r\n.\r\n.\r\n", 6, seen(content_length=3)),
    # From every line that begins with a dot one dot goes.
    (b"..\r\n.\r\n", 7, seen(content_length=3, stuffed_lines=1)),
    (b".a\r\n.\r\n", 7, seen(content_length=3, stuffed_lines=1)),
    (b"a\r\n..\r\n...\r\n.x\r\n.\r\n", 19, seen(content_length=13, stuffed_lines=3)),
    # Nothing but CRLF . CRLF ends the data.
    (b"\n.\n\r\n.\r\n", 8, seen(content_length=5, bare_lf=True, first_bare_offset=0)),
    (b"a\n.\r\n\r\n.\r\n", 10, seen(content_length=7, bare_lf=True, first_bare_offset=1)),
    (
        b"a\r\n.\nb\r\n.\r\n",
        11,
        seen(content_length=7, bare_lf=True, first_bare_offset=4, stuffed_lines=1),
    ),
    (b"a\r.\r\r\n.\r\n", 9, seen(content_length=6, bare_cr=True, first_bare_offset=1)),
    (
        b"a\r\n.\r.\r\n.\r\n",
        11,
        seen(content_length=7, bare_cr=True, first_bare_offset=4, stuffed_lines=1),
    ),
    (b"a\r\r\n.\r\n", 7, seen(content_length=4, bare_cr=True, first_bare_offset=1)),
    (b"\0\r\n.\0\r\n\x0b.\x0c\r\n.\r\n", 15, seen(content_length=11, stuffed_lines=1)),
    ("\u2028.\u0085\r\n.\r\n".encode(), 11, seen(content_length=8)),
    # Of the content only: what is pipelined behind it may hold anything.
    (b"a\r\n.\r\n\n\r..", 6, seen(content_length=3)),
]

UNENDED = [
    (b"", CLEAN),
    (b"a", seen(content_length=1)),
    # These octets may yet be the end of data.
    (b".", CLEAN),
    (b".\r", CLEAN),
    (b"a\r\n.", seen(content_length=3)),
    (b"a\r\n.\r", seen(content_length=3)),
    # And these no longer.
    (b".a", seen(content_length=1, stuffed_lines=1)),
    (b"..", seen(content_length=1, stuffed_lines=1)),
    (b".\ra", seen(content_length=2, stuffed_lines=1, bare_cr=True, first_bare_offset=1)),
    (b"a\n.\r", seen(content_length=4, bare_lf=True, first_bare_offset=1)),
    # A CR at the end may still be followed by its LF.
    (b"a\r", seen(content_length=2)),
]


def in_chunks(stream: bytes, sizes: list[int], limit: int = 998) -> tuple[int, bool, ScanReport]:
    """Feed a stream in chunks of the given sizes, over and over."""
    scanner = DataScanner(limit)
    position = turn = 0
    while position < len(stream) and not scanner.complete:
        chunk = stream[position : position + sizes[turn % len(sizes)]]
        consumed = scanner.scan(chunk)
        assert consumed == len(chunk) or scanner.complete
        position += consumed
        turn += 1
        assert scanner.scanned == position
    return position, scanner.complete, scanner.report()


@pytest.mark.parametrize("sizes", [[1], [2], [3], [1 << 20]], ids=str)
@pytest.mark.parametrize(("stream", "consumed", "report"), ENDED)
def test_data_ends_at_crlf_dot_crlf_alone(
    stream: bytes, consumed: int, report: ScanReport, sizes: list[int]
) -> None:
    assert in_chunks(stream, sizes) == (consumed, True, report)


@pytest.mark.parametrize("sizes", [[1], [2], [3], [1 << 20]], ids=str)
@pytest.mark.parametrize(("stream", "report"), UNENDED)
def test_content_length_leaves_out_what_may_be_the_end(
    stream: bytes, report: ScanReport, sizes: list[int]
) -> None:
    assert in_chunks(stream, sizes) == (len(stream), False, report)


@pytest.mark.parametrize("sizes", [[1], [3], [1 << 20]], ids=str)
@pytest.mark.parametrize(
    ("stream", "limit", "longest"),
    [
        (b"12345\r\n.\r\n", 5, 0),
        (b"123456\r\n.\r\n", 5, 6),
        (b"123456\r\n1234567\r\n1\r\n123456\r\n.\r\n", 5, 7),
        # The line end does not count, whichever it is.
        (b"12345\n12345\r12345\r\n.\r\n", 5, 0),
        (b"123456\n1\r\n.\r\n", 5, 6),
        (b"1\r123456\r12345\r\n.\r\n", 5, 6),
        # The dot that transparency added does not count, a second one does.
        (b".12345\r\n.\r\n", 5, 0),
        (b"1\r\n.12345\r\n.\r\n", 5, 0),
        (b"1\r\n..12345\r\n.\r\n", 5, 6),
        # No dot is removed after a bare line end.
        (b"1\n.12345\r\n.\r\n", 5, 6),
        (b"1\r.12345\r\n.\r\n", 5, 6),
        (b"1\r\n.\r\n", 0, 1),
        (b"\r\n\r\n.\r\n", 0, 0),
        (b"..\r\n.\r\n", 0, 1),
        # The line that is still open counts.
        (b"1\r\n123456", 5, 6),
        (b"1\r\n.12345", 5, 0),
        (b"1\r\n.123456", 5, 6),
    ],
)
def test_longest_line_over_limit(stream: bytes, limit: int, longest: int, sizes: list[int]) -> None:
    assert in_chunks(stream, sizes, limit)[2].longest_line_over_limit == longest


def test_limit_is_998_octets_unless_told_otherwise() -> None:
    assert in_chunks(b"x" * 998 + b"\r\n", [4096])[2].longest_line_over_limit == 0
    assert in_chunks(b"x" * 999 + b"\r\n", [4096])[2].longest_line_over_limit == 999


@settings(max_examples=200, deadline=None)
@given(
    streams, st.lists(st.integers(1, 2 * BLOCK), min_size=1, max_size=5), st.sampled_from([0, 1, LIMIT, 998])
)
def test_agrees_with_the_reference_however_the_stream_is_cut(
    stream: bytes, sizes: list[int], limit: int
) -> None:
    assert in_chunks(stream, sizes, limit) == reference.scan(stream, limit)


@settings(max_examples=100, deadline=None)
@given(streams)
def test_octet_by_octet_gives_the_same_at_every_octet(stream: bytes) -> None:
    scanner = DataScanner(LIMIT)
    for position in range(1, min(len(stream), 1500) + 1):
        scanner.scan(stream[position - 1 : position])
        assert (position, scanner.complete, scanner.report()) == reference.scan(stream[:position], LIMIT)
        if scanner.complete:
            break


@pytest.mark.parametrize("size", [4097, 70_000])
@pytest.mark.parametrize("corpus", [*CORPORA.values(), *HOSTILE.values()], ids=[*CORPORA, *HOSTILE])
def test_corpora_agree_with_the_reference(corpus: Callable[[int], bytes], size: int) -> None:
    stream = corpus(size) + b"\r\n.\r\nQUIT\r\n"
    expected = reference.scan(stream, 998)
    for sizes in ([1 << 20], [512], [1000, 1, 7]):
        assert in_chunks(stream, sizes) == expected


@pytest.mark.parametrize("cut", range(7))
@pytest.mark.parametrize(
    "lead", [0, 1, *range(STEP - 5, STEP + 1), BLOCK, *range(BLOCK + STEP - 5, BLOCK + STEP + 1)]
)
@pytest.mark.parametrize("behind", [b"MAIL", b"MAIL" * 300], ids=len)
def test_end_of_data_is_found_across_any_seam(lead: int, cut: int, behind: bytes) -> None:
    stream = b"x" * lead + b"\r\n.\r\n" + behind
    scanner = DataScanner()
    first = scanner.scan(stream[: lead + cut])
    second = 0 if scanner.complete else scanner.scan(stream[lead + cut :])
    assert scanner.complete
    assert first + second == scanner.scanned == lead + 5
    assert scanner.content_length == lead + 2


@pytest.mark.parametrize(
    ("tail", "is_end"),
    [
        (b"\r\n.\r\n", True),
        (b"\r\n..\r\n", False),
        (b"\r\n.\n", False),
        (b"\r\n.\r", False),
        (b"\n.\r\n", False),
        (b"x.\r\n", False),
    ],
)
def test_end_of_data_is_found_at_any_place_between_any_two_blocks(tail: bytes, is_end: bool) -> None:
    # Blocks begin where lines of the cache do, so what is searched lies at places of one buffer; all else in
    # it is clean, so that nothing but the end of data itself has a block looked at closely.
    buffer = bytearray(b"x" * (LARGEST_LEAD + 64 + 3 * BLOCK))
    scanner = DataScanner(1 << 20)
    for offset in (0, 1, 7, *range(16, 64, 16), 63):
        for lead in range(LARGEST_LEAD):
            start = offset + lead
            buffer[start : start + len(tail)] = tail
            consumed = scanner.scan(buffer, offset, len(buffer))
            assert scanner.complete is is_end, (offset, lead)
            assert consumed == (lead + len(tail) if is_end else len(buffer) - offset)
            scanner.reset()
            buffer[start : start + len(tail)] = b"x" * len(tail)


@pytest.mark.parametrize(
    "around",
    [b"abcdefgh\r\n..", b"abcdefgh\n", b"abcdefgh\r", b"abc\r\n..\nd\r", b"abcdefgh\r\n"],
    ids=["dots", "lf", "cr", "dots and bare", "clean"],
)
@pytest.mark.parametrize(
    "piece",
    [b"\r\n.\r\n", b"\r\n.\r", b"\r\n.", b"\n.\r\n", b"\n..", b"\r.", b"\r\r\n", b"\n\r", b"\r\n.\n"],
)
def test_pieces_are_found_at_any_place_among_much_else(around: bytes, piece: bytes) -> None:
    # Where a block had something the next one is taken in another manner. One buffer, as above.
    filling = around * (4 * BLOCK // len(around))
    buffer = bytearray(filling)
    scanner = DataScanner(LIMIT)
    for start in range(BLOCK, 2 * BLOCK + STEP):
        buffer[start : start + len(piece)] = piece
        scanner.scan(buffer)
        found = scanner.scanned, scanner.complete, scanner.report()
        assert found == reference.scan(bytes(buffer), LIMIT), start
        scanner.reset()
        buffer[:] = filling


@pytest.mark.parametrize("limit", [500, 850, 958, 959, 960, 961, 998])
@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"\r", b"\r\n..", b"\n\r\r\n."], ids=repr)
def test_lines_of_any_length_are_measured(end: bytes, limit: int) -> None:
    # Whether blocks have a line end, one in two, and where in them, is all up to the length.
    for length in (*range(0, 380, 20), *range(385, 1010, 25), *range(440, 452), *range(limit - 3, limit + 5)):
        stream = (b"x" * length + end) * (3000 // (length + 1) + 1)
        for sizes in ([1 << 20], [1500, 700]):
            assert in_chunks(stream, sizes, limit) == reference.scan(stream, limit), length


@pytest.mark.parametrize("limit", [400, 447, 500, 850, 894, 959, 960, 998])
def test_a_long_line_among_short_ones_is_found_at_any_place(limit: int) -> None:
    filling = b"abcdefgh\r\n" * (5 * BLOCK // 10)
    buffer = bytearray(filling)
    scanner = DataScanner(limit)
    for start in range(BLOCK, 2 * BLOCK + STEP):
        for length in (limit, limit + 1):
            buffer[start : start + length + 4] = b"\r\n" + b"x" * length + b"\r\n"
            scanner.scan(buffer)
            assert scanner.report().longest_line_over_limit == (length if length > limit else 0), start
            scanner.reset()
        buffer[:] = filling


LINES = st.lists(
    st.tuples(
        st.integers(0, 1100) | st.sampled_from([10, 60, 440, 500, 600, 800, 860]) | st.integers(950, 1005),
        st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\r\n..", b"\n", b"\r", b"\n.", b"\r\r\n"]),
        st.integers(1, 5),
    ).map(lambda line: (b"x" * line[0] + line[1]) * line[2]),
    min_size=5,
    max_size=30,
).map(b"".join)


@settings(max_examples=300, deadline=None)
@given(
    LINES,
    st.lists(st.integers(1, 4 * BLOCK), min_size=1, max_size=3),
    st.sampled_from([400, 512, 700, 850, 959, 960, 998]),
)
def test_lines_of_mixed_lengths_are_measured(stream: bytes, sizes: list[int], limit: int) -> None:
    expected = reference.scan(stream, limit)
    assert in_chunks(stream, [1 << 20], limit) == expected
    assert in_chunks(stream, sizes, limit) == expected


@pytest.mark.parametrize("other", [b"\r", b"\n", b".", b"x", b"\0", b""])
@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize(
    "lead", [0, 1, *range(STEP - 5, STEP + 1), *range(BLOCK + STEP - 5, BLOCK + STEP + 1)]
)
@pytest.mark.parametrize("behind", [b"y\r\n", b"y\r\n" * 300], ids=len)
def test_end_of_data_with_one_octet_changed_is_none(
    lead: int, place: int, other: bytes, behind: bytes
) -> None:
    end_of_data = b"\r\n.\r\n"
    changed = end_of_data[:place] + other + end_of_data[place + 1 :]
    stream = b"x" * lead + changed + behind
    expected = reference.scan(stream, LIMIT)
    assert expected[1] == (changed == end_of_data)
    for sizes in ([1 << 20], [1], [BLOCK]):
        assert in_chunks(stream, sizes, LIMIT) == expected


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("shift", range(17))
def test_any_buffer_at_any_alignment(kind: Callable[[bytes], Buffer], shift: int) -> None:
    content = b"..ab\n" * 300 + b"\r\n.\r\n"
    chunk = kind(b"\n" * shift + content + b"NOOP")
    scanner = DataScanner(LIMIT)
    assert scanner.scan(chunk, shift) == len(content)
    assert (len(content), True, scanner.report()) == reference.scan(content, LIMIT)


def test_only_the_octets_between_start_and_end_are_seen() -> None:
    scanner = DataScanner()
    assert scanner.scan(b"\nab\n", 1, 3) == 2
    assert scanner.scan(b"ab", 2) == 0
    assert scanner.scan(b"ab", 1, 1) == 0
    assert scanner.report() == seen(content_length=2)


@pytest.mark.parametrize(("start", "end"), [(-1, 2), (3, 2), (0, 4), (4, -1), (0, -2)])
def test_offsets_outside_the_chunk_are_refused(start: int, end: int) -> None:
    scanner = DataScanner()
    with pytest.raises(ValueError, match="in a chunk of 3"):
        scanner.scan(b"abc", start, end)
    assert scanner.scanned == 0


def test_scan_after_the_end_is_refused_until_reset() -> None:
    scanner = DataScanner(5)
    scanner.scan(b"..123456\n\r.\r\n.\r\n")
    assert scanner.complete
    with pytest.raises(ValueError, match="after the end of data"):
        scanner.scan(b"a")
    scanner.reset()
    assert (scanner.complete, scanner.scanned, scanner.content_length, scanner.report()) == (
        False,
        0,
        0,
        CLEAN,
    )
    assert scanner.scan(b"1234567\r\n.\r\n") == 12
    assert scanner.report() == seen(content_length=9, longest_line_over_limit=7)


def test_negative_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be negative, got -1"):
        DataScanner(-1)


def test_the_largest_limit_is_no_limit() -> None:
    assert in_chunks(b"x" * 5000, [4096], (1 << 63) - 1)[2].longest_line_over_limit == 0


def test_the_buffer_is_released() -> None:
    chunk = bytearray(b"a\r\n.\r\n")
    scanner = DataScanner()
    scanner.scan(chunk)
    chunk.append(0)
    with pytest.raises(ValueError, match="after the end"):
        scanner.scan(chunk)
    chunk.append(0)
    scanner.reset()
    with pytest.raises(ValueError, match="in a chunk"):
        scanner.scan(chunk, 99)
    chunk.append(0)
    assert len(chunk) == 9


def test_a_report_is_a_value() -> None:
    one = seen(7, bare_cr=True, first_bare_offset=3, stuffed_lines=2, longest_line_over_limit=1200)
    evaluated = eval(repr(one), {"ScanReport": ScanReport})  # noqa: S307 - our own text
    assert evaluated == one
    assert hash(evaluated) == hash(one)
    others = [
        seen(8, bare_cr=True, first_bare_offset=3, stuffed_lines=2, longest_line_over_limit=1200),
        seen(7, bare_lf=True, first_bare_offset=3, stuffed_lines=2, longest_line_over_limit=1200),
        seen(7, bare_cr=True, first_bare_offset=4, stuffed_lines=2, longest_line_over_limit=1200),
        seen(7, bare_cr=True, first_bare_offset=3, stuffed_lines=1, longest_line_over_limit=1200),
        seen(7, bare_cr=True, first_bare_offset=3, stuffed_lines=2),
        (7, True, False, 3, 2, 1200),
    ]
    assert all(other != one for other in others)
    with pytest.raises(AttributeError):
        one.bare_cr = False  # type: ignore[misc]


def test_what_is_no_contiguous_buffer_is_refused() -> None:
    scanner = DataScanner()
    with pytest.raises(TypeError):
        scanner.scan("text")  # type: ignore[arg-type]
    with pytest.raises(BufferError):
        scanner.scan(memoryview(b"abcd")[::2])


@pytest.mark.parametrize("corpus", HOSTILE.values(), ids=HOSTILE)
def test_twenty_megabytes_of_hostile_octets_are_taken(corpus: Callable[[int], bytes]) -> None:
    stream = corpus(20 * 1024 * 1024)
    scanner = DataScanner()
    position = 0
    while position < len(stream):
        position += scanner.scan(stream, position, min(position + 131072, len(stream)))
        if scanner.complete:
            scanner.reset()
    assert position == len(stream)
