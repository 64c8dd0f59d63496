"""The real clock of the queues; tests put a fake in its place."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from kumo.queue.interfaces import Clock, TimerHandle


class LoopClock:
    """The wall clock and the running event loop's timers.

    Args:
        loop: the loop that the queues live on.
    """

    __slots__ = ("_loop",)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def unix(self) -> float:
        """The wall clock, in seconds since 1970."""
        return time.time()

    def monotonic(self) -> float:
        """The loop's time in seconds."""
        return self._loop.time()

    def call_at(self, when: float, callback: Callable[[], None]) -> TimerHandle:
        """Call back once the loop's time has reached ``when``."""
        return self._loop.call_at(when, callback)


async def pause(clock: Clock, seconds: float) -> None:
    """Wait by a clock."""
    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def wake() -> None:
        if not waiter.done():
            waiter.set_result(None)

    handle = clock.call_at(clock.monotonic() + seconds, wake)
    try:
        await waiter
    finally:
        handle.cancel()
