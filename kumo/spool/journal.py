"""The journal before the files: a batch of messages is one write, and with ``flush`` one sync.

::

    {meta store}/journal/{number}    segments, see journal_group

A new file for each content and each envelope costs seven directories made and removed and four renames or
creations a message; most messages are delivered within seconds. So they are written here first. What is
removed has its state changed in place, which needs no room on a full disk; a segment without wanted
messages is written anew. What stays is moved into files by ``JournaledDisk``. All that changes something
is called by the writer's thread alone (or before it starts).
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import logging
import time
from collections.abc import Callable, Sequence

from kumo.spool.file_operations import FileOperations, is_full
from kumo.spool.journal_group import VOID, Record
from kumo.spool.journal_replay import load_segments
from kumo.spool.requests import StoreRequest
from kumo.spool.segment import Segment

_log = logging.getLogger("kumod.spool")

_SEGMENT_OCTETS = 16 << 20
"""A segment that is longer takes no further group."""

_SPARE_OCTETS = 64 << 20
"""Length of all segments that are kept for being written anew."""


class Location:
    """Where a wanted message is; compared by identity."""

    __slots__ = ("record", "segment")

    def __init__(self, segment: Segment, record: Record) -> None:
        self.segment = segment
        self.record = record


class _Batch:
    """What one call of ``append`` has written so far."""

    __slots__ = ("bases", "detached", "failed", "lost", "too_long", "written")

    def __init__(self) -> None:
        self.bases: dict[Segment, int] = {}
        """Where the batch begins in each segment that it was written to."""
        self.detached: list[Segment] = []
        """Segments that take no further groups; what becomes of them depends on what the batch left there."""
        self.failed: list[tuple[Segment, Record]] = []
        """What must not be found by a later run, though it may have been written."""
        self.lost: OSError | None = None
        """What a sync said on the way, of a segment that may hold what was written before."""
        self.too_long: list[StoreRequest] = []
        self.written: list[tuple[StoreRequest, Segment, list[Record]]] = []


class Journal:
    """The segments of one spool and the messages in them.

    Args:
        directory: its folder, made when it is needed; the parent exists.
        files: performs the calls.
        set_aside: moves a path out of the way, under a name, for a reason; never fails.
        flush: whether what is appended must survive a power loss.
    """

    __slots__ = (
        "_active",
        "_closed",
        "_directory",
        "_files",
        "_flush",
        "_index",
        "_is_named",
        "_numbers",
        "_set_aside",
        "_spares",
        "_times_taken_back",
    )

    def __init__(
        self,
        directory: str,
        files: FileOperations,
        set_aside: Callable[[str, str, str], None],
        *,
        flush: bool,
    ) -> None:
        self._directory = directory
        self._files = files
        self._set_aside = set_aside
        self._flush = flush
        self._index: dict[str, Location] = {}
        self._is_named = False
        """Whether the folder's own name is known to be durable."""
        self._active: Segment | None = None
        self._closed: list[Segment] = []
        """Full ones that hold wanted messages, the oldest first."""
        self._spares: list[Segment] = []
        self._numbers = itertools.count(1)
        self._times_taken_back = 0

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, spool_id: str) -> bool:
        return spool_id in self._index

    @property
    def octets(self) -> int:
        """Length of all segments with wanted messages that take no further ones."""
        return sum(segment.octets for segment in self._closed)

    def ids(self) -> list[str]:
        """The messages that are here or may be taken back; may be called by any thread."""
        while True:
            times = self._times_taken_back
            # What is handed over is among the moved before it has left the index.
            ids = [*self._index]
            for segment in [*self._closed]:
                ids += [*segment.moved]
            if times == self._times_taken_back:
                return ids

    # --- start ----------------------------------------------------------------------------------

    def recover(self, is_filed: Callable[[str, int], bool]) -> None:
        """Read what an earlier run left; nothing is appended to its segments.

        Args:
            is_filed: whether a message, of so many octets of content here, is in both stores as a file,
                which then is not older.

        Raises:
            OSError: the disk fails.
        """
        found = load_segments(self._directory, self._files, self._set_aside)
        for segment in found:
            for spool_id, record in list(segment.live.items()):
                self._point(spool_id, Location(segment, record))
        numbers = [segment.number for segment in found]
        if self._files.exists(self._directory):
            # Where a header is damaged, or a file could not be set aside, its name is still taken.
            numbers += [int(name) for name, _ in self._files.scan(self._directory) if name.isdecimal()]
        self._numbers = itertools.count(max(numbers, default=0) + 1)
        for spool_id, location in [*self._index.items()]:
            if is_filed(spool_id, location.record.content_length):
                self.forget(spool_id)
        for segment in found:
            if segment.live:
                self._closed.append(segment)
            else:
                self._discard(segment)

    # --- storing --------------------------------------------------------------------------------

    def append(self, requests: Sequence[StoreRequest]) -> list[StoreRequest]:
        """Store every request, each as a whole; or set its ``error``, and nothing of it stays.

        Args:
            requests: their entries have their content.

        Returns:
            Those that are neither, because a file as long as all their messages together is not allowed.
        """
        batch = _Batch()
        self._write(requests, batch)
        if not self._flush or self._sync(batch):
            for _, segment, records in batch.written:
                for record in records:
                    self._point(record.id, Location(segment, record))
        for segment in batch.detached:
            self._file_away(segment)
        return batch.too_long

    def _write(self, requests: Sequence[StoreRequest], batch: _Batch) -> None:
        """Write all at once or, if that fails, each by itself: the others are not to suffer from one."""
        try:
            self._write_groups(requests, batch)
        except Exception as error:  # noqa: BLE001 - of whatever kind, it becomes theirs
            if len(requests) > 1:
                for request in requests:
                    self._write([request], batch)
            elif self._makes_room(error, batch):
                self._write(requests, batch)
            elif isinstance(error, OSError) and error.errno == errno.EFBIG:
                batch.too_long += requests
            else:
                requests[0].fail(error)

    def _write_groups(self, requests: Sequence[StoreRequest], batch: _Batch) -> None:
        segment = self._writable(batch)
        base = segment.end
        parts, records, end = segment.encode(requests)
        try:
            self._files.write_at(segment.descriptor, parts, base)
        except BaseException as error:
            batch.failed += [(segment, record) for found in records for record in found]
            self._cut_off(segment, base, batch, is_sound=isinstance(error, OSError) and is_full(error))
            raise
        segment.extend(end)
        batch.bases.setdefault(segment, base)
        batch.written += [(request, segment, found) for request, found in zip(requests, records, strict=True)]

    def _makes_room(self, error: Exception, batch: _Batch) -> bool:
        """Whether a write that failed is worth another try, which then has more room."""
        if not isinstance(error, OSError):
            return False
        if is_full(error) and self.release_spares():
            return True
        # The file was too long for a limit; the next one begins from nothing.
        return error.errno == errno.EFBIG and bool(batch.detached) and batch.detached[-1].end > 0

    def _sync(self, batch: _Batch) -> bool:
        error: Exception | None = batch.lost
        try:
            for segment in batch.bases if error is None else ():
                self._files.sync_file(segment.descriptor)
        except Exception as failure:  # noqa: BLE001 - of whatever kind, nothing is known to be durable
            error = failure
        if error is None:
            return True
        # The kernel reports a lost write once; to sync again would be told that all is well.
        batch.failed += [(segment, record) for _, segment, records in batch.written for record in records]
        for segment, base in batch.bases.items():
            self._cut_off(segment, base, batch, is_sound=False)
        for request, _, _ in batch.written:
            request.fail(error)
        return False

    def _cut_off(self, segment: Segment, base: int, batch: _Batch, *, is_sound: bool) -> None:
        """Take back what was written from ``base`` on, which nobody was promised."""
        written = segment.octets
        try:
            segment.cut_off(base, self._files)
        except OSError as error:
            is_sound = False
            _log.error("%s: unable to take back what could not be stored: %s", segment.path, error)
            segment.octets = written
            for place, record in batch.failed:
                if place is segment:
                    with contextlib.suppress(OSError):
                        self._files.write_at(segment.descriptor, (VOID,), record.state_offset)
        else:
            # The next ones take these octets: what is marked there later would be theirs.
            batch.failed = [pair for pair in batch.failed if pair[0] is not segment]
        if self._flush and not is_sound:
            try:
                self._files.sync_file(segment.descriptor)
            except OSError as error:
                batch.lost = batch.lost or error
        if not is_sound:
            segment.is_sound = False
            if segment is self._active:
                self._active = None
                batch.detached.append(segment)

    def _writable(self, batch: _Batch) -> Segment:
        """The segment that the next group goes to."""
        active = self._active
        if active is not None and (active.end >= _SEGMENT_OCTETS or not self._is_in_place(active)):
            batch.detached.append(active)
            active = self._active = None
        while active is None and self._spares:
            spare = self._spares.pop()
            if self._is_in_place(spare):
                active = spare
                active.begin(next(self._numbers))
            else:
                batch.detached.append(spare)
        if active is None:
            active = self._create()
            active.begin(next(self._numbers))
        self._active = active
        return active

    def _is_in_place(self, segment: Segment) -> bool:
        """Whether a start would find it: other hands may have removed or moved it, or what it is in."""
        try:
            is_in_place = self._files.identity(segment.path) == segment.identity
        except OSError:
            is_in_place = False
        if not is_in_place:
            segment.is_sound = False
            _log.error(
                "%s has gone from its place; messages in it that are at hand: %d",
                segment.path,
                len(segment.live),
            )
        return is_in_place

    def try_out(self) -> None:
        """Do what a message would: make a segment and write to it; and remove it.

        Raises:
            OSError: one of the calls failed.
        """
        segment = self._create()
        try:
            segment.begin(next(self._numbers))
            parts, _, _ = segment.encode(())
            self._files.write_at(segment.descriptor, parts, 0)
            if self._flush:
                self._files.sync_file(segment.descriptor)
        finally:
            self._discard(segment)

    def _create(self) -> Segment:
        files = self._files
        if not files.exists(self._directory):
            files.make_directory(self._directory)
            self._is_named = False
        if self._flush and not self._is_named:
            files.sync_directory(self._directory[: self._directory.rindex("/")])
            self._is_named = True
        path = f"{self._directory}/{next(self._numbers):08}"
        descriptor = files.create(path)
        segment = Segment(path, descriptor, files.identity(descriptor))
        try:
            if self._flush:
                files.sync_directory(self._directory)
        except OSError:
            self._discard(segment)
            raise
        return segment

    def _file_away(self, segment: Segment) -> None:
        if segment.live:
            self._closed.append(segment)
        else:
            self._retire(segment)

    # --- removing -------------------------------------------------------------------------------

    def void(self, spool_id: str) -> None:
        """Forget a message that is there.

        Raises:
            OSError: it is still there.
        """
        location = self._index[spool_id]
        self._files.write_at(location.segment.descriptor, (VOID,), location.record.state_offset)
        del self._index[spool_id]
        self._unlist(spool_id, location.segment)

    def forget(self, spool_id: str) -> None:
        """Forget a message that has a newer state elsewhere; if the disk fails, a later run may not."""
        try:
            self.void(spool_id)
        except OSError as error:
            _log.error("message %s may come back once it is removed: %s", spool_id, error)
            location = self._index.pop(spool_id)
            self._unlist(spool_id, location.segment)

    def _point(self, spool_id: str, location: Location) -> None:
        """Have an id mean that location; an older one is no longer wanted."""
        older = self._index.get(spool_id)
        if older is not None:
            try:
                self._files.write_at(older.segment.descriptor, (VOID,), older.record.state_offset)
            except OSError as error:
                _log.warning("an older state of message %s stays in the journal: %s", spool_id, error)
        self._index[spool_id] = location
        location.segment.live[spool_id] = location.record
        if older is not None and older.segment is not location.segment:
            self._unlist(spool_id, older.segment)

    def _unlist(self, spool_id: str, segment: Segment) -> None:
        segment.live.pop(spool_id, None)
        segment.stuck.discard(spool_id)
        if segment.live:
            return
        if segment is self._active:
            # Nothing in it is wanted: the next group goes to its beginning, whose pages are at hand.
            segment.begin(next(self._numbers))
        elif segment in self._closed:
            self._closed.remove(segment)
            self._retire(segment)

    def release_spares(self) -> bool:
        """Remove the segments that are kept for another use; whether there were any."""
        are_there = bool(self._spares)
        while self._spares:
            self._discard(self._spares.pop())
        return are_there

    def _retire(self, segment: Segment) -> None:
        """Keep a segment without wanted messages for another use, or remove it."""
        segment.moved.clear()
        kept = sum(spare.octets for spare in self._spares)
        if segment.is_sound and not segment.is_damaged and kept + segment.octets <= _SPARE_OCTETS:
            self._spares.append(segment)
        else:
            self._discard(segment)

    def _discard(self, segment: Segment) -> None:
        if segment.is_damaged:
            self._set_aside(segment.path, f"journal-{segment.number}", "a segment with damaged octets")
        else:
            try:
                self._files.unlink(segment.path)
            except OSError as error:
                _log.warning("unable to remove %s: %s", segment.path, error)
        with contextlib.suppress(OSError):
            self._files.close(segment.descriptor)

    # --- moving to files ------------------------------------------------------------------------

    def age(self) -> float:
        """Seconds since the oldest segment that holds messages to be moved was begun; 0: there is none."""
        oldest = self._leaving()
        return time.monotonic() - oldest.begun if oldest is not None else 0.0

    @property
    def is_movable(self) -> bool:
        """Whether there are messages that are not passed over."""
        return self._leaving() is not None

    def pass_over(self, spool_id: str) -> None:
        """Have ``oldest`` leave a message out, so that those behind it have their turn."""
        location = self._index.get(spool_id)
        if location is not None:
            location.segment.stuck.add(spool_id)

    def pass_over_none(self) -> None:
        """Have ``oldest`` choose among all messages again."""
        for segment in self._closed:
            segment.stuck.clear()

    def oldest(self, messages: int, octets: int) -> list[str]:
        """Some of the messages that were stored first; the segment they are in takes no further ones.

        All are of one segment, and none of those that are passed over.

        Args:
            messages: at least one, at most so many.
            octets: of content, after which there are no more of them.
        """
        segment = self._leaving()
        if segment is None:
            return []
        if segment is self._active:
            self._closed.append(segment)
            self._active = None
        return segment.choose(messages, octets)

    def fits(self, octets: int, inodes: int) -> bool:
        """Whether the segment that is moved next finds that much room enough for its files."""
        segment = self._leaving()
        return segment is None or segment.fits(octets, inodes)

    def hand_over(self, spool_ids: Sequence[str]) -> None:
        """Forget messages that are in files, just as they are here."""
        for spool_id in spool_ids:
            location = self._index[spool_id]
            location.segment.moved[spool_id] = location.record
            self.forget(spool_id)

    def let_go(self, spool_id: str) -> None:
        """Have ``take_back`` leave out a message of which the files are removed or replaced."""
        for segment in self._closed:
            segment.moved.pop(spool_id, None)

    def take_back(self) -> list[str]:
        """Have again what was handed over from segments that are still there.

        Returns:
            Messages of which the files may be removed.
        """
        taken: list[str] = []
        for segment in self._closed:
            moved = dict(segment.moved)
            if not moved or not self._is_in_place(segment):
                continue
            try:
                segment.revive(self._files, sync=self._flush)
            except OSError as error:
                _log.error("%s: what was moved from there stays in files: %s", segment.path, error)
                continue
            self._times_taken_back += 1
            for spool_id, record in moved.items():
                self._index[spool_id] = Location(segment, record)
            segment.moved.clear()
            taken += moved
        return taken

    def _leaving(self) -> Segment | None:
        """The segment of which messages are moved next."""
        for segment in self._closed:
            if segment.is_movable:
                return segment
        active = self._active
        return active if active is not None and active.live else None

    def close(self) -> None:
        """End; segments that hold wanted messages stay, and with the last of the others the folder goes."""
        segments = [*self._spares, *self._closed]
        if self._active is not None:
            segments.append(self._active)
        self._active, self._spares, self._closed = None, [], []
        for segment in segments:
            if segment.live:
                self._files.close(segment.descriptor)
            else:
                self._discard(segment)
        with contextlib.suppress(OSError):  # not empty, or never made
            self._files.remove_directory(self._directory)

    # --- reading --------------------------------------------------------------------------------

    def read_meta(self, spool_id: str) -> bytes | None:
        """The envelope of a message; None: it is not here. May be called by any thread.

        Raises:
            OSError: it cannot be read.
        """
        return self._read(spool_id, lambda record: (record.meta_offset, record.meta_length))

    def read_content(self, spool_id: str) -> bytes | None:
        """The content of a message; as ``read_meta``."""
        return self._read(
            spool_id, lambda record: (record.meta_offset + record.meta_length, record.content_length)
        )

    def _read(self, spool_id: str, extent: Callable[[Record], tuple[int, int]]) -> bytes | None:
        while (location := self._index.get(spool_id)) is not None:
            offset, length = extent(location.record)
            failure: OSError | None = None
            octets = b""
            try:
                octets = self._files.read_at(location.segment.descriptor, length, offset)
            except OSError as error:
                failure = error
            # Moved meanwhile, its octets may be another message's by now.
            if self._index.get(spool_id) is not location:
                continue
            if failure is not None:
                raise failure
            if len(octets) != length:
                raise OSError(errno.EIO, "the journal is cut short")
            return octets
        return None
