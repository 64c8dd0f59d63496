"""When the spool counts as one that takes no writes, and when it no longer does."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kumo.errors import SpoolError, SpoolFull, SpoolUnhealthy
from kumo.spool import Spool
from kumo.spool.health import PROBE_INTERVAL, REASON, SpoolHealth
from kumo.spool.probe import try_out
from tests.spool.faults import Call, InstrumentedFiles
from tests.spool.samples import Stores, configs, entry_files, kept_ids, make_message

SICK = SpoolUnhealthy("unable to store x: Input/output error")
FULL = SpoolFull("unable to store x: No space left on device")
BUG = SpoolError("unable to store x: the spool's writer failed")

BATCHES = [
    pytest.param([], None, id="no store in it"),
    pytest.param([None, None], None, id="all stored"),
    pytest.param([SICK], REASON, id="failed"),
    pytest.param([SICK, SICK], REASON, id="all failed"),
    pytest.param([SICK, None], None, id="some stored: it takes writes"),
    pytest.param([FULL], None, id="no room is another matter"),
    pytest.param([FULL, SICK], REASON, id="no room for one, none for the other reason"),
    pytest.param([BUG], None, id="a bug is not the disk's"),
]


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Probe:
    """Fails until ``works``."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error or OSError(errno.EIO, os.strerror(errno.EIO))
        self.works = False
        self.count = 0

    def __call__(self) -> None:
        self.count += 1
        if not self.works:
            raise self.error


@pytest.mark.parametrize(("outcomes", "reason"), BATCHES)
def test_what_a_batch_says(outcomes: list[SpoolError | None], reason: str | None) -> None:
    health = SpoolHealth(Probe())
    health.note(outcomes)
    assert health.reason == reason


@pytest.mark.parametrize(
    ("outcomes", "reason"),
    [([], REASON), ([FULL], REASON), ([BUG], REASON), ([SICK], REASON), ([None], None)],
)
def test_only_a_store_that_worked_says_that_all_is_well_again(
    outcomes: list[SpoolError | None], reason: str | None
) -> None:
    health = SpoolHealth(Probe())
    health.note([SICK])
    health.note(outcomes)
    assert health.reason == reason


def test_it_is_probed_now_and_then_until_it_works() -> None:
    clock, probe = Clock(), Probe()
    health = SpoolHealth(probe, clock)
    health.probe_if_due()
    assert probe.count == 0
    health.note([SICK])
    assert health.patience == PROBE_INTERVAL
    for count in (1, 2):
        clock.now += PROBE_INTERVAL - 0.5
        health.probe_if_due()
        assert (probe.count, health.patience) == (count - 1, 0.5)
        clock.now += 0.5
        health.probe_if_due()
        assert (probe.count, health.reason) == (count, REASON)
    probe.works = True
    clock.now += PROBE_INTERVAL
    health.probe_if_due()
    assert (probe.count, health.reason) == (3, None)
    assert health.patience is None


def test_each_change_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    health = SpoolHealth(Probe())
    for outcome in (SICK, SICK, None, None):
        health.note([outcome])
    assert [record.message for record in caplog.records] == [
        "the spool is not accepting writes: unable to store x: Input/output error; new sessions are refused",
        "the spool is accepting writes again",
    ]


def test_a_probe_that_fails_by_a_bug_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    health = SpoolHealth(Probe(ZeroDivisionError()), clock)
    health.note([SICK])
    clock.now += PROBE_INTERVAL
    health.probe_if_due()
    assert (health.reason, health.patience) == (REASON, PROBE_INTERVAL)
    assert caplog.records[-1].message == "the spool cannot be probed"


# --- with a spool -------------------------------------------------------------------------------


class Disk:
    """A disk that fails with ``error`` at every call that changes something, while it has one."""

    def __init__(self) -> None:
        self.error: int | None = None
        self.failed = threading.Semaphore(0)
        self.files = InstrumentedFiles(self._before)

    def _before(self, _call: Call, _number: int) -> None:
        if self.error is not None:
            self.failed.release()
            raise OSError(self.error, os.strerror(self.error))


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture(autouse=True)
def _impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kumo.spool.writer._IDLE_SECONDS", 0.001)


@pytest.fixture
async def spool(tmp_path: Path, disk: Disk) -> AsyncIterator[Spool]:
    opened = Spool.open(*configs(tmp_path), files=disk.files)
    yield opened
    disk.error = None
    await opened.close()


async def _recovered(spool: Spool) -> bool:
    """Wait for the writer's thread to find out."""
    for _ in range(10_000):
        if spool.unhealthy_reason is None:
            return True
        await asyncio.sleep(0.001)
    return False


@pytest.mark.parametrize("error", [errno.EIO, errno.EROFS, errno.EACCES, errno.ENOENT])
async def test_a_failed_store_makes_it_unhealthy_and_a_probe_well(
    monkeypatch: pytest.MonkeyPatch, spool: Spool, disk: Disk, tmp_path: Path, error: int
) -> None:
    monkeypatch.setattr("kumo.spool.health.PROBE_INTERVAL", 0.001)
    disk.error = error
    message = make_message()
    with pytest.raises(SpoolUnhealthy, match=f"unable to store {message.id}: {os.strerror(error)}"):
        await spool.store([message])
    assert spool.unhealthy_reason == "the spool is not accepting writes"
    disk.error = None
    assert await _recovered(spool)
    await spool.store([message])
    assert kept_ids(tmp_path) == [message.id]


async def test_it_stays_unhealthy_while_the_probes_fail(
    monkeypatch: pytest.MonkeyPatch, spool: Spool, disk: Disk
) -> None:
    monkeypatch.setattr("kumo.spool.health.PROBE_INTERVAL", 0.001)
    disk.error = errno.EIO
    with pytest.raises(SpoolUnhealthy):
        await spool.store([make_message()])
    disk.failed = threading.Semaphore(0)
    for _ in range(3):
        assert await asyncio.to_thread(disk.failed.acquire, timeout=60)
    assert spool.unhealthy_reason == REASON


async def test_a_message_that_is_stored_makes_it_well_before_any_probe(
    monkeypatch: pytest.MonkeyPatch, spool: Spool, disk: Disk
) -> None:
    monkeypatch.setattr("kumo.spool.health.PROBE_INTERVAL", 3600.0)
    disk.error = errno.EIO
    with pytest.raises(SpoolUnhealthy):
        await spool.store([make_message()])
    disk.error = None
    await spool.store([make_message()])
    assert spool.unhealthy_reason is None


async def test_a_disk_without_room_is_healthy_also_when_probed(
    monkeypatch: pytest.MonkeyPatch, spool: Spool, disk: Disk
) -> None:
    monkeypatch.setattr("kumo.spool.health.PROBE_INTERVAL", 0.001)
    disk.error = errno.ENOSPC
    with pytest.raises(SpoolFull):
        await spool.store([make_message()])
    assert spool.unhealthy_reason is None
    disk.error = errno.EIO
    with pytest.raises(SpoolUnhealthy):
        await spool.store([make_message()])
    disk.error = errno.ENOSPC
    assert await _recovered(spool)


async def test_removals_in_between_do_not_put_the_probe_off(
    monkeypatch: pytest.MonkeyPatch, spool: Spool, disk: Disk
) -> None:
    """A queue that delivers all the time leaves the writer no idle moment."""
    monkeypatch.setattr("kumo.spool.health.PROBE_INTERVAL", 0.001)
    monkeypatch.setattr("kumo.spool.writer._IDLE_SECONDS", 3600.0)
    disk.error = errno.EIO
    with pytest.raises(SpoolUnhealthy):
        await spool.store([make_message()])
    disk.error = None
    for _ in range(10_000):
        if spool.unhealthy_reason is None:
            break
        await spool.remove([make_message()])
    assert spool.unhealthy_reason is None


@pytest.mark.parametrize("flush", [False, True])
def test_a_probe_does_what_a_message_does_and_leaves_nothing(tmp_path: Path, flush: bool) -> None:
    store = tmp_path / "data"
    Stores(tmp_path).close()
    files = InstrumentedFiles()
    try_out(str(store), files, sync=flush)
    sync = ["sync_file"] if flush else []
    assert files.names() == ["unlink", "create", "write", *sync, "close", "rename", "unlink"]
    assert entry_files(tmp_path) == []
