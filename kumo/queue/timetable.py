"""When each queue is to be looked at next, on one timer for all of them.

``scheduled_queues`` calls it; what there is to do is the callback's business.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from heapq import heappop, heappush

from kumo.queue.interfaces import Clock, TimerHandle
from kumo.queue.scheduled_queue import ScheduledQueue

_LOOKS_AT_ONCE = 100
"""Queues looked at before other work has its turn: a look may call into policy."""


class Timetable:
    """Calls back for queues whose time has come.

    Args:
        clock: time.
        look_at: called with a queue; enters it again with ``set`` if it is to be looked at later.
    """

    __slots__ = ("_clock", "_is_running", "_look_at", "_order", "_timer", "_timer_at", "_wakes")

    def __init__(self, clock: Clock, look_at: Callable[[ScheduledQueue], None]) -> None:
        self._clock = clock
        self._look_at = look_at
        self._wakes: list[tuple[float, int, ScheduledQueue]] = []
        self._order = itertools.count()
        self._timer: TimerHandle | None = None
        self._timer_at = 0.0
        self._is_running = False

    def set(self, queue: ScheduledQueue) -> None:
        """Enter a queue for the time that it asks for, unless it has an earlier entry."""
        when = queue.next_wake()
        if when is None or (queue.wake_at is not None and queue.wake_at <= when):
            return
        queue.wake_at = when
        heappush(self._wakes, (when, next(self._order), queue))
        self._set_timer()

    def start(self) -> None:
        """Begin to call back."""
        self._is_running = True
        self._set_timer()

    def stop(self) -> None:
        """Call back no more."""
        self._is_running = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        if not self._is_running or not self._wakes:
            return
        when = self._wakes[0][0]
        if self._timer is not None:
            if self._timer_at <= when:
                return
            self._timer.cancel()
        self._timer_at = when
        self._timer = self._clock.call_at(when, self._wake)

    def _wake(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        for _ in range(_LOOKS_AT_ONCE):
            if not self._wakes or self._wakes[0][0] > now:
                break
            when, _order, queue = heappop(self._wakes)
            # An entry that an earlier one has overtaken is stale.
            if queue.wake_at == when:
                queue.wake_at = None
                self._look_at(queue)
        self._set_timer()
