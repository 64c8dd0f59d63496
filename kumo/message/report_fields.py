"""Fields of machine-readable reports: blocks of header-like fields, strictly read.

A report counts as none as soon as anything in it is malformed, so everything here raises ``ValueError``
and whoever calls it takes that for an answer. ``feedback_report`` and ``delivery_status`` do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from kumo.message.encoded_words import decode_encoded_words
from kumo.message.reports import MtaName

_NAME = r"[!-9;-~]++"
_BODY = r"[^\n]*+(?:\n[ \t][^\n]*+)*+(?:\n|\Z)"
_FIELD = re.compile(rf"({_NAME})[ \t]*+:({_BODY})")
_BLOCK = re.compile(rf"(?:{_NAME}[ \t]*+:{_BODY})*+")
_DIGITS = re.compile(r"[0-9]{1,10}")

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_ZONES = {"est": -5, "edt": -4, "cst": -6, "cdt": -5, "mst": -7, "mdt": -6, "pst": -8, "pdt": -7}

_BLANK = r"(?:[ \t]|\((?:[^()\\]|\\.)*+\))*+"
_DATE = re.compile(
    rf"{_BLANK}(?:[a-z]{{3}}{_BLANK},)?+{_BLANK}([0-9]{{1,2}}){_BLANK}([a-z]{{3}}){_BLANK}([0-9]{{2,4}})"
    rf"(?=[ \t(]){_BLANK}([0-9]{{2}}){_BLANK}:{_BLANK}([0-9]{{2}})(?:{_BLANK}:{_BLANK}([0-9]{{2}}))?+"
    rf"{_BLANK}(?:([+-])([0-9]{{2}})([0-9]{{2}})|([a-z]++)){_BLANK}",
    re.IGNORECASE | re.ASCII,
)


class ReportFields:
    """The fields of one block. Whoever takes one takes it away; what is left nobody knew.

    Args:
        octets: the block with LF line ends, without an empty line.
        limit: fields that it may have.
        encoded_limit: characters of fields in which encoded-words are decoded; those of later fields stay as
            they are.

    Raises:
        ValueError: a line is no field, or there are too many.
    """

    __slots__ = ("_values",)

    def __init__(self, octets: bytes, limit: int, encoded_limit: int = 0) -> None:
        text = octets.decode("utf-8", "replace")
        # Two passes of the expression engine take half the time of a loop over matches.
        if _BLOCK.fullmatch(text) is None:
            raise ValueError("a line is no field")
        fields = _FIELD.findall(text)
        if len(fields) > limit:
            raise ValueError("too many fields")
        self._values: dict[str, list[str]] = {}
        rest = encoded_limit
        for name, raw in fields:
            value = _unfolded(raw)
            if "=?" in value and (rest := rest - len(value)) >= 0:
                value = _decoded(value)
            self._values.setdefault(name.lower(), []).append(value)

    def take_all(self, name: str) -> list[str]:
        """The values of all fields of that name.

        Args:
            name: in lower case.
        """
        return self._values.pop(name, [])

    def take(self, name: str) -> str | None:
        """The value of a field that may be there once; None when it is not.

        Args:
            name: in lower case.

        Raises:
            ValueError: it is there more than once.
        """
        values = self._values.pop(name, None)
        if values is None:
            return None
        if len(values) > 1:
            raise ValueError(f"more than one {name}")
        return values[0]

    def take_required(self, name: str) -> str:
        """The value of a field that must be there, once.

        Args:
            name: in lower case.

        Raises:
            ValueError: it is not, or more than once.
        """
        value = self.take(name)
        if value is None:
            raise ValueError(f"no {name}")
        return value

    def rest(self) -> dict[str, list[str]]:
        """All that was not taken, by name in lower case."""
        return self._values


def blocks(body: bytes) -> Iterator[bytes]:
    """Take a report's body apart at its empty lines, one for each.

    Args:
        body: with CRLF or LF; empty lines at its beginning and end do not count.

    Returns:
        The blocks with LF, without one at their ends. Two empty lines in a row make an empty block.
    """
    text = body.replace(b"\r\n", b"\n").strip(b"\r\n")
    start = 0
    while (end := text.find(b"\n\n", start)) >= 0:
        yield text[start:end]
        start = end + 2
    yield text[start:]


def parse_typed(value: str) -> MtaName:
    """Read ``type; value``, split at the first semicolon, both trimmed.

    Args:
        value: trimmed.

    Raises:
        ValueError: there is no semicolon, or no type.

    Source: RFC 3464 §2.1.2.
    """
    kind, semicolon, name = value.partition(";")
    kind = kind.rstrip(" \t")
    if not semicolon or not kind:
        raise ValueError("no type")
    return MtaName(kind, name.lstrip(" \t"))


def parse_number(value: str, largest: int) -> int:
    """Read a decimal number.

    Raises:
        ValueError: it is none, or too large.
    """
    if _DIGITS.fullmatch(value) is None or int(value) > largest:
        raise ValueError(f"no number up to {largest}")
    return int(value)


def parse_date(value: str) -> datetime:
    """Read a date of RFC 5322, with its obsolete years, zones and comments.

    The day of the week is not checked: RFC 5965's own example has a wrong one. The standard library's
    parser takes much that is no date, and lets some of its errors out.

    Returns:
        The time in UTC. A leap second counts as the one before.

    Raises:
        ValueError: it is none.

    Source: RFC 5322 §3.3, §4.3.
    """
    match = _DATE.fullmatch(value)
    if match is None:
        raise ValueError("no date")
    day, month, year, hour, minute, second, sign, zone_hours, zone_minutes, zone = match.groups()
    if month.lower() not in _MONTHS:
        raise ValueError("no month")
    local = datetime(
        _full_year(year),
        _MONTHS.index(month.lower()) + 1,
        int(day),
        int(hour),
        int(minute),
        59 if second == "60" else int(second or 0),
        tzinfo=UTC,
    )
    try:
        return local - _offset(sign, zone_hours, zone_minutes, zone)
    except OverflowError:
        raise ValueError("no year") from None


def _unfolded(raw: str) -> str:
    text = raw.strip(" \t\r\n")
    if "\n" in text:
        text = " ".join([line.strip(" \t\r") for line in text.split("\n")])
    return text


def _decoded(text: str) -> str:
    # Some charsets yield lone surrogates, which JSON cannot carry.
    return decode_encoded_words(text).encode("utf-8", "replace").decode()


def _full_year(text: str) -> int:
    year = int(text)
    if len(text) == len("2005"):
        return year
    # Two digits up to 49 are of this century; three count from 1900, RFC 5322 §4.3.
    return year + (2000 if len(text) == len("05") and year < 50 else 1900)  # noqa: PLR2004 - as said


def _offset(sign: str | None, hours: str, minutes: str, name: str) -> timedelta:
    if sign is None:
        # A zone that nobody knows counts as UTC, RFC 5322 §4.3.
        return timedelta(hours=_ZONES.get(name.lower(), 0))
    if int(hours) >= 24 or int(minutes) >= 60:  # noqa: PLR2004 - of a day and of an hour
        raise ValueError("no zone")
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    return -offset if sign == "-" else offset
