"""Segments: zstd files that grow line by line and become read-only when they are complete.

A segment is named after the time of its first record. Tailers follow the files by two signs: the
content can be read up to the last write, and a file without write permission gets no more. Whoever
writes a segment has it locked, so that a process that starts beside others in the same folder tells
theirs from what a dead one left. Nothing here retries; ``kumo.logs.channel`` decides what to do when a
call fails.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from kumo.logs.timestamp import print_segment_stamp

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdCompressor
else:
    from backports.zstd import ZstdCompressor

_LOGGER = logging.getLogger("kumod.logs")

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
_NAME_TRIES = 1000
_CANNOT_MARK = "cannot mark log segment %s as complete: %s"
_WRITE_BITS = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class FileCalls:
    """The system calls that fail when a disk is full; tests hand in others."""

    open: Callable[[str, int, int], int] = os.open
    write: Callable[[int, bytes], int] = os.write


class Destination(NamedTuple):
    """Where lines go: one file at a time is open for each.

    Args:
        directory: folder.
        suffix: end of the files' names.
        prefix: their beginning, before the time.
    """

    directory: str
    suffix: str
    prefix: str = ""


class Segment:
    """One open file.

    Args:
        destination: folder and suffix; a missing folder is made.
        level: zstd level, 0 for the library's default.
        clock: nanoseconds since 1970; gives the name.
        files: system calls.

    Raises:
        OSError: the file cannot be made.
    """

    __slots__ = (
        "_compressor",
        "_descriptor",
        "_files",
        "_is_finished",
        "_lines",
        "_unwritten",
        "is_stuck",
        "path",
        "pending",
        "size",
    )

    def __init__(
        self, destination: Destination, level: int, clock: Callable[[], int], files: FileCalls
    ) -> None:
        self._files = files
        self._compressor = ZstdCompressor(level=level)
        self._lines: list[bytes] = []
        self._unwritten = b""
        self._is_finished = False
        self.size = 0
        """Octets taken so far, before compression."""
        self.pending = 0
        """Those of them that are not compressed yet."""
        self.is_stuck = False
        """Whether the last write failed half-way."""
        self.path, self._descriptor = _make_file(destination, clock, files)

    @property
    def is_clean(self) -> bool:
        """Whether the file holds all that was taken."""
        return not self._lines and not self._unwritten

    def append(self, line: bytes) -> None:
        """Take a line; it stays in memory until ``write_out``."""
        self._lines.append(line)
        self.size += len(line)
        self.pending += len(line)

    def write_out(self) -> None:
        """Compress and write all that was taken; a reader sees it from now on.

        Raises:
            OSError: not all is written; nothing is lost, a later call goes on where this one stopped.
        """
        if self._lines:
            self._compress(ZstdCompressor.FLUSH_BLOCK)
        self._write()

    def complete(self) -> None:
        """End the zstd frame, take the write permission away, close.

        Raises:
            OSError: not all is written; may be called again.
        """
        if not self._is_finished:
            self._compress(ZstdCompressor.FLUSH_FRAME)
            self._is_finished = True
        self._write()
        try:
            mode = stat.S_IMODE(os.fstat(self._descriptor).st_mode)
            os.fchmod(self._descriptor, mode & ~_WRITE_BITS)
        except OSError as error:
            _LOGGER.warning(_CANNOT_MARK, self.path, error)
        self.close()

    def close(self) -> None:
        """Close the file as it is."""
        try:
            os.close(self._descriptor)
        except OSError as error:
            _LOGGER.warning("closing log segment %s: %s", self.path, error)

    def _compress(self, mode: Literal[1, 2]) -> None:
        self._unwritten += self._compressor.compress(b"".join(self._lines), mode)
        self._lines.clear()
        self.pending = 0

    def _write(self) -> None:
        self.is_stuck = bool(self._unwritten)
        while self._unwritten:
            count = self._files.write(self._descriptor, self._unwritten)
            self._unwritten = self._unwritten[count:]
        self.is_stuck = False


def prepare_directory(directory: str) -> None:
    """Make a log folder, and take the write permission from what an earlier process left in it.

    Files whose names begin with a dot are not segments and stay as they are, and so does what another
    process is writing; a file that cannot be changed is logged and passed over.

    Raises:
        OSError: the folder cannot be made, read or written.
    """
    Path(directory).mkdir(parents=True, exist_ok=True)
    if not os.access(directory, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), directory)
    with _locked_directory(directory, fcntl.LOCK_EX), os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.startswith(".") or not entry.is_file(follow_symlinks=False):
                continue
            try:
                mode = stat.S_IMODE(entry.stat(follow_symlinks=False).st_mode)
                if mode & _WRITE_BITS and not _is_being_written(entry.path):
                    Path(entry.path).chmod(mode & ~_WRITE_BITS)
            except OSError as error:
                _LOGGER.warning(_CANNOT_MARK, entry.path, error)


@contextlib.contextmanager
def _locked_directory(directory: str, operation: int) -> Iterator[None]:
    """Have a lock on a folder meanwhile: shared to make a segment in it, exclusive to look for old ones.

    Else a new one could be found between its making and its locking. Where a file system knows no such
    locks, segments are told apart as well as may be.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, operation)
        yield
    finally:
        os.close(descriptor)


def _is_being_written(path: str) -> bool:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def _make_file(destination: Destination, clock: Callable[[], int], files: FileCalls) -> tuple[str, int]:
    directory, suffix, prefix = destination
    Path(directory).mkdir(parents=True, exist_ok=True)
    nanoseconds = clock()
    with _locked_directory(directory, fcntl.LOCK_SH):
        for _ in range(_NAME_TRIES):
            path = f"{directory}/{prefix}{print_segment_stamp(nanoseconds)}{suffix}"
            try:
                descriptor = files.open(path, _NEW_FILE, 0o666)
            except FileExistsError:
                # Another logger or daemon had the same thought within the same tick of the clock.
                nanoseconds += 1000
            else:
                with contextlib.suppress(OSError):
                    fcntl.flock(descriptor, fcntl.LOCK_EX)
                return path, descriptor
    raise FileExistsError(f"no free name for a log segment in {directory}")
