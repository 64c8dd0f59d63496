"""The manifest that makes several messages one: all of them are queued after a crash, or none.

A transaction's metas become entries one rename at a time, and kill -9 may come between two. So its
manifest, which names all temporary files, gets its name first: from then on the transaction is
committed, and ``recover`` finishes what is missing. A transaction that has to be taken back after that
point has its manifest renamed to ``….undo`` before anything is removed. A single new message needs none
of this: the rename of its meta is its commit. One whose content is replaced needs it: content and meta
change together. Called by ``GroupCommit`` and, at the start, by the facade.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from kumo.errors import CorruptEntry
from kumo.message import is_spool_id
from kumo.spool.file_operations import FileOperations
from kumo.spool.local_disk import LocalDisk, new_directory

UNDO_SUFFIX = ".undo"

_NO_FILE = "-"


class Placement(NamedTuple):
    """One message of a transaction.

    Args:
        id: its spool id.
        is_update: whether it was on the spool before; then undoing leaves it there.
        meta_temporary: name of its meta in the meta store's ``new/``.
        data_temporary: name of its content in the data store's ``new/``; None: the content that is
            on the spool stays.
    """

    id: str
    is_update: bool
    meta_temporary: str
    data_temporary: str | None


def manifest_path(meta: LocalDisk, name: str) -> str:
    """Where the manifest of transaction ``name`` is once it is committed."""
    return f"{commit_directory(meta)}/{name}"


def commit_directory(meta: LocalDisk) -> str:
    """Where manifests are."""
    return f"{meta.root}/commit"


def encode_manifest(placements: Sequence[Placement]) -> bytes:
    """One line a message, and a last one that says how many there were."""
    lines = [
        f"{'update' if placement.is_update else 'new'} {placement.id} "
        f"{placement.meta_temporary} {placement.data_temporary or _NO_FILE}\n"
        for placement in placements
    ]
    return "".join([*lines, f"end {len(placements)}\n"]).encode()


def decode_manifest(octets: bytes) -> list[Placement]:
    """Read a manifest.

    Raises:
        CorruptEntry: it is torn or something else.
    """
    try:
        *lines, end, rest = octets.decode("ascii").split("\n")
        placements = [_placement(*line.split(" ")) for line in lines]
    except (ValueError, TypeError) as error:
        raise CorruptEntry(f"not a manifest: {error}") from error
    if rest or end != f"end {len(placements)}":
        raise CorruptEntry("a torn manifest")
    return placements


def recover(data: LocalDisk, meta: LocalDisk, files: FileOperations) -> None:
    """Finish the transactions that a crash cut short, then sweep both ``new/``.

    Raises:
        OSError: the disk fails; nothing is given up, the next start tries again.
    """
    directory = commit_directory(meta)
    finished = []
    if files.exists(directory):
        for name, _ in sorted(files.scan(directory)):
            path = f"{directory}/{name}"
            try:
                placements = decode_manifest(files.read(path))
            except (CorruptEntry, IsADirectoryError) as error:
                meta.set_aside(path, name, str(error))
                continue
            if name.endswith(UNDO_SUFFIX):
                roll_back(placements, data, meta)
            else:
                _roll_forward(placements, data, meta, files)
            finished.append(path)
    for store in (data, meta):
        if store.barrier is not None:
            store.barrier.make_names_durable()
    for path in finished:
        files.unlink(path)
    for store in (data, meta):
        _sweep(store, files)


def roll_back(placements: Iterable[Placement], data: LocalDisk, meta: LocalDisk) -> None:
    """Remove what a transaction added; metas first, as an entry without meta is not queued.

    Raises:
        OSError: not all could be removed.
    """
    for placement in placements:
        if not placement.is_update:
            meta.remove(placement.id)
            data.remove(placement.id)


def _roll_forward(
    placements: Iterable[Placement], data: LocalDisk, meta: LocalDisk, files: FileOperations
) -> None:
    for id_, _, meta_temporary, data_temporary in placements:
        # What is not in new/ is in its place already, or delivered and removed since.
        # The run that placed it may have died before its names were synced.
        for store, temporary in ((data, data_temporary), (meta, meta_temporary)):
            if temporary is None:
                continue
            if files.exists(store.staged_path(temporary)):
                store.place(temporary, id_)
            else:
                store.confirm(id_)


def _sweep(store: LocalDisk, files: FileOperations) -> None:
    directory = new_directory(store.root)
    for name, _ in files.scan(directory):
        try:
            files.unlink(f"{directory}/{name}")
        except IsADirectoryError:
            store.set_aside(f"{directory}/{name}", name, "a directory among temporary files")


def _placement(kind: str, spool_id: str, meta_temporary: str, data_temporary: str) -> Placement:
    if kind not in {"new", "update"} or not is_spool_id(spool_id) or "/" in meta_temporary + data_temporary:
        raise ValueError(f"unexpected entry for {spool_id!r}")
    return Placement(
        spool_id, kind == "update", meta_temporary, None if data_temporary == _NO_FILE else data_temporary
    )
