"""The fastest that CPython's own methods, and its ``re``, do for what the kernels answer.

No ``scan`` here finds an offset of a bare line ending or can go on in a second chunk; they are here to be
beaten.
"""

from __future__ import annotations

import re

_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")
_LINES = re.compile(rb"[^\r\n]++")
_ANY_END = re.compile(rb"\r\n?|\n")
_STUFFED = re.compile(rb"(?m)^\.")
# Sound lines up to the first that is not, or to the end of data. Possessive: there is nothing to go back for.
_SOUND = re.compile(rb"(?:[^\r\n]{0,998}+\r\n(?!\.\r\n))*+")
_ANY_LINE = re.compile(rb"[^\r\n]*+(?:\r\n?|\n|\Z)(?:\.\r\n)?")


def scan(data: bytes) -> tuple[int, bool, int, int]:
    """Return where the data end, whether line endings are clean, the stuffed lines and the longest line."""
    pairs = data.count(b"\r\n")
    clean = data.count(b"\r") == pairs == data.count(b"\n")
    longest = max(map(len, data.split(b"\r\n")))
    return data.find(b"\r\n.\r\n"), clean, data.count(b"\r\n."), longest


def scan_re(data: bytes) -> int:
    """Return how many lines are unsound: bare ends, too long, or followed by the end of data."""
    position = unsound = 0
    sound, any_line = _SOUND.match, _ANY_LINE.match
    while True:
        match = sound(data, position)
        assert match is not None  # it matches nothing at all as well
        position = match.end()
        if position == len(data):
            return unsound
        match = any_line(data, position)
        assert match is not None
        position = match.end()
        unsound += 1


def find_bare_line_ending(data: bytes) -> bool:
    """Return whether there is one."""
    return not data.count(b"\r") == data.count(b"\r\n") == data.count(b"\n")


def find_bare_line_ending_re(data: bytes) -> bool:
    """Return whether there is one."""
    return _BARE.search(data) is not None


def fix_line_endings(data: bytes) -> bytes:
    """Return the content with CRLF throughout."""
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")


def fix_line_endings_re(data: bytes) -> bytes:
    """Return the content with CRLF throughout."""
    return _ANY_END.sub(b"\r\n", data)


def check_line_lengths(data: bytes, limit: int) -> bool:
    """Return whether every line keeps to the limit."""
    return max(map(len, data.splitlines())) <= limit


def check_line_lengths_re(data: bytes, limit: int) -> bool:
    """Return whether every line keeps to the limit."""
    # A search would try again at each octet of a line; to look at lines one by one is linear.
    return all(len(match) <= limit for match in _LINES.findall(data))


def unstuff(data: bytes) -> bytes:
    """Return the content without the dots of transparency."""
    plain = data.replace(b"\r\n.", b"\r\n")
    return plain[1:] if plain.startswith(b".") else plain


def unstuff_re(data: bytes) -> bytes:
    """Return the content without the dots of transparency."""
    return _STUFFED.sub(b"", data)


def stuff(data: bytes) -> bytes:
    """Return the content with the dots of transparency, without the end of data."""
    return (b"." if data.startswith(b".") else b"") + data.replace(b"\r\n.", b"\r\n..")


def stuff_re(data: bytes) -> bytes:
    """Return the content with the dots of transparency, without the end of data."""
    return _STUFFED.sub(b"..", data)
