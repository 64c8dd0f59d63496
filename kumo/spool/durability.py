"""How a batch of files becomes durable: one call for a whole file system, or one for each file.

A store without ``flush`` has no barrier at all. Measured on ext4 with a batch of 1 and of 20 messages
of 2 KB and 100 KB, content and names together: syncfs takes 0.45 and 0.8 of the time of fdatasync for
each file plus fsync for each directory at 1, and 0.5 and 0.6 at 20. Its price is that it waits for what
other programs wrote to the same file system as well. Called by ``LocalDisk`` and ``GroupCommit``.
"""

from __future__ import annotations

from typing import Protocol

from kumo.spool.file_operations import FileOperations


class Barrier(Protocol):
    """Keeps what was written before it from being lost with the power."""

    def written(self, descriptor: int) -> None:
        """Take note of a new file, complete and still open."""

    def named(self, directory: str) -> None:
        """Take note of a directory, below the store's root, in which a file got its name."""

    def pruned(self, directory: str) -> None:
        """Take note of a directory that was removed: no name in it is waited for any more."""

    def make_contents_durable(self) -> None:
        """Make all files written so far durable under the temporary names that they have.

        Raises:
            OSError: they may or may not be; a second try would say nothing about them.
        """

    def make_names_durable(self) -> None:
        """Make all names given so far durable.

        Raises:
            OSError: as above; they stay among those that the next call is about.
        """


class FileSystemBarrier:
    """One syncfs for everything; shared by the stores on one file system.

    Args:
        files: performs the calls.
        descriptor: of a directory there, open since before the first write, so that no failed write
            goes unreported.
    """

    __slots__ = ("_descriptor", "_files")

    def __init__(self, files: FileOperations, descriptor: int) -> None:
        self._files = files
        self._descriptor = descriptor

    def written(self, descriptor: int) -> None:
        """See ``Barrier``."""

    def named(self, directory: str) -> None:
        """See ``Barrier``."""

    def pruned(self, directory: str) -> None:
        """See ``Barrier``."""

    def make_contents_durable(self) -> None:
        """See ``Barrier``."""
        self._files.sync_file_system(self._descriptor)

    def make_names_durable(self) -> None:
        """See ``Barrier``."""
        self._files.sync_file_system(self._descriptor)


class FileByFileBarrier:
    """fdatasync for each file and fsync for each directory on the way to it.

    Args:
        files: performs the calls.
        root: the store's folder.
        new: the folder of the temporary files.
    """

    __slots__ = ("_directories", "_files", "_new", "_root")

    def __init__(self, files: FileOperations, root: str, new: str) -> None:
        self._files = files
        self._root = root
        self._new = new
        self._directories: dict[str, None] = {}

    def written(self, descriptor: int) -> None:
        """See ``Barrier``."""
        self._files.sync_file(descriptor)

    def named(self, directory: str) -> None:
        """See ``Barrier``."""
        # Up to the root: any of them may be new, made by this batch or by one that failed.
        while directory not in self._directories and len(directory) >= len(self._root):
            self._directories[directory] = None
            directory = directory[: directory.rindex("/")]

    def pruned(self, directory: str) -> None:
        """See ``Barrier``."""
        self._directories.pop(directory, None)

    def make_contents_durable(self) -> None:
        """See ``Barrier``."""
        self._files.sync_directory(self._new)

    def make_names_durable(self) -> None:
        """See ``Barrier``."""
        for directory in self._directories:
            try:
                self._files.sync_directory(directory)
            except FileNotFoundError:
                # Removed by other hands, and its names with it; the way to it is noted as well.
                if directory == self._root:
                    raise
        self._directories.clear()
