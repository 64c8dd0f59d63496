"""Every kernel at every alignment, around every length at which it goes over to another way of working."""

from __future__ import annotations

import random
import tracemalloc

import pytest

from kumo_core import (
    DataScanner,
    check_line_lengths,
    find_bare_line_ending,
    fix_line_endings,
    stuff,
    unstuff,
)
from tests.core import reference
from tests.core.strategies import BLOCK, STEP

UNITS = [
    b"\n",
    b"\r",
    b"\r\n",
    b"\n\r",
    b"\r\n.",
    b"\r\n..",
    b"\n.",
    b"\r\r\n.\n",
    b"text\r\n",
    b"..text that is longer\r\n",
    b"x",
]
LENGTHS = sorted(
    {
        count * STEP + more
        for count in (0, 1, 2, 3, 7, 8, 14, 15, 16)
        for more in (-2, -1, 0, 1, 2)
        if count * STEP + more >= 0
    }
)
PIECES = [b"\n", b"\r", b"\r\n", b".", b"\r\n.", b"\r\n..", b"a", b"bcdefgh", b"\r\n.\r", b"x" * 50]


def mixed(seed: int, size: int) -> bytes:
    """Pieces in an order that repeats itself nowhere; how many are line ends changes along the way."""
    rng = random.Random(seed)  # noqa: S311 - the same octets in every run are the point
    content = bytearray()
    while len(content) < size:
        weights = [rng.random() ** 4 for _ in PIECES]
        content += b"".join(rng.choices(PIECES, weights, k=rng.randrange(1, 300)))
    # An end of data would end the scan.
    return bytes(content[:size]).replace(b"\r\n.\r\n", b"\r\n.-\n")


def check_all(content: bytes) -> None:
    assert find_bare_line_ending(content) == reference.find_bare_line_ending(content)
    assert fix_line_endings(content) == reference.fix_line_endings(content)
    assert unstuff(content) == reference.unstuff(content)
    assert stuff(content) == reference.stuff(content)


def scanned(view: memoryview, limit: int) -> object:
    scanner = DataScanner(limit)
    return scanner.scan(view), scanner.complete, scanner.report()


@pytest.mark.parametrize("unit", UNITS, ids=repr)
def test_lengths_around_steps_and_blocks(unit: bytes) -> None:
    for length in LENGTHS:
        content = (unit * (length // len(unit) + 1))[:length]
        check_all(content)
        check_all(b"y" * 100 + content)
        check_all(content + b"y" * 100)


@pytest.mark.parametrize("offset", range(STEP))
def test_any_offset(offset: int) -> None:
    content = mixed(offset, 2 * BLOCK + offset)
    # An octet before and behind that would change each answer if it were looked at.
    for around in (b"\r", b"\n", b"."):
        view = memoryview(around * offset + content + around * STEP)[offset : offset + len(content)]
        assert find_bare_line_ending(view) == reference.find_bare_line_ending(content)
        for limit in (5, 998):
            assert check_line_lengths(view, limit) == reference.check_line_lengths(content, limit)
            assert scanned(view, limit) == reference.scan(content, limit)


@pytest.mark.parametrize("offset", range(STEP))
def test_what_stands_before_a_chunk_counts_for_nothing(offset: int) -> None:
    # It is what the memory held before; what came before the chunk is "y".
    for before in (b"\r\n.", b"\r\n.\r", b"\r\n", b"\r"):
        for begin in (b"\r\n", b"\n", b".\r\n", b"\n.\r\n", b"\r\n.\r\r\n"):
            content = begin + b"a\n.b\r" * 30 + b"c" * BLOCK
            view = memoryview(b"z" * offset + before + content)[offset + len(before) :]
            scanner = DataScanner()
            scanner.scan(b"y")
            scanner.scan(view)
            assert (1 + len(content), scanner.complete, scanner.report()) == reference.scan(
                b"y" + content, 998
            )


@pytest.mark.parametrize("seed", range(12))
def test_long_contents_of_changing_density(seed: int) -> None:
    check_all(mixed(seed, 40_000))


@pytest.mark.parametrize("dense_first", [True, False])
@pytest.mark.parametrize("unit", [b"\n", b"\r", b"\r\n."], ids=repr)
def test_stretches_full_of_line_ends_beside_text(unit: bytes, dense_first: bool) -> None:
    dense, plain = unit * 5000, b"some text\r\n" * 2000
    check_all(dense + plain if dense_first else plain + dense)


@pytest.mark.parametrize("more", [0, 1, 63, 64, 100])
@pytest.mark.parametrize("unit", [b"x" * 200 + b"\n.", b"\n.", b"a\r\nb\r", b"\r\n.."])
def test_a_large_copy_is_made_in_its_size(unit: bytes, more: int) -> None:
    content = b"x" * 70 + b"\r\n." + unit * ((1 << 20) // len(unit) + 1) + b"y" * more
    for kernel, oracle in ((fix_line_endings, reference.fix_line_endings), (stuff, reference.stuff)):
        tracemalloc.start()
        copy = kernel(content)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert copy == oracle(content)
        assert peak < len(copy) + 4096


@pytest.mark.parametrize("size", [1, 63, 64, 65, 511, 4096])
def test_chunks_of_any_size_give_the_same_report(size: int) -> None:
    for seed in range(6):
        content = mixed(seed, 6000)
        for limit in (0, 40, 998):
            scanner = DataScanner(limit)
            for start in range(0, len(content), size):
                scanner.scan(content, start, min(start + size, len(content)))
            assert (len(content), False, scanner.report()) == reference.scan(content, limit)


@pytest.mark.parametrize("length", [651, 800, 895, 896, 959, 960, 961, 997, 998, 999, 1000, 1023, 1600])
@pytest.mark.parametrize("line_end", [b"\r\n", b"\r", b"\n"], ids=repr)
def test_one_long_line_among_short_ones_wherever_it_stands(length: int, line_end: bytes) -> None:
    for lead in range(BLOCK + 2 * STEP):
        stream = b"ab\r\n" * 20 + b"y" * (lead % 400) + b"\r\n" + b"z\r\n" * (lead // 3)
        cut = len(stream) + length // 2
        stream += b"x" * length + line_end + b"cd\r\n" * 150
        for limit in (650, 894, 960, 998):
            expected = length if length > limit else 0
            scanner = DataScanner(limit)
            scanner.scan(stream)
            assert scanner.report().longest_line_over_limit == expected
            # The line may begin in one chunk and end in the next, too.
            scanner = DataScanner(limit)
            scanner.scan(stream, 0, cut)
            scanner.scan(stream, cut)
            assert scanner.report().longest_line_over_limit == expected
