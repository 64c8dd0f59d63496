"""The thread that writes: it takes all that waits as one batch and answers each caller on its loop.

One thread for a spool, so that a batch shares its syncs, a slow disk holds up nobody but those who wait for
it, and no two changes to the disk overlap. It knows nothing of files; the engine does. Called by the facade.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Sequence

from kumo.errors import SpoolError
from kumo.message import Message
from kumo.spool.engine import Engine
from kumo.spool.health import SpoolHealth
from kumo.spool.requests import RemoveRequest, StoreRequest

_log = logging.getLogger("kumod.spool")

_LARGEST_BATCH = 256
"""Calls in one batch: the first of them waits for the last."""

_IDLE_SECONDS = 1.0
"""How long nothing must be asked for before spare time is used."""


class Job:
    """One call and its future; what it asks for is in exactly one of the other fields.

    Args:
        future: told on its own loop.
        messages: whose ``is_stored`` follows the outcome.
        request: to be stored.
        removal: to be forgotten.
        chore: run behind the stores and removals of its batch.
    """

    __slots__ = ("chore", "error", "future", "messages", "removal", "request")

    def __init__(
        self,
        future: asyncio.Future[None],
        messages: Sequence[Message] = (),
        *,
        request: StoreRequest | None = None,
        removal: RemoveRequest | None = None,
        chore: Callable[[], None] | None = None,
    ) -> None:
        self.future = future
        self.messages = messages
        self.request = request
        self.removal = removal
        self.chore = chore
        self.error: SpoolError | None = None

    def finish(self) -> None:
        """Tell the caller; called on the loop. A caller that went away still has its message stored."""
        if self.error is None:
            is_stored = self.request is not None
            for message in self.messages:
                message.is_stored = is_stored
        if self.future.done():
            return
        if self.error is None:
            self.future.set_result(None)
        else:
            self.future.set_exception(self.error)


class Writer:
    """Runs jobs in the order stores, removals, chores of whatever waits.

    An id that is removed is never stored again, so that order cannot bring a removed message back.

    What is submitted while the loop goes through its events is handed over at once, and answered at once:
    each time a thread is woken costs as much as a small message.

    Args:
        engine: performs batches.
        health: told how they went, and asked for what is due meanwhile.
        on_error: told of each failed job's error, on the loop.
    """

    __slots__ = ("_batches", "_engine", "_health", "_on_error", "_submitted", "_thread")

    def __init__(self, engine: Engine, health: SpoolHealth, on_error: Callable[[SpoolError], None]) -> None:
        self._engine = engine
        self._health = health
        self._on_error = on_error
        self._submitted: list[Job] = []
        self._batches: queue.SimpleQueue[list[Job] | None] = queue.SimpleQueue()
        # A daemon thread: what is not answered yet was promised to nobody, and an exit never hangs here.
        self._thread = threading.Thread(target=self._run, name="kumod-spool", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Have a job done; its future is told. To be called on the loop."""
        if not self._submitted:
            job.future.get_loop().call_soon(self._hand_over)
        self._submitted.append(job)

    def _hand_over(self) -> None:
        if self._submitted:
            self._batches.put(self._submitted)
            self._submitted = []

    def stop(self) -> None:
        """Let the thread end once everything submitted is done; ``join`` waits for it."""
        self._hand_over()
        self._batches.put(None)

    def join(self) -> None:
        """Wait for the thread's end."""
        self._thread.join()

    def _run(self) -> None:
        is_tidy = False
        patience: float | None = _IDLE_SECONDS
        is_last = False
        while not is_last:
            try:
                is_last = self._serve(patience)
            except queue.Empty:
                if not is_tidy or self._engine.patience == 0.0:
                    is_tidy = self._attempt_tidy()
                    patience = 0.0
            else:
                is_tidy = False
                patience = _IDLE_SECONDS
                _attempt((), self._engine.relieve)
            self._health.probe_if_due()
            patience = self._patience(self._put_off() if is_tidy else patience)
        _attempt((), self._engine.finish)

    def _serve(self, patience: float | None) -> bool:
        """Perform what waits, and hold none of it afterwards: its contents may be large.

        Returns:
            Whether the thread is to end.

        Raises:
            queue.Empty: nothing did for so long.
        """
        batch, is_last = self._next_batch(patience)
        if batch:
            self._perform(batch)
            self._answer(batch)
        return is_last

    def _attempt_tidy(self) -> bool:
        try:
            return self._engine.tidy()
        except Exception:  # noqa: BLE001 - whatever it was, the thread goes on
            _log.exception("the spool's writer failed")
            return True

    def _put_off(self) -> float | None:
        """Seconds until the engine tries again what it put off; never 0, or a bug there would be a loop."""
        patience = self._engine.patience
        return None if patience is None else max(patience, _IDLE_SECONDS)

    def _patience(self, wanted: float | None) -> float | None:
        """Seconds to wait for a job while there is something else to do; None: there is nothing."""
        probe = self._health.patience
        if wanted is None or probe is None:
            return probe if wanted is None else wanted
        return min(wanted, probe)

    def _next_batch(self, patience: float | None) -> tuple[list[Job], bool]:
        """All that waits, up to a limit; and whether the thread is to end then.

        Raises:
            queue.Empty: nothing did for so long.
        """
        batch: list[Job] = []
        jobs = self._batches.get(timeout=patience) if patience != 0.0 else self._batches.get_nowait()
        try:
            while jobs is not None:
                batch += jobs
                if len(batch) >= _LARGEST_BATCH:
                    return batch, False
                jobs = self._batches.get_nowait()
        except queue.Empty:
            return batch, False
        return batch, True

    def _perform(self, batch: Sequence[Job]) -> None:
        stores = [job for job in batch if job.request is not None]
        if stores:
            _attempt(stores, lambda: self._engine.store([job.request for job in stores if job.request]))
        removals = [job for job in batch if job.removal is not None]
        if removals:
            _attempt(removals, lambda: self._engine.remove([job.removal for job in removals if job.removal]))
        for job in batch:
            request = job.request or job.removal
            if request is not None:
                job.error = job.error or request.error
        self._health.note([job.error for job in stores])
        for job in batch:
            if job.chore is not None:
                _attempt([job], job.chore)

    def _answer(self, batch: Sequence[Job]) -> None:
        try:
            batch[0].future.get_loop().call_soon_threadsafe(self._finish, batch)
        except RuntimeError:
            _log.debug("the event loop is closed; %d calls stay unanswered", len(batch))

    def _finish(self, batch: Sequence[Job]) -> None:
        for job in batch:
            if job.error is not None:
                self._on_error(job.error)
            job.finish()


def _attempt(jobs: Sequence[Job], action: Callable[[], None]) -> None:
    """Do what ``jobs`` ask for; a bug becomes their error, and nobody else's."""
    try:
        action()
    except Exception as error:  # noqa: BLE001 - whatever it was, the thread goes on
        # Nobody may be left waiting, and a failed store is no lie: the peer sends the message again.
        _log.exception("the spool's writer failed")
        for job in jobs:
            job.error = SpoolError(f"the spool's writer failed: {error}")
