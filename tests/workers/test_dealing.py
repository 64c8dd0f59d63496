"""When connections are dealt by processor, and when by chance again."""

from __future__ import annotations

import pytest

from kumo.workers import Dealing


class FakePorts:
    """Two workers or more, each with its processor; remembers how it was to deal."""

    def __init__(self, *processors: int) -> None:
        self.processors = list(processors)
        self.told: list[bool] = []

    def deal(self, *, by_processor: bool) -> None:
        self.told.append(by_processor)


class Watch:
    """Connections arrive, and then somebody looks."""

    def __init__(self, *processors: int) -> None:
        self.ports = FakePorts(*processors)
        self.totals: dict[int, float] = {}
        self.dealing = Dealing(self.ports, lambda: self.totals)  # type: ignore[arg-type]

    def arrive(self, **numbers: int) -> list[bool]:
        """So many on ``cpu0``, ``cpu1``, ...; what the ports were told so far."""
        for name, number in numbers.items():
            processor = int(name.removeprefix("cpu"))
            self.totals[processor] = self.totals.get(processor, 0) + number
        self.dealing.look()
        return self.ports.told


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


def test_workers_of_one_processor_share_what_arrives_there() -> None:
    three = Watch(0, 1, 0)
    assert three.arrive(cpu0=60, cpu1=40) == [True]
    assert three.arrive(cpu0=0, cpu1=900) == [True, False]


def test_log_says_how_and_why(two: Watch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "kumod.workers")
    two.arrive(cpu0=24, cpu1=16)
    two.arrive(cpu0=1_000_000)
    assert caplog.messages == [
        "connections are dealt by processor: no worker gets more than 60% of them",
        "connections are dealt by chance: one worker would get 100% of them",
    ]
