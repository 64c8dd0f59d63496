from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings

from benchmarks.corpus import CORPORA, HOSTILE
from kumo_core import stuff, unstuff
from kumo_core.transparency import count_leading_dots, unstuffed_octets
from tests.core import reference
from tests.core.strategies import changeables, contents

if TYPE_CHECKING:
    from collections.abc import Callable

UNSTUFFED = [
    (b"", b""),
    (b".", b""),
    (b"..", b"."),
    (b".a", b"a"),
    (b"a..", b"a.."),
    (b"a\r\n..\r\n", b"a\r\n.\r\n"),
    (b"a\r\n.b\r\n", b"a\r\nb\r\n"),
    (b"\r\n.\r\n.\r\n.", b"\r\n\r\n\r\n"),
    (b"\r\n...", b"\r\n.."),
    # A bare line end begins no line.
    (b"\n.a", b"\n.a"),
    (b"\r.a", b"\r.a"),
    (b"\n\r.a", b"\n\r.a"),
    (b"\r\r\n.a", b"\r\r\na"),
]

STUFFED = [
    (b"", b""),
    (b".", b".."),
    (b"a.", b"a."),
    (b"a\r\n.\r\n", b"a\r\n..\r\n"),
    (b"\r\n.\r\n.a", b"\r\n..\r\n..a"),
    (b"\n.", b"\n."),
    (b"\r.", b"\r."),
]


@pytest.mark.parametrize("lead", [0, *range(2, 60, 7), 1000])
@pytest.mark.parametrize(("data", "plain"), UNSTUFFED)
def test_one_leading_dot_is_removed_from_every_line(data: bytes, plain: bytes, lead: int) -> None:
    assert unstuff(data) == plain
    if lead:
        before, after = b"x" * (lead - 2) + b"\r\n", b"y" * 30
        assert unstuff(before + data + after) == before + plain + after


@pytest.mark.parametrize("lead", [0, *range(2, 60, 7), 1000])
@pytest.mark.parametrize(("data", "stuffed"), STUFFED)
def test_one_dot_is_added_to_every_line_that_begins_with_one(data: bytes, stuffed: bytes, lead: int) -> None:
    assert stuff(data) == stuffed
    if lead:
        before, after = b"x" * (lead - 2) + b"\r\n", b"y" * 30
        assert stuff(before + data + after) == before + stuffed + after


@pytest.mark.parametrize("data", [b"", b"a", b"a\r\nb.\r\n", b"a\n.b", b"x" * 5000])
def test_content_without_leading_dots_comes_back_as_the_same_object(data: bytes) -> None:
    assert unstuff(data) is data
    assert stuff(data) is data


@settings(max_examples=200, deadline=None)
@given(contents | changeables)
def test_agrees_with_the_reference(data: bytes) -> None:
    assert unstuff(data) == reference.unstuff(data)
    assert stuff(data) == reference.stuff(data)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@settings(max_examples=100, deadline=None)
@given(data=contents | changeables, before=contents, after=contents)
def test_octets_between_others_are_unstuffed_as_if_they_were_alone(
    kind: Callable[[bytes], bytes], data: bytes, before: bytes, after: bytes
) -> None:
    buffer = kind(before + data + after)
    assert unstuffed_octets(buffer, len(before), len(before) + len(data)) == reference.unstuff(data)
    assert bytes(buffer) == before + data + after


@pytest.mark.parametrize("data", [b"", b"a\r\nb", b"a\r\n.b"])
def test_unstuffed_octets_outlive_what_they_came_from(data: bytes) -> None:
    buffer = bytearray(data)
    octets = unstuffed_octets(buffer, 0, len(buffer))
    buffer[:] = b"z" * len(buffer)
    assert octets == reference.unstuff(data)


@pytest.mark.parametrize(("start", "end"), [(-1, 2), (2, 1), (0, 4), (4, 4)])
def test_unstuffed_octets_lie_within_the_buffer(start: int, end: int) -> None:
    with pytest.raises(ValueError, match=f"no octets {start} to {end} in 3"):
        unstuffed_octets(b"\r\n.", start, end)


@pytest.mark.parametrize("count", [*range(200), 1000])
@pytest.mark.parametrize("behind", [b"", b"x", b"\n", b"x...", b"x" * 100 + b"."])
def test_leading_dots_are_counted(count: int, behind: bytes) -> None:
    buffer = memoryview(b"." + b"." * count + behind + b".")
    assert count_leading_dots(buffer, 1, len(buffer) - 1) == count


@pytest.mark.parametrize(("start", "end"), [(-1, 2), (2, 1), (0, 4), (4, 4)])
def test_leading_dots_lie_within_the_buffer(start: int, end: int) -> None:
    with pytest.raises(ValueError, match=f"no octets {start} to {end} in 3"):
        count_leading_dots(b"...", start, end)


@settings(max_examples=100, deadline=None)
@given(contents)
def test_unstuffing_undoes_stuffing(data: bytes) -> None:
    assert unstuff(stuff(data)) == data


@pytest.mark.parametrize("corpus", [*CORPORA.values(), *HOSTILE.values()], ids=[*CORPORA, *HOSTILE])
def test_corpora_agree_with_the_reference(corpus: Callable[[int], bytes]) -> None:
    data = corpus(30_000)
    assert unstuff(data) == reference.unstuff(data)
    assert stuff(data) == reference.stuff(data)


@pytest.mark.parametrize("corpus", HOSTILE.values(), ids=HOSTILE)
def test_twenty_megabytes_of_hostile_octets_are_changed(corpus: Callable[[int], bytes]) -> None:
    data = corpus(20 * 1024 * 1024)
    leading = data.count(b"\r\n.") + data.startswith(b".")
    assert len(unstuff(data)) == len(data) - leading
    assert len(stuff(data)) == len(data) + leading


def test_the_shared_empty_object_stays_whole() -> None:
    # One dot alone leaves an empty result; a stray write behind it would show in every other empty object.
    assert unstuff(b".") == b""
    assert int(b"1" + unstuff(b".")) == 1
    assert bytes(1) + unstuff(b".") == b"\0"


@pytest.mark.parametrize("data", [None, "text", bytearray(b"a"), memoryview(b"a")])
def test_takes_bytes_alone(data: object) -> None:
    for change in (stuff, unstuff):
        with pytest.raises(TypeError):
            change(data)  # type: ignore[arg-type]
