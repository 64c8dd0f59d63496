"""Times as log records and segment names print them.

A fraction has 0, 3, 6 or 9 digits, as many as it needs. The second part is remembered, because
thousands of records share it. Nothing here reads a clock.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Final

NANOSECONDS = 10**9

_LAST: Final = 2**63 - 1
"""The last nanosecond that compiled code calculates with as such: in the year 2262."""

# The second that was printed last, which most records share.
_second: int = -1
_second_text: str = ""


def print_rfc3339(nanoseconds: int) -> str:
    """Print a time as ``2026-11-23T06:00:00.123456Z``.

    Args:
        nanoseconds: since 1970, UTC.

    Source: RFC 3339 §5.6.
    """
    if 0 <= nanoseconds <= _LAST:
        return _print_usual(nanoseconds)
    seconds, fraction = divmod(nanoseconds, NANOSECONDS)
    return f"{_date_and_time(seconds)}{_print_fraction(fraction)}Z"


def _print_usual(nanoseconds: int) -> str:
    global _second, _second_text  # noqa: PLW0603 - what `lru_cache` would keep, at a tenth of its price
    # A literal is a C number to the compiler, the name that others import would be a Python one.
    seconds = nanoseconds // 10**9
    if seconds != _second:
        _second_text = _date_and_time(seconds)
        _second = seconds
    fraction = nanoseconds - seconds * 10**9
    # Nearly always so, and in one piece.
    if fraction % 1000:
        return f"{_second_text}.{fraction:09d}Z"
    return f"{_second_text}{_print_fraction(fraction)}Z"


def print_segment_stamp(nanoseconds: int) -> str:
    """Print a time as the beginning of a segment's name, ``20261123-060000.123456``.

    Args:
        nanoseconds: since 1970, UTC.

    Source: KumoMTA manual, kumo.configure_local_logs.
    """
    seconds, fraction = divmod(nanoseconds, NANOSECONDS)
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(seconds))}{_print_fraction(fraction)}"


@lru_cache(maxsize=256)
def _date_and_time(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def _print_fraction(nanoseconds: int) -> str:
    if nanoseconds % 1000:
        return f".{nanoseconds:09d}"
    if nanoseconds % 1_000_000:
        return f".{nanoseconds // 1000:06d}"
    if nanoseconds:
        return f".{nanoseconds // 1_000_000:03d}"
    return ""
