"""A worker's end of the pair, with a parent that the test plays."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import cast

import pytest

from kumo.metrics import Family, MetricKind, Metrics, Sample
from kumo.workers import Assignment, ParentLink, Share
from kumo.workers.aggregation import merge
from kumo.workers.frames import (
    SAMPLES_A_FRAME,
    BrokenFrame,
    Counts,
    Drain,
    FromWorker,
    Gauges,
    Hurry,
    Leaving,
    Link,
    Ready,
    Scrape,
    Status,
    encode,
)

ASSIGNMENT = Assignment(Share(1, 2, 3), "init.lua", ("127.0.0.1:25",), (), (), "full", None)


class Server:
    """What a worker does, noted."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.session_count = 3
        self.trouble: str | None = None
        self.told: asyncio.Queue[str] = asyncio.Queue()

    def fault(self) -> str | None:
        return self.trouble

    def drain(self) -> None:
        self.told.put_nowait("drain")

    def hurry(self) -> None:
        self.told.put_nowait("hurry")


class Pair:
    """A worker's end that attends a server, and the parent's."""

    def __init__(self) -> None:
        self.ours, theirs = socket.socketpair()
        self.worker = ParentLink(theirs.detach())
        self.server = Server()
        self.parent: Link | None = None

    async def attend(self) -> Link:
        await self.worker.attend(self.server)
        self.parent = await Link.open(self.ours)
        return self.parent


async def next_but_counts(parent: Link) -> FromWorker | None:
    """The next frame that is none of ``Counts``, which come again and again."""
    while isinstance(frame := await parent.receive(), Counts):
        pass
    return cast("FromWorker | None", frame)


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    made = Pair()
    yield made
    made.worker.close()
    if made.parent is None:
        made.ours.close()
    else:
        made.parent.close()


async def test_the_first_frame_is_the_assignment(pair: Pair) -> None:
    pair.ours.sendall(encode(ASSIGNMENT))
    assert pair.worker.receive_assignment() == ASSIGNMENT


async def test_another_first_frame_is_refused(pair: Pair) -> None:
    pair.ours.sendall(encode(Drain()))
    with pytest.raises(BrokenFrame, match="Drain instead of an assignment"):
        pair.worker.receive_assignment()


async def test_a_parent_that_is_gone_assigns_nothing(pair: Pair) -> None:
    pair.ours.close()
    with pytest.raises(ConnectionError):
        pair.worker.receive_assignment()


async def test_what_the_parent_says_is_done(pair: Pair) -> None:
    parent = await pair.attend()
    parent.send(Drain())
    parent.send(Hurry())
    assert [await pair.server.told.get() for _ in range(2)] == ["drain", "hurry"]


async def test_when_the_parent_is_gone_the_worker_drains(pair: Pair) -> None:
    parent = await pair.attend()
    parent.close()
    assert await pair.server.told.get() == "drain"


async def test_a_parent_that_cannot_be_understood_is_as_good_as_gone(pair: Pair) -> None:
    await pair.worker.attend(pair.server)
    pair.ours.sendall(b"\xff" * 8)
    assert await pair.server.told.get() == "drain"


async def test_signs_of_life_follow_readiness(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kumo.workers.parent_link.STATUS_INTERVAL", 0.001)
    parent = await pair.attend()
    pair.worker.starting("reading")
    pair.worker.ready(lambda: "unused")
    assert await parent.receive() == Ready()
    assert await next_but_counts(parent) == Status(3, None)
    pair.server.trouble = "shutting down"
    while (frame := await next_but_counts(parent)) == Status(3, None):
        pass
    assert frame == Status(3, "shutting down")
    pair.worker.close()
    while await parent.receive() is not None:
        pass


async def test_who_drains_says_so_once(pair: Pair) -> None:
    parent = await pair.attend()
    pair.worker.stopping("shutting down")
    pair.worker.stopping("still waiting for 1 sessions")
    pair.worker.close()
    assert await parent.receive() == Leaving()
    assert await next_but_counts(parent) is None


def received_by(families: list[Family]) -> float:
    """The messages that were counted."""
    (samples,) = [family.samples for family in families if family.name == "total_messages_received"]
    return sum(sample.value for sample in samples)


async def test_what_is_counted_is_told_unasked(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the sign of life that follows; and a last time at the end."""
    monkeypatch.setattr("kumo.workers.parent_link.STATUS_INTERVAL", 0.001)
    parent = await pair.attend()
    pair.server.metrics.total_messages_received["esmtp_listener"] += 5
    pair.worker.ready(lambda: "")
    assert await parent.receive() == Ready()
    assert received_by(await told_counts(parent)) == 5
    assert isinstance(await parent.receive(), Status)
    pair.server.metrics.total_messages_received["esmtp_listener"] += 2
    pair.worker.close()
    last: list[Family] = []
    while (frame := await parent.receive()) is not None:
        if isinstance(frame, Counts):
            last = frame.families or last
    assert received_by(last) == 7


async def told_counts(parent: Link) -> list[Family]:
    found: list[Family] = []
    while True:
        frame = await parent.receive()
        assert isinstance(frame, Counts)
        found += frame.families
        if frame.is_last:
            return found


async def test_many_metrics_come_in_small_frames(pair: Pair) -> None:
    parent = await pair.attend()
    metrics = pair.server.metrics
    metrics.scheduled_count.update({f"q{number}.example": number for number in range(2100)})
    metrics.total_messages_received["esmtp_listener"] += 5
    expected = merge([metrics.families()])
    parent.send(Scrape(9))
    found = await told_counts(parent)
    while True:
        frame = await parent.receive()
        assert isinstance(frame, Gauges)
        assert frame.scrape == 9
        assert sum(len(family.samples) for family in frame.families) <= SAMPLES_A_FRAME
        if frame.is_last:
            break
        found += frame.families
    merged = {family.name: family for family in merge([found])}
    assert merged == {family.name: family for family in expected if family.samples}


async def test_metrics_that_cannot_be_sent_do_not_keep_the_parent_from_being_heard(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = await pair.attend()
    # Nothing that is counted gives such a label; what does must not make the worker deaf all the same.
    odd = Family("odd", MetricKind.GAUGE, "Odd.", [Sample("", {"queue": "\udcff"}, 1.0)])
    monkeypatch.setattr(Metrics, "counts", lambda _: iter([odd]))
    monkeypatch.setattr(Metrics, "gauges", lambda _: iter([odd]))
    parent.send(Scrape(1))
    assert [await parent.receive() for _ in range(2)] == [Counts([], True), Gauges(1, [], True)]
    parent.send(Drain())
    assert await pair.server.told.get() == "drain"


async def test_a_worker_whose_listening_fails_ends(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = await pair.attend()

    def counts(_: Metrics) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Metrics, "counts", counts)
    parent.send(Scrape(1))
    async with asyncio.timeout(10):
        assert await pair.server.told.get() == "drain"
    (task,) = pair.worker._tasks
    with pytest.raises(RuntimeError, match="a bug"):
        await task
    with pytest.raises(RuntimeError, match="a bug"):
        pair.worker.close()
    while await parent.receive() is not None:
        pass
    pair.worker.close()


async def test_a_fault_that_names_an_odd_path_is_told(pair: Pair) -> None:
    parent = await pair.attend()
    pair.server.trouble = "disk of /spool/\udcff is full"
    pair.worker.ready(lambda: "")
    assert isinstance(await parent.receive(), Ready)
    assert await next_but_counts(parent) == Status(3, "disk of /spool/\\udcff is full")
