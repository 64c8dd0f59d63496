"""The least free space or inodes that a disk must have."""

from __future__ import annotations

from dataclasses import dataclass

_WHOLE = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MinFree:
    """Either a percentage of the whole or an absolute number; exactly one is set."""

    percent: float | None = None
    absolute: int | None = None

    def __post_init__(self) -> None:
        if (self.percent is None) == (self.absolute is None):
            raise ValueError("expected either a percentage or a number")
        if self.percent is not None and not 0 <= self.percent <= _WHOLE:
            raise ValueError(f"invalid value: {self.percent}%, expected a percentage from 0% to 100%")
        if self.absolute is not None and self.absolute < 0:
            raise ValueError(f"invalid value: integer `{self.absolute}`, expected a number of zero or more")

    def is_met(self, free: int, total: int) -> bool:
        """Whether ``free`` of ``total`` (both octets, or both inodes) is enough."""
        if self.absolute is not None:
            return free >= self.absolute
        if total <= 0:
            return True  # file systems without inodes (btrfs, overlay) report zero of zero
        return free * _WHOLE >= (self.percent or 0.0) * total


DEFAULT_MIN_FREE = MinFree(percent=10.0)
