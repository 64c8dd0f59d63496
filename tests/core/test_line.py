from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kumo_core.line import copy_octets, find_crlf, octet_at


@pytest.mark.parametrize(
    ("octets", "start", "found"),
    [
        (b"", 0, -1),
        (b"\r\n", 0, 0),
        (b"NOOP\r\n", 0, 4),
        (b"NOOP\r\nQUIT\r\n", 0, 4),
        (b"NOOP\r\nQUIT\r\n", 6, 10),
        (b"NOOP\r\nQUIT", 6, -1),
        (b"NOOP\r\n", 4, 4),
        # The CR lies before the start: the LF alone ends nothing.
        (b"NOOP\r\n", 5, -1),
        (b"NOOP\r\n", 6, -1),
        (b"a\nb\r", 0, -1),
        (b"a\nb\rc\n\r\n", 0, 6),
        (b"\n\r\n", 0, 1),
        (b"\r\r\n", 0, 1),
        (b"\r", 0, -1),
        (b"\n", 0, -1),
    ],
)
def test_where_a_line_ends(octets: bytes, start: int, found: int) -> None:
    assert find_crlf(octets, start) == found


@given(
    octets=st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a"])).map(b"".join),
    start=st.integers(0, 30),
)
def test_a_line_ends_where_the_slow_search_says(octets: bytes, start: int) -> None:
    start = min(start, len(octets))
    assert find_crlf(octets, start) == octets.find(b"\r\n", start)


@pytest.mark.parametrize("start", [-1, 3])
def test_a_start_outside_is_refused(start: int) -> None:
    with pytest.raises(ValueError, match=f"no offset {start} in 2 octets"):
        find_crlf(b"\r\n", start)


@pytest.mark.parametrize("octets", [None, "\r\n", bytearray(b"\r\n")])
def test_only_bytes_are_searched(octets: object) -> None:
    with pytest.raises(TypeError):
        find_crlf(octets, 0)  # type: ignore[arg-type]


@given(
    octets=st.binary(max_size=40),
    first=st.integers(0, 40),
    second=st.integers(0, 40),
    kind=st.sampled_from([bytes, bytearray, memoryview]),
)
def test_a_copy_has_the_octets_asked_for(octets: bytes, first: int, second: int, kind: type) -> None:
    start, end = sorted((min(first, len(octets)), min(second, len(octets))))
    copy = copy_octets(kind(octets), start, end)
    assert type(copy) is bytes
    assert copy == octets[start:end]


def test_a_copy_does_not_follow_its_buffer() -> None:
    buffer = bytearray(b"MAIL FROM:<>\r\n")
    copy = copy_octets(memoryview(buffer), 0, len(buffer))
    buffer[:4] = b"RCPT"
    buffer.append(0)  # nothing holds the buffer any more
    assert copy == b"MAIL FROM:<>\r\n"


@pytest.mark.parametrize(("start", "end"), [(-1, 1), (2, 1), (0, 4), (4, 4), (0, -1)])
def test_a_copy_of_what_is_not_there_is_refused(start: int, end: int) -> None:
    with pytest.raises(ValueError, match=f"no octets {start} to {end} in 3"):
        copy_octets(b"abc", start, end)


@given(octets=st.binary(min_size=1, max_size=10), kind=st.sampled_from([bytes, bytearray, memoryview]))
def test_an_octet_is_the_one_asked_for(octets: bytes, kind: type) -> None:
    assert [octet_at(kind(octets), place) for place in range(len(octets))] == list(octets)


@pytest.mark.parametrize("place", [-1, 3])
def test_an_octet_that_is_not_there_is_refused(place: int) -> None:
    with pytest.raises(ValueError, match=f"no octet {place} in 3"):
        octet_at(b"abc", place)


def test_only_a_contiguous_buffer_is_read() -> None:
    with pytest.raises(BufferError):
        octet_at(memoryview(b"abcdef")[::2], 0)
    with pytest.raises(TypeError):
        octet_at("abc", 0)  # type: ignore[arg-type]
    with pytest.raises(BufferError):
        copy_octets(memoryview(b"abcdef")[::2], 0, 1)
    with pytest.raises(TypeError):
        copy_octets("abc", 0, 1)  # type: ignore[arg-type]
