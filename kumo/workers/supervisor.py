"""Keeps the workers of a daemon running: starts them, starts them again, gives up, ends them.

It starts them through a callable and knows nothing of policies or spools. What the parent is asked, it
answers from what the workers last said, so that a worker that hangs holds up nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple

from kumo.errors import WorkerFailed
from kumo.metrics import Family, Metrics
from kumo.workers.aggregation import merge
from kumo.workers.worker_process import WorkerProcess, describe_exit

_log = logging.getLogger("kumod.workers")

LONGEST_SILENCE = 5
"""Seconds without a sign of life after which a worker counts as hung, and the daemon as not well."""

KILLED_AFTER = 20
"""Seconds after which it is killed, and its messages served by a new one. Less than a service manager
waits, to whom the daemon does not call itself alive meanwhile: the others need not end with it."""

SETTLED = 10.0
"""Seconds that a worker has to serve to count as one that could be started."""

FIRST_PAUSE = 0.25
"""Seconds before a worker that failed is started again; doubled with each further failure in a row."""

LONGEST_PAUSE = 30.0
"""Seconds that this pause grows to at most."""

MOST_FAILURES = 5
"""In a row, of one worker, while no other serves."""

_TICK = 1.0


class _Ending(NamedTuple):
    """How a worker ended: its exit status, None where it could not be started, and the words for it."""

    status: int | None
    text: str
    was_asked_for: bool = False


class Supervisor:
    """The workers of one daemon.

    Args:
        count: how many.
        start: starts the worker of a number, from 1; may fail with ``OSError``.
        own: the parent's own metrics.
        on_absence: called with the number of a worker that drains while another serves, or that could not be
            started again at once; may come more than once.
        on_stop: called when no connection is to be taken any more, before workers are told; likewise.
        first_pause: seconds before a worker that failed is started again.
    """

    def __init__(
        self,
        count: int,
        start: Callable[[int], Awaitable[WorkerProcess]],
        own: Metrics,
        *,
        on_absence: Callable[[int], None],
        on_stop: Callable[[], None],
        first_pause: float = FIRST_PAUSE,
    ) -> None:
        self._numbers = range(1, count + 1)
        self._start = start
        self._own = own
        self._on_absence = on_absence
        self._on_stop = on_stop
        self._first_pause = first_pause
        self._workers: dict[int, WorkerProcess] = {}
        self._departed: list[Family] = []
        self._collecting: asyncio.Task[list[Family]] | None = None
        self._stopping = asyncio.Event()
        self._is_hurried = False
        self._unclean: list[str] = []
        self._killed: set[int] = set()
        """Processes that did not serve yet when the end was asked for."""
        self.all_ready = asyncio.Event()
        """Set once every worker has served at one time."""

    # --- the workers' lives ---------------------------------------------------------------------

    async def run(self) -> bool:
        """Keep the workers running until ``stop``, and wait for their end.

        Returns:
            Whether all of them ended cleanly.

        Raises:
            WorkerFailed: one cannot be started; the others were drained.
        """
        keepers = [asyncio.create_task(self._keep(number)) for number in self._numbers]
        ticking = asyncio.create_task(self._tick())
        try:
            await asyncio.gather(*keepers)
        finally:
            self.stop()
            await asyncio.gather(*keepers, return_exceptions=True)
            ticking.cancel()
        return not self._unclean

    def stop(self) -> None:
        """Drain all workers and start none any more. Idempotent."""
        self._stopping.set()
        self._on_stop()
        for worker in self._workers.values():
            self._end(worker)

    def _end(self, worker: WorkerProcess) -> None:
        """Drain it; one that does not serve yet cannot hear, has nothing to drain, and is killed."""
        if worker.is_ready:
            worker.drain()
        else:
            self._killed.add(worker.pid)
            worker.kill()

    def hurry(self) -> None:
        """Have workers end without further patience."""
        self._is_hurried = True
        for worker in self._workers.values():
            worker.hurry()

    async def _keep(self, number: int) -> None:
        """One worker after the other under one number."""
        failures = 0
        while not self._stopping.is_set():
            began = asyncio.get_running_loop().time()
            ending = await self._live(number)
            if self._stopping.is_set():
                if ending.status not in {0, None}:
                    self._unclean.append(ending.text)
                    _log.error("%s", ending.text)
                return
            has_settled = asyncio.get_running_loop().time() - began > SETTLED
            failures = 0 if has_settled or ending.status == 0 else failures + 1
            self._give_up_if_hopeless(ending, failures)
            if failures > 1:
                self._on_absence(number)
            pause = min(self._first_pause * 2 ** max(0, failures - 1), LONGEST_PAUSE)
            level = logging.INFO if ending.was_asked_for else logging.ERROR
            _log.log(level, "%s; it is started again in %.2f s", ending.text, pause)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)

    async def _live(self, number: int) -> _Ending:
        """One worker from start to end."""
        try:
            worker = await self._start(number)
        except OSError as error:
            return _Ending(None, f"worker {number} cannot be started: {error.strerror or error}")
        self._workers[number] = worker
        _log.info("worker %d is process %d", number, worker.pid)
        if self._stopping.is_set():
            self._end(worker)
        if self._is_hurried:
            worker.hurry()
        try:
            status = await worker.attend(partial(self._note_change, worker))
        finally:
            del self._workers[number]
            self._departed = merge([self._departed, worker.counts])
        if worker.pid in self._killed:
            status = 0
        text = f"worker {number} (process {worker.pid}) {describe_exit(status)}"
        return _Ending(status, text, was_asked_for=worker.is_leaving and status == 0)

    def _note_change(self, worker: WorkerProcess) -> None:
        if self._stopping.is_set():
            return
        if worker.is_leaving:
            _log.info("worker %d was told to end, and drains", worker.number)
        serving = sum(one.is_ready and not one.is_leaving for one in self._workers.values())
        if serving == len(self._numbers):
            self.all_ready.set()
        # Its successor cannot serve before it has ended, as it holds the shard of the spool until then. Where
        # nobody else serves, who connects waits for the successor all the same.
        for one in self._workers.values():
            if one.is_leaving and serving:
                self._on_absence(one.number)

    def _give_up_if_hopeless(self, ending: _Ending, failures: int) -> None:
        """End the daemon where trying again is of no use.

        A worker that at the first start says why it cannot serve would say it again, and the daemon is to
        fail as one of a single process does. Later on a service that half works is not ended for its other
        half, which may be mended by then.
        """
        if not self.all_ready.is_set() and ending.status is not None and ending.status > 0:
            raise WorkerFailed(f"{ending.text} before the daemon served; see above for why")
        does_any_serve = any(worker.is_ready for worker in self._workers.values())
        if failures >= MOST_FAILURES and not (does_any_serve and self.all_ready.is_set()):
            raise WorkerFailed(f"{ending.text}, for the {failures}th time in a row; giving up")

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK)
            for worker in self._workers.values():
                if not worker.is_ready:
                    continue
                worker.silence += 1
                if worker.silence == LONGEST_SILENCE:
                    _log.error("worker %d has not said anything for %d s", worker.number, LONGEST_SILENCE)
                elif worker.silence == KILLED_AFTER:
                    _log.error("worker %d hangs and is killed", worker.number)
                    worker.kill()

    # --- what the parent is asked ---------------------------------------------------------------

    @property
    def session_count(self) -> int:
        """Sessions of all workers, as they last said."""
        return sum(worker.status.sessions for worker in self._workers.values())

    @property
    def is_alive(self) -> bool:
        """Whether no worker hangs; one that is being started again does not."""
        return all(worker.silence < LONGEST_SILENCE for worker in self._workers.values())

    def liveness(self) -> str | None:
        """What a health probe is told with 503, or None when all is well."""
        if self._stopping.is_set():
            return "shutting down"
        for number in self._numbers:
            worker = self._workers.get(number)
            if worker is None or not worker.is_ready or worker.is_leaving:
                return f"waiting for worker {number}"
            if worker.silence >= LONGEST_SILENCE:
                return f"worker {number} does not answer"
            if worker.status.fault is not None:
                return worker.status.fault
        return None

    def counted(self, name: str) -> dict[str, float]:
        """A counter of all workers so far, by the value of its one label, as they last told.

        Args:
            name: of its family.
        """
        totals: dict[str, float] = {}
        for families in (self._departed, *(worker.counts for worker in self._workers.values())):
            for family in families:
                if family.name == name:
                    for sample in family.samples:
                        (value,) = sample.labels.values()
                        totals[value] = totals.get(value, 0) + sample.value
        return totals

    async def families(self) -> list[Family]:
        """The metrics of all workers together; who asks meanwhile gets the same answer.

        A worker that does not answer in time counts with what it said the last time.
        """
        if self._collecting is None:
            self._collecting = asyncio.create_task(self._collect())
            self._collecting.add_done_callback(self._forget_collecting)
        return await asyncio.shield(self._collecting)

    async def _collect(self) -> list[Family]:
        workers = list(self._workers.values())
        await asyncio.gather(*(worker.scrape() for worker in workers))
        living = [worker.families for worker in self._workers.values()]
        return merge([self._own.families(), *living, self._departed])

    def _forget_collecting(self, _: asyncio.Task[list[Family]]) -> None:
        self._collecting = None
