from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from kumo.config import MinFree
from kumo.health import DiskMonitor, MonitoredPath


def state(*, available: int = 500, inodes: int = 1000, available_inodes: int = 500) -> os.statvfs_result:
    """1000 blocks of 4096 octets; free for the superuser is more, which does not count."""
    free, free_inodes = available + 400, available_inodes + 400
    return os.statvfs_result(
        (65536, 4096, 1000, free, available, inodes, free_inodes, available_inodes, 0, 255)
    )


def monitored(
    path: str = "/spool", space: MinFree | None = None, inodes: MinFree | None = None
) -> MonitoredPath:
    return MonitoredPath(
        name=path.lstrip("/"),
        path=path,
        min_free_space=space or MinFree(percent=10.0),
        min_free_inodes=inodes or MinFree(percent=10.0),
    )


class Disk:
    """Answers like ``os.statvfs``, one state after the other; the last one again and again."""

    def __init__(self, *states: os.statvfs_result | OSError) -> None:
        self._states = list(states)

    def __call__(self, _: str) -> os.statvfs_result:
        current = self._states.pop(0) if len(self._states) > 1 else self._states[0]
        if isinstance(current, OSError):
            raise current
        return current


PERCENT = MinFree(percent=10.0)

ROWS = [
    pytest.param(PERCENT, PERCENT, state(available=100), False, id="exactly ten per cent"),
    pytest.param(PERCENT, PERCENT, state(available=99), True, id="less than ten per cent"),
    pytest.param(MinFree(absolute=409_600), PERCENT, state(available=100), False, id="as many octets"),
    pytest.param(MinFree(absolute=409_601), PERCENT, state(available=100), True, id="an octet less"),
    pytest.param(PERCENT, PERCENT, state(available_inodes=100), False, id="ten per cent of the inodes"),
    pytest.param(PERCENT, PERCENT, state(available_inodes=99), True, id="too few inodes"),
    pytest.param(PERCENT, MinFree(absolute=501), state(), True, id="an inode less"),
    pytest.param(PERCENT, MinFree(absolute=500), state(), False, id="exactly as many inodes"),
    pytest.param(PERCENT, PERCENT, state(inodes=0, available_inodes=0), False, id="no inodes counted"),
    pytest.param(
        PERCENT,
        MinFree(absolute=5),
        state(inodes=0, available_inodes=0),
        False,
        id="none counted",
    ),
    pytest.param(MinFree(percent=0.0), MinFree(percent=0.0), state(available=0), False, id="no minimum"),
]


@pytest.mark.parametrize(("space", "inodes", "found", "is_full"), ROWS)
def test_minimum(space: MinFree, inodes: MinFree, found: os.statvfs_result, is_full: bool) -> None:
    monitor = DiskMonitor([monitored(space=space, inodes=inodes)], read_state=Disk(found))
    monitor.sample()
    assert monitor.is_full is is_full


def test_one_path_without_room_is_enough() -> None:
    paths = [monitored("/data"), monitored("/meta"), monitored("/log")]
    monitor = DiskMonitor(paths, read_state=Disk(state(), state(available=1), state()))
    monitor.sample()
    assert monitor.is_full
    assert [(sample.name, sample.is_full) for sample in monitor.samples] == [
        ("data", False),
        ("meta", True),
        ("log", False),
    ]


def test_samples_carry_the_numbers_for_metrics() -> None:
    monitor = DiskMonitor([monitored("/data")], read_state=Disk(state(available=250, available_inodes=125)))
    monitor.sample()
    (sample,) = monitor.samples
    assert (sample.name, sample.path) == ("data", "/data")
    assert (sample.free_bytes, sample.total_bytes, sample.free_percent) == (1_024_000, 4_096_000, 25.0)
    assert (sample.free_inodes, sample.total_inodes, sample.free_inodes_percent) == (125, 1000, 12.5)


def test_inodes_that_are_not_counted_are_all_free() -> None:
    monitor = DiskMonitor([monitored()], read_state=Disk(state(inodes=0, available_inodes=0)))
    monitor.sample()
    assert monitor.samples[0].free_inodes_percent == 100.0


def test_a_change_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    full = state(available=10, available_inodes=200)
    monitor = DiskMonitor([monitored("/data")], read_state=Disk(state(), full, full, state(), state()))
    for _ in range(5):
        monitor.sample()
    assert [record.message for record in caplog.records] == [
        "the disk of data (/data) is too full: 1.0% of its space and 20.0% of its inodes are free",
        "there is room on all disks again",
    ]


def test_a_failed_write_counts_until_the_next_good_look() -> None:
    monitor = DiskMonitor([monitored()], read_state=Disk(state(), state(available=1), state()))
    monitor.sample()
    monitor.mark_full()
    assert monitor.is_full
    monitor.sample()
    assert monitor.is_full
    monitor.sample()
    assert not monitor.is_full


def test_a_failed_write_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    monitor = DiskMonitor([monitored()])
    monitor.mark_full()
    monitor.mark_full()
    assert [record.message for record in caplog.records] == ["the disk is full: a message found no room"]


def test_a_path_that_cannot_be_looked_at_is_logged_once_and_is_not_full(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gone = FileNotFoundError(2, "No such file or directory")
    monitor = DiskMonitor([monitored("/log")], read_state=Disk(gone, gone, state(), gone))
    for _ in range(2):
        monitor.sample()
    assert monitor.samples == ()
    assert not monitor.is_full
    for _ in range(2):
        monitor.sample()
    assert len(caplog.records) == 2


def test_the_real_disk_is_read(tmp_path: Path) -> None:
    monitor = DiskMonitor([monitored(str(tmp_path), space=MinFree(absolute=1), inodes=MinFree(absolute=0))])
    monitor.sample()
    (sample,) = monitor.samples
    assert 0 < sample.free_bytes <= sample.total_bytes
    assert not monitor.is_full
    impossible = DiskMonitor([monitored(str(tmp_path), space=MinFree(absolute=sample.total_bytes * 2))])
    impossible.sample()
    assert impossible.is_full


async def test_the_first_look_is_done_when_start_returns_and_more_follow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kumo.health.disk.SAMPLE_INTERVAL", 0.0)
    looks = threading.Semaphore(0)
    threads = set()

    def read_state(_: str) -> os.statvfs_result:
        threads.add(threading.current_thread())
        looks.release()
        return state(available=1)

    monitor = DiskMonitor([monitored()], read_state=read_state)
    await monitor.start()
    assert monitor.is_full
    await monitor.start()
    assert await asyncio.to_thread(_acquire, looks, 4)
    await monitor.stop()
    await monitor.stop()
    assert threading.main_thread() not in threads
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "kumod-disk-monitor"]


def _acquire(semaphore: threading.Semaphore, times: int) -> bool:
    return all(semaphore.acquire(timeout=60) for _ in range(times))
