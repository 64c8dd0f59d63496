"""How much waits in memory, and that mail is held up before there is more."""

from __future__ import annotations

import asyncio

import pytest

from kumo.errors import PolicyError
from kumo.maybe_awaitable import is_awaitable
from kumo.queue.resident_content import ResidentContent
from tests.queue.fakes import BODY, World, config, disk_error, held_config

SIZE = len(BODY)


def _is_crowded(resident: ResidentContent) -> bool:
    return resident.is_crowded


async def test_room_is_made_by_what_leaves() -> None:
    resident = ResidentContent(100)
    assert resident.has_room(100)
    resident.add(100, 0)
    assert not resident.has_room(1)
    resident.add(200, 200)
    assert _is_crowded(resident) is False
    resident.add(1, 1)
    assert _is_crowded(resident) is True
    first, second = resident.room(), resident.room()
    second.cancel()
    resident.release(100, 0)
    assert not first.done()
    resident.release(1, 1)
    assert _is_crowded(resident) is False
    assert [first.done(), second.cancelled()] == [True, True]
    resident.release(200, 200)
    assert resident.has_room(100)


async def test_a_disk_that_takes_its_time_holds_new_mail_up_until_it_is_done() -> None:
    world = World(resident_limit=2 * SIZE)
    await world.queues.start()
    world.policy.default = held_config()
    world.store.gate = asyncio.Event()
    for _ in range(5):
        await world.take_in(is_stored=False)
    pending = world.queues.resolve("example.org")
    assert is_awaitable(pending)
    other = world.queues.resolve("other.example")
    assert is_awaitable(other)
    world.policy.gate = asyncio.Event()
    third = world.queues.resolve("third.example")
    assert is_awaitable(third)
    waiting = [asyncio.ensure_future(one) for one in (pending, other, third)]
    await world.clock.settle()
    world.policy.gate.set()
    await world.clock.settle()
    assert not any(one.done() for one in waiting)
    world.store.gate.set()
    await asyncio.gather(*waiting)
    assert len(world.store.kept) == 5
    assert world.queues.resolve("example.org") is None
    await world.queues.shutdown()


async def test_what_waits_to_be_saved_takes_room_from_what_waits_to_be_delivered() -> None:
    world = World(max_attempts=1, resident_limit=2 * SIZE)
    await world.queues.start()
    world.policy.configs["held.example"] = held_config()
    world.deliverer.gate = world.store.gate = asyncio.Event()
    for _ in range(2):
        await world.take_in("a@held.example", is_stored=False)
    await world.take_in()
    later = await world.take_in()
    assert later.size == 0
    world.store.gate.set()
    await world.queues.shutdown()


async def test_stored_mail_never_waits_for_room() -> None:
    world = World(resident_limit=SIZE)
    for _ in range(20):
        await world.take_in()
    assert world.queues.resolve("example.org") is None
    assert sum(message.size for message in world.queues.messages("example.org")) == SIZE
    await world.queues.shutdown()


async def test_mail_that_cannot_be_saved_holds_new_mail_up_until_it_is_delivered() -> None:
    world = World(resident_limit=SIZE)
    await world.queues.start()
    world.policy.default = config(retry_interval=100.0)
    world.deliverer.failing = lambda _r: True
    world.faults.plan("store", disk_error(), times=100)
    for _ in range(3):
        await world.take_in(is_stored=False)
    pending = world.queues.resolve("example.org")
    assert is_awaitable(pending)
    waiting = asyncio.ensure_future(pending)
    world.deliverer.failing = lambda _r: False
    await world.clock.advance(99)
    assert not waiting.done()
    await world.clock.advance(1)
    assert waiting.done()
    assert len(world.deliverer.delivered) == 3


async def test_unsaved_mail_whose_queue_is_away_counts_as_well() -> None:
    world = World(resident_limit=SIZE)
    await world.queues.start()
    world.policy.error = PolicyError("broken")
    stored = world.message()
    world.keep(stored)
    world.queues.insert(stored)
    assert stored.size == 0
    for _ in range(3):
        world.queues.insert(world.message())
    world.policy.error = None
    pending = world.queues.resolve("other.example")
    assert is_awaitable(pending)
    waiting = asyncio.ensure_future(pending)
    await world.clock.advance(60)
    await world.clock.settle()
    assert waiting.done()
    assert world.store.kept == {}
    assert world.queues.resolve("other.example") is None


@pytest.mark.parametrize("limit", [0, SIZE])
async def test_the_account_is_even_when_all_is_done(limit: int) -> None:
    world = World(max_attempts=1, resident_limit=limit)
    await world.queues.start()
    world.deliverer.failing = lambda _r: True
    for number in range(6):
        await world.take_in(is_stored=bool(number % 2))
    world.deliverer.failing = lambda _r: False
    await world.clock.advance(1200)
    for _ in range(10):
        await world.clock.settle()
    assert world.store.kept == {}
    again = [await world.take_in(is_stored=False) for _ in range(2)]
    assert {message_id for message_id, _ in world.deliverer.delivered} >= {message.id for message in again}
