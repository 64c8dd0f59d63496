"""When policy is asked, what its answers and failures do, and how long a queue lives."""

from __future__ import annotations

import asyncio

import pytest

from kumo.config import RefreshStrategy
from kumo.errors import KumoError, PolicyError, Rejection
from kumo.maybe_awaitable import is_awaitable
from kumo.smtp import EnvelopeAddress
from tests.queue.fakes import World, config, held_config

A = EnvelopeAddress("a", "example.org")


async def test_policy_gets_the_parts_of_the_name(world: World) -> None:
    assert world.queues.resolve("c:t@example.org!r") is None
    assert world.policy.asked == [("example.org", "t", "c", "r")]


async def test_an_answer_holds_for_the_refresh_interval(world: World) -> None:
    for _ in range(3):
        world.queues.resolve("example.org")
    await world.clock.advance(59)
    world.queues.resolve("example.org")
    assert len(world.policy.asked) == 1
    await world.clock.advance(1)
    world.queues.resolve("example.org")
    world.queues.resolve("example.org")
    assert len(world.policy.asked) == 2


async def test_with_strategy_epoch_only_a_changed_policy_is_asked_again(world: World) -> None:
    world.policy.default = config(refresh_strategy=RefreshStrategy.EPOCH, reap_interval=10**9)
    world.queues.resolve("example.org")
    await world.clock.advance(10**6)
    world.queues.resolve("example.org")
    assert len(world.policy.asked) == 1
    world.queues.policy_changed()
    await world.clock.settle()
    world.queues.resolve("example.org")
    world.queues.resolve("example.org")
    assert len(world.policy.asked) == 2


async def test_a_changed_policy_frees_kept_messages_at_once(world: World) -> None:
    world.policy.default = held_config(refresh_strategy=RefreshStrategy.EPOCH)
    message = await world.take_in()
    await world.clock.advance(3600)
    world.policy.default = config()
    world.queues.policy_changed()
    await world.clock.settle()
    assert world.deliverer.delivered == [(message.id, A)]


@pytest.mark.parametrize("error", [PolicyError("broken"), Rejection(451, "no")])
async def test_a_failure_holds_for_a_minute(world: World, error: KumoError) -> None:
    world.policy.error = error
    for _ in range(3):
        with pytest.raises(type(error)):
            world.queues.resolve("example.org")
    assert len(world.policy.asked) == 1
    world.policy.error = None
    await world.clock.advance(59)
    with pytest.raises(type(error)):
        world.queues.resolve("example.org")
    await world.clock.advance(1)
    assert world.queues.resolve("example.org") is None
    assert len(world.policy.asked) == 2


async def test_failures_are_kept_for_a_bounded_number_of_names(world: World) -> None:
    world.policy.error = PolicyError("broken")
    for number in range(10_001):
        with pytest.raises(PolicyError):
            world.queues.resolve(f"{number}.example")
    asked = len(world.policy.asked)
    with pytest.raises(PolicyError):
        world.queues.resolve("0.example")
    assert len(world.policy.asked) == asked + 1
    with pytest.raises(PolicyError):
        world.queues.resolve("10000.example")
    assert len(world.policy.asked) == asked + 1


async def test_callers_at_the_same_time_share_one_question(world: World) -> None:
    gate = world.policy.gate = asyncio.Event()
    pending = [world.queues.resolve("example.org") for _ in range(3)]
    waiting = [asyncio.ensure_future(one) for one in pending if is_awaitable(one)]
    await world.clock.settle()
    assert len(waiting) == 3
    assert len(world.policy.asked) == 1
    waiting[0].cancel()
    await world.clock.settle()
    gate.set()
    assert await asyncio.gather(*waiting[1:]) == [None, None]
    assert world.queues.resolve("example.org") is None


@pytest.mark.parametrize("error", [PolicyError("broken"), Rejection(451, "no"), RuntimeError("a bug")])
async def test_all_callers_hear_of_a_late_failure(world: World, error: Exception) -> None:
    gate = world.policy.gate = asyncio.Event()
    world.policy.error = error
    pending = [world.queues.resolve("example.org") for _ in range(2)]
    waiting = [asyncio.ensure_future(one) for one in pending if is_awaitable(one)]
    gate.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert len(results) == 2
    assert all(isinstance(result, PolicyError | Rejection) for result in results)
    with pytest.raises(KumoError):
        world.queues.resolve("example.org")
    assert len(world.policy.asked) == 1


@pytest.mark.parametrize("is_late", [False, True])
async def test_a_queue_keeps_its_configuration_when_policy_fails_later(
    world: World, is_late: bool, caplog: pytest.LogCaptureFixture
) -> None:
    await world.take_in()
    world.policy.error = PolicyError("broken")
    if is_late:
        world.policy.gate = asyncio.Event()
        world.policy.gate.set()
    await world.clock.advance(60)
    await world.take_in()
    assert len(world.deliverer.delivered) == 2
    assert len(world.policy.asked) == 2
    assert "queue example.org keeps its configuration: broken" in caplog.text


async def test_a_slow_answer_for_a_queue_that_is_there_holds_nothing_up(world: World) -> None:
    world.policy.default = held_config()
    message = await world.take_in()
    gate = world.policy.gate = asyncio.Event()
    await world.clock.advance(600)
    assert world.queues.resolve("example.org") is None
    assert len(world.policy.asked) == 2
    world.policy.default = config()
    gate.set()
    await world.clock.settle()
    assert world.deliverer.delivered == [(message.id, A)]


async def test_an_idle_queue_is_forgotten(world: World) -> None:
    await world.take_in()
    await world.clock.advance(599)
    assert world.queues.counts() == {"example.org": 0}
    await world.clock.advance(1)
    assert world.queues.counts() == {}
    assert world.clock.timers == 0


async def test_use_keeps_a_queue(world: World) -> None:
    world.queues.resolve("example.org")
    await world.clock.advance(400)
    world.queues.resolve("example.org")
    await world.clock.advance(400)
    assert world.queues.counts() == {"example.org": 0}
    await world.clock.advance(200)
    assert world.queues.counts() == {}


async def test_a_queue_with_messages_is_never_forgotten(world: World) -> None:
    world.policy.default = config(reap_interval=0.0, retry_interval=5000.0)
    world.deliverer.failing = lambda _r: True
    await world.take_in()
    await world.clock.advance(4999)
    assert world.queues.counts() == {"example.org": 1}


@pytest.mark.parametrize("is_stored", [True, False])
async def test_a_message_whose_queue_was_forgotten_meanwhile_gets_it_back(
    world: World, is_stored: bool
) -> None:
    message = world.message()
    if is_stored:
        world.keep(message)
    world.queues.insert(message)
    assert world.queues.counts() == {"example.org": 1}
    assert list(world.queues.messages("example.org")) == [message]
    await world.clock.settle()
    assert world.deliverer.delivered == [(message.id, A)]


async def test_an_attempt_keeps_its_queue_in_use(world: World) -> None:
    gate = world.deliverer.gate = asyncio.Event()
    await world.take_in()
    await world.clock.advance(700)
    gate.set()
    await world.clock.advance(599)
    assert world.queues.counts() == {"example.org": 0}
    await world.clock.advance(1)
    assert world.queues.counts() == {}


async def test_without_a_reap_interval_a_queue_still_lives_until_its_message_is_stored(world: World) -> None:
    world.policy.default = config(reap_interval=0.0)
    world.queues.resolve("example.org")
    await world.clock.advance(0.9)
    assert world.queues.counts() == {"example.org": 0}
    await world.clock.advance(0.2)
    assert world.queues.counts() == {}


async def test_without_a_refresh_interval_a_keeping_queue_asks_once_a_second(world: World) -> None:
    world.policy.default = held_config(refresh_interval=0.0)
    await world.take_in()
    await world.clock.advance(10.5)
    assert len(world.policy.asked) == 11


async def test_a_thousand_queues_share_one_timer(world: World) -> None:
    for number in range(1000):
        world.policy.configs[f"{number}.example"] = config(reap_interval=600.0 - number / 10)
        world.queues.resolve(f"{number}.example")
    assert world.clock.timers == 1
    await world.clock.advance(600)
    assert world.queues.counts() == {}
