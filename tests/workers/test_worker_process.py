"""The parent's end of a worker, which the test plays at the other end of a real pair."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import cast

import pytest

from kumo.metrics import Family, MetricKind, Sample
from kumo.workers import WorkerProcess
from kumo.workers.frames import Counts, FromWorker, Gauges, Leaving, Link, Ready, Scrape, Status


class Process:
    """A process that ends well."""

    pid = 77

    async def wait(self) -> int:
        return 0


class Stage:
    """Both ends."""

    def __init__(self, ours: Link, theirs: Link) -> None:
        self.theirs = theirs
        self.worker = WorkerProcess(1, cast("asyncio.subprocess.Process", Process()), ours)
        self.changes: list[tuple[bool, bool]] = []
        self.has_changed = asyncio.Event()
        self.attending = asyncio.create_task(self.worker.attend(self._note))

    def _note(self) -> None:
        self.changes.append((self.worker.is_ready, self.worker.is_leaving))
        self.has_changed.set()

    async def end(self, *frames: FromWorker) -> int:
        """Have the worker say something, and end."""
        for frame in frames:
            self.theirs.send(frame)
        self.theirs.close()
        async with asyncio.timeout(10):
            return await self.attending


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    ours, theirs = socket.socketpair()
    made = Stage(await Link.open(ours), await Link.open(theirs))
    yield made
    await made.end()


def received(count: float) -> list[Family]:
    return [Family("total_messages_received", MetricKind.COUNTER, "", [Sample("", {}, count)])]


def open_now(count: float) -> list[Family]:
    return [Family("connection_count", MetricKind.GAUGE, "", [Sample("", {}, count)])]


async def test_it_serves_and_leaves(stage: Stage) -> None:
    assert await stage.end(Ready(), Status(3, None), Leaving(), Status(1, "shutting down")) == 0
    assert stage.changes == [(True, False), (True, True)]
    assert stage.worker.status == Status(1, "shutting down")


async def test_counts_are_kept_as_they_were_last_told_whole(stage: Stage) -> None:
    whole = [Counts(received(3), is_last=False), Counts([], is_last=True)]
    newer = [Counts(received(4), is_last=False), Counts([], is_last=True)]
    await stage.end(*whole, *newer, Counts(received(5), is_last=False))
    assert stage.worker.counts == received(4)
    assert stage.worker.families == received(4)


async def test_a_scrape_brings_gauges_that_stay_while_counts_go_on(stage: Stage) -> None:
    stage.theirs.send(Ready())
    await stage.has_changed.wait()
    scraping = asyncio.create_task(stage.worker.scrape())
    assert await stage.theirs.receive() == Scrape(1)
    answer: list[FromWorker] = [Counts(received(3), is_last=True), Gauges(1, open_now(2), is_last=False)]
    for frame in [*answer, Gauges(0, open_now(9), is_last=True), Gauges(1, [], is_last=True)]:
        stage.theirs.send(frame)
    async with asyncio.timeout(10):
        await scraping
    assert stage.worker.families == received(3) + open_now(2)
    await stage.end(Counts(received(4), is_last=True))
    assert stage.worker.families == received(4) + open_now(2)
