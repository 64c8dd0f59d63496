"""The octets of a journal segment: a header, then groups, each of them one transaction.

::

    segment  magic (16) marker (8) number (8)
    group    marker (8) head checksum (4) body checksum (4) own offset (8) messages (4) tag (4)
             for each message: id (16) octets of content (8) octets of envelope (4)
             for each message: its state, L or V
             for each message: envelope, content
             marker (8)

Integers are little-endian, checksums CRC-32. The head checksum covers what follows it up to the states,
the body checksum all envelopes and contents: a group is there as a whole or not at all, and a state can
be changed in place. The marker is drawn anew whenever a segment begins, so neither what an earlier use
of the file left in it nor the content of a message can pass for a group. It stands at both ends of a
group, so no single fault makes a group invisible: it is found torn, and said so. The tag is the same in all
groups of a file, whatever their marker: by it they are found where the beginning of the file is lost. Called
by ``Segment`` and the listing.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from kumo.spool.requests import Entry

MAGIC = b"kumod journal 1\n"
MARKER_OCTETS = 8
LIVE = b"L"
VOID = b"V"

_SEGMENT = struct.Struct("<16s8sQ")
_HEAD = struct.Struct("<8sIIQII")
_CHECKED_FROM = MARKER_OCTETS + 4
_TAG_OCTETS = 4
_TAG_AT = _HEAD.size - _TAG_OCTETS
_RECORD = struct.Struct("<16sQI")

HEADER_OCTETS = _SEGMENT.size

_MOST_RECORDS = 1 << 20
"""More messages than a transaction has recipients; a number beyond it is damage, not a reason to read on."""

_READ_AT_ONCE = 1 << 20

Read = Callable[[int, int], bytes]
"""Reads so many octets from that offset on, fewer at the end."""


class Record(NamedTuple):
    """Where one message of a group is; offsets are those of the segment."""

    id: str
    state_offset: int
    meta_offset: int
    meta_length: int
    content_length: int
    is_live: bool = True


class Damage(NamedTuple):
    """Octets of a segment that are no group, though they were to be one."""

    start: int
    end: int


def encode_header(marker: bytes, number: int) -> bytes:
    """What a segment begins with.

    Args:
        marker: of its groups.
        number: higher than that of every segment begun before.
    """
    return _SEGMENT.pack(MAGIC, marker, number)


def file_tag(inode: int) -> int:
    """The tag of a file's groups.

    Args:
        inode: its number, which no peer knows: only by chance a content has that tag where a group has it.
    """
    return zlib.crc32(inode.to_bytes(8, "little"))


def encode_group(
    marker: bytes, tag: int, offset: int, entries: Sequence[Entry]
) -> tuple[list[bytes], list[Record], int]:
    """Write one transaction.

    Args:
        marker: of the segment.
        tag: of its file.
        offset: where in the segment it will be.
        entries: messages with their content.

    Returns:
        Its octets in parts, contents among them by reference; its records; the offset behind it.
    """
    count = len(entries)
    table = bytearray()
    parts: list[bytes] = [b""]
    records = []
    checksum = 0
    state_offset = offset + _HEAD.size + count * _RECORD.size
    position = state_offset + count
    for entry in entries:
        meta = entry.meta
        segments = entry.segments or ()
        content_length = sum(map(len, segments))
        table += _RECORD.pack(bytes.fromhex(entry.id), content_length, len(meta))
        checksum = zlib.crc32(meta, checksum)
        parts.append(meta)
        for segment in segments:
            checksum = zlib.crc32(segment, checksum)
            parts.append(segment)
        records.append(Record(entry.id, state_offset, position, len(meta), content_length))
        position += len(meta) + content_length
        state_offset += 1
    parts.append(marker)
    checked = _HEAD.pack(marker, 0, checksum, offset, count, tag)[_CHECKED_FROM:] + table
    parts[0] = marker + zlib.crc32(checked).to_bytes(4, "little") + checked + LIVE * count
    return parts, records, position + MARKER_OCTETS


def decode_header(octets: bytes) -> tuple[bytes, int] | None:
    """Marker and number of a segment that begins with ``octets``; None: they are not a header."""
    if len(octets) < HEADER_OCTETS:
        return None
    magic, marker, number = _SEGMENT.unpack_from(octets)
    return (marker, number) if magic == MAGIC else None


def first_marker(read: Read) -> bytes | None:
    """The marker of a segment's first group, if that is whole: what is left where the header is damaged."""
    marker = read(MARKER_OCTETS, HEADER_OCTETS)
    is_whole = len(marker) == MARKER_OCTETS and _decode_group(read, marker, HEADER_OCTETS) is not None
    return marker if is_whole else None


def find_marker(read: Read, size: int, tag: int) -> bytes | None:
    """The marker of a segment's first whole group, wherever that is.

    What an earlier use of the file left is behind all of the last use, and none of it is wanted any more.

    Args:
        read: reads the segment.
        size: its octets.
        tag: of its file. Groups of earlier versions have none, and are not found.
    """
    wanted = tag.to_bytes(_TAG_OCTETS, "little")
    found = _find(read, size, wanted, HEADER_OCTETS + _TAG_AT)
    while found is not None:
        offset = found - _TAG_AT
        marker = read(MARKER_OCTETS, offset)
        group = _decode_group(read, marker, offset)
        # No checksum covers the marker, which may be lost in part; then the group ends with another one.
        if group is not None and read(MARKER_OCTETS, group[1] - MARKER_OCTETS) == marker:
            return marker
        found = _find(read, size, wanted, found + 1)
    return None


def has_marker(read: Read, size: int, marker: bytes) -> bool:
    """Whether a segment holds anything, whole or not, under a marker."""
    return _find(read, size, marker, HEADER_OCTETS) is not None


def decode_groups(read: Read, size: int, marker: bytes) -> Iterator[list[Record] | Damage]:
    """Find all groups of a segment, and what was to be one.

    Args:
        read: reads the segment.
        size: its octets.
        marker: of its groups.
    """
    offset = HEADER_OCTETS
    while offset < size:
        found = _decode_group(read, marker, offset)
        if found is not None:
            records, offset = found
            yield records
            continue
        # Where no marker is left, what follows is of an earlier use of the file, or was never written.
        is_damaged = False
        candidate = _find(read, size, marker, offset)
        while candidate is not None and _decode_group(read, marker, candidate) is None:
            is_damaged = True
            candidate = _find(read, size, marker, candidate + 1)
        if candidate is not None or is_damaged:
            yield Damage(offset, size if candidate is None else candidate)
        offset = size if candidate is None else candidate


def _decode_group(read: Read, marker: bytes, offset: int) -> tuple[list[Record], int] | None:
    """The records of a group and the offset behind it; None: there is none, or it is damaged."""
    head = read(_HEAD.size, offset)
    if len(head) < _HEAD.size or not head.startswith(marker):
        return None
    _, head_checksum, body_checksum, own_offset, count, _ = _HEAD.unpack(head)
    if own_offset != offset or not 0 < count <= _MOST_RECORDS:
        return None
    table_octets = count * _RECORD.size
    table = read(table_octets + count, offset + _HEAD.size)
    if zlib.crc32(head[_CHECKED_FROM:] + table[:table_octets]) != head_checksum:
        return None
    records = []
    state_offset = offset + _HEAD.size + table_octets
    body = position = state_offset + count
    for number in range(count):
        raw_id, content_length, meta_length = _RECORD.unpack_from(table, number * _RECORD.size)
        # Anything but a clear "void" is live: sent twice rather than never.
        is_live = table[table_octets + number : table_octets + number + 1] != VOID
        record = Record(raw_id.hex(), state_offset + number, position, meta_length, content_length, is_live)
        records.append(record)
        position += meta_length + content_length
    if _checksum(read, body, position) != body_checksum:
        return None
    return records, position + MARKER_OCTETS


def _checksum(read: Read, start: int, end: int) -> int | None:
    """CRC-32 of octets; None: there are not that many."""
    checksum = 0
    while start < end:
        octets = read(min(_READ_AT_ONCE, end - start), start)
        if not octets:
            return None
        checksum = zlib.crc32(octets, checksum)
        start += len(octets)
    return checksum


def _find(read: Read, size: int, wanted: bytes, offset: int) -> int | None:
    """Where a marker or a tag is next, from ``offset`` on."""
    while offset < size:
        octets = read(_READ_AT_ONCE, offset)
        found = octets.find(wanted)
        if found >= 0:
            return offset + found
        if len(octets) < _READ_AT_ONCE:
            return None
        offset += len(octets) - len(wanted) + 1
    return None
