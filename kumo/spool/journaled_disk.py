"""Kind LocalDisk: a journal that takes messages in, and files in KumoMTA's layout for those that stay.

A message is in the journal or in files, for a moment in both; then the files are not older. It moves into
files when there is time, when the journal has grown too long or old, and at a clean end, so that a spool at
rest is one that KumoMTA reads. Made by ``opening``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from kumo.errors import CorruptEntry, SpoolError, SpoolFull
from kumo.message import Message, created_ticks
from kumo.spool.enumeration import (
    Inventory,
    Problem,
    find_tear,
    read_entry,
    set_entry_aside,
    set_foreign_aside,
    set_orphans_aside,
    take_inventory,
)
from kumo.spool.file_operations import FileOperations
from kumo.spool.group_commit import GroupCommit
from kumo.spool.journal import Journal
from kumo.spool.local_disk import LocalDisk
from kumo.spool.probe import despite_full_disk, try_out
from kumo.spool.requests import Entry, RemoveRequest, StoreRequest
from kumo.spool.stored_envelope import decode_envelope

_log = logging.getLogger("kumod.spool")

_MOST_MESSAGES = 50_000
"""In the journal before some are moved with each batch; their places take about 300 octets of memory each."""

_MOST_OCTETS = 256 << 20
"""Likewise, of segments; a start reads all of them."""

_MOST_SECONDS = 60.0
"""Likewise, of age."""

_MOVED_AT_ONCE = 64
"""Messages moved between two batches when there is time: they share their syncs."""

_OCTETS_MOVED_AT_ONCE = 8 << 20

_PAUSE = 60.0
"""Seconds until messages are moved again after that failed; they are safe where they are."""

_LOOK_SECONDS = 3.0
"""Until it is looked again for the room that was missing: as often as the rest of the daemon looks."""

_LAST_SECONDS = 5.0
"""How long a clean end moves messages; the rest is found in the journal."""


class JournaledDisk:
    """See ``Engine``.

    Args:
        data: holds contents.
        meta: holds envelopes.
        files: performs the calls that concern neither store alone.
    """

    __slots__ = (
        "_beside",
        "_commit",
        "_data",
        "_files",
        "_had_room",
        "_journal",
        "_meta",
        "_not_before",
        "_owed_messages",
        "_owed_octets",
    )

    def __init__(self, data: LocalDisk, meta: LocalDisk, files: FileOperations) -> None:
        self._data = data
        self._meta = meta
        self._files = files
        self._commit = GroupCommit(data, meta, files)
        flush = data.barrier is not None or meta.barrier is not None
        self._journal = Journal(journal_directory(meta.root), files, meta.set_aside, flush=flush)
        self._beside: set[str] = set()
        """Messages of the journal of which files could not be removed."""
        self._had_room = True
        """When it was last looked for."""
        self._not_before = 0.0
        self._owed_messages = 0
        self._owed_octets = 0

    def recover(self) -> None:
        """Take in what the journal of an earlier run holds.

        Raises:
            OSError: the disk fails.
            SpoolError: a segment of it cannot be read.
        """
        self._journal.recover(self._is_filed)

    # --- the writer's thread --------------------------------------------------------------------

    def store(self, requests: Sequence[StoreRequest]) -> None:
        """See ``Engine``."""
        journaled: list[StoreRequest] = []
        filed: list[StoreRequest] = []
        is_open = not self._is_beyond(2)
        for request in requests:
            try:
                is_for_journal = self._prepare(request) and is_open
            except Exception as error:  # noqa: BLE001 - of whatever kind, it concerns this request only
                request.fail(error)
            else:
                (journaled if is_for_journal else filed).append(request)
        if journaled:
            filed += self._journal.append(journaled)
        if filed:
            self._commit.store(filed)
            self._forget(filed)
            self._remove_left(filed)
        self._owe(requests)

    def remove(self, requests: Sequence[RemoveRequest]) -> None:
        """See ``Engine``."""
        journal = self._journal
        for request in requests:
            for spool_id in request.spool_ids:
                try:
                    if spool_id in journal:
                        if self._beside:
                            self._clear_beside(spool_id)
                        journal.void(spool_id)
                    else:
                        self._journal.let_go(spool_id)
                        self._commit.remove(spool_id)
                except Exception as error:  # noqa: BLE001 - of whatever kind, it concerns this one only
                    request.fail(spool_id, error)
        self._commit.prune()

    def relieve(self) -> None:
        """See ``Engine``: moves twice of what came in, while the journal is too long or too old."""
        if self._owed_messages and (self._is_beyond(1) or self._journal.age() > _MOST_SECONDS):
            self._owed_messages *= 2
            self._owed_octets = 2 * self._owed_octets + 1
            # In parts: the contents of a part are in memory at one time.
            while self._owed_messages > 0 and self._owed_octets > 0:
                messages = min(self._owed_messages, _MOVED_AT_ONCE)
                if self._move_some(messages, min(self._owed_octets, _OCTETS_MOVED_AT_ONCE)):
                    break
        self._owed_messages = self._owed_octets = 0

    def tidy(self) -> bool:
        """See ``Engine``: moves messages into files and removes empty directories."""
        is_moved = self._move_some(_MOVED_AT_ONCE, _OCTETS_MOVED_AT_ONCE)
        return self._commit.tidy() and is_moved

    @property
    def patience(self) -> float | None:
        """See ``Engine``."""
        return max(0.0, self._not_before - time.monotonic()) if self._journal else None

    def finish(self) -> None:
        """See ``Engine``."""
        until = time.monotonic() + _LAST_SECONDS
        # Twice: what could not be moved before is tried once more, behind all others.
        for _ in range(2):
            self._not_before = 0.0
            while not self._move_some(_MOVED_AT_ONCE, _OCTETS_MOVED_AT_ONCE, is_last=True):
                if time.monotonic() >= until:
                    break
            if time.monotonic() >= until:
                break
        if self._journal:
            _log.warning("%d messages stay in the journal; the next start has them", len(self._journal))
        self._journal.close()
        self._commit.finish()

    def try_out(self) -> None:
        """See ``Engine``."""
        for store in (self._meta, self._data):
            try_out(store.root, self._files, sync=store.barrier is not None)
        with despite_full_disk(self._meta.root):
            self._journal.try_out()

    def clear_entries(self, found: Inventory) -> None:
        """See ``Engine``."""
        set_foreign_aside(found.foreign, self._meta)
        self._meta.vacate(found.empty)

    def clear_contents(self, found: Inventory, known: frozenset[str]) -> None:
        """See ``Engine``."""
        set_foreign_aside(found.foreign, self._data)
        self._data.vacate(found.empty)
        orphans = [
            spool_id for spool_id in found.ids if spool_id not in known and spool_id not in self._journal
        ]
        set_orphans_aside(orphans, self._data, self._meta)

    def set_aside(self, problem: Problem) -> None:
        """See ``Engine``."""
        if problem.is_lasting and problem.id in self._journal:
            self._move([problem.id])
        self._journal.let_go(problem.id)
        set_entry_aside(problem, self._data, self._meta)

    # --- any thread -----------------------------------------------------------------------------

    def read_content(self, spool_id: str) -> bytes:
        """See ``Engine``."""
        content = self._journal.read_content(spool_id)
        if content is not None:
            return content
        try:
            return self._data.read(spool_id)
        except FileNotFoundError:
            # It may have been taken back into the journal meanwhile.
            content = self._journal.read_content(spool_id)
            if content is None:
                raise
            return content

    def list_entries(self) -> Inventory:
        """See ``Engine``."""
        # The journal first: what moves into a file meanwhile is found there as well.
        journaled = self._journal.ids()
        found = take_inventory(self._meta.root, self._files)
        ids = sorted(dict.fromkeys([*journaled, *found.ids]), key=created_ticks)
        return found._replace(ids=ids)

    def list_contents(self) -> Inventory:
        """See ``Engine``."""
        return take_inventory(self._data.root, self._files)

    def read_entries(self, spool_ids: Sequence[str]) -> list[Message | Problem]:
        """See ``Engine``."""
        return [self._read_entry(spool_id) for spool_id in spool_ids]

    # --- steps ----------------------------------------------------------------------------------

    def _prepare(self, request: StoreRequest) -> bool:
        """Complete a request with what the journal has of it; whether it can go into the journal.

        A message that is in files stays there, and its siblings with it: so one state is the newer one.
        """
        is_for_journal = True
        for entry in request.entries:
            if entry.id in self._journal:
                self._clear_beside(entry.id)
                if entry.segments is None:
                    content = self._journal.read_content(entry.id)
                    if content is None:
                        raise CorruptEntry(f"message {entry.id} has no content in the journal")
                    entry.segments = (content,)
                # For the files it is a new one.
                entry.is_update = False
            elif entry.is_update:
                is_for_journal = False
                self._journal.let_go(entry.id)
        return is_for_journal

    def _owe(self, requests: Sequence[StoreRequest]) -> None:
        messages = octets = 0
        for request in requests:
            for entry in request.entries:
                messages += 1
                for segment in entry.segments or ():
                    octets += len(segment)
        self._owed_messages = messages
        self._owed_octets = octets

    def _is_beyond(self, times: int) -> bool:
        return len(self._journal) > times * _MOST_MESSAGES or self._journal.octets > times * _MOST_OCTETS

    def _move_some(self, messages: int, octets: int, *, is_last: bool = False) -> bool:
        """Move the oldest messages of the journal into files.

        Args:
            messages: at most so many.
            octets: of content, after which there are no more of them.
            is_last: whether it is tried however little room there seems to be.

        Returns:
            Whether there are no more of them, or it makes no sense to try at the moment.
        """
        now = time.monotonic()
        if now < self._not_before:
            return True
        if not is_last and not self._finds_room():
            self._not_before = now + _LOOK_SECONDS
            return True
        self._not_before = now + _PAUSE
        if self._move(self._journal.oldest(messages, octets)) and self._journal.is_movable:
            self._not_before = 0.0
            return False
        if not self._journal.is_movable:
            # Each that is left had its turn, and has the next one after the pause.
            self._journal.pass_over_none()
        if not self._journal:
            self._not_before = 0.0
        return True

    def _finds_room(self) -> bool:
        """Whether what is moved next fits beside the segment that it leaves: new mail needs the last room."""
        had_room = self._had_room
        self._had_room = self._has_room() or (self._journal.release_spares() and self._has_room())
        if had_room and not self._had_room:
            _log.warning("%s: messages stay in the journal until there is more room", self._meta.root)
        return self._had_room

    def _has_room(self) -> bool:
        try:
            rooms = [self._files.room(store.root) for store in (self._data, self._meta)]
        except OSError:
            return True
        octets, inodes = (min(free) for free in zip(*rooms, strict=True))
        return self._journal.fits(octets, inodes)

    def _move(self, spool_ids: Sequence[str]) -> bool:
        """Move messages into files; those that cannot be moved are passed over from now on.

        Where there is no room for all, what has not freed its segment yet is taken back: it is there twice.

        Returns:
            Whether it makes sense to go on: what several of them fail from, all of them, is the disk.
        """
        requests = self._requests(spool_ids)
        self._owed_messages -= len(spool_ids)
        self._owed_octets -= sum(map(_content_octets, requests))
        self._commit.store(requests)
        failed = [request for request in requests if request.error is not None]
        if any(isinstance(request.error, SpoolFull) for request in failed):
            return self._make_room(requests)
        # Before anything of them is removed: a crash must not bring it back.
        moved = [request.entries[0].id for request in requests if request.error is None]
        self._beside.difference_update(moved)
        self._journal.hand_over(moved)
        if failed:
            _log.error("%d messages cannot be moved into files; they stay in the journal", len(failed))
            self._remove_files([request.entries[0].id for request in failed])
        for request in failed:
            self._journal.pass_over(request.entries[0].id)
        return len(failed) < max(2, len(requests))

    def _make_room(self, requests: Sequence[StoreRequest]) -> bool:
        """Have messages in the journal alone that did not all fit beside it; whether more of them may now."""
        self._remove_files([entry.id for request in requests for entry in request.entries])
        if self._journal.release_spares():
            return True
        taken_back = self._journal.take_back()
        self._remove_files(taken_back)
        _log.error(
            "no room to move %d messages into files; they stay in the journal, and %d moved before are back",
            len(requests),
            len(taken_back),
        )
        return False

    def _requests(self, spool_ids: Sequence[str]) -> list[StoreRequest]:
        """Read messages of the journal; those that cannot be read are passed over from now on."""
        requests = []
        errors: list[str] = []
        for spool_id in spool_ids:
            try:
                requests.append(StoreRequest([self._entry(spool_id)]))
            except (OSError, SpoolError) as error:
                self._journal.pass_over(spool_id)
                errors.append(f"message {spool_id}: {error}")
        if errors:
            _log.error(
                "%d messages of the journal cannot be read and stay there; the first: %s",
                len(errors),
                errors[0],
            )
        return requests

    def _remove_files(self, spool_ids: Sequence[str]) -> None:
        """Remove the files of messages that the journal has, for good: a start would believe them."""
        for spool_id in spool_ids:
            try:
                self._commit.remove(spool_id)
            except OSError as error:
                self._beside.add(spool_id)
                _log.error("files of message %s stay beside the journal: %s", spool_id, error)
        try:
            self._commit.make_removals_durable(spool_ids)
        except OSError as error:
            _log.error("a power loss may bring an older state of %d messages back: %s", len(spool_ids), error)
        self._commit.prune()

    def _clear_beside(self, spool_id: str) -> None:
        """Have no files of a message that is about to change in the journal: a start would believe them."""
        if spool_id in self._beside:
            self._commit.remove(spool_id)
            self._commit.make_removals_durable([spool_id])
            self._beside.remove(spool_id)

    def _entry(self, spool_id: str) -> Entry:
        meta = self._journal.read_meta(spool_id)
        content = self._journal.read_content(spool_id)
        if meta is None or content is None:
            raise CorruptEntry(f"message {spool_id} has gone")
        return Entry(spool_id, meta, (content,))

    def _forget(self, requests: Sequence[StoreRequest]) -> None:
        for request in requests:
            if request.error is None:
                for entry in request.entries:
                    if entry.id in self._journal:
                        self._journal.forget(entry.id)

    def _remove_left(self, requests: Sequence[StoreRequest]) -> None:
        """Remove the files that updates left which failed and could not be taken back."""
        left = [
            entry.id
            for request in requests
            if request.error is not None
            for entry in request.entries
            if entry.id in self._journal and self._has_files(entry.id)
        ]
        if left:
            self._remove_files(left)

    def _has_files(self, spool_id: str) -> bool:
        return self._meta.has(spool_id) or self._data.has(spool_id)

    def _is_filed(self, spool_id: str, content_octets: int) -> bool:
        """Whether a message of the journal is in files as well, as a whole; torn ones are set aside."""
        if not (self._meta.has(spool_id) and self._data.has(spool_id)):
            return False
        fault = find_tear(spool_id, content_octets, self._journal.read_content, self._data, self._meta)
        if fault is not None:
            set_entry_aside(Problem(spool_id, fault), self._data, self._meta)
            if self._has_files(spool_id):
                self._beside.add(spool_id)
        return fault is None

    def _read_entry(self, spool_id: str) -> Message | Problem:
        entry = self._read_journaled(spool_id) or read_entry(spool_id, self._data, self._meta)
        if isinstance(entry, Problem):
            # It may have been taken back into the journal meanwhile.
            return self._read_journaled(spool_id) or entry
        return entry

    def _read_journaled(self, spool_id: str) -> Message | Problem | None:
        try:
            meta = self._journal.read_meta(spool_id)
            return None if meta is None else decode_envelope(meta, spool_id)
        except CorruptEntry as error:
            return Problem(spool_id, str(error))
        except OSError as error:
            return Problem(spool_id, f"message {spool_id} cannot be read: {error}", is_lasting=False)


def _content_octets(request: StoreRequest) -> int:
    return sum(len(segment) for entry in request.entries for segment in entry.segments or ())


def journal_directory(meta_root: str) -> str:
    """Where the segments of a spool are."""
    return f"{meta_root}/journal"
