"""Tries a store out: does to it what every message will.

Called by ``opening`` before the first message, and by an engine to find out whether a disk has recovered.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from kumo.spool.file_operations import FileOperations, is_full
from kumo.spool.local_disk import new_directory

_log = logging.getLogger("kumod.spool")


def try_out(root: str, files: FileOperations, *, sync: bool) -> None:
    """Do to a store what every message will: create, write, sync, rename, remove.

    So a policy's mistake is found before the first message, and a disk's recovery without one.

    Args:
        root: the store's folder.
        files: performs the calls.
        sync: whether its messages are synced.

    Raises:
        OSError: one of the calls failed; lack of room is only logged.
    """
    probe = f"{new_directory(root)}/.probe"
    target = f"{root}/.probe"
    with despite_full_disk(root):
        with contextlib.suppress(FileNotFoundError):
            files.unlink(probe)
        descriptor = files.create(probe)
        try:
            files.write(descriptor, (b"probe\n",))
            if sync:
                files.sync_file(descriptor)
        finally:
            files.close(descriptor)
        files.rename(probe, target)
        files.unlink(target)


@contextlib.contextmanager
def despite_full_disk(path: str) -> Iterator[None]:
    """A full disk is no reason not to start: what is delivered makes room, and peers are told to wait."""
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise
        _log.warning("%s: %s", path, error.strerror)
