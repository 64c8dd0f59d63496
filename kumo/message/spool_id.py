"""Spool ids: UUID version 1 as 32 hex digits, the only stored creation time."""

from __future__ import annotations

import secrets
import uuid
from time import time_ns

_EPOCH_TICKS = 0x01B21DD213814000
"""100 ns ticks between 1582-10-15 and 1970-01-01; RFC 9562 §5.1."""

_ID_LENGTH = 32

_BASE = 16

_ERA = 2**32
"""Ticks that the first field of an id counts."""

CLOCK_SEQUENCE_BITS = 14
"""RFC 9562 §5.1."""


class SpoolIdSource:
    """Makes ids that never collide within a process, whatever the clock does.

    The tick always moves forward: when the clock stands still or steps back, the next id takes the
    tick after the last one.

    Args:
        node: 48 bits that tell hosts apart; None: the host's MAC address.
        clock_sequence: 14 bits that tell the processes of a host apart; None: random. Processes of one
            daemon are given different ones: of two random ones each 16384th pair would be the same.
    """

    __slots__ = ("_era", "_last", "_node", "_tail")

    def __init__(self, node: int | None = None, clock_sequence: int | None = None) -> None:
        node = uuid.getnode() if node is None else node
        if clock_sequence is None:
            clock_sequence = secrets.randbits(CLOCK_SEQUENCE_BITS)
        self._node = f"{clock_sequence | 0x8000:04x}{node:012x}"  # variant 10, RFC 9562 §4.1
        self._last = 0
        # What follows the first field stays the same for seven minutes.
        self._era = -1
        self._tail = ""

    def new_id(self, now: float | None = None) -> str:
        """A fresh id.

        Args:
            now: unix time in seconds; None: the wall clock.
        """
        if now is None:
            nanoseconds = time_ns()
            ticks = nanoseconds // 100 + _EPOCH_TICKS
        else:
            ticks = int(now * 10**7) + _EPOCH_TICKS
        if ticks <= self._last:
            ticks = self._last + 1
        self._last = ticks
        era = ticks // _ERA
        if era != self._era:
            digits = f"{era:08x}"
            self._tail = f"{digits[4:]}1{digits[1:4]}{self._node}"
            self._era = era
        return f"{ticks - era * _ERA:08x}{self._tail}"


def is_spool_id(text: str) -> bool:
    """Whether ``text`` is a spool id in the form that file names have."""
    return len(text) == _ID_LENGTH and text[12] == "1" and all(c in "0123456789abcdef" for c in text)


def created_at(spool_id: str) -> float:
    """Unix time in seconds at which an id was made."""
    # As a Python number, which is rounded once: ticks are more than the fraction of a float holds.
    ticks: int = int(created_ticks(spool_id))
    return ticks / 10**7


def created_ticks(spool_id: str) -> int:
    """Time at which an id was made, in 100 ns ticks since 1970.

    Raises:
        ValueError: this is no spool id.
    """
    if len(spool_id) != _ID_LENGTH:
        raise ValueError(f"{spool_id!r} is no spool id")
    # Digit by digit, which compiled takes a tenth of what `int` does. It has 60 bits, so no word overflows.
    ticks = _append_digits(0, spool_id, 13, 16)
    ticks = _append_digits(ticks, spool_id, 8, 12)
    return _append_digits(ticks, spool_id, 0, 8) - _EPOCH_TICKS


def _append_digits(number: int, text: str, start: int, end: int) -> int:
    for place in range(start, end):
        code = ord(text[place])
        if ord("0") <= code <= ord("9"):
            number = _BASE * number + code - ord("0")
        elif ord("a") <= code <= ord("f"):
            number = _BASE * number + code - ord("a") + 10
        else:
            raise ValueError(f"{text!r} is no spool id")
    return number
