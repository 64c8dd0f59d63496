"""When connections are dealt by processor, and when by chance again."""

from __future__ import annotations

import asyncio

import pytest

from kumo.workers import Dealing, dealing
from tests.listener.fakes import until

HERE, THERE = "127.0.0.1:25", "127.0.0.1:587"


class FakePorts:
    """Workers, each with its processor, and two addresses; remembers how they were to deal."""

    def __init__(self, *processors: int) -> None:
        self.processors = list(processors)
        self.addresses: tuple[str, ...] = (HERE, THERE)
        self.told: list[tuple[str, bool]] = []
        self.refuses = False

    def deal(self, name: str, *, by_processor: bool) -> None:
        if self.refuses:
            raise OSError("not here")
        self.told.append((name, by_processor))


class Watch:
    """Connections arrive, and then somebody looks."""

    def __init__(self, *processors: int) -> None:
        self.ports = FakePorts(*processors)
        self.totals: dict[str, dict[int, float]] = {}
        self.dealing = Dealing(self.ports, lambda: self.totals)  # type: ignore[arg-type]

    def arrive(self, address: str = HERE, **numbers: int) -> list[bool]:
        """So many on ``cpu0``, ``cpu1``, ...; what was said of the address so far."""
        totals = self.totals.setdefault(address, {})
        for name, number in numbers.items():
            processor = int(name.removeprefix("cpu"))
            totals[processor] = totals.get(processor, 0) + number
        self.dealing.look()
        return [by_processor for name, by_processor in self.ports.told if name == address]


@pytest.fixture
def two() -> Watch:
    return Watch(0, 1)


def test_nothing_arrives_and_nothing_changes(two: Watch) -> None:
    assert two.arrive() == []


def test_even_arrivals_are_dealt_by_processor_once_there_are_enough(two: Watch) -> None:
    assert two.arrive(cpu0=15, cpu1=16) == []
    assert two.arrive(cpu0=1) == [True]
    assert two.arrive(cpu0=50, cpu1=50) == [True]


@pytest.mark.parametrize(("first", "second", "told"), [(70, 30, [True]), (71, 29, []), (100, 0, [])])
def test_how_even_they_have_to_be(two: Watch, first: int, second: int, told: list[bool]) -> None:
    assert two.arrive(cpu0=first, cpu1=second) == told


@pytest.mark.parametrize(("first", "second", "told"), [(80, 20, [True]), (81, 19, [True, False])])
def test_how_uneven_they_may_become(two: Watch, first: int, second: int, told: list[bool]) -> None:
    two.arrive(cpu0=16, cpu1=16)
    # As many as outweigh what was before.
    assert two.arrive(cpu0=first * 1000, cpu1=second * 1000) == told


def test_they_may_become_even_again(two: Watch) -> None:
    two.arrive(cpu0=16, cpu1=16)
    two.arrive(cpu0=500)
    assert two.arrive(cpu0=500, cpu1=500) == [True, False, True]


def test_what_was_long_ago_counts_for_little(two: Watch) -> None:
    two.arrive(cpu0=1_000_000, cpu1=0)
    for _ in range(4):
        told = two.arrive(cpu0=100, cpu1=100)
    assert told == [True]


def test_processors_without_worker_are_everybodys(two: Watch) -> None:
    assert two.arrive(cpu0=10, cpu2=45, cpu3=45) == [True]
    # 60 of its own and half of what is everybody's.
    assert Watch(0, 1).arrive(cpu0=60, cpu3=40) == []


def test_each_address_is_dealt_as_suits_it(two: Watch) -> None:
    assert two.arrive(HERE, cpu0=50, cpu1=50) == [True]
    assert two.arrive(THERE, cpu0=100_000) == []
    assert two.arrive(HERE, cpu0=100_000, cpu1=100_000) == [True]


def test_addresses_that_are_closed_are_left_alone(two: Watch) -> None:
    two.ports.addresses = ()
    assert two.arrive(cpu0=50, cpu1=50) == []


def test_log_says_how_and_why(two: Watch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "kumod.workers")
    two.arrive(cpu0=24, cpu1=16)
    two.arrive(cpu0=1_000_000)
    assert caplog.messages == [
        f"{HERE}: connections are dealt by processor; by processor the busiest worker gets 60%",
        f"{HERE}: connections are dealt by chance; by processor the busiest worker gets 100%",
    ]


async def test_a_kernel_that_refuses_is_told_again(
    two: Watch, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(dealing, "INTERVAL", 0)
    monkeypatch.setattr(dealing, "can_deal_by_processor", lambda: True)
    two.totals = {HERE: {0: 20, 1: 20}}
    two.ports.refuses = True
    running = asyncio.create_task(two.dealing.run())
    await until(lambda: bool(caplog.messages))
    two.ports.refuses = False
    await until(lambda: bool(two.ports.told))
    running.cancel()
    assert set(caplog.messages) == {"how connections are dealt stays as it is"}
    assert two.ports.told == [(HERE, True)]


@pytest.mark.parametrize(("processors", "can"), [((0, 1, 0), True), ((0, 1), False)])
async def test_where_it_cannot_be_even_nobody_looks(
    monkeypatch: pytest.MonkeyPatch, processors: tuple[int, ...], can: bool
) -> None:
    monkeypatch.setattr(dealing, "INTERVAL", 0)
    monkeypatch.setattr(dealing, "can_deal_by_processor", lambda: can)
    watch = Watch(*processors)
    async with asyncio.timeout(10):
        await watch.dealing.run()
    assert watch.ports.told == []
