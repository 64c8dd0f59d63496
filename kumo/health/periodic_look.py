"""Looks at something again and again, in a thread; for the monitors of this room."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class PeriodicLook:
    """Calls a function off the event loop's thread, from ``start`` to ``stop``.

    Args:
        look: may block; what it raises ends the looking.
        interval: seconds between two calls.
        name: of the task.
    """

    __slots__ = ("_interval", "_look", "_name", "_task")

    def __init__(self, look: Callable[[], None], interval: float, name: str) -> None:
        self._look = look
        self._interval = interval
        self._name = name
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Look once, then go on looking."""
        await asyncio.to_thread(self._look)
        if self._task is None:
            self._task = asyncio.create_task(self._go_on(), name=self._name)

    async def stop(self) -> None:
        """Look no more. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _go_on(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            await asyncio.to_thread(self._look)
