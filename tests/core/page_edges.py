"""Runs the kernels that take any buffer on octets that begin or end where memory does.

A read outside ends the process.

``python -m tests.core.page_edges``; ``test_instruction_set`` does so with each set.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import random

from kumo_core import DataScanner, check_line_lengths, find_bare_line_ending
from tests.core import reference
from tests.core.test_alignment import mixed

PAGE = mmap.PAGESIZE
PROT_NONE = 0
LIMITS = (0, 10, 62, 63, 64, 65, 200, 998)
CHUNKS = (1, 2, 63, 64, 65, 500, 513, 1500, PAGE)
SEEDS = range(200)


class EdgedMemory:
    """A page between two that must not be touched."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 3 * PAGE)
        begin = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        libc = ctypes.CDLL(None, use_errno=True)
        for page in (begin, begin + 2 * PAGE):
            if libc.mprotect(ctypes.c_void_p(page), ctypes.c_size_t(PAGE), PROT_NONE):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def holding(self, octets: bytes, *, is_at_end: bool) -> memoryview:
        """The octets, at the beginning of the page or at its end."""
        start = 2 * PAGE - len(octets) if is_at_end else PAGE
        view = memoryview(self._memory)[start : start + len(octets)]
        view[:] = octets
        return view


def search(view: memoryview) -> None:
    """Ask about the octets as a whole."""
    content = bytes(view)
    assert find_bare_line_ending(view) == reference.find_bare_line_ending(content)
    for limit in LIMITS:
        assert check_line_lengths(view, limit) == reference.check_line_lengths(content, limit)


def scan_in_chunks(memory: EdgedMemory, content: bytes, rng: random.Random) -> None:
    """Scan with each limit, each chunk at an edge of the page."""
    for limit in LIMITS:
        scanner = DataScanner(limit)
        taken = 0
        while taken < len(content) and not scanner.complete:
            end = min(len(content), taken + rng.choice(CHUNKS))
            taken += scanner.scan(memory.holding(content[taken:end], is_at_end=rng.randrange(2) == 0))
        assert (taken, scanner.complete, scanner.report()) == reference.scan(content, limit)


def main() -> None:
    """Do it with contents of all kinds and lengths."""
    memory = EdgedMemory()
    for seed in SEEDS:
        rng = random.Random(seed)  # noqa: S311 - the same octets in every run are the point
        # Long lines among others, so that a line that is open has begun long before its chunk.
        line = b"x" * rng.choice((0, 0, 600, 997, 1100))
        content = mixed(seed, rng.randrange(PAGE)) + line + mixed(~seed, 900)
        for is_at_end in (False, True):
            search(memory.holding(content[: rng.randrange(PAGE)], is_at_end=is_at_end))
        scan_in_chunks(memory, content, rng)


if __name__ == "__main__":
    main()
