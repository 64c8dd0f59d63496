"""Threads that run blocking calls and never hold up the end of the process.

A thread that hangs in a dead file system cannot be ended. Those of the standard library's executor are
waited for when the interpreter exits; these are not. ``maildir`` calls it, on the loop.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

_T = TypeVar("_T")

_logger = logging.getLogger("kumod.maildir")


class _Job(NamedTuple):
    call: Callable[[], Any]
    future: asyncio.Future[Any]


class WriterThreads(Generic[_T]):
    """A pool of threads, started as they are needed.

    Args:
        limit: threads at most; further calls wait their turn.
    """

    __slots__ = ("_jobs", "_limit", "_threads", "_unfinished")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._threads = 0
        self._unfinished = 0

    def run(self, call: Callable[[], _T]) -> asyncio.Future[_T]:
        """Have a thread call something.

        Args:
            call: goes on when the future is cancelled.

        Returns:
            Its result or exception.
        """
        future: asyncio.Future[_T] = asyncio.get_running_loop().create_future()
        self._unfinished += 1
        if self._threads < min(self._unfinished, self._limit):
            self._threads += 1
            threading.Thread(target=self._work, name="kumo-maildir", daemon=True).start()
        self._jobs.put(_Job(call, future))
        return future

    def close(self) -> None:
        """Let each thread end once it is done with what it has; nothing may be run any more."""
        for _ in range(self._threads):
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            result: Any = None
            failure: BaseException | None = None
            try:
                result = job.call()
            except BaseException as error:  # noqa: BLE001 - it belongs to the caller
                failure = error
            try:
                job.future.get_loop().call_soon_threadsafe(self._finish, job.future, result, failure)
            except RuntimeError:
                _logger.debug("the event loop is closed; an outcome stays unknown")

    def _finish(self, future: asyncio.Future[Any], result: Any, failure: BaseException | None) -> None:
        self._unfinished -= 1
        if future.done():
            return
        if failure is None:
            future.set_result(result)
        else:
            future.set_exception(failure)
