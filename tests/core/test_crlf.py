from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.corpus import CORPORA, HOSTILE
from kumo_core import find_bare_line_ending, fix_line_endings
from tests.core import reference
from tests.core.strategies import changeables, contents

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

ROWS = [
    (b"", -1, b""),
    (b"a", -1, b"a"),
    (b"\r\n", -1, b"\r\n"),
    (b"a\r\n\r\nb\r\n", -1, b"a\r\n\r\nb\r\n"),
    (b"\n", 0, b"\r\n"),
    (b"\r", 0, b"\r\n"),
    (b"a\nb", 1, b"a\r\nb"),
    (b"a\rb", 1, b"a\r\nb"),
    (b"a\r", 1, b"a\r\n"),
    (b"\r\r\n", 0, b"\r\n\r\n"),
    (b"\n\r", 0, b"\r\n\r\n"),
    (b"\r\n\n", 2, b"\r\n\r\n"),
    (b"\r\n\r", 2, b"\r\n\r\n"),
    (b"\r\r\r", 0, b"\r\n\r\n\r\n"),
    (b"\n\n\n", 0, b"\r\n\r\n\r\n"),
    (b"a\r\n.\nb\r\n", 4, b"a\r\n.\r\nb\r\n"),
    (b"\0\x0b\x0c\x85\xe2\x80\xa8", -1, b"\0\x0b\x0c\x85\xe2\x80\xa8"),
]


@pytest.mark.parametrize(("data", "offset", "mended"), ROWS)
def test_every_lone_cr_and_lf_becomes_crlf(data: bytes, offset: int, mended: bytes) -> None:
    assert find_bare_line_ending(data) == offset
    assert fix_line_endings(data) == mended


@pytest.mark.parametrize("lead", range(0, 1100, 47))
@pytest.mark.parametrize(("data", "offset", "mended"), ROWS)
def test_wherever_it_stands(data: bytes, offset: int, mended: bytes, lead: int) -> None:
    before, after = b"x" * lead, b"y" * 40
    expected = offset if offset < 0 else lead + offset
    assert find_bare_line_ending(before + data + after) == expected
    assert fix_line_endings(before + data + after) == before + mended + after


@pytest.mark.parametrize("corpus", CORPORA.values(), ids=CORPORA)
def test_clean_content_comes_back_as_the_same_object(corpus: Callable[[int], bytes]) -> None:
    clean = reference.fix_line_endings(corpus(5000))
    assert fix_line_endings(clean) is clean
    assert find_bare_line_ending(clean) == -1


@settings(max_examples=200, deadline=None)
@given(contents)
def test_agrees_with_the_reference(data: bytes) -> None:
    assert find_bare_line_ending(data) == reference.find_bare_line_ending(data)
    assert fix_line_endings(data) == reference.fix_line_endings(data)


@settings(max_examples=200, deadline=None)
@given(changeables)
def test_few_and_many_at_a_time_agree_with_the_reference(data: bytes) -> None:
    assert fix_line_endings(data) == reference.fix_line_endings(data)


@settings(max_examples=100, deadline=None)
@given(contents)
def test_mending_again_changes_nothing(data: bytes) -> None:
    mended = fix_line_endings(data)
    assert find_bare_line_ending(mended) == -1
    assert fix_line_endings(mended) is mended


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([b"\r", b"\n"]), max_size=1200).map(b"".join))
def test_nothing_but_line_ends(data: bytes) -> None:
    assert fix_line_endings(data) == reference.fix_line_endings(data)


@pytest.mark.parametrize("corpus", HOSTILE.values(), ids=HOSTILE)
def test_twenty_megabytes_of_hostile_octets_are_mended(corpus: Callable[[int], bytes]) -> None:
    data = corpus(20 * 1024 * 1024)
    mended = fix_line_endings(data)
    lone = data.count(b"\r") + data.count(b"\n") - 2 * data.count(b"\r\n")
    assert len(mended) == len(data) + lone
    assert find_bare_line_ending(mended) == -1


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("shift", range(17))
def test_finding_takes_any_buffer_at_any_alignment(kind: Callable[[bytes], Buffer], shift: int) -> None:
    data = memoryview(kind(b"\n" * shift + b"ab\r\n" * 300 + b"\r"))[shift:]
    assert find_bare_line_ending(data) == 1200


def test_the_buffer_is_released() -> None:
    data = bytearray(b"a\n")
    find_bare_line_ending(data)
    data.append(0)
    assert data == b"a\n\0"


@pytest.mark.parametrize("data", [None, "text", bytearray(b"a"), memoryview(b"a")])
def test_mending_takes_bytes_alone(data: object) -> None:
    with pytest.raises(TypeError):
        fix_line_endings(data)  # type: ignore[arg-type]
