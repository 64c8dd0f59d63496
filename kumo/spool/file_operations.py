"""The file system calls of the spool, each one method, so that a test can make any of them fail.

They add nothing to the system call but the completion of short writes. Called by the other modules of
this room only.
"""

# A Path object for each call would cost as much as the call.
# ruff: noqa: PTH102, PTH104, PTH106, PTH108, PTH116, PTH123

from __future__ import annotations

import ctypes
import enum
import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from kumo.errors import SpoolError, SpoolFull

_MODE = 0o600

_SEGMENTS_AT_ONCE = os.sysconf("SC_IOV_MAX")

_SYNCFS_REPORTS_SINCE = (5, 8)
"""Linux version from which syncfs tells of failed writes; before, it says that all is well."""

_WHOLE_FILE_SYSTEM = frozenset({"ext3", "ext4", "xfs"})
"""Where syncfs is known to make contents and names durable and to report every failed write.

overlayfs keeps failures of the layer below to itself, FUSE does not pass the call on; there, and
wherever nobody looked, each file is synced by itself.
"""

MOUNT_TABLE = Path("/proc/self/mountinfo")


class EntryKind(enum.Enum):
    """What a name in a directory stands for."""

    FILE = enum.auto()
    DIRECTORY = enum.auto()
    OTHER = enum.auto()
    """A link, a pipe, a device: nothing that the spool makes, and a pipe would never stop being read."""


class FileOperations:
    """What the spool does to files; every method may raise ``OSError``."""

    def create(self, path: str) -> int:
        """Make a new file, readable by its owner only, and open it for reading and writing."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)

    def open(self, path: str) -> int:
        """Open a file that is there for reading and writing; a link is not followed."""
        return os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)

    def open_to_read(self, path: str) -> int:
        """Open a file that is there for reading; a link is not followed."""
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def write(self, descriptor: int, segments: Sequence[bytes]) -> None:
        """Write all octets of ``segments``, one behind the other, without joining them."""
        written = os.writev(descriptor, segments)
        if written != sum(map(len, segments)):
            _write_rest(descriptor, segments, written)

    def write_at(self, descriptor: int, segments: Sequence[bytes], offset: int) -> None:
        """Write all octets of ``segments`` from ``offset`` on, one behind the other, without joining them."""
        for start in range(0, len(segments), _SEGMENTS_AT_ONCE):
            part = segments[start : start + _SEGMENTS_AT_ONCE]
            length = sum(map(len, part))
            written = os.pwritev(descriptor, part, offset)
            if written != length:
                _write_rest_at(descriptor, part, written, offset)
            offset += length

    def read_at(self, descriptor: int, length: int, offset: int) -> bytes:
        """Read ``length`` octets from ``offset`` on; fewer only where the file ends."""
        octets = os.pread(descriptor, length, offset)
        if len(octets) == length or not octets:
            return octets
        parts = [octets]
        read = len(octets)
        while read < length and (octets := os.pread(descriptor, length - read, offset + read)):
            parts.append(octets)
            read += len(octets)
        return b"".join(parts)

    def identity(self, file: str | int) -> tuple[int, int]:
        """What tells a file, by its name or open, from every other one."""
        status = os.stat(file)
        return status.st_dev, status.st_ino

    def size(self, file: str | int) -> int:
        """Length of a file, by its name or open."""
        return os.stat(file).st_size

    def room(self, path: str) -> tuple[int, int]:
        """Octets and inodes that are free for this process where ``path`` is."""
        state = os.statvfs(path)
        # Where inodes are not counted they never run out.
        return state.f_bavail * state.f_frsize, state.f_favail if state.f_files else sys.maxsize

    def truncate(self, descriptor: int, length: int) -> None:
        """Cut an open file off behind ``length`` octets."""
        os.ftruncate(descriptor, length)

    def close(self, descriptor: int) -> None:
        """Close a descriptor; where the disk is a server, this is where it may say that it is full."""
        os.close(descriptor)

    def sync_file(self, descriptor: int) -> None:
        """Make the content of one file durable."""
        os.fdatasync(descriptor)

    def sync_file_system(self, descriptor: int) -> None:
        """Make all that was written to a file system durable, names included.

        Args:
            descriptor: any directory on it, opened before the writes whose failure is to be reported.
        """
        if _LIBC.syncfs(descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def sync_directory(self, path: str) -> None:
        """Make the names in one directory durable."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, source: str, target: str) -> None:
        """Give a file another name; a file that has it already is replaced, at once and as a whole."""
        os.rename(source, target)

    def unlink(self, path: str) -> None:
        """Remove a file."""
        os.unlink(path)

    def make_directory(self, path: str) -> None:
        """Make one directory; its parent exists."""
        os.mkdir(path)

    def remove_directory(self, path: str) -> None:
        """Remove an empty directory."""
        os.rmdir(path)

    def read(self, path: str) -> bytes:
        """Read a whole file."""
        with open(path, "rb", buffering=0) as file:
            return file.readall()

    def exists(self, path: str) -> bool:
        """Whether there is a file or directory of that name."""
        try:
            os.lstat(path)
        except FileNotFoundError:
            return False
        return True

    def scan(self, path: str) -> list[tuple[str, EntryKind]]:
        """Names in a directory and what they stand for; links are not followed."""
        with os.scandir(path) as entries:
            return [(entry.name, _kind(entry)) for entry in entries]


def syncs_whole_file_system(path: str) -> bool:
    """Whether ``sync_file_system`` keeps its promise on the file system that holds ``path``."""
    release = os.uname().release.split(".")
    if tuple(int(part) for part in release[:2] if part.isdigit()) < _SYNCFS_REPORTS_SINCE:
        return False
    return hasattr(_LIBC, "syncfs") and _file_system_type(Path(path).stat().st_dev) in _WHOLE_FILE_SYSTEM


_LIMITS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EFBIG})


def is_full(error: OSError) -> bool:
    """Whether there is no room, on the disk or within a quota."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def spool_error(action: str, error: OSError, kind: type[SpoolError] = SpoolError) -> SpoolError:
    """Put a failed call into the words of the error tree.

    Args:
        action: what could not be done, with the path or id.
        error: why; without room it becomes ``SpoolFull``.
        kind: what it becomes otherwise, unless the limit is this process's or this file's and says
            nothing of the next message.
    """
    if is_full(error):
        kind = SpoolFull
    elif error.errno in _LIMITS:
        kind = SpoolError
    return kind(f"unable to {action}: {error.strerror or error}")


def _file_system_type(device: int) -> str | None:
    """Name of the file system type of a device number; None: unknown."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        with MOUNT_TABLE.open(encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                mount, _, source = line.partition(" - ")
                if mount.split(" ")[2] == wanted:
                    return source.split(" ")[0]
    except OSError:
        pass
    return None


def _kind(entry: os.DirEntry[str]) -> EntryKind:
    if entry.is_file(follow_symlinks=False):
        return EntryKind.FILE
    return EntryKind.DIRECTORY if entry.is_dir(follow_symlinks=False) else EntryKind.OTHER


def _write_rest(descriptor: int, segments: Sequence[bytes], written: int) -> None:
    """Go on after a short write: two gigabytes are the most at a time, or the disk is almost full."""
    for segment in segments:
        rest = memoryview(segment)[written:]
        written = max(0, written - len(segment))
        while rest:
            rest = rest[os.write(descriptor, rest) :]


def _write_rest_at(descriptor: int, segments: Sequence[bytes], written: int, offset: int) -> None:
    for segment in segments:
        rest = memoryview(segment)[written:]
        offset += len(segment) - len(rest)
        written = max(0, written - len(segment))
        while rest:
            count = os.pwrite(descriptor, rest, offset)
            rest = rest[count:]
            offset += count


_LIBC = ctypes.CDLL(None, use_errno=True)
