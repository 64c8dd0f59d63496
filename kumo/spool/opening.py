"""Takes possession of a store's folder: made if missing, locked, tried out.

What is in it is left alone; ``transaction.recover`` comes after both stores are locked. Called by the
facade.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import ExitStack
from pathlib import Path

from kumo.config import Spool as SpoolConfig
from kumo.config import SpoolKind
from kumo.errors import SpoolError, SpoolLocked
from kumo.spool.durability import Barrier, FileByFileBarrier, FileSystemBarrier
from kumo.spool.engine import Engine
from kumo.spool.file_operations import FileOperations, spool_error, syncs_whole_file_system
from kumo.spool.journaled_disk import JournaledDisk
from kumo.spool.kinds import choose_kind
from kumo.spool.local_disk import LocalDisk, new_directory
from kumo.spool.probe import despite_full_disk, try_out
from kumo.spool.transaction import recover

_LOCK_MODE = 0o1644
"""The sticky bit keeps cleaners of temporary folders off, as on KumoMTA's."""


def open_engine(data: SpoolConfig, meta: SpoolConfig, files: FileOperations, held: ExitStack) -> Engine:
    """Lock both stores and finish what a crash cut short.

    Args:
        data: where contents go.
        meta: where envelopes go.
        files: performs the calls.
        held: gets what is to be released when the spool is closed.

    Raises:
        SpoolLocked: another process, or the other store, has the folder.
        SpoolError: it cannot be used.
        OSError: the disk fails.
    """
    if choose_kind(data, meta) is SpoolKind.ROCKS_DB:
        return _open_databases(data, meta, files, held)
    stores = open_stores(data, meta, files, held)
    recover(*stores, files)
    engine = JournaledDisk(*stores, files)
    engine.recover()
    return engine


def open_stores(
    data: SpoolConfig, meta: SpoolConfig, files: FileOperations, held: ExitStack
) -> tuple[LocalDisk, LocalDisk]:
    """Lock both stores of kind LocalDisk.

    Args:
        data: where contents go.
        meta: where envelopes go.
        files: performs the calls.
        held: gets what is to be released when the spool is closed.

    Raises:
        SpoolLocked: another process, or the other store, has the folder.
        SpoolError: it cannot be used.
    """
    _refuse_to_share(data, meta)
    barriers: dict[int, FileSystemBarrier] = {}
    roots = []
    for config in (data, meta):
        root = str(Path(config.path).absolute())
        try:
            _prepare(root, files, held)
        except OSError as error:
            raise spool_error(f"use spool {config.name} at {root}", error) from error
        roots.append(root)
    opened = []
    for config, root in zip((data, meta), roots, strict=True):
        barrier = _barrier(root, files, held, barriers) if config.flush else None
        opened.append(LocalDisk(root, files, barrier))
    return opened[0], opened[1]


def _open_databases(data: SpoolConfig, meta: SpoolConfig, files: FileOperations, held: ExitStack) -> Engine:
    # Only now is it known to be installed.
    from kumo.spool.rocks_disk import ENVELOPES_BUFFER, RocksDisk, RocksStore  # noqa: PLC0415

    _refuse_to_share(data, meta)
    stores: list[RocksStore] = []
    for config, buffer in ((data, None), (meta, ENVELOPES_BUFFER)):
        root = str(Path(config.path).absolute())
        try:
            Path(root).mkdir(parents=True, exist_ok=True)
            take_lock(f"{root}/lock", held)
            store = RocksStore(root, flush=config.flush, buffer=buffer)
            held.callback(store.close)
            store.try_out()
        except OSError as error:
            raise spool_error(f"use spool {config.name} at {root}", error) from error
        stores.append(store)
    engine = RocksDisk(stores[0], stores[1], files)
    engine.recover()
    return engine


def _refuse_to_share(data: SpoolConfig, meta: SpoolConfig) -> None:
    if Path(data.path).resolve() == Path(meta.path).resolve():
        raise SpoolError(
            f"spools {data.name} and {meta.name} share {data.path}; each needs a path of its own"
        )


def _prepare(root: str, files: FileOperations, held: ExitStack) -> None:
    for directory in (root, f"{root}/new", f"{root}/data"):
        Path(directory).mkdir(parents=True, exist_ok=True)
    take_lock(f"{root}/lock", held)
    try_out(root, files, sync=True)


def take_lock(path: str, held: ExitStack) -> int:
    """Lock a file for this process, and write into it who has it.

    Args:
        path: of the lock file; made if missing.
        held: gets what releases it.

    Returns:
        The descriptor that holds the lock.

    Raises:
        SpoolLocked: another process has it.
        OSError: the file cannot be made or locked.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _LOCK_MODE & 0o777)
    held.callback(os.close, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
        raise SpoolLocked(f"unable to lock pid file {path}: process {owner or 'unknown'} has it") from None
    os.fchmod(descriptor, _LOCK_MODE)
    os.ftruncate(descriptor, 0)
    with despite_full_disk(path):
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _barrier(
    root: str, files: FileOperations, held: ExitStack, shared: dict[int, FileSystemBarrier]
) -> Barrier:
    if not syncs_whole_file_system(root):
        return FileByFileBarrier(files, root, new_directory(root))
    device = Path(root).stat().st_dev
    if device not in shared:
        descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        held.callback(os.close, descriptor)
        shared[device] = FileSystemBarrier(files, descriptor)
    return shared[device]
