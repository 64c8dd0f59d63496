"""A disk that has so much room and no more."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from tests.spool.faults import InstrumentedFiles


class SmallDisk(InstrumentedFiles):
    """Counts the octets of all files below a folder; directories take none. What is there may be replaced.

    Args:
        error: what a write beyond its capacity says, having written what fits.
    """

    def __init__(self, error: int = errno.ENOSPC) -> None:
        super().__init__()
        self.capacity: int | None = None
        self._error = error
        self._root = Path()

    def leave(self, root: Path, octets: int) -> int:
        """Have room for ``octets`` beside what is there; returns them."""
        self._root = root
        self.capacity = self.used + octets
        return octets

    @property
    def used(self) -> int:
        return sum(path.stat().st_size for path in self._root.rglob("*") if path.is_file())

    @property
    def free(self) -> int:
        assert self.capacity is not None
        return self.capacity - self.used

    def room(self, _: str) -> tuple[int, int]:
        """As with a quota, of which the file system does not know."""
        return 1 << 40, 1 << 40

    def write(self, descriptor: int, segments: Sequence[bytes]) -> None:
        if self.capacity is not None and (octets := b"".join(segments)) and len(octets) > self.free:
            super().write(descriptor, (octets[: max(0, self.free)],))
            raise OSError(self._error, os.strerror(self._error))
        super().write(descriptor, segments)
