from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.corpus import CORPORA, HOSTILE
from kumo_core import check_line_lengths
from tests.core import reference
from tests.core.strategies import LIMIT, contents

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer


@pytest.mark.parametrize(
    ("data", "limit", "offset"),
    [
        (b"", 0, -1),
        (b"\r\n", 0, -1),
        (b"a", 0, 0),
        (b"12345", 5, -1),
        (b"123456", 5, 0),
        (b"12345\r\n123456\r\n", 5, 7),
        # Any of the three ends a line, and none of them counts.
        (b"12345\r\n12345\r\n", 5, -1),
        (b"12345\n12345\n", 5, -1),
        (b"12345\r12345\r", 5, -1),
        (b"12345\r123456\n1", 5, 6),
        (b"1\n\n\n123456\r\n", 5, 4),
        # The end of the data ends a line.
        (b"1\r\n123456", 5, 3),
        # No dot is taken off.
        (b"1\r\n.12345\r\n", 5, 3),
        (b"\0" * 5, 5, -1),
        (b"x" * 998 + b"\r\n", 998, -1),
        (b"x" * 999 + b"\r\n", 998, 0),
        (b"x" * 999, (1 << 63) - 1, -1),
    ],
)
def test_offset_of_the_first_line_over_the_limit(data: bytes, limit: int, offset: int) -> None:
    assert check_line_lengths(data, limit) == offset


@settings(max_examples=200, deadline=None)
@given(contents, st.sampled_from([0, 1, LIMIT, 512, 998]))
def test_agrees_with_the_reference(data: bytes, limit: int) -> None:
    assert check_line_lengths(data, limit) == reference.check_line_lengths(data, limit)


@pytest.mark.parametrize("limit", [7, 8, 9, 89, 90, 997, 998])
@pytest.mark.parametrize("corpus", [*CORPORA.values(), *HOSTILE.values()], ids=[*CORPORA, *HOSTILE])
def test_corpora_agree_with_the_reference(corpus: Callable[[int], bytes], limit: int) -> None:
    data = corpus(30_000)
    assert check_line_lengths(data, limit) == reference.check_line_lengths(data, limit)


@pytest.mark.parametrize("name", HOSTILE)
def test_twenty_megabytes_of_hostile_octets_are_measured(name: str) -> None:
    too_long = {"all_dots", "one_line", "nul", "too_long_cr_lines", "too_long_lines"}
    assert check_line_lengths(HOSTILE[name](20 * 1024 * 1024), 998) == (0 if name in too_long else -1)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_takes_any_buffer(kind: Callable[[bytes], Buffer]) -> None:
    assert check_line_lengths(kind(b"ab\r\nabc"), 2) == 4


def test_the_buffer_is_released() -> None:
    data = bytearray(b"abc")
    check_line_lengths(data, 1)
    data.append(0)
    assert data == b"abc\0"


def test_negative_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be negative, got -1"):
        check_line_lengths(b"", -1)
