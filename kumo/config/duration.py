"""Durations in humantime's words, as KumoMTA reads and prints them.

pytimeparse and humanfriendly read ``5M`` as minutes, do not know ``1month`` or do not take both
``1h 30m`` and ``300ms``; hence these lines. Called by ``kumo.policy`` (parse) and ``kumo.queue``
(print).
"""

from __future__ import annotations

import functools
import re
from fractions import Fraction

_MONTH = 2_630_016
_YEAR = 31_557_600

_UNITS: dict[str, Fraction] = {
    name: seconds
    for names, seconds in (
        ("nanos nsec ns", Fraction(1, 10**9)),
        ("usec us µs", Fraction(1, 10**6)),
        ("millis msec ms", Fraction(1, 10**3)),
        ("seconds second secs sec s", Fraction(1)),
        ("minutes minute min mins m", Fraction(60)),
        ("hours hour hr hrs h", Fraction(3600)),
        ("days day d", Fraction(86400)),
        ("weeks week wk wks w", Fraction(604800)),
        ("months month M", Fraction(_MONTH)),
        ("years year yr yrs y", Fraction(_YEAR)),
    )
    for name in names.split()
}

# [0-9], not \d: \d takes every script's digits.
_SPAN = re.compile(r"[ \t]*([0-9]{1,20}(?:\.[0-9]{1,20})?)[ \t]*([A-Za-zµ]+)[ \t]*")


@functools.lru_cache(maxsize=512)
def parse_duration(text: str) -> float:
    """Read humantime text such as ``1h 30m``, ``300ms`` or ``4.2s``.

    Args:
        text: one or more numbers with units, blanks optional; the spans add up. ``0`` is zero.

    Returns:
        Seconds.

    Raises:
        ValueError: no such duration; the text is KumoMTA's.

    Source: KumoMTA manual, "duration"; esmtp listener parameters.
    """
    if text == "0":
        return 0.0
    total = Fraction(0)
    position = 0
    while match := _SPAN.match(text, position):
        number, unit = match.groups()
        if unit not in _UNITS:
            break
        span = Fraction(number) * _UNITS[unit]
        step = Fraction(1) if _UNITS[unit] >= _UNITS["h"] else Fraction(1, 10**9)
        if (span / step).denominator != 1:
            break  # the fraction is finer than the unit may express
        total += span
        position = match.end()
    if not text or position != len(text):
        raise ValueError(f'invalid value: string "{text}", expected a duration')
    return float(total)


def format_duration(seconds: float) -> str:
    """Print a duration in humantime's way, largest unit first: ``1day 2h 3m 4s``.

    Args:
        seconds: not negative.

    Returns:
        The text; ``0s`` for zero.
    """
    nanoseconds = round(seconds * 10**9)
    whole, rest = divmod(nanoseconds, 10**9)
    parts: list[str] = []
    for name, size in (("year", _YEAR), ("month", _MONTH), ("day", 86400)):
        count, whole = divmod(whole, size)
        if count:
            parts.append(f"{count}{name}{'s' if count > 1 else ''}")
    for name, size in (("h", 3600), ("m", 60), ("s", 1)):
        count, whole = divmod(whole, size)
        if count:
            parts.append(f"{count}{name}")
    for name, size in (("ms", 10**6), ("us", 10**3), ("ns", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{name}")
    return " ".join(parts) or "0s"
