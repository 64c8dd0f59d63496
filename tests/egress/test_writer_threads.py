"""Calls in threads: bounded, each answered, and none of them in the way of the process's end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from kumo.egress.writer_threads import WriterThreads

_HANGING = """
import asyncio, threading
from kumo.egress.writer_threads import WriterThreads

async def main():
    begun = threading.Event()
    never = threading.Event()
    threads = WriterThreads(1)
    threads.run(lambda: (begun.set(), never.wait()))
    await asyncio.to_thread(begun.wait)
    threads.close()

asyncio.run(main())
print("ended")
"""


@pytest.fixture
def threads() -> Iterator[WriterThreads[int]]:
    threads: WriterThreads[int] = WriterThreads(2)
    yield threads
    threads.close()


async def test_results_and_exceptions_come_back(threads: WriterThreads[int]) -> None:
    def fail() -> int:
        raise OSError("no room")

    assert await threads.run(lambda: 7) == 7
    with pytest.raises(OSError, match="no room"):
        await threads.run(fail)


async def test_calls_beyond_the_limit_wait_their_turn(threads: WriterThreads[int]) -> None:
    gate = threading.Event()
    two_begun = threading.Barrier(3, timeout=30)
    begun: list[int] = []

    def call(number: int) -> int:
        begun.append(number)
        if number < 2:
            two_begun.wait()
            gate.wait(30)
        return number

    futures = [threads.run(lambda number=number: call(number)) for number in range(5)]  # type: ignore[misc]
    await asyncio.to_thread(two_begun.wait)
    assert sorted(begun) == [0, 1]
    gate.set()
    assert await asyncio.gather(*futures) == [0, 1, 2, 3, 4]


async def test_a_caller_that_went_away_disturbs_nobody(threads: WriterThreads[int]) -> None:
    gate = threading.Event()
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
    future = threads.run(lambda: int(gate.wait(30)))
    future.cancel()
    gate.set()
    assert await threads.run(lambda: 1) == 1
    assert await threads.run(lambda: 2) == 2
    assert future.cancelled()
    assert complaints == []


def test_a_call_that_never_returns_does_not_keep_the_process() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _HANGING], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "ended\n"), done.stderr
