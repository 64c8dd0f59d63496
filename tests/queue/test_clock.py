from __future__ import annotations

import asyncio
import time

import pytest

from kumo.queue import LoopClock
from kumo.queue.clock import pause
from tests.queue.fakes import FakeClock


async def test_the_loop_clock_calls_back_no_earlier_than_asked() -> None:
    clock = LoopClock(asyncio.get_running_loop())
    called: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    when = clock.monotonic() + 0.01
    clock.call_at(when, lambda: called.set_result(clock.monotonic()))
    # The loops round timers to their resolution, a millisecond.
    assert await called >= when - 0.001


async def test_the_loop_clock_tells_unix_time() -> None:
    before = time.time()
    assert before <= LoopClock(asyncio.get_running_loop()).unix() <= time.time()


async def test_a_cancelled_call_never_comes() -> None:
    clock = LoopClock(asyncio.get_running_loop())
    calls: list[int] = []
    clock.call_at(clock.monotonic(), lambda: calls.append(1)).cancel()
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    clock.call_at(clock.monotonic() + 0.005, lambda: done.set_result(None))
    await done
    assert calls == []


async def test_pause_ends_when_its_time_has_come() -> None:
    clock = FakeClock()
    task = asyncio.create_task(pause(clock, 5.0))
    await clock.advance(4.9)
    assert not task.done()
    await clock.advance(0.1)
    assert task.done()


async def test_a_cancelled_pause_leaves_no_timer() -> None:
    clock = FakeClock()
    task = asyncio.create_task(pause(clock, 5.0))
    await clock.settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert clock.timers == 0
