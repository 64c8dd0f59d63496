from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from kumo.errors import SpoolError, SpoolFull
from kumo.spool import FileOperations
from kumo.spool.file_operations import EntryKind, is_full, spool_error, syncs_whole_file_system

FILES = FileOperations()


def written(path: Path, segments: Sequence[bytes]) -> bytes:
    descriptor = FILES.create(str(path))
    FILES.write(descriptor, segments)
    FILES.close(descriptor)
    return path.read_bytes()


@pytest.mark.parametrize("segments", [(b"",), (b"", b""), (b"ab", b"cde"), (b"", b"cde"), (b"ab", b"")])
def test_segments_are_written_one_behind_the_other(tmp_path: Path, segments: tuple[bytes, ...]) -> None:
    assert written(tmp_path / "f", segments) == b"".join(segments)


@pytest.mark.parametrize("first", range(6))
@pytest.mark.parametrize("further", [1, 2, 10])
def test_short_writes_are_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int, further: int
) -> None:
    plain = os.write
    monkeypatch.setattr(
        os, "writev", lambda descriptor, segments: plain(descriptor, b"".join(segments)[:first])
    )
    monkeypatch.setattr(os, "write", lambda descriptor, octets: plain(descriptor, octets[:further]))
    assert written(tmp_path / "f", (b"ab", b"cde")) == b"abcde"


def test_a_created_file_is_its_owners_only_and_never_one_that_exists(tmp_path: Path) -> None:
    path = tmp_path / "f"
    FILES.close(FILES.create(str(path)))
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        FILES.create(str(path))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_device_is_spool_full() -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(OSError, match="No space left") as caught:
            FILES.write(descriptor, (b"a", b"b"))
    finally:
        os.close(descriptor)
    assert is_full(caught.value)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, SpoolFull),
        (errno.EDQUOT, SpoolFull),
        (errno.EIO, SpoolError),
        (errno.EROFS, SpoolError),
    ],
)
def test_errors_are_told_apart_and_say_what_could_not_be_done(
    number: int, expected: type[SpoolError]
) -> None:
    error = spool_error("store abc", OSError(number, os.strerror(number)))
    assert type(error) is expected
    assert str(error) == f"unable to store abc: {os.strerror(number)}"


def test_scan_tells_files_directories_and_the_rest_apart(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    assert sorted(FILES.scan(str(tmp_path))) == [
        ("directory", EntryKind.DIRECTORY),
        ("file", EntryKind.FILE),
        ("link", EntryKind.OTHER),
        ("pipe", EntryKind.OTHER),
    ]


def test_exists_sees_a_dangling_link_and_no_absent_name(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    assert FILES.exists(str(tmp_path / "link"))
    assert not FILES.exists(str(tmp_path / "nowhere"))


def test_syncs_reach_the_kernel(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    FILES.sync_file_system(descriptor)
    FILES.sync_directory(str(tmp_path))
    os.close(descriptor)
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)) as caught:
        FILES.sync_file_system(descriptor)
    assert caught.value.errno == errno.EBADF


@pytest.mark.parametrize(
    ("release", "file_system", "expected"),
    [
        ("6.1.0-13-amd64", "ext4", True),
        ("5.8.0", "xfs", True),
        ("5.7.19", "ext4", False),
        ("4.19.0", "ext4", False),
        ("6.1.0", "overlay", False),
        ("6.1.0", "fuse.sshfs", False),
        ("6.1.0", "nfs4", False),
    ],
)
def test_one_sync_for_all_is_used_only_where_it_reports_every_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, release: str, file_system: str, expected: bool
) -> None:
    device = tmp_path.stat().st_dev
    table = tmp_path / "mountinfo"
    table.write_text(
        f"1 0 0:999 / /proc rw - proc proc rw\n"
        f"36 35 {os.major(device)}:{os.minor(device)} / /mnt rw,noatime master:1 - {file_system} /dev/x rw\n"
    )
    monkeypatch.setattr("kumo.spool.file_operations.MOUNT_TABLE", table)
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(release=release))
    assert syncs_whole_file_system(str(tmp_path)) is expected


def test_without_a_mount_table_each_file_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kumo.spool.file_operations.MOUNT_TABLE", tmp_path / "absent")
    assert not syncs_whole_file_system(str(tmp_path))
