from __future__ import annotations

import asyncio
import ctypes
import resource
import sys
import threading
from collections.abc import Mapping

import psutil
import pytest

from kumo.errors import ConfigError
from kumo.health import (
    MemoryLimits,
    MemoryMonitor,
    MemoryOverrides,
    MemorySample,
    memory_overrides,
    sample_memory,
)
from kumo.health.cgroup import GroupMemory
from kumo.health.memory_limits import memory_limits

GIB = 1 << 30
MIB = 1 << 20
UNLIMITED = resource.RLIM_INFINITY


class Memory:
    """Says one usage after the other, the last one again and again; the soft limit is 100 MiB."""

    def __init__(self, *mebibytes: float | Exception) -> None:
        self._found = list(mebibytes)

    def __call__(self) -> MemorySample:
        current = self._found.pop(0) if len(self._found) > 1 else self._found[0]
        if isinstance(current, Exception):
            raise current
        return MemorySample(int(current * MIB), MemoryLimits(hard=200 * MIB, soft=100 * MIB, low=80 * MIB))


class Machine:
    """16 GiB without limits; a test may set some."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.resident = (UNLIMITED, UNLIMITED)
        self.address_space = (UNLIMITED, UNLIMITED)
        monkeypatch.setattr("kumo.health.memory_limits.resource.getrlimit", self._limit)
        monkeypatch.setattr("kumo.health.memory_limits.psutil.virtual_memory", lambda: self)
        self.total = 16 * GIB

    def _limit(self, number: int) -> tuple[int, int]:
        return {resource.RLIMIT_RSS: self.resident, resource.RLIMIT_AS: self.address_space}[number]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_physical_memory_where_nothing_is_limited(machine: Machine) -> None:
    assert memory_limits(MemoryOverrides()) == (16 * GIB, 12 * GIB, 12 * GIB * 8 // 10)
    machine.total = 4 * GIB
    assert memory_limits(MemoryOverrides()).hard == 4 * GIB


GROUPS = [
    pytest.param(GroupMemory(8 * GIB, None, 0), (8, 6), id="a group's limit"),
    pytest.param(GroupMemory(32 * GIB, None, 0), (16, 12), id="more than there is"),
    pytest.param(GroupMemory(8 * GIB, 4 * GIB, 0), (8, 4), id="the kernel slows down earlier"),
    pytest.param(GroupMemory(8 * GIB, 7 * GIB, 0), (8, 6), id="the kernel slows down later"),
    pytest.param(GroupMemory(None, 4 * GIB, 0), (16, 4), id="it slows down only"),
]


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(("group", "gibibytes"), GROUPS)
def test_the_least_limit_holds(group: GroupMemory, gibibytes: tuple[int, int]) -> None:
    limits = memory_limits(MemoryOverrides(), group)
    assert (limits.hard, limits.soft) == tuple(number * GIB for number in gibibytes)


ULIMITS = [
    pytest.param((8 * GIB, 8 * GIB), (UNLIMITED, UNLIMITED), (8, 6), id="resident, both"),
    pytest.param((4 * GIB, 8 * GIB), (UNLIMITED, UNLIMITED), (8, 4), id="resident, a lower soft one"),
    pytest.param((UNLIMITED, UNLIMITED), (8 * GIB, UNLIMITED), (8, 6), id="address space as it is enforced"),
]


@pytest.mark.parametrize(("resident", "address_space", "gibibytes"), ULIMITS)
def test_limits_of_the_process(
    machine: Machine, resident: tuple[int, int], address_space: tuple[int, int], gibibytes: tuple[int, int]
) -> None:
    machine.resident, machine.address_space = resident, address_space
    limits = memory_limits(MemoryOverrides())
    assert (limits.hard, limits.soft) == tuple(number * GIB for number in gibibytes)


OVERRIDES = [
    pytest.param(MemoryOverrides(hard=4000), (4000, 3000, 2400), id="all follow the hard limit"),
    pytest.param(MemoryOverrides(soft=1000), (16 * GIB, 1000, 800), id="the low threshold follows the soft"),
    pytest.param(MemoryOverrides(4000, 1000, 10), (4000, 1000, 10), id="each for itself"),
    pytest.param(
        MemoryOverrides(hard=32 * GIB), (32 * GIB, 24 * GIB, 24 * GIB * 8 // 10), id="what is not there"
    ),
]


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(("overrides", "limits"), OVERRIDES)
def test_what_was_set_holds(overrides: MemoryOverrides, limits: tuple[int, int, int]) -> None:
    assert memory_limits(overrides) == limits


VARIABLES = {"KUMOD_MEMORY_HARD_LIMIT": "400", "KUMOD_MEMORY_SOFT_LIMIT": "300"}

SOURCES = [
    pytest.param({}, {}, (None, None, None), id="nothing"),
    pytest.param(VARIABLES, {}, (400, 300, None), id="the environment"),
    pytest.param(VARIABLES, {"hard": 40, "soft": 30, "low": 20}, (40, 30, 20), id="the policy wins"),
    pytest.param(VARIABLES, {"hard": 0, "soft": 0, "low": 0}, (400, 300, None), id="0 takes it back"),
]


@pytest.mark.parametrize(("environment", "policy", "expected"), SOURCES)
def test_who_says_so(
    environment: Mapping[str, str], policy: Mapping[str, int], expected: tuple[int | None, ...]
) -> None:
    assert memory_overrides(environment, **policy) == expected


@pytest.mark.parametrize("name", VARIABLES)
@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "2G", " 7", "\u0667"])
def test_a_variable_that_is_no_number_of_octets(name: str, text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        memory_overrides({name: text}, hard=1, soft=1)
    assert str(raised.value) == f"{name}: {text!r} is no number of octets above 0"


def test_usage_is_the_groups_where_a_group_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kumo.health.memory_limits.group_memory", lambda: GroupMemory(1 << 40, None, 12345))
    assert sample_memory(MemoryOverrides()).usage == 12345


def test_usage_is_what_is_resident_of_this_process_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kumo.health.memory_limits.group_memory", lambda: None)
    before = sample_memory(MemoryOverrides()).usage
    ballast = b"x" * (64 * MIB)
    assert before + 32 * MIB < sample_memory(MemoryOverrides()).usage < before + len(ballast) * 2


LOOKS = [(0, 100 * MIB), (99.5, MIB // 2), (100, 0), (150, 0)]


@pytest.mark.parametrize(("usage", "headroom"), LOOKS)
def test_headroom_is_what_is_left_below_the_soft_limit(usage: float, headroom: int) -> None:
    monitor = MemoryMonitor(Memory(usage))
    assert (monitor.headroom, monitor.last) == (sys.maxsize, None)
    monitor.look()
    assert monitor.headroom == headroom
    assert monitor.last is not None
    assert monitor.last.usage == usage * MIB


def test_a_change_is_counted_and_logged_once_and_memory_given_back_at_each_look(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    released = []
    monitor = MemoryMonitor(Memory(50, 100, 120, 99, 101), release=lambda: released.append(monitor.headroom))
    counts = []
    for _ in range(5):
        monitor.look()
        counts.append((monitor.over_limit_count, len(released)))
    assert counts == [(0, 0), (1, 1), (1, 2), (1, 2), (2, 3)]
    assert [record.message for record in caplog.records] == [
        "100 MiB of memory are used, the limit is 100 MiB: new sessions are refused",
        "99 MiB of memory are used, below the limit of 100 MiB again",
        "101 MiB of memory are used, the limit is 100 MiB: new sessions are refused",
    ]


@pytest.mark.parametrize("gone", [OSError(24, "Too many open files"), psutil.NoSuchProcess(1)])
def test_what_cannot_be_looked_at_stays_as_it_was(caplog: pytest.LogCaptureFixture, gone: Exception) -> None:
    monitor = MemoryMonitor(Memory(gone, gone, 120, gone), release=lambda: None)
    monitor.look()
    monitor.look()
    assert monitor.headroom == sys.maxsize
    assert len(caplog.records) == 1
    monitor.look()
    monitor.look()
    assert monitor.headroom == 0
    assert len(caplog.records) == 3


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library has no malloc_trim")
def test_freed_memory_goes_back_to_the_system() -> None:
    """Pieces too small for a mapping of their own stay with the C library until it is asked."""
    process = psutil.Process()
    pieces = [b"x" * (100_000 + number) for number in range(1000)]
    last = pieces[-1]
    del pieces
    before = process.memory_info().rss
    MemoryMonitor(Memory(100)).look()
    assert process.memory_info().rss < before - 50 * MIB
    assert len(last) == 100_999


async def test_the_first_look_is_done_when_start_returns_and_more_follow() -> None:
    looks = threading.Semaphore(0)
    threads = set()

    def sample() -> MemorySample:
        threads.add(threading.current_thread())
        looks.release()
        return Memory(100)()

    monitor = MemoryMonitor(sample, interval=0.0, release=lambda: None)
    await monitor.start()
    assert monitor.headroom == 0
    await monitor.start()
    assert await asyncio.to_thread(lambda: all(looks.acquire(timeout=60) for _ in range(4)))
    await monitor.stop()
    await monitor.stop()
    assert threading.main_thread() not in threads
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "kumod-memory-monitor"]


async def test_a_start_with_a_limit_that_is_none_fails() -> None:
    environment = {"KUMOD_MEMORY_SOFT_LIMIT": "plenty"}
    monitor = MemoryMonitor(lambda: sample_memory(memory_overrides(environment)))
    with pytest.raises(ConfigError, match="KUMOD_MEMORY_SOFT_LIMIT: 'plenty' is no number"):
        await monitor.start()


def test_what_is_resident_of_this_process_counts_for_each_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A group's usage has them all in it."""
    monkeypatch.setattr("kumo.health.memory_limits.group_memory", lambda: None)
    one, four = sample_memory(MemoryOverrides()), sample_memory(MemoryOverrides(), 4)
    assert 3.5 * one.usage < four.usage < 4.5 * one.usage
    assert four.limits == one.limits
    monkeypatch.setattr("kumo.health.memory_limits.group_memory", lambda: GroupMemory(1 << 40, None, 12345))
    assert sample_memory(MemoryOverrides(), 4).usage == 12345
