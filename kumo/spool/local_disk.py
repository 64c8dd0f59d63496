"""One store in KumoMTA's LocalDisk layout: a folder that maps spool ids to octets.

::

    {root}/lock                      held by the process that has the store
    {root}/new/                      files that are being written; swept when the store is opened
    {root}/data/aa/bb/cc/dd/{rest}   the entry aabbccdd{rest}
    {root}/commit/                   transactions of several messages (meta store only)
    {root}/quarantine/               what could not be understood

It knows nothing of messages or of the second store. All that changes something is called by the
writer's thread alone (or before it starts), so that no directory vanishes under a file on its way.
Source: KumoMTA manual, kumo.define_spool.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Sequence

from kumo.spool.durability import Barrier
from kumo.spool.file_operations import FileOperations

_log = logging.getLogger("kumod.spool")

_VACATED_AT_REST = 1024
"""Directories that may lie empty; the next message may need one, and each costs an inode."""


class LocalDisk:
    """The files of one store.

    Args:
        root: its folder, without a slash at the end.
        files: performs the calls.
        barrier: makes things durable; None: the store survives kill -9, not power loss.
    """

    __slots__ = ("_attempts", "_data", "_files", "_new", "_vacated", "barrier", "root")

    def __init__(self, root: str, files: FileOperations, barrier: Barrier | None) -> None:
        self.root = root
        self.barrier = barrier
        self._files = files
        self._new = new_directory(root)
        self._data = data_directory(root)
        self._attempts = itertools.count()
        self._vacated: dict[str, None] = {}

    def stage(self, name: str, segments: Sequence[bytes]) -> str:
        """Write a temporary file.

        Args:
            name: what its name begins with.
            segments: its content, written one behind the other.

        Returns:
            Its name in ``new/``, never used before in this run: a file that a crash leaves half-written
            is not mistaken for one that an older transaction names.

        Raises:
            OSError: nothing is left of it.
        """
        files = self._files
        temporary = f"{name}.{next(self._attempts)}"
        path = f"{self._new}/{temporary}"
        descriptor = files.create(path)
        try:
            try:
                files.write(descriptor, segments)
                if self.barrier is not None:
                    self.barrier.written(descriptor)
            finally:
                files.close(descriptor)
        except OSError:
            self.discard(temporary)
            raise
        return temporary

    def discard(self, temporary: str) -> None:
        """Remove a temporary file; what cannot be removed is swept at the next start."""
        with contextlib.suppress(OSError):
            self._files.unlink(f"{self._new}/{temporary}")

    def place(self, temporary: str, spool_id: str) -> None:
        """Make a temporary file the entry ``spool_id``, in place of one that is there."""
        path = self.path(spool_id)
        self.move(f"{self._new}/{temporary}", path)

    def move(self, source: str, target: str) -> None:
        """Rename a file, making the directories that its new name needs."""
        directory = target[: target.rindex("/")]
        self._vacated.pop(directory, None)
        self._make_directory(directory)
        self._files.rename(source, target)
        if self.barrier is not None:
            self.barrier.named(directory)

    def staged_path(self, temporary: str) -> str:
        """Where a temporary file is."""
        return f"{self._new}/{temporary}"

    def path(self, spool_id: str) -> str:
        """Where an entry is."""
        return f"{self._data}/{entry_name(spool_id)}"

    def confirm(self, spool_id: str) -> None:
        """Have the next sync speak for the name of an entry that an earlier run may have given it."""
        if self.barrier is not None:
            path = self.path(spool_id)
            self.barrier.named(path[: path.rindex("/")])

    def remove(self, spool_id: str) -> None:
        """Remove an entry; a missing one is no error.

        Not synced: after a power loss it may be there again, and its message is sent twice.
        """
        path = self.path(spool_id)
        try:
            self._files.unlink(path)
        except FileNotFoundError:
            return
        self._vacated[path[: path.rindex("/")]] = None

    def read(self, spool_id: str) -> bytes:
        """The octets of an entry; may be called by any thread."""
        return self._files.read(self.path(spool_id))

    def size(self, spool_id: str) -> int:
        """Length of an entry in octets."""
        return self._files.size(self.path(spool_id))

    def has(self, spool_id: str) -> bool:
        """Whether there is such an entry; may be called by any thread."""
        return self._files.exists(self.path(spool_id))

    def set_aside(self, path: str, name: str, reason: str) -> None:
        """Move what cannot be understood out of the way, and say so in the log; never fails.

        Args:
            path: file or directory.
            name: what it is called in ``quarantine/``, where a number is added.
            reason: for the log.
        """
        for number in itertools.count(1):
            target = f"{self.root}/quarantine/{name}.{number}"
            try:
                if self._files.exists(target):
                    continue
                self.move(path, target)
            except OSError as error:
                _log.error("%s: %s; it cannot be set aside: %s", path, reason, error)
            else:
                _log.warning("%s: %s; set aside as %s", path, reason, target)
            return

    def vacate(self, directories: Sequence[str]) -> None:
        """Take note of directories that seem to be empty."""
        self._vacated.update(dict.fromkeys(directories))

    @property
    def vacated(self) -> int:
        """Number of directories noted as empty and not removed yet."""
        return len(self._vacated)

    def prune(self, at_rest: int = _VACATED_AT_REST) -> None:
        """Remove empty directories, the oldest first, until ``at_rest`` are left.

        After each batch this costs as much as the batch emptied, never a burst.
        """
        while len(self._vacated) > at_rest:
            directory = next(iter(self._vacated))
            del self._vacated[directory]
            with contextlib.suppress(OSError):  # not empty, or gone already
                while len(directory) > len(self._data):
                    self._files.remove_directory(directory)
                    if self.barrier is not None:
                        self.barrier.pruned(directory)
                    directory = directory[: directory.rindex("/")]

    def _make_directory(self, path: str) -> None:
        # The first try nearly always is the one: ids of the same 26 µs share all but the last level.
        try:
            self._files.make_directory(path)
        except FileExistsError:
            return
        except FileNotFoundError:
            parent = path[: path.rindex("/")]
            if len(parent) <= len(self.root):
                raise  # a store that vanished, a disk not mounted: nothing to build elsewhere
            self._make_directory(parent)
            self._files.make_directory(path)


def new_directory(root: str) -> str:
    """Where a store writes its temporary files."""
    return f"{root}/new"


def data_directory(root: str) -> str:
    """Where a store has its entries."""
    return f"{root}/data"


def entry_name(spool_id: str) -> str:
    """Name of an entry below the data directory: four levels of two digits, then the other 24."""
    return f"{spool_id[:2]}/{spool_id[2:4]}/{spool_id[4:6]}/{spool_id[6:8]}/{spool_id[8:]}"
