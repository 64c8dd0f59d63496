"""What a changed policy does to queues, to questions in flight and to failures that are remembered."""

from __future__ import annotations

import asyncio

import pytest

from kumo.config import QueueConfig, RefreshStrategy
from kumo.errors import PolicyError
from kumo.maybe_awaitable import is_awaitable
from kumo.queue.directory import QueueDirectory
from kumo.queue.scheduled_queue import ScheduledQueue
from kumo.smtp import EnvelopeAddress
from tests.queue.fakes import FakeClock, FakePolicy, World, config, held_config

A = EnvelopeAddress("a", "example.org")
EPOCH = RefreshStrategy.EPOCH


def _epoch(retry_interval: float) -> QueueConfig:
    return config(refresh_strategy=EPOCH, retry_interval=retry_interval)


class Directory:
    """A directory alone, and the queues that it said had changed."""

    def __init__(self) -> None:
        self.policy = FakePolicy()
        self.clock = FakeClock()
        self.changed: list[ScheduledQueue] = []
        self.directory = QueueDirectory(self.policy, self.clock, self.changed.append)

    def config_of(self, name: str) -> QueueConfig:
        queue = self.directory.find(name)
        assert queue is not None
        return queue.config


@pytest.mark.parametrize("is_known", [False, True])
async def test_an_answer_of_the_replaced_policy_holds_only_until_the_new_one_is_asked(is_known: bool) -> None:
    here = Directory()
    here.policy.default = _epoch(1.0)
    if is_known:
        here.directory.resolve("example.org")
        here.directory.policy_changed()
        await here.clock.settle()
    gate = here.policy.gate = asyncio.Event()
    pending = here.directory.resolve("example.org")
    here.policy.gate = None
    here.directory.policy_changed()
    if is_known:
        await here.clock.settle()
        assert here.directory.resolve("example.org") is None  # the old flight is not over
    gate.set()
    if is_awaitable(pending):
        await pending
    await here.clock.settle()
    here.policy.default = _epoch(999.0)
    assert here.directory.resolve("example.org") is None
    assert here.config_of("example.org").retry_interval == 999.0
    asked = len(here.policy.asked)
    await here.clock.advance(10**6)
    here.directory.resolve("example.org")
    assert len(here.policy.asked) == asked


async def test_a_failure_of_the_replaced_policy_is_forgotten() -> None:
    here = Directory()
    here.policy.error = PolicyError("broken")
    with pytest.raises(PolicyError):
        here.directory.resolve("example.org")
    here.policy.error = None
    here.directory.policy_changed()
    assert here.directory.resolve("example.org") is None


async def test_a_late_failure_of_the_replaced_policy_reaches_those_who_wait_but_is_not_kept() -> None:
    here = Directory()
    here.policy.error = PolicyError("broken")
    gate = here.policy.gate = asyncio.Event()
    pending = here.directory.resolve("example.org")
    assert is_awaitable(pending)
    here.directory.policy_changed()
    gate.set()
    with pytest.raises(PolicyError, match="broken"):
        await pending
    here.policy.error = here.policy.gate = None
    assert here.directory.resolve("example.org") is None


async def test_queues_are_marked_in_slices_and_forgotten_ones_are_left_alone() -> None:
    here = Directory()
    for number in range(1200):
        here.directory.resolve(f"{number}.example")
    queues = list(here.directory)
    here.changed.clear()
    here.directory.policy_changed()
    assert here.changed == []
    await asyncio.sleep(0)
    assert here.changed == queues[:500]
    here.directory.forget(queues[600])
    await asyncio.sleep(0)
    assert here.changed == [*queues[:600], *queues[601:1000]]
    here.directory.policy_changed()
    here.changed.clear()
    await here.clock.settle()
    assert here.changed == [*queues[:600], *queues[601:]]
    assert all(queue.is_outdated for queue in here.directory)


async def test_closing_ends_the_marking() -> None:
    here = Directory()
    for number in range(1200):
        here.directory.resolve(f"{number}.example")
    here.changed.clear()
    here.directory.policy_changed()
    await asyncio.sleep(0)
    await here.directory.close()
    await here.clock.settle()
    assert len(here.changed) == 500


@pytest.mark.parametrize(
    ("strategy", "asked_for_tried", "asked_for_kept"),
    [(RefreshStrategy.TTL, 1 + 7, 1 + 15), (EPOCH, 1, 1)],
)
async def test_with_strategy_epoch_neither_attempts_nor_kept_messages_ask_by_time(
    world: World, strategy: RefreshStrategy, asked_for_tried: int, asked_for_kept: int
) -> None:
    world.policy.configs["tried.example"] = config(
        retry_interval=100.0, max_retry_interval=100.0, refresh_interval=50.0, refresh_strategy=strategy
    )
    world.policy.configs["kept.example"] = held_config(refresh_interval=50.0, refresh_strategy=strategy)
    world.deliverer.failing = lambda _r: True
    await world.take_in("a@tried.example")
    await world.take_in("a@kept.example")
    await world.clock.advance(765)
    assert len(world.deliverer.attempts) == 8
    asked = [question[0] for question in world.policy.asked]
    assert asked.count("tried.example") == asked_for_tried
    assert asked.count("kept.example") == asked_for_kept


async def test_with_strategy_epoch_a_question_that_failed_is_asked_again_after_a_minute(world: World) -> None:
    world.policy.default = held_config(refresh_strategy=EPOCH)
    message = await world.take_in()
    world.policy.error = PolicyError("broken")
    world.queues.policy_changed()
    await world.clock.advance(59)
    assert len(world.policy.asked) == 2
    world.policy.error = None
    world.policy.default = _epoch(1.0)
    await world.clock.advance(1)
    assert world.deliverer.delivered == [(message.id, A)]
    await world.clock.advance(500)
    assert len(world.policy.asked) == 3
