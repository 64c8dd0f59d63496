"""Writing one message into a maildir folder, so that it is there after power is lost.

Blocking file operations, for a worker thread; ``maildir`` calls it.
"""

# Path objects would have CPython intern the name of each file. 3.12.1 never lets go of such strings;
# elsewhere their table, of 1.8 MiB in a daemon, fills with names that are never used again and is made anew
# once a minute of load, each time in the heap of another thread.
# ruff: noqa: PTH101, PTH102, PTH104, PTH108, PTH116, PTH120

from __future__ import annotations

import contextlib
import itertools
import os
import stat
import time
from collections.abc import Sequence

_NEXT_NUMBER = itertools.count()

_SUBFOLDERS = ("cur", "new", "tmp")


def write_to_maildir(
    folder: str,
    segments: Sequence[bytes],
    host: str,
    *,
    dir_mode: int | None = None,
    file_mode: int | None = None,
) -> str:
    """Write a message under ``tmp`` and move it to ``new``; missing folders are made.

    Args:
        folder: the maildir.
        segments: the content's octets in order; only read.
        host: name of this host, as it stands in the file name.
        dir_mode: permission bits of folders that are made, whatever the umask; None: 0777 less the umask.
        file_mode: permission bits of the file likewise; None: 0666 less the umask.

    Returns:
        The file's name in ``new``.

    Raises:
        OSError: nothing is left in ``tmp`` or ``new``.
        ValueError: the path cannot be a file name.

    Source: https://cr.yp.to/proto/maildir.html.
    """
    subfolders = [f"{folder}/{name}" for name in _SUBFOLDERS]
    for path in subfolders:
        _make_folders(path, dir_mode)
    _, finished, begun = subfolders
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    stamp = f"{seconds}.#{next(_NEXT_NUMBER):x}M{nanoseconds}P{os.getpid()}"
    written = f"{begun}/{stamp}.{host}"
    descriptor = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        try:
            if file_mode is not None:
                os.fchmod(descriptor, file_mode)
            _write_all(descriptor, segments)
            os.fsync(descriptor)
            status = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        name = f"{stamp}V{status.st_dev}I{status.st_ino}.{host},S={status.st_size}"
        moved = f"{finished}/{name}"
        os.rename(written, moved)
        written = moved
        _sync_folder(finished)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(written)
        raise
    return name


def _write_all(descriptor: int, segments: Sequence[bytes]) -> None:
    pending = [memoryview(segment) for segment in segments if segment]
    while pending:
        count = os.writev(descriptor, pending)
        while pending and count >= len(pending[0]):
            count -= len(pending.pop(0))
        if count:
            pending[0] = pending[0][count:]


def _make_folders(path: str, mode: int | None) -> None:
    missing: list[str] = []
    while not _is_folder(path) and path != _parent(path):
        missing.append(path)
        path = _parent(path)
    for folder in reversed(missing):
        try:
            os.mkdir(folder)
        except FileExistsError:
            continue  # another worker was quicker; a file in the way shows at the next step
        if mode is not None:
            os.chmod(folder, mode)
        _sync_folder(_parent(folder))


def _is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _parent(path: str) -> str:
    return os.path.dirname(path) or "."


def _sync_folder(path: str) -> None:
    """Make a folder's entries durable: syncing a file does not keep its name."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
