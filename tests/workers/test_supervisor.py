"""The supervisor with workers that a test plays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import cast

import pytest

from kumo.errors import WorkerFailed
from kumo.metrics import Family, MetricKind, Metrics, Sample
from kumo.workers import Supervisor, WorkerProcess
from kumo.workers.frames import Status


class Played:
    """One worker, whose life the test tells."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.pid = 1000 + number
        self.is_ready = False
        self.is_leaving = False
        self.status = Status(0, None)
        self.never_hangs = False
        self._silence = 0
        self.counted = 0
        self.counts: list[Family] = []
        self.families: list[Family] = []
        self.told: list[str] = []
        self.ends_when_drained = True
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._on_change: asyncio.Future[Callable[[], None]] = asyncio.get_running_loop().create_future()

    async def attend(self, on_change: Callable[[], None]) -> int:
        self._on_change.set_result(on_change)
        return await self._ended

    async def serve(self) -> None:
        on_change = await self._on_change
        self.is_ready = True
        on_change()

    async def leave(self) -> None:
        on_change = await self._on_change
        self.is_leaving = True
        on_change()

    @property
    def silence(self) -> int:
        return 0 if self.never_hangs else self._silence

    @silence.setter
    def silence(self, seconds: int) -> None:
        self._silence = seconds

    def end(self, status: int) -> None:
        self._ended.set_result(status)

    async def scrape(self) -> None:
        self.tell_counts()
        connections = Family("connection_count", MetricKind.GAUGE, "", [Sample("", {}, self.counted)])
        self.families = [*self.counts, connections]

    def tell_counts(self) -> None:
        sample = Sample("", {"service": "x"}, self.counted)
        self.counts = [Family("total_messages_received", MetricKind.COUNTER, "", [sample])]

    def drain(self) -> None:
        self.told.append("drain")
        if self.ends_when_drained and not self._ended.done():
            self.end(0)

    def hurry(self) -> None:
        self.told.append("hurry")
        if not self._ended.done():
            self.end(0)

    def kill(self) -> None:
        self.told.append("kill")
        self.end(-9)


class Stage:
    """A supervisor and all workers that it started, by number."""

    def __init__(self, count: int) -> None:
        self.started: asyncio.Queue[Played] = asyncio.Queue()
        self.all_started: list[Played] = []
        self.absent: list[int] = []
        self.was_absent = asyncio.Event()
        self.has_stopped = asyncio.Event()
        """Set when no connection is to be taken any more; no worker has been told to drain by then."""
        self.refusal: OSError | None = None
        self.supervisor = Supervisor(
            count,
            cast("Callable[[int], Awaitable[WorkerProcess]]", self._start),
            Metrics(),
            on_absence=self._note_absence,
            on_stop=self._note_stop,
            first_pause=0.001,
        )
        self.running = asyncio.create_task(self.supervisor.run())

    async def _start(self, number: int) -> Played:
        if self.refusal is not None:
            raise self.refusal
        played = Played(number)
        self.all_started.append(played)
        self.started.put_nowait(played)
        return played

    def _note_absence(self, number: int) -> None:
        self.absent.append(number)
        self.was_absent.set()

    def _note_stop(self) -> None:
        if not self.has_stopped.is_set():
            assert not any("drain" in worker.told for worker in self.all_started)
        self.has_stopped.set()

    async def next(self, count: int = 1) -> list[Played]:
        """The workers that are started next."""
        async with asyncio.timeout(10):
            return [await self.started.get() for _ in range(count)]


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage(2)
    yield made
    made.running.cancel()
    await asyncio.gather(made.running, return_exceptions=True)


async def serving(stage: Stage) -> list[Played]:
    workers = await stage.next(2)
    for worker in workers:
        await worker.serve()
    await stage.supervisor.all_ready.wait()
    return workers


async def test_a_daemon_is_ready_when_all_are(stage: Stage) -> None:
    first, second = await stage.next(2)
    assert stage.supervisor.liveness() == "waiting for worker 1"
    await first.serve()
    assert not stage.supervisor.all_ready.is_set()
    assert stage.supervisor.liveness() == "waiting for worker 2"
    await second.serve()
    assert stage.supervisor.all_ready.is_set()
    assert stage.supervisor.liveness() is None


async def test_all_are_drained_and_end_cleanly(stage: Stage) -> None:
    workers = await serving(stage)
    stage.supervisor.stop()
    assert stage.supervisor.liveness() == "shutting down"
    assert await stage.running
    assert [worker.told for worker in workers] == [["drain"], ["drain"]]
    assert stage.started.empty()


async def test_one_that_does_not_end_cleanly_is_told(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    workers = await serving(stage)
    workers[1].ends_when_drained = False
    stage.supervisor.stop()
    workers[1].end(-11)
    assert not await stage.running
    assert "worker 2 (process 1002) was ended by SIGSEGV" in caplog.text


async def test_all_are_hurried(stage: Stage) -> None:
    workers = await serving(stage)
    for worker in workers:
        worker.ends_when_drained = False
    stage.supervisor.stop()
    stage.supervisor.hurry()
    assert await stage.running
    assert [worker.told for worker in workers] == [["drain", "hurry"], ["drain", "hurry"]]


async def test_one_that_begins_while_the_daemon_ends_is_drained() -> None:
    stage = Stage(1)
    await asyncio.sleep(0)
    stage.supervisor.stop()
    stage.supervisor.hurry()
    async with asyncio.timeout(10):
        assert await stage.running


async def test_one_that_dies_is_started_again(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    workers = await serving(stage)
    workers[0].end(-9)
    (again,) = await stage.next()
    assert again.number == 1
    assert stage.supervisor.liveness() == "waiting for worker 1"
    await again.serve()
    assert stage.supervisor.liveness() is None
    assert "worker 1 (process 1001) was ended by SIGKILL; it is started again" in caplog.text
    assert stage.absent == []


async def test_a_first_start_that_fails_ends_the_daemon_at_once(stage: Stage) -> None:
    first, second = await stage.next(2)
    await first.serve()
    second.end(1)
    with pytest.raises(
        WorkerFailed, match=r"worker 2 \(process 1002\) ended with status 1 before the daemon"
    ):
        await stage.running
    assert first.told == ["drain"]


async def test_dying_again_and_again_at_the_start_ends_the_daemon(stage: Stage) -> None:
    first, second = await stage.next(2)
    await first.serve()
    for _ in range(4):
        second.end(-11)
        (second,) = await stage.next()
    first.ends_when_drained = False
    second.end(-11)
    async with asyncio.timeout(10):
        await stage.has_stopped.wait()
    # The first one may drain for long; who connects meanwhile must be refused.
    assert not stage.running.done()
    assert first.told == ["drain"]
    first.end(0)
    with pytest.raises(WorkerFailed, match=r"was ended by SIGSEGV, for the 5th time in a row"):
        await stage.running


async def test_a_service_that_half_works_goes_on(stage: Stage) -> None:
    """And the connections go to the half that works; when that fails too, the daemon ends."""
    first, second = await serving(stage)
    for _ in range(8):
        second.end(1)
        (second,) = await stage.next()
    assert set(stage.absent) == {2}
    assert first.told == []
    first.end(-9)
    (first,) = await stage.next()
    second.end(1)
    with pytest.raises(WorkerFailed, match="worker 2"):
        await stage.running


async def test_who_leaves_gives_its_connections_to_others(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    first, second = await serving(stage)
    await first.leave()
    assert stage.absent == [1]
    assert stage.supervisor.liveness() == "waiting for worker 1"
    assert stage.started.empty()  # it has its shard until it ends
    first.end(0)
    (again,) = await stage.next()
    await again.serve()
    assert stage.supervisor.liveness() is None
    assert second.told == []
    (ending,) = [record for record in caplog.records if "ended with status 0" in record.message]
    assert ending.levelname == "INFO"


async def test_the_last_one_that_leaves_keeps_its_connections_for_its_successor(stage: Stage) -> None:
    first, second = await serving(stage)
    await first.leave()
    await second.leave()
    assert stage.absent == [1]
    first.end(0)
    (again,) = await stage.next()
    assert stage.absent == [1]
    await again.serve()
    assert stage.absent == [1, 2]


async def test_who_leaves_and_fails_has_failed(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    first, second = await serving(stage)
    await first.leave()
    first.end(-9)
    await stage.next()
    second.end(0)
    await stage.next()
    levels = [record.levelname for record in caplog.records if "started again" in record.message]
    assert levels == ["ERROR", "ERROR"]


async def test_a_system_that_starts_no_process_is_asked_again(stage: Stage) -> None:
    first, _ = await serving(stage)
    stage.refusal = OSError(11, "Resource temporarily unavailable")
    first.end(-9)
    async with asyncio.timeout(10):
        await stage.was_absent.wait()
    stage.refusal = None
    (again,) = await stage.next()
    assert again.number == 1


async def test_one_that_hangs_is_named_and_killed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("kumo.workers.supervisor._TICK", 0.001)
    stage = Stage(2)
    first, second = await serving(stage)
    first.never_hangs = True
    (again,) = await stage.next()
    assert again.number == 2
    assert second.told == ["kill"]
    assert first.told == []
    assert "worker 2 has not said anything for 5 s" in caplog.text
    assert "worker 2 hangs and is killed" in caplog.text
    stage.supervisor.stop()
    assert await stage.running


async def test_one_that_is_silent_is_named(stage: Stage) -> None:
    _, second = await serving(stage)
    second.silence = 4
    assert (stage.supervisor.is_alive, stage.supervisor.liveness()) == (True, None)
    second.silence = 5
    assert (stage.supervisor.is_alive, stage.supervisor.liveness()) == (False, "worker 2 does not answer")


async def test_the_fault_of_one_is_the_daemons(stage: Stage) -> None:
    workers = await serving(stage)
    workers[0].status = Status(3, None)
    workers[1].status = Status(4, "load shedding")
    assert stage.supervisor.session_count == 7
    assert stage.supervisor.liveness() == "load shedding"


async def test_a_counter_is_had_without_asking_the_workers(stage: Stage) -> None:
    first, second = await serving(stage)
    assert stage.supervisor.counted("total_messages_received") == {}
    first.counted, second.counted = 5, 7
    for worker in (first, second):
        worker.tell_counts()
    assert stage.supervisor.counted("total_messages_received") == {"x": 12}
    first.end(0)
    await stage.next()
    assert stage.supervisor.counted("total_messages_received") == {"x": 12}
    assert stage.supervisor.counted("another") == {}


async def test_what_a_dead_worker_counted_stays(stage: Stage) -> None:
    """Also what nobody has asked it for."""

    async def shown() -> tuple[float, float]:
        values = {family.name: family.samples for family in await stage.supervisor.families()}
        (received,), (connections,) = values["total_messages_received"], values["connection_count"]
        return received.value, connections.value

    first, second = await serving(stage)
    first.counted, second.counted = 5, 7
    assert await shown() == (12, 12)
    gone = 0
    for status in (-9, 0):
        first.counted += 1
        first.tell_counts()
        gone += first.counted
        first.end(status)
        (first,) = await stage.next()
        await first.serve()
        assert await shown() == (gone + 7, 7)
        first.counted = 2
        assert await shown() == (gone + 9, 9)
    both = await asyncio.gather(stage.supervisor.families(), stage.supervisor.families())
    assert both[0] is both[1]


async def test_a_worker_that_does_not_serve_yet_does_not_hold_up_the_end(stage: Stage) -> None:
    first, second = await stage.next(2)
    await first.serve()
    stage.supervisor.stop()
    async with asyncio.timeout(10):
        assert await stage.running  # cleanly: it had acknowledged nothing
    assert first.told == ["drain"]
    assert second.told[0] == "kill"
