"""Lists the messages of a spool for the operator, while a daemon may be running on it.

Reads only, takes no lock, sets nothing aside. Called by the command line.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from kumo.config import SpoolKind
from kumo.errors import CorruptEntry, SpoolError
from kumo.message import Message, created_at, created_ticks, queue_name
from kumo.smtp import EnvelopeAddress
from kumo.spool.enumeration import take_inventory
from kumo.spool.file_operations import FileOperations, spool_error
from kumo.spool.journal_replay import read_envelopes
from kumo.spool.journaled_disk import journal_directory
from kumo.spool.kinds import kind_of, require_rocksdb
from kumo.spool.local_disk import LocalDisk
from kumo.spool.shards import shard_roots
from kumo.spool.stored_envelope import decode_envelope


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """What an operator wants to know of one entry.

    Args:
        id: its spool id.
        created: unix time.
        sender: reverse-path; None where the entry is unreadable.
        recipients: forward-paths.
        queue: name of its scheduled queue; None where it has none.
        problem: why something is missing.
    """

    id: str
    created: float
    sender: EnvelopeAddress | None
    recipients: tuple[EnvelopeAddress, ...]
    queue: str | None
    problem: str | None = None

    def __str__(self) -> str:
        """One line: id, time, queue, reverse-path, forward-paths, separated by blanks."""
        created = datetime.fromtimestamp(self.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        if self.sender is None:
            return f"{self.id} {created} - {self.problem}"
        recipients = ",".join(f"<{recipient}>" for recipient in self.recipients)
        line = f"{self.id} {created} {self.queue or '-'} <{self.sender}> {recipients}"
        return line if self.problem is None else f"{line} {self.problem}"


def list_spool(meta_path: str | os.PathLike[str]) -> Iterator[StoredMessage]:
    """List the messages of a spool and of all its shards, oldest first.

    Args:
        meta_path: folder of the store named ``meta``.

    Raises:
        SpoolError: there is no such store, or it cannot be read.
    """
    root = str(Path(meta_path).absolute())
    files = FileOperations()
    try:
        names = [name for name, _ in files.scan(root)]
    except OSError as error:
        raise spool_error(f"list the spool at {root}", error) from error
    # The folder above both stores has one named data as well, but never one for files on their way.
    is_database = kind_of(root) is SpoolKind.ROCKS_DB
    if not is_database and ("data" not in names or not {"new", "lock"}.intersection(names)):
        hint = f"; the store to list is {root}/meta" if "meta" in names else ""
        raise SpoolError(f"{root} is no spool: it needs folders named data and new{hint}")
    roots = [root, *shard_roots(root)]
    return heapq.merge(*(_entries_of(one, files) for one in roots), key=lambda entry: entry.created)


def _entries_of(root: str, files: FileOperations) -> Iterator[StoredMessage]:
    if kind_of(root) is SpoolKind.ROCKS_DB:
        return _database_entries(_envelopes_of(root))
    return _entries(root, files)


def _envelopes_of(root: str) -> dict[str, bytes]:
    require_rocksdb(root)
    # Only now is it known to be installed.
    from kumo.spool.rocks_disk import read_envelopes as read_database  # noqa: PLC0415

    try:
        return read_database(root)
    except OSError as error:
        raise spool_error(f"list the spool at {root}", error) from error


def _database_entries(envelopes: dict[str, bytes]) -> Iterator[StoredMessage]:
    for spool_id in sorted(envelopes, key=created_ticks):
        try:
            yield _describe(decode_envelope(envelopes[spool_id], spool_id))
        except CorruptEntry as error:
            yield _unreadable(spool_id, str(error))


def _entries(root: str, files: FileOperations) -> Iterator[StoredMessage]:
    meta = LocalDisk(root, files, None)
    try:
        # First of all: what moves into files meanwhile is found there as well.
        journaled = read_envelopes(journal_directory(root), files)
    except OSError as error:
        raise spool_error(f"list the spool at {root}", error) from error
    found = take_inventory(root, files).ids
    filed = frozenset(found)
    for spool_id in sorted(dict.fromkeys([*journaled, *found]), key=created_ticks):
        # What is in both is not older in its file, but for one that a power loss has torn.
        ways: list[Callable[[str], bytes]] = [meta.read] if spool_id in filed else []
        if spool_id in journaled:
            ways.append(journaled.__getitem__)
        described = _first_readable(spool_id, ways)
        if described is not None:
            yield described


def _first_readable(spool_id: str, ways: Sequence[Callable[[str], bytes]]) -> StoredMessage | None:
    """Describe a message by the first of its envelopes that can be read; None: delivered since the walk."""
    failure: StoredMessage | None = None
    for read in ways:
        try:
            return _describe(decode_envelope(read(spool_id), spool_id))
        except FileNotFoundError:
            continue
        except (CorruptEntry, OSError) as error:
            failure = failure or _unreadable(spool_id, str(error))
    return failure


def _describe(message: Message) -> StoredMessage:
    queue = problem = None
    try:
        queue = queue_name(message.meta, message.recipients)
    except ValueError as error:
        problem = str(error)
    return StoredMessage(
        message.id, message.created, message.sender, tuple(message.recipients), queue, problem
    )


def _unreadable(spool_id: str, problem: str) -> StoredMessage:
    return StoredMessage(spool_id, created_at(spool_id), None, (), None, problem)
