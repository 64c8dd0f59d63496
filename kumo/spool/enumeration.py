"""Finds what is on the spool when the daemon starts: every message, whatever the clock did since.

Directories are walked and metas read in threads while mail already comes in; what has to be changed,
setting aside and removing empty directories, is left to the writer's thread, which looks again first.
Called by the facade and the listing.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

from kumo.errors import CorruptEntry
from kumo.message import Message, created_ticks, is_spool_id
from kumo.spool.file_operations import EntryKind, FileOperations
from kumo.spool.local_disk import LocalDisk, data_directory
from kumo.spool.stored_envelope import decode_envelope

_log = logging.getLogger("kumod.spool")

_LEVELS = 4

_PASSING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


class Inventory(NamedTuple):
    """What lies below a store's data directory.

    Args:
        ids: entries, oldest first.
        foreign: paths of what is no entry.
        empty: directories with nothing in them.
    """

    ids: list[str]
    foreign: list[str]
    empty: list[str]


class Problem(NamedTuple):
    """An entry that cannot be used."""

    id: str
    reason: str
    is_lasting: bool = True
    """False when the process lacked something, rather than the entry."""


def take_inventory(root: str, files: FileOperations) -> Inventory:
    """List a store; changes nothing. A directory that cannot be read is logged and passed over.

    Args:
        root: the store's folder.
        files: performs the calls.
    """
    inventory = Inventory([], [], [])
    _walk(data_directory(root), "", inventory, files)
    inventory.ids.sort(key=created_ticks)
    return inventory


def read_entry(spool_id: str, data: LocalDisk, meta: LocalDisk) -> Message | Problem:
    """Read one message's meta; the content is only looked for.

    Returns:
        The message, or why there is none.
    """
    try:
        message = decode_envelope(meta.read(spool_id), spool_id)
        if not data.has(spool_id):
            return Problem(spool_id, f"message {spool_id} has no content")
    except CorruptEntry as error:
        return Problem(spool_id, str(error))
    except OSError as error:
        reason = f"message {spool_id} cannot be read: {error}"
        return Problem(spool_id, reason, is_lasting=error.errno not in _PASSING)
    return message


def find_tear(
    spool_id: str,
    content_octets: int,
    read_journaled: Callable[[str], bytes | None],
    data: LocalDisk,
    meta: LocalDisk,
) -> str | None:
    """Whether files of a message are less than what the journal has of it.

    Without ``flush`` a power loss leaves names whose octets had not been written yet.

    Args:
        spool_id: a message that is in the journal and in both stores.
        content_octets: of its content in the journal.
        read_journaled: gives that content.
        data: holds contents.
        meta: holds envelopes.

    Returns:
        What is wrong with them; None: they are whole, and may be newer than the journal.

    Raises:
        OSError: they cannot be read, for another reason than that the disk has lost them.
    """
    try:
        decode_envelope(meta.read(spool_id), spool_id)
        if data.size(spool_id) >= content_octets:
            return None
        content = data.read(spool_id).rstrip(b"\0")
    except CorruptEntry as error:
        return str(error)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return f"message {spool_id} cannot be read: {error}"
    # A content that replaced it may be shorter, but is not what it begins with.
    is_torn = (read_journaled(spool_id) or b"").startswith(content)
    return f"content of message {spool_id} is torn" if is_torn else None


def set_entry_aside(problem: Problem, data: LocalDisk, meta: LocalDisk) -> None:
    """Move what there is of an entry out of both stores; what may be readable next time only is logged."""
    if not problem.is_lasting:
        _log.error("%s; it is left for the next start", problem.reason)
        return
    for store in (meta, data):
        if store.has(problem.id):
            store.set_aside(store.path(problem.id), problem.id, problem.reason)


def set_orphans_aside(spool_ids: Sequence[str], data: LocalDisk, meta: LocalDisk) -> None:
    """Move contents without meta out of the data store.

    Called in the writer's thread: a message that was being stored or removed when its files were
    listed is neither any more.
    """
    for spool_id in spool_ids:
        if not meta.has(spool_id) and data.has(spool_id):
            data.set_aside(data.path(spool_id), spool_id, f"message {spool_id} has no meta")


def set_foreign_aside(paths: Sequence[str], store: LocalDisk) -> None:
    """Move what is no entry out of a store."""
    for path in paths:
        store.set_aside(path, path[path.rindex("/") + 1 :], "not an entry of this spool")


def _walk(directory: str, prefix: str, inventory: Inventory, files: FileOperations) -> None:
    try:
        entries = files.scan(directory)
    except FileNotFoundError:
        return
    except OSError as error:
        _log.error("unable to read %s: %s", directory, error)
        return
    if not entries and prefix:
        inventory.empty.append(directory)
    is_leaf = len(prefix) == 2 * _LEVELS
    for name, kind in entries:
        path = f"{directory}/{name}"
        if is_leaf and kind is EntryKind.FILE and is_spool_id(prefix + name):
            inventory.ids.append(prefix + name)
        elif not is_leaf and kind is EntryKind.DIRECTORY and _is_level(name):
            _walk(path, prefix + name, inventory, files)
        else:
            inventory.foreign.append(path)


def _is_level(name: str) -> bool:
    return len(name) == 2 and all(digit in "0123456789abcdef" for digit in name)  # noqa: PLR2004 - one octet
