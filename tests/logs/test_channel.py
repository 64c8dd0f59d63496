from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kumo.config import LocalLogs
from kumo.logs.channel import Channel
from kumo.logs.segment import Destination
from tests.logs.samples import Clock, Disk, is_read_only, read_all, read_lines, segments


@pytest.fixture
def here(log_dir: Path) -> Destination:
    return Destination(str(log_dir), "")


def make_channel(log_dir: Path, clock: Clock, disk: Disk, **options: Any) -> Channel:
    return Channel(LocalLogs(log_dir=str(log_dir), **options), clock.wall, clock.monotonic, disk.calls)


def test_no_file_is_made_before_the_first_line(log_dir: Path, clock: Clock, disk: Disk) -> None:
    channel = make_channel(log_dir, clock, disk)
    channel.settle()
    channel.write_out()
    channel.close()
    assert disk.opened == 0
    assert not log_dir.exists()
    assert channel.deadline() is None


@pytest.mark.parametrize(
    ("max_file_size", "contents"),
    [
        (0, [b"aaaa\n", b"bbbb\n", b"cccc\n"]),
        (5, [b"aaaa\n", b"bbbb\n", b"cccc\n"]),
        (6, [b"aaaa\nbbbb\n", b"cccc\n"]),
        (10, [b"aaaa\nbbbb\n", b"cccc\n"]),
        (11, [b"aaaa\nbbbb\ncccc\n"]),
    ],
)
def test_a_segment_is_complete_once_it_has_its_size(
    log_dir: Path, clock: Clock, disk: Disk, here: Destination, max_file_size: int, contents: list[bytes]
) -> None:
    channel = make_channel(log_dir, clock, disk, max_file_size=max_file_size)
    for line in (b"aaaa\n", b"bbbb\n", b"cccc\n"):
        channel.take(here, None, line)
    channel.close()
    assert [b"".join(read_lines(path)) for path in segments(log_dir)] == contents
    assert all(is_read_only(path) for path in segments(log_dir))


def test_a_full_segment_is_complete_without_another_line(
    log_dir: Path, clock: Clock, disk: Disk, here: Destination
) -> None:
    channel = make_channel(log_dir, clock, disk, max_file_size=5)
    channel.take(here, None, b"aaaa\n")
    channel.settle()
    assert [is_read_only(path) for path in segments(log_dir)] == [True]


def test_an_old_segment_is_complete_without_another_line(
    log_dir: Path, clock: Clock, disk: Disk, here: Destination
) -> None:
    channel = make_channel(log_dir, clock, disk, max_segment_duration=60.0)
    channel.take(here, None, b"a\n")
    clock.advance(59.9)
    channel.settle()
    assert [is_read_only(path) for path in segments(log_dir)] == [False]
    assert channel.deadline() == 1060.0
    clock.advance(0.1)
    channel.settle()
    assert [is_read_only(path) for path in segments(log_dir)] == [True]
    assert read_all(log_dir) == [b"a\n"]


def test_a_line_that_comes_late_goes_into_a_new_segment(
    log_dir: Path, clock: Clock, disk: Disk, here: Destination
) -> None:
    channel = make_channel(log_dir, clock, disk, max_segment_duration=60.0)
    channel.take(here, None, b"a\n")
    clock.advance(61)
    channel.take(here, None, b"b\n")
    channel.write_out()
    assert [(path.name, is_read_only(path), read_lines(path)) for path in segments(log_dir)] == [
        ("20261123-064758.250", True, [b"a\n"]),
        ("20261123-064859.250", False, [b"b\n"]),
    ]
    channel.close()


def test_the_wall_clock_does_not_end_a_segment(
    log_dir: Path, clock: Clock, disk: Disk, here: Destination
) -> None:
    channel = make_channel(log_dir, clock, disk, max_segment_duration=60.0)
    channel.take(here, None, b"a\n")
    clock.nanoseconds += 86400 * 10**9
    channel.settle()
    assert [is_read_only(path) for path in segments(log_dir)] == [False]
    channel.close()


def test_one_file_is_open_for_a_folder_and_a_suffix(
    log_dir: Path, tmp_path: Path, clock: Clock, disk: Disk
) -> None:
    channel = make_channel(log_dir, clock, disk)
    other = tmp_path / "other"
    for _ in range(2):
        channel.take(Destination(str(log_dir), ".a"), None, b"a\n")
        channel.take(Destination(str(log_dir), ".b"), None, b"b\n")
        channel.take(Destination(str(other), ".a"), None, b"c\n")
    channel.close()
    assert disk.opened == 3
    assert read_all(log_dir, "*.a") == [b"a\n"] * 2
    assert read_all(log_dir, "*.b") == [b"b\n"] * 2
    assert read_all(other) == [b"c\n"] * 2


def test_a_header_begins_every_segment_and_counts(
    log_dir: Path, clock: Clock, disk: Disk, here: Destination
) -> None:
    channel = make_channel(log_dir, clock, disk, max_file_size=10)
    for line in (b"aaaa\n", b"bbbb\n"):
        channel.take(here, "# \u00fc\n", line)
    channel.close()
    header = "# \u00fc\n".encode()
    assert [read_lines(path) for path in segments(log_dir)] == [[header, b"aaaa\n"], [header, b"bbbb\n"]]


def test_lines_are_readable_after_a_second_though_nobody_waits(
    log_dir: Path, clock: Clock, disk: Disk, here: Destination
) -> None:
    channel = make_channel(log_dir, clock, disk)
    channel.take(here, None, b"a\n")
    assert channel.deadline() == 1001.0
    clock.advance(0.9)
    channel.take(here, None, b"b\n")
    channel.settle()
    assert read_all(log_dir) == []
    clock.advance(0.1)
    channel.settle()
    assert read_all(log_dir) == [b"a\n", b"b\n"]
    assert channel.deadline() is None
    channel.close()


def test_memory_is_bounded_by_writing_out(log_dir: Path, clock: Clock, disk: Disk, here: Destination) -> None:
    channel = make_channel(log_dir, clock, disk)
    for _ in range(300):
        channel.take(here, None, b"x" * 1023 + b"\n")
    assert len(read_all(log_dir)) == 256
    channel.close()
    assert len(read_all(log_dir)) == 300


def test_a_full_disk_stops_taking_and_loses_nothing(
    log_dir: Path, clock: Clock, disk: Disk, here: Destination
) -> None:
    channel = make_channel(log_dir, clock, disk)
    channel.take(here, None, b"a\n")
    disk.room = 0
    for _ in range(3):
        with pytest.raises(OSError, match="No space"):
            channel.write_out()
        with pytest.raises(OSError, match="No space"):
            channel.take(here, None, b"b\n")
    assert channel.taken == 1
    disk.room = None
    channel.take(here, None, b"b\n")
    channel.close()
    assert channel.taken == 2
    assert read_all(log_dir) == [b"a\n", b"b\n"]


def test_a_rotation_that_fails_is_made_up_for(
    log_dir: Path, clock: Clock, disk: Disk, here: Destination
) -> None:
    channel = make_channel(log_dir, clock, disk, max_file_size=5)
    channel.take(here, None, b"aaaa\n")
    disk.room = 3
    with pytest.raises(OSError, match="No space"):
        channel.settle()
    with pytest.raises(OSError, match="No space"):
        channel.take(here, None, b"bbbb\n")
    disk.room = None
    channel.take(here, None, b"bbbb\n")
    channel.close()
    assert [read_lines(path) for path in segments(log_dir)] == [[b"aaaa\n"], [b"bbbb\n"]]


def test_abandoned_files_stay_writable_and_are_forgotten(
    log_dir: Path, clock: Clock, disk: Disk, here: Destination
) -> None:
    channel = make_channel(log_dir, clock, disk, max_segment_duration=60.0)
    channel.take(here, None, b"a\n")
    channel.write_out()
    channel.abandon()
    assert [is_read_only(path) for path in segments(log_dir)] == [False]
    assert channel.deadline() is None
    channel.take(here, None, b"b\n")
    channel.close()
    assert read_all(log_dir) == [b"a\n", b"b\n"]


@pytest.mark.parametrize(
    ("back_pressure", "waiting", "is_full"), [(2, 1, False), (2, 2, True), (0, 0, False), (0, 1, True)]
)
def test_back_pressure_counts_lines_that_wait(
    log_dir: Path,
    clock: Clock,
    disk: Disk,
    here: Destination,
    back_pressure: int,
    waiting: int,
    is_full: bool,
) -> None:
    channel = make_channel(log_dir, clock, disk, back_pressure=back_pressure)
    channel.take(here, None, b"a\n")
    channel.submitted = 1 + waiting
    assert channel.is_full is is_full
    channel.close()
