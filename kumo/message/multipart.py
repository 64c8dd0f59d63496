"""The direct parts of a multipart message, found without parsing it as MIME.

Only what reports need: the media type of the message, and of each part, and where its body lies. Parts
of parts are never looked at and nothing is decoded. The peer chooses the structure, and all sessions wait
meanwhile: the limits here bound what is looked at, whatever there is. ``feedback_report`` and
``delivery_status`` call it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from kumo.message.headers import first_field, header_section_end

SEARCH_LIMIT = 1024 * 1024
"""Octets of a message in which parts are looked for; what lies beyond is as if it were not there."""

HEADER_LIMIT = 64 * 1024
"""Octets of the longest header section of a message that is read."""

_PART_HEADER_LIMIT = 8 * 1024
"""Octets of the longest header section of a part that is read: its MIME fields, and hardly ever others."""

_FIELD_LIMIT = 4 * 1024
"""Octets of the longest Content-Type that is read."""

_BOUNDARY_LIMIT = 256
"""Octets of the longest boundary; RFC 2046 §5.1.1 allows 70."""

_LINE_LIMIT = 200
"""Lines that begin like a delimiter; after as many, whether they are one or not, no more is looked for."""

_PART_LIMIT = 32
"""Parts that are looked at. A report has two or three."""

# Blanks and comments. Possessive throughout: nothing here is ever tried in a second way.
_CFWS = r"(?:[ \t]|\((?:[^()\\]|\\.)*+\))*+"
_WORD = r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]++"
_TYPE = re.compile(rf"{_CFWS}({_WORD}){_CFWS}/{_CFWS}({_WORD}){_CFWS}")
# Values that ought to be quoted and are not, such as `----=_Part_1`, are common.
_VALUE = r'(?:"((?:[^"\\]|\\.)*+)"|([^\x00-\x20\x7f;"()]++))'
_PARAMETER = re.compile(rf";{_CFWS}(?:({_WORD}){_CFWS}={_CFWS}{_VALUE}{_CFWS})?+")
_PARAMETERS = re.compile(rf"(?:;{_CFWS}(?:{_WORD}{_CFWS}={_CFWS}{_VALUE}{_CFWS})?+)*+")
_QUOTED_PAIR = re.compile(r"\\(.)")
_DELIMITER_END = re.compile(rb"(--)?[ \t]*+(?:\r?\n|\Z)")


class MediaType(NamedTuple):
    """A Content-Type.

    Args:
        name: ``type/subtype`` in lower case.
        parameters: values by name in lower case; the first of a name.
    """

    name: str
    parameters: dict[str, str]


class Part(NamedTuple):
    """One direct part of a multipart message.

    Args:
        name: its media type, ``type/subtype`` in lower case; empty when it has none, or none that can be
            read.
        body: offset of its body in the message.
        end: offset just after its body, the line end before the delimiter included.
        is_whole: whether the body ends there; else the limit cut it off.
    """

    name: str
    body: int
    end: int
    is_whole: bool


def media_type(section: bytes) -> MediaType | None:
    """Read the first Content-Type of a header section.

    Args:
        section: the section alone, without a body.

    Returns:
        The type; None when there is none, it is malformed, or longer than 4 KiB.

    Source: RFC 2045 §5.1.
    """
    found = _content_type(section)
    if found is None:
        return None
    name, text = found
    parameters: dict[str, str] = {}
    for key, quoted, plain in _PARAMETER.findall(text):
        if key:  # else: a semicolon with nothing behind it
            parameters.setdefault(key.lower(), plain or _QUOTED_PAIR.sub(r"\1", quoted))
    return MediaType(name, parameters)


def report_type(content: bytes) -> MediaType | None:
    """The media type of a message, if that is ``multipart/report``; costs no look at the body.

    Returns:
        The type; None also when the header section is longer than 64 KiB, or the boundary is missing,
        empty or longer than 256 octets.

    Source: RFC 6522 §3.
    """
    head = content[:HEADER_LIMIT]
    end = header_section_end(head)
    if end == HEADER_LIMIT:
        return None
    top = media_type(head[:end])
    if top is None or top.name != "multipart/report":
        return None
    boundary = top.parameters.get("boundary", "").encode("utf-8", "surrogateescape")
    return top if 0 < len(boundary) <= _BOUNDARY_LIMIT else None


def direct_parts(content: bytes, boundary: str) -> Iterator[Part]:
    """Find the direct parts of a multipart message, in their order, no further than they are asked for.

    The last part may lack its delimiter: it ends with the message. A limit may end it earlier, see
    ``Part.is_whole``.

    Args:
        content: a whole message.
        boundary: as ``report_type`` found it.

    Returns:
        32 parts at most, that begin within the first MiB.

    Source: RFC 2046 §5.1.1.
    """
    limit = min(len(content), SEARCH_LIMIT)
    delimiters = _delimiters(content, b"\n--" + boundary.encode("utf-8", "surrogateescape"), limit)
    opening = next(delimiters)
    if opening.closes:
        return
    start = opening.end
    for delimiter in islice(delimiters, _PART_LIMIT):
        yield _part(content, start, delimiter)
        if delimiter.closes:
            return
        start = delimiter.end


def _content_type(section: bytes) -> tuple[str, str] | None:
    """Name and well-formed parameters of the first Content-Type; the latter as they are written."""
    field = first_field(section, "Content-Type")
    if field is None or len(field.raw) > _FIELD_LIMIT:
        return None
    text = field.text
    match = _TYPE.match(text)
    if match is None or _PARAMETERS.fullmatch(text, match.end()) is None:
        return None
    return "/".join(match.groups()).lower(), text[match.end() :]


class _Delimiter(NamedTuple):
    """One delimiter line; the line end before it is not its own. Or the end of what is searched."""

    start: int
    end: int
    closes: bool
    is_found: bool


def _delimiters(content: bytes, mark: bytes, limit: int) -> Iterator[_Delimiter]:
    # The LF of the empty line may be the one before the first delimiter.
    position = header_section_end(content[:HEADER_LIMIT])
    for _ in range(_LINE_LIMIT):
        position = content.find(mark, position, limit)
        if position < 0:
            yield _Delimiter(limit, limit, closes=True, is_found=limit == len(content))
            return
        match = _DELIMITER_END.match(content, position + len(mark), limit)
        # More than the boundary on the line: the delimiter of an inner multipart, or text.
        if match is None:
            position += len(mark)
            continue
        yield _Delimiter(position + 1, match.end(), closes=match[1] is not None, is_found=True)
        # The LF that ends a delimiter may be the one before the next.
        position = match.end() - 1
    yield _Delimiter(limit, limit, closes=True, is_found=False)


def _part(content: bytes, start: int, delimiter: _Delimiter) -> Part:
    end = delimiter.start
    head = content[start : min(end, start + _PART_HEADER_LIMIT)]
    length = header_section_end(head)
    if length == _PART_HEADER_LIMIT:
        return Part("", end, end, delimiter.is_found)
    # The name alone: to list the parameters of every part would take ten times as long.
    found = _content_type(head[:length])
    body = start + length
    if content.startswith(b"\r\n", body):
        body += 2
    elif content.startswith(b"\n", body):
        body += 1
    return Part("" if found is None else found[0], min(body, end), end, delimiter.is_found)
