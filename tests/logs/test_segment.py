from __future__ import annotations

import errno
import os
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from kumo.logs import FileCalls
from kumo.logs.segment import Destination, Segment, prepare_directory
from tests.logs.samples import Clock, Disk, is_read_only, read_lines, segments


def make_segment(directory: Path, clock: Clock, disk: Disk, suffix: str = "", level: int = 0) -> Segment:
    return Segment(Destination(str(directory), suffix), level, clock.wall, disk.calls)


def test_a_segment_is_named_after_its_time_and_suffix(log_dir: Path, clock: Clock, disk: Disk) -> None:
    segment = make_segment(log_dir / "made" / "too", clock, disk, suffix=".log")
    segment.close()
    assert segment.path == str(log_dir / "made" / "too" / "20261123-064758.250.log")
    assert Path(segment.path).exists()


def test_a_segment_may_have_a_prefix(log_dir: Path, clock: Clock, disk: Disk) -> None:
    segment = Segment(Destination(str(log_dir), ".log", "acct-"), 0, clock.wall, disk.calls)
    segment.close()
    assert Path(segment.path).name == "acct-20261123-064758.250.log"


def test_a_name_that_is_taken_is_never_taken_again(log_dir: Path, clock: Clock, disk: Disk) -> None:
    made = [make_segment(log_dir, clock, disk) for _ in range(3)]
    for number, segment in enumerate(made):
        segment.append(b"%d\n" % number)
        segment.complete()
    assert [path.name for path in segments(log_dir)] == [
        "20261123-064758.250",
        "20261123-064758.250001",
        "20261123-064758.250002",
    ]
    assert [read_lines(path) for path in segments(log_dir)] == [[b"0\n"], [b"1\n"], [b"2\n"]]


def test_the_search_for_a_free_name_ends(log_dir: Path, clock: Clock) -> None:
    tries = []

    def taken(path: str, flags: int, mode: int) -> int:
        tries.append((path, flags, mode))
        raise FileExistsError(errno.EEXIST, "File exists", path)

    with pytest.raises(FileExistsError, match="no free name for a log segment in"):
        Segment(Destination(str(log_dir), ""), 0, clock.wall, FileCalls(open=taken))
    assert len(tries) == 1000
    assert len(set(tries)) == 1000


def test_what_was_written_out_can_be_read_before_the_segment_is_complete(
    log_dir: Path, clock: Clock, disk: Disk
) -> None:
    segment = make_segment(log_dir, clock, disk)
    segment.append(b"one\n")
    assert Path(segment.path).stat().st_size == 0
    segment.write_out()
    assert read_lines(Path(segment.path)) == [b"one\n"]
    segment.append(b"two\n")
    segment.write_out()
    unfinished = subprocess.run(["zstd", "-dc", segment.path], capture_output=True, check=False)
    assert unfinished.stdout == b"one\ntwo\n"
    assert not is_read_only(Path(segment.path))
    segment.close()


def test_writing_out_nothing_writes_nothing(log_dir: Path, clock: Clock, disk: Disk) -> None:
    segment = make_segment(log_dir, clock, disk)
    segment.write_out()
    assert Path(segment.path).stat().st_size == 0
    segment.close()


def test_a_complete_segment_is_read_only_and_readable_by_zstd(
    log_dir: Path, clock: Clock, disk: Disk
) -> None:
    segment = make_segment(log_dir, clock, disk)
    segment.append(b"one\n")
    segment.write_out()
    segment.append(b"two\n")
    segment.complete()
    path = Path(segment.path)
    assert is_read_only(path)
    assert path.stat().st_mode & 0o400
    assert subprocess.run(["zstd", "-dc", path], capture_output=True, check=True).stdout == b"one\ntwo\n"
    assert subprocess.run(["zstd", "-t", path], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("level", [0, 1, 19, 22, -7, -131_072])
def test_any_compression_level_gives_a_readable_segment(
    log_dir: Path, clock: Clock, disk: Disk, level: int
) -> None:
    segment = make_segment(log_dir, clock, disk, level=level)
    segment.append(b"line\n")
    segment.complete()
    assert read_lines(Path(segment.path)) == [b"line\n"]


def test_size_counts_octets_before_compression(log_dir: Path, clock: Clock, disk: Disk) -> None:
    segment = make_segment(log_dir, clock, disk)
    segment.append(b"x" * 99 + b"\n")
    assert (segment.size, segment.pending) == (100, 100)
    segment.write_out()
    segment.append(b"y\n")
    assert (segment.size, segment.pending) == (102, 2)
    segment.close()


@pytest.mark.parametrize("room", range(0, 40, 3))
def test_a_write_that_fails_half_way_goes_on_where_it_stopped(
    log_dir: Path, clock: Clock, disk: Disk, room: int
) -> None:
    segment = make_segment(log_dir, clock, disk)
    lines = [os.urandom(16).hex().encode() + b"\n" for _ in range(4)]
    segment.append(lines[0])
    segment.append(lines[1])
    disk.room = room
    with pytest.raises(OSError, match="No space left on device"):
        segment.write_out()
    assert segment.is_stuck
    assert not segment.is_clean
    segment.append(lines[2])
    with pytest.raises(OSError, match="No space left on device"):
        segment.complete()
    disk.room = None
    segment.complete()
    assert read_lines(Path(segment.path)) == lines[:3]
    assert is_read_only(Path(segment.path))


def test_short_writes_are_continued(log_dir: Path, clock: Clock) -> None:
    calls = FileCalls(write=lambda descriptor, octets: os.write(descriptor, octets[:1]))
    segment = Segment(Destination(str(log_dir), ""), 0, clock.wall, calls)
    segment.append(b"a line of text\n")
    segment.complete()
    assert read_lines(Path(segment.path)) == [b"a line of text\n"]


def test_a_file_whose_mode_cannot_be_changed_is_closed_all_the_same(
    log_dir: Path, clock: Clock, disk: Disk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "fchmod", refuse)
    segment = make_segment(log_dir, clock, disk)
    segment.append(b"line\n")
    segment.complete()
    assert f"cannot mark log segment {segment.path} as complete" in caplog.text
    assert read_lines(Path(segment.path)) == [b"line\n"]


def test_closing_twice_is_logged_and_goes_on(
    log_dir: Path, clock: Clock, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    segment = make_segment(log_dir, clock, disk)
    segment.close()
    segment.close()
    assert f"closing log segment {segment.path}: " in caplog.text


def test_what_an_earlier_process_left_is_marked_complete(log_dir: Path) -> None:
    log_dir.mkdir()
    left = log_dir / "20261123-064758.250"
    left.write_bytes(b"torn")
    left.chmod(0o640)
    hidden = log_dir / ".tailer"
    hidden.write_bytes(b"position")
    folder = log_dir / "folder"
    folder.mkdir()
    target = log_dir.parent / "elsewhere"
    target.write_bytes(b"")
    (log_dir / "link").symlink_to(target)
    done = log_dir / "done"
    done.write_bytes(b"")
    done.chmod(0o444)

    prepare_directory(str(log_dir))

    assert left.stat().st_mode & 0o777 == 0o440
    assert not is_read_only(hidden)
    assert not is_read_only(folder)
    assert not is_read_only(target)
    assert done.stat().st_mode & 0o777 == 0o444


def test_a_file_that_cannot_be_marked_does_not_stop_the_start(
    log_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    log_dir.mkdir()
    (log_dir / "a").write_bytes(b"")

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "chmod", refuse)
        prepare_directory(str(log_dir))
    assert "cannot mark log segment" in caplog.text


def test_a_folder_is_made(log_dir: Path) -> None:
    prepare_directory(str(log_dir / "deep" / "down"))
    assert (log_dir / "deep" / "down").is_dir()


def test_a_folder_that_cannot_be_written_is_refused(log_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(PermissionError, match="Permission denied"):
        prepare_directory(str(log_dir))


def test_what_another_process_writes_is_left_alone(log_dir: Path, clock: Clock, disk: Disk) -> None:
    """Until it has died: its lock is gone then, whatever it could still do."""
    living, dead = make_segment(log_dir, clock, disk), make_segment(log_dir, clock, disk)
    dead.close()
    prepare_directory(str(log_dir))
    assert is_read_only(Path(dead.path))
    assert not is_read_only(Path(living.path))
    living.append(b"x\n")
    living.complete()
    assert is_read_only(Path(living.path))
    assert read_lines(Path(living.path)) == [b"x\n"]


def test_no_segment_is_found_before_it_is_locked(log_dir: Path, clock: Clock) -> None:
    """A process that starts just then waits, and finds it locked."""
    log_dir.mkdir()
    preparing: list[threading.Thread] = []

    def open_slowly(path: str, flags: int, mode: int) -> int:
        descriptor = os.open(path, flags, mode)
        preparing.append(threading.Thread(target=prepare_directory, args=(str(log_dir),)))
        preparing[0].start()
        preparing[0].join(0.1)
        return descriptor

    segment = Segment(Destination(str(log_dir), ""), 0, clock.wall, FileCalls(open=open_slowly))
    preparing[0].join()
    assert not is_read_only(Path(segment.path))
    segment.close()
