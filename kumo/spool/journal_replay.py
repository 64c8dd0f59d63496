"""Reads journal segments that this process did not write: at the start, and for the listing.

What is damaged is said in the log and kept: its segment is moved to ``quarantine/`` once its other
messages have left it. Called by ``Journal`` and the listing.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterator

from kumo.spool.file_operations import EntryKind, FileOperations, spool_error
from kumo.spool.journal_group import (
    HEADER_OCTETS,
    VOID,
    Damage,
    Read,
    Record,
    decode_groups,
    decode_header,
    file_tag,
    find_marker,
    first_marker,
    has_marker,
)
from kumo.spool.segment import Segment

_log = logging.getLogger("kumod.spool")

_BLOCK = 4096
"""Octets that a disk loses at a time."""

_TRIES = 5
"""How often a segment is read that a daemon begins anew each time meanwhile."""


def load_segments(
    directory: str, files: FileOperations, set_aside: Callable[[str, str, str], None]
) -> list[Segment]:
    """Open every segment of a folder, in the order in which they were begun.

    Args:
        directory: the journal's; it need not exist.
        files: performs the calls.
        set_aside: moves a path that is no segment out of the way, under a name, for a reason.

    Raises:
        OSError: the folder cannot be read.
        SpoolError: a segment cannot, for another reason than octets that its disk has lost.
    """
    if not files.exists(directory):
        return []
    segments = []
    for name, kind in sorted(files.scan(directory)):
        path = f"{directory}/{name}"
        if kind is not EntryKind.FILE or not name.isdecimal():
            set_aside(path, f"journal-{name}", "not a segment of this journal")
            continue
        try:
            segments.append(_load(path, files))
        except OSError as error:
            # Nothing is known to be wrong with what is in it: a right, a limit, a mount will be put in order.
            raise spool_error(f"read {path}", error) from error
    segments.sort(key=lambda segment: segment.number)
    return segments


def read_envelopes(directory: str, files: FileOperations) -> dict[str, bytes]:
    """The envelopes of all messages in a journal that a daemon may be writing; changes nothing.

    Args:
        directory: the journal's; it need not exist.
        files: performs the calls.

    Raises:
        OSError: it cannot be read.
    """
    if not files.exists(directory):
        return {}
    numbered = []
    for name, kind in files.scan(directory):
        if kind is EntryKind.FILE and name.isdecimal():
            try:
                numbered.append(_envelopes(f"{directory}/{name}", files))
            except FileNotFoundError:
                continue  # emptied since the scan
    envelopes: dict[str, bytes] = {}
    for _, found in sorted(numbered, key=lambda pair: pair[0]):
        envelopes |= found
    return envelopes


def _load(path: str, files: FileOperations) -> Segment:
    descriptor = files.open(path)
    try:
        segment = Segment(path, descriptor, files.identity(descriptor))
        size = files.size(descriptor)
        segment.end = segment.octets = size
        read = _ReadDespiteLosses(files, descriptor, size)
        segment.number, marker = _identity(read, size, segment.tag)
        segment.is_sound = False
        for found in _groups(read, size, marker):
            if isinstance(found, Damage):
                segment.is_damaged = True
                _log.warning(
                    "%s: octets %d to %d are damaged; what was stored there and never confirmed, or was "
                    "destroyed since, is not queued, and the file is kept in quarantine",
                    path,
                    found.start,
                    found.end,
                )
            else:
                for record in found:
                    if record.is_live:
                        _replace(segment, record, files)
        if read.lost:
            # Whatever was there, be it behind the last group that is found.
            segment.is_damaged = True
            _log.error("%s: %d octets cannot be read from the disk", path, _BLOCK * len(read.lost))
    except BaseException:
        files.close(descriptor)
        raise
    return segment


def _replace(segment: Segment, record: Record, files: FileOperations) -> None:
    """Have a record stand for its message.

    A kill before an older one was marked leaves both. That one is marked here, or it would come back when the
    message is removed, in its older state.
    """
    older = segment.live.pop(record.id, None)
    segment.live[record.id] = record
    if older is not None:
        try:
            files.write_at(segment.descriptor, (VOID,), older.state_offset)
        except OSError as error:
            _log.warning("an older state of message %s stays in the journal: %s", record.id, error)


def _envelopes(path: str, files: FileOperations) -> tuple[int, dict[str, bytes]]:
    descriptor = files.open_to_read(path)
    try:
        tag = file_tag(files.identity(descriptor)[1])
        envelopes: dict[str, bytes] = {}
        number = 0
        for _ in range(_TRIES):
            size = files.size(descriptor)
            read = _ReadDespiteLosses(files, descriptor, size)
            number, marker = _identity(read, size, tag)
            envelopes = dict(_live_envelopes(read, size, marker))
            if _identity(read, size, tag) == (number, marker):
                break  # else it was begun anew meanwhile
        return number, envelopes
    finally:
        files.close(descriptor)


def _live_envelopes(read: Read, size: int, marker: bytes | None) -> Iterator[tuple[str, bytes]]:
    for found in _groups(read, size, marker):
        if not isinstance(found, Damage):
            for record in found:
                if record.is_live:
                    yield record.id, read(record.meta_length, record.meta_offset)


def _identity(read: Read, size: int, tag: int) -> tuple[int, bytes | None]:
    """Number and marker of a segment; a marker of None: it holds nothing that can be found."""
    header = decode_header(read(HEADER_OCTETS, 0))
    first = first_marker(read)
    if header is None:
        return 0, first or find_marker(read, size, tag)
    marker, number = header
    if first is None or first == marker or has_marker(read, size, marker):
        return number, marker
    return number, first


def _groups(read: Read, size: int, marker: bytes | None) -> Iterator[list[Record] | Damage]:
    if marker is not None:
        yield from decode_groups(read, size, marker)
    elif size:
        yield Damage(0, size)


class _ReadDespiteLosses:
    """Reads a segment with zeros for what the disk has lost: only the groups that it is in are damaged then.

    Args:
        files: performs the calls.
        descriptor: of the segment.
        size: its octets.
    """

    def __init__(self, files: FileOperations, descriptor: int, size: int) -> None:
        self._files = files
        self._descriptor = descriptor
        self._size = size
        self.lost: set[int] = set()
        """Blocks, which are not asked for again: a disk takes seconds to give up."""

    def __call__(self, length: int, offset: int) -> bytes:
        end = max(offset, min(offset + length, self._size))
        blocks = range(offset // _BLOCK, -(-end // _BLOCK))
        if self.lost.isdisjoint(blocks):
            try:
                return self._files.read_at(self._descriptor, length, offset)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
        return b"".join(
            self._read_in(block, max(offset, block * _BLOCK), min(end, (block + 1) * _BLOCK))
            for block in blocks
        )

    def _read_in(self, block: int, start: int, end: int) -> bytes:
        if block not in self.lost:
            try:
                return self._files.read_at(self._descriptor, end - start, start)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                self.lost.add(block)
        return bytes(end - start)
