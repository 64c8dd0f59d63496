"""The header section of a message, read and edited as octets.

A message is never parsed as MIME and never written anew: fields are found, cut out or put in, and
every other octet stays as it came. The client decides how much there is to look at, and all sessions
wait meanwhile: only the first MiB of a message is searched for fields. Policy's message methods and the
log's header selection call it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from email.quoprimime import header_encode, header_length
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

from kumo.message.encoded_words import DECODED_LIMIT, decode_encoded_words
from kumo_core.header_section import find_fields, find_section_end

_SOFT_WIDTH = 75
"""Characters after which a line of encoded text is folded at the next blank."""

_HARD_WIDTH = 900
"""Characters after which a word without blanks is cut; RFC 5322 §2.1.1 allows 998."""

_WORD_PAYLOAD = 75 - len("=?utf-8?q??=")
"""Characters between the marks of an encoded-word; RFC 2047 §2."""

_SECTION_LIMIT = 1024 * 1024
"""Octets of a header section in which fields are looked for; what lies beyond counts as body."""

_FIELD_END = re.compile(rb"\n(?![ \t])")
_FIELD_NAME = re.compile(rb"[!-9;-~]+")
_LINE_END = re.compile(r"\r\n|\r|\n")

_FIELD_LIMIT = 10_000
"""Fields, and lines that are none, that are listed or passed over: empty fields would take gigabytes."""


class HeaderField(NamedTuple):
    """One field of a header section.

    Args:
        name: as written, without blanks before the colon.
        raw: octets from the colon to the field's last line end, both excluded; folding is kept.
        start: offset of the name in the message.
        end: offset just after the field's last line end.
    """

    name: str
    raw: bytes
    start: int
    end: int

    @property
    def text(self) -> str:
        """The field body unfolded and trimmed; octets that are no UTF-8 become lone surrogates."""
        raw = self.raw
        if b"\n" in raw:
            raw = raw.replace(b"\r\n", b"").replace(b"\n", b"")
        return raw.strip(b" \t").decode("utf-8", "surrogateescape")

    @property
    def value(self) -> str:
        """``text`` with its encoded-words decoded; as it is when that fails."""
        return decode_encoded_words(self.text)


def header_section_end(content: bytes) -> int:
    """Find where the header section ends.

    Args:
        content: a whole message; line ends are CRLF, or LF in mail kept with bare LF.

    Returns:
        The offset of the empty line, which is just after the last field's line end; the length of
        the content when there is no empty line. Where the first MiB has neither, the end of the last
        field that lies in it whole.

    Source: RFC 5322 §2.1.
    """
    return find_section_end(content, _SECTION_LIMIT)


def header_fields(content: bytes) -> list[HeaderField]:
    """List the fields in their order; lines that are no field are passed over, 10 000 of both at most.

    Source: RFC 5322 §2.2, §4.5.8 (blanks before the colon).
    """
    return list(_scan(content))


@lru_cache(maxsize=256)
def wanted_names(names: tuple[str, ...]) -> tuple[bytes, ...]:
    """Names as ``named_fields`` takes them; what is no field name is left out, for it is found nowhere."""
    octets = [name.encode("utf-8", "surrogateescape") for name in names]
    return tuple([name.lower() for name in octets if _FIELD_NAME.fullmatch(name)])


def named_fields(content: bytes, wanted: tuple[bytes, ...]) -> list[HeaderField]:
    """List the fields that have one of these names (case does not count) in their order, 10 000 at most.

    One pass over the lines, which makes no object for any other field.

    Args:
        content: a whole message.
        wanted: what ``wanted_names`` gave.
    """
    return _named(content, wanted, _FIELD_LIMIT)


def x_fields(content: bytes, limit: int) -> list[HeaderField]:
    """List the fields whose names begin with ``X-`` or ``x-`` in their order, ``limit`` at most."""
    return list(islice(_matching_x(content), limit))


def first_field(content: bytes, name: str) -> HeaderField | None:
    """The first field of that name (case does not count), None when there is none."""
    found = _named(content, wanted_names((name,)), 1)
    return found[0] if found else None


def first_value(content: bytes, name: str) -> str | None:
    """The value of the first field of that name (case does not count), None when there is none."""
    field = first_field(content, name)
    return None if field is None else field.value


def all_values(content: bytes, name: str) -> list[str]:
    """The values of the fields of that name (case does not count), 10 000 at most; see ``field_values``."""
    return field_values(_named(content, wanted_names((name,)), _FIELD_LIMIT))


def all_headers(content: bytes) -> list[tuple[str, str]]:
    """Name and value of every field, in order, 10 000 at most; see ``field_values``."""
    fields = header_fields(content)
    return list(zip([field.name for field in fields], field_values(fields), strict=True))


def field_values(fields: Iterable[HeaderField]) -> list[str]:
    """The values of several fields of one message.

    Encoded-words are decoded as long as the fields that have any come to no more than ``DECODED_LIMIT``
    characters together; those of later fields stay as they are.
    """
    values: list[str] = []
    rest = DECODED_LIMIT
    for field in fields:
        text = field.text
        if "=?" in text:
            rest -= len(text)
            if rest >= 0 or not values:
                text = decode_encoded_words(text)
        values.append(text)
    return values


def prepend_field(name: str, value: str, *, encode: bool = False) -> bytes:
    """Make the octets of a new field, to be put before everything else.

    Args:
        name: field name.
        value: field body; may be folded. A CRLF at its end is not doubled; line ends become CRLF.
        encode: fold an ASCII value at blanks, write any other one as encoded-words.

    Returns:
        ``name: value`` with a final CRLF.

    Raises:
        ValueError: the name is none, or the value would begin another field or end the section.

    Source: KumoMTA manual, message:prepend_header; RFC 5322 §2.2.
    """
    if not _FIELD_NAME.fullmatch(name.encode()):
        raise ValueError(f"invalid header name {name!r}: expected printable US-ASCII without colon or blank")
    body = value
    if not value.isprintable():
        body = _checked(value)
    if encode:
        body = _folded(body) if body.isascii() else _encoded(name, body)
    return f"{name}: {body}\r\n".encode("utf-8", "surrogateescape")


def append_field(content: bytes, name: str, value: str, *, encode: bool = False) -> bytes:
    """Put a new field after the last one.

    Args:
        content: a whole message; not changed.
        name: as ``prepend_field`` takes it.
        value: likewise.
        encode: likewise.

    Returns:
        The new content.

    Raises:
        ValueError: as ``prepend_field``; or no empty line ends the header section within its first MiB.
    """
    end = header_section_end(content)
    if not content.startswith((b"\r\n", b"\n"), end):
        raise ValueError("append_header could not find the end of the header block")
    return b"".join((content[:end], prepend_field(name, value, encode=encode), content[end:]))


def remove_named(content: bytes, name: str) -> bytes:
    """Cut out all fields of that name (case does not count).

    Returns:
        The new content; the same object when there was none.
    """
    return _without(content, _whole((name,)))


def x_headers(content: bytes, names: Sequence[str] | None = None) -> dict[str, str]:
    """Collect fields for import into meta.

    Args:
        content: a whole message.
        names: the fields to take, with or without ``X-``; None takes every ``X-`` field.

    Returns:
        Values by field name in lower case with ``_`` for ``-``; the last field of a name wins. 10 000
        fields at most; see ``field_values``.
    """
    fields = (
        x_fields(content, _FIELD_LIMIT)
        if names is None
        else named_fields(content, wanted_names(tuple(names)))
    )
    keys = [field.name.lower().replace("-", "_") for field in fields]
    return dict(zip(keys, field_values(fields), strict=True))


def remove_x(content: bytes, names: Sequence[str] | None = None) -> bytes:
    """Cut out the fields that ``x_headers`` would take.

    Returns:
        The new content; the same object when there was none.
    """
    return _without(content, _whole(_names(names)))


def _scan(content: bytes) -> Iterator[HeaderField]:
    section_end = header_section_end(content)
    start = 0
    for _ in range(_FIELD_LIMIT):
        if start >= section_end:
            return
        match = _FIELD_END.search(content, start, section_end)
        end = match.end() if match else section_end
        colon = content.find(b":", start, end)
        if colon > start:
            name = content[start:colon].rstrip(b" \t")
            if _FIELD_NAME.fullmatch(name):
                yield HeaderField(
                    name.decode("ascii"), _without_line_end(content[colon + 1 : end]), start, end
                )
        start = end


def _named(content: bytes, wanted: tuple[bytes, ...], limit: int) -> list[HeaderField]:
    section_end = header_section_end(content)
    return [
        HeaderField(
            content[start:name_end].decode("ascii"), _without_line_end(content[colon_end:end]), start, end
        )
        for start, name_end, colon_end, end in find_fields(content, section_end, wanted, limit)
    ]


def _matching_x(content: bytes) -> Iterator[HeaderField]:
    section_end = header_section_end(content)
    for found in _pattern(None).finditer(content, 0, section_end):
        start = found.start(1)
        match = _FIELD_END.search(content, start, section_end)
        end = match.end() if match else section_end
        raw = _without_line_end(content[found.end() : end])
        yield HeaderField(found[1].decode("ascii"), raw, start, end)


@lru_cache(maxsize=256)
def _pattern(names: tuple[str, ...] | None) -> re.Pattern[bytes]:
    """Match a field's name and colon; None stands for every ``X-`` field."""
    if names is None:
        names_pattern = rb"X-[!-9;-~]*"
    else:
        # An empty list matches nothing.
        names_pattern = b"|".join(map(re.escape, wanted_names(names))) or rb"(?!)"
    return re.compile(rb"^(" + names_pattern + rb")[ \t]*:", re.IGNORECASE | re.MULTILINE)


@lru_cache(maxsize=256)
def _whole(names: tuple[str, ...] | None) -> re.Pattern[bytes]:
    """Match as ``_pattern`` does, to the end of the field."""
    pattern = _pattern(names)
    return re.compile(pattern.pattern + rb"[^\n]*+(?:\n[ \t][^\n]*+)*+\n?", pattern.flags)


def _names(names: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)


def _without(content: bytes, pattern: re.Pattern[bytes]) -> bytes:
    # All of them, however many: what policy takes out for good must not come back by its number.
    section_end = header_section_end(content)
    section, count = pattern.subn(b"", content[:section_end])
    return section + content[section_end:] if count else content


def _without_line_end(raw: bytes) -> bytes:
    return raw[:-2] if raw.endswith(b"\r\n") else raw.removesuffix(b"\n")


def _checked(value: str) -> str:
    """Refuse a line end that no blank follows: what comes after it would be a field or the body."""
    lines = _LINE_END.split(value.removesuffix("\n").removesuffix("\r"))
    if any(not line.startswith((" ", "\t")) for line in lines[1:]):
        raise ValueError("invalid header value: a line break must be followed by a blank")
    # A line of blanks only may not be the last one, RFC 5322 §3.2.2; after it the section would seem to end.
    if any(not line.strip(" \t") for line in lines[1:]):
        raise ValueError("invalid header value: a folded line must not be empty")
    return "\r\n".join(lines)


def _folded(text: str) -> str:
    lines: list[str] = []
    line = ""
    for word in text.split():
        if line and len(line) + len(word) < _SOFT_WIDTH:
            line = f"{line} {word}"
            continue
        if line:
            lines.append(line)
        *full, line = (word[i : i + _HARD_WIDTH] for i in range(0, len(word), _HARD_WIDTH))
        lines += full
    if line:
        lines.append(line)
    return "\r\n\t".join(lines)


def _encoded(name: str, text: str) -> str:
    octets = text.replace("\r\n", "").encode("utf-8", "surrogateescape")
    words: list[str] = []
    pending: list[bytes] = []
    length = len(name) + len(": ")
    # A character must not be split over two encoded-words, RFC 2047 §5.
    for character in octets.decode("utf-8", "replace"):
        piece = character.encode()
        cost = header_length(piece)
        if pending and length + cost > _WORD_PAYLOAD:
            words.append(header_encode(b"".join(pending), "utf-8"))
            pending = []
            length = 0
        pending.append(piece)
        length += cost
    words.append(header_encode(b"".join(pending), "utf-8"))
    return "\r\n\t".join(words)
