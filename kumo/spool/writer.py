"""The thread that writes: it takes all that waits as one batch and answers each caller on its loop.

One thread for a spool, so that a batch shares its barriers, a slow disk holds up nobody but those who
wait for it, and no two changes to the directories overlap. It knows nothing of files; ``GroupCommit``
does. Called by the facade.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import queue
import threading
from collections.abc import Callable, Sequence

from kumo.errors import SpoolError
from kumo.message import Message
from kumo.spool.group_commit import GroupCommit, StoreRequest
from kumo.spool.health import SpoolHealth

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
        removals: spool ids.
        chore: run behind the stores and removals of its batch.
    """

    __slots__ = ("chore", "error", "future", "messages", "removals", "request")

    def __init__(
        self,
        future: asyncio.Future[None],
        messages: Sequence[Message] = (),
        *,
        request: StoreRequest | None = None,
        removals: Sequence[str] = (),
        chore: Callable[[], None] | None = None,
    ) -> None:
        self.future = future
        self.messages = messages
        self.request = request
        self.removals = removals
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

    Args:
        commit: performs batches.
        health: told how they went, and asked for what is due meanwhile.
        on_error: told of each failed job's error, on the loop.
    """

    __slots__ = ("_commit", "_health", "_jobs", "_on_error", "_thread")

    def __init__(
        self, commit: GroupCommit, health: SpoolHealth, on_error: Callable[[SpoolError], None]
    ) -> None:
        self._commit = commit
        self._health = health
        self._on_error = on_error
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        # A daemon thread: what is not answered yet was promised to nobody, and an exit never hangs here.
        self._thread = threading.Thread(target=self._run, name="kumod-spool", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Have a job done; its future is told."""
        self._jobs.put(job)

    def stop(self) -> None:
        """Let the thread end once everything submitted is done; ``join`` waits for it."""
        self._jobs.put(None)

    def join(self) -> None:
        """Wait for the thread's end."""
        self._thread.join()

    def _run(self) -> None:
        is_tidy = False
        is_last = False
        while not is_last:
            try:
                job = self._jobs.get(timeout=self._patience(is_tidy=is_tidy))
            except queue.Empty:
                is_tidy = is_tidy or self._commit.tidy()
            else:
                is_tidy = False
                batch, is_last = self._batch(job)
                if batch:
                    self._perform(batch)
                    self._answer(batch)
            self._health.probe_if_due()
        self._commit.finish()

    def _patience(self, *, is_tidy: bool) -> float | None:
        """Seconds to wait for a job while there is something else to do; None: there is nothing."""
        probe = self._health.patience
        if is_tidy:
            return probe
        return _IDLE_SECONDS if probe is None else min(_IDLE_SECONDS, probe)

    def _batch(self, job: Job | None) -> tuple[list[Job], bool]:
        """The job and all that waits behind it; and whether the thread is to end then."""
        batch: list[Job] = []
        try:
            while job is not None:
                batch.append(job)
                if len(batch) == _LARGEST_BATCH:
                    return batch, False
                job = self._jobs.get_nowait()
        except queue.Empty:
            return batch, False
        return batch, True

    def _perform(self, batch: Sequence[Job]) -> None:
        stores = [job for job in batch if job.request is not None]
        _attempt(stores, lambda: self._commit.store([job.request for job in stores if job.request]))
        for job in batch:
            if job.request is not None:
                job.error = job.error or job.request.error
            elif job.chore is None:
                _attempt([job], functools.partial(self._remove, job))
        self._health.note([job.error for job in stores])
        for job in batch:
            if job.chore is not None:
                _attempt([job], job.chore)

    def _remove(self, job: Job) -> None:
        job.error = self._commit.remove(job.removals)

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
