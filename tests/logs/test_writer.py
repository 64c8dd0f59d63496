from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kumo.config import LocalLogs
from kumo.logs.channel import Channel
from kumo.logs.segment import Destination
from kumo.logs.writer import SegmentWriter
from tests.logs.samples import PATIENCE, Clock, Disk, is_read_only, read_all, segments, until


class Rig:
    """A started writer with one channel."""

    def __init__(
        self, log_dir: Path, clock: Clock, disk: Disk, channel: type[Channel] = Channel, **options: Any
    ) -> None:
        self.directory = log_dir
        self.clock = clock
        config = LocalLogs(log_dir=str(log_dir), **options)
        self.channel = channel(config, clock.wall, clock.monotonic, disk.calls)
        self.writer = SegmentWriter([self.channel], monotonic=clock.monotonic, retry_interval=0.005)
        self.writer.start()

    def submit(self, line: bytes) -> None:
        self.writer.submit(self.channel, Destination(str(self.directory), ""), None, line)

    @property
    def lines(self) -> list[bytes]:
        return read_all(self.directory)


@pytest.fixture
def make_rig(log_dir: Path, clock: Clock, disk: Disk) -> Callable[..., Rig]:
    return lambda **options: Rig(log_dir, clock, disk, **options)


async def test_written_returns_once_all_lines_can_be_read(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    expected = [b"%d\n" % number for number in range(5000)]
    for line in expected:
        rig.submit(line)
    await rig.writer.written()
    assert rig.lines == expected
    assert rig.writer.backlog == 0
    await rig.writer.close()


async def test_written_does_not_wait_when_nothing_is_on_its_way(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    await rig.writer.written()
    rig.submit(b"a\n")
    await rig.writer.written()
    waiting = rig.writer.written()
    with pytest.raises(StopIteration):
        waiting.send(None)  # it never suspends
    await rig.writer.close()


async def test_all_who_wait_are_answered(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()

    async def log(number: int) -> bytes:
        line = b"%d\n" % number
        rig.submit(line)
        await rig.writer.written()
        assert line in rig.lines
        return line

    async with asyncio.timeout(PATIENCE):
        lines = await asyncio.gather(*map(log, range(50)))
    await rig.writer.close()
    assert sorted(rig.lines) == sorted(lines)


async def test_one_who_gives_up_waiting_disturbs_nobody(make_rig: Callable[..., Rig], disk: Disk) -> None:
    rig = make_rig()
    disk.room = 0
    rig.submit(b"a\n")
    impatient = asyncio.create_task(rig.writer.written())
    patient = asyncio.create_task(rig.writer.written())
    await until(lambda: disk.refused)
    impatient.cancel()
    await asyncio.wait([impatient])
    disk.room = None
    async with asyncio.timeout(PATIENCE):
        await patient
    assert rig.lines == [b"a\n"]
    await rig.writer.close()


async def test_drops_are_told_though_nothing_is_logged_any_more(log_dir: Path, disk: Disk) -> None:
    now = 1000.0
    channel = Channel(LocalLogs(log_dir=str(log_dir)), lambda: 0, lambda: now, disk.calls)
    writer = SegmentWriter([channel], monotonic=lambda: now)
    channel.dropped = 2
    assert writer._time_to_deadline() == 0.0
    writer._report_drops(is_last=False)
    assert writer._time_to_deadline() is None
    channel.dropped = 3
    assert writer._time_to_deadline() == 60.0
    now = 1045.0
    assert writer._time_to_deadline() == 15.0
    await writer.close()


async def test_lines_reach_the_thread_though_nobody_waits(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    rig.submit(b"a\n")
    await until(lambda: rig.writer.backlog == 0)
    await rig.writer.close()
    assert rig.lines == [b"a\n"]


async def test_an_old_segment_is_completed_by_the_thread_itself(log_dir: Path, disk: Disk) -> None:
    config = LocalLogs(log_dir=str(log_dir), max_segment_duration=0.05)
    loop = asyncio.get_running_loop()
    channel = Channel(config, lambda: 0, loop.time, disk.calls)
    writer = SegmentWriter([channel], monotonic=loop.time)
    writer.start()
    writer.submit(channel, Destination(str(log_dir), ""), None, b"a\n")
    await until(lambda: [is_read_only(path) for path in segments(log_dir)] == [True])
    await writer.close()
    assert read_all(log_dir) == [b"a\n"]


async def test_closing_writes_all_and_completes_the_segments(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    for number in range(1000):
        rig.submit(b"%d\n" % number)
    waiter = asyncio.create_task(rig.writer.written())
    await asyncio.gather(rig.writer.close(), rig.writer.close())
    await waiter
    await rig.writer.close()
    assert len(rig.lines) == 1000
    assert [is_read_only(path) for path in segments(rig.directory)] == [True]


async def test_a_closed_writer_takes_no_lines_and_keeps_no_one_waiting(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    rig.submit(b"a\n")
    await rig.writer.close()
    with pytest.raises(RuntimeError, match="the logs are closed"):
        rig.submit(b"b\n")
    await rig.writer.written()
    assert rig.lines == [b"a\n"]


async def test_a_writer_that_never_started_can_be_closed() -> None:
    writer = SegmentWriter([])
    await writer.close()
    assert writer.backlog == 0


async def test_closing_before_the_start_keeps_no_one_waiting(log_dir: Path, clock: Clock, disk: Disk) -> None:
    channel = Channel(LocalLogs(log_dir=str(log_dir)), clock.wall, clock.monotonic, disk.calls)
    writer = SegmentWriter([channel], monotonic=clock.monotonic)
    writer.submit(channel, Destination(str(log_dir), ""), None, b"a\n")
    waiter = asyncio.create_task(writer.written())
    await asyncio.sleep(0)
    await writer.close()
    with pytest.raises(OSError, match="log records were lost"):
        await waiter


async def test_the_thread_hurries_only_when_somebody_waits(log_dir: Path, clock: Clock, disk: Disk) -> None:
    channel = Channel(LocalLogs(log_dir=str(log_dir)), clock.wall, clock.monotonic, disk.calls)
    writer = SegmentWriter([channel], monotonic=clock.monotonic)
    writer.submit(channel, Destination(str(log_dir), ""), None, b"a\n")
    assert not writer._urgent.is_set()
    waiter = asyncio.create_task(writer.written())
    await asyncio.sleep(0)
    assert writer._urgent.is_set()
    writer.start()
    await waiter
    await writer.close()


async def test_lines_wait_for_the_start(log_dir: Path, clock: Clock, disk: Disk) -> None:
    channel = Channel(LocalLogs(log_dir=str(log_dir)), clock.wall, clock.monotonic, disk.calls)
    writer = SegmentWriter([channel], monotonic=clock.monotonic)
    writer.submit(channel, Destination(str(log_dir), ""), None, b"a\n")
    writer.start()
    await writer.written()
    assert read_all(log_dir) == [b"a\n"]
    await writer.close()


async def test_a_full_disk_keeps_lines_waiting_until_there_is_room(
    make_rig: Callable[..., Rig], disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "kumod.logs")
    rig = make_rig()
    disk.room = 5
    rig.submit(b"a\n")
    waiter = asyncio.create_task(rig.writer.written())
    await until(lambda: disk.refused >= 3)
    rig.submit(b"b\n")
    refused = disk.refused
    await until(lambda: disk.refused >= refused + 3)
    assert not waiter.done()
    assert rig.writer.backlog == 1
    disk.room = None
    async with asyncio.timeout(PATIENCE):
        await waiter
        await rig.writer.written()
    assert rig.lines == [b"a\n", b"b\n"]
    await rig.writer.close()
    assert [record.getMessage() for record in caplog.records] == [
        "cannot write log segments: [Errno 28] No space left on device; 0 records wait",
        "log segments can be written again",
    ]


async def test_a_disk_that_stays_full_is_complained_about_once_a_minute(
    make_rig: Callable[..., Rig], disk: Disk, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    rig = make_rig()
    disk.room = 0
    rig.submit(b"a\n")
    waiter = asyncio.create_task(rig.writer.written())
    await until(lambda: disk.refused >= 5)
    assert len(caplog.records) == 1
    clock.advance(60)
    refused = disk.refused
    await until(lambda: disk.refused >= refused + 5)
    assert len(caplog.records) == 2
    disk.room = None
    await waiter
    await rig.writer.close()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
async def test_closing_on_a_full_disk_ends_and_says_so(
    make_rig: Callable[..., Rig], disk: Disk, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    rig = make_rig()
    disk.room, disk.error = 0, code
    rig.submit(b"a\n")
    waiters = [asyncio.create_task(rig.writer.written()) for _ in range(2)]
    await until(lambda: disk.refused)
    rig.submit(b"b\n")
    waiters.append(asyncio.create_task(rig.writer.written()))
    await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE):
        await rig.writer.close()
        results = await asyncio.gather(*waiters, return_exceptions=True)
    assert [type(result) for result in results] == [OSError] * 3
    assert "log records are lost: 1 at least" in caplog.text
    with pytest.raises(OSError, match="log records were lost"):
        await rig.writer.written()


async def test_a_folder_that_vanished_is_made_again(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(max_file_size=1)
    rig.submit(b"a\n")
    await rig.writer.written()
    for path in segments(rig.directory):
        path.unlink()
    rig.directory.rmdir()
    rig.submit(b"b\n")
    await rig.writer.written()
    assert rig.lines == [b"b\n"]
    await rig.writer.close()


async def test_a_bug_in_the_thread_is_shown_and_does_not_end_it(
    make_rig: Callable[..., Rig], caplog: pytest.LogCaptureFixture
) -> None:
    failures = iter([ValueError("a bug")])

    class BuggyChannel(Channel):
        def settle(self) -> None:
            for failure in failures:
                raise failure
            super().settle()

    rig = make_rig(channel=BuggyChannel)
    rig.submit(b"a\n")
    await rig.writer.written()
    rig.submit(b"b\n")
    await rig.writer.written()
    await rig.writer.close()
    assert rig.lines == [b"a\n", b"b\n"]
    assert "ValueError: a bug" in caplog.text
