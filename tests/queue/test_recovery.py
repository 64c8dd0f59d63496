"""Messages that the spool had when the daemon started."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kumo.errors import PolicyError, Rejection
from kumo.smtp import EnvelopeAddress
from tests.queue.fakes import BODY, World, config, disk_error, held_config

A = EnvelopeAddress("a", "example.org")
B = EnvelopeAddress("b", "example.org")


@pytest.mark.parametrize(("age", "attempts"), [(0, 0), (1199, 0), (1200, 1), (3600, 2), (86400, 6)])
async def test_a_recovered_message_is_due_at_once_with_its_attempts_inferred(
    world: World, age: float, attempts: int
) -> None:
    message = world.message(age=age)
    await world.recover(message)
    assert world.deliverer.delivered == [(message.id, A)]
    assert world.log.records[-1][4] == attempts


async def test_the_next_delay_goes_on_from_the_inferred_attempts(world: World) -> None:
    world.deliverer.failing = lambda _r: True
    message = world.message(age=3600.0)
    await world.recover(message)
    assert message.due == world.clock.wall + 4800
    assert message.num_attempts == 3


@pytest.mark.parametrize("protocol", ["maildir", "none"])
async def test_a_message_too_old_expires(world: World, protocol: str) -> None:
    world.policy.default = config() if protocol == "maildir" else held_config()
    message = world.message(age=604801.0)
    await world.recover(message)
    assert [(record[0], record[1]) for record in world.log.records] == [("Expiration", message.id)]
    assert world.log.records[0][3] == (
        "Next delivery time would be 7days 1s after creation, which exceeds max_age=7days"
    )
    assert world.store.kept == {}
    assert world.deliverer.attempts == []


async def test_recovered_messages_wait_for_the_start() -> None:
    world = World()
    message = world.message()
    await world.recover(message)
    assert world.queues.counts() == {"example.org": 1}
    assert world.deliverer.attempts == []
    await world.queues.start()
    await world.clock.settle()
    assert world.deliverer.delivered == [(message.id, A)]
    await world.queues.shutdown()


@pytest.mark.parametrize("error", [PolicyError("broken"), Rejection(451, "no")])
async def test_messages_of_a_queue_that_cannot_be_resolved_stay_and_are_tried_every_minute(
    world: World, error: Exception
) -> None:
    world.policy.error = error
    messages = [world.message() for _ in range(3)]
    for message in messages:
        await world.recover(message)
    assert world.queues.counts() == {"example.org": 3}
    assert set(world.queues.messages("example.org")) == set(messages)
    await world.clock.advance(300)
    assert len(world.policy.asked) <= 6
    assert len(world.store.kept) == 3
    world.policy.error = None
    await world.clock.advance(60)
    await world.clock.settle()
    assert [message_id for message_id, _ in world.deliverer.delivered] == [m.id for m in messages]
    assert world.store.kept == {}


async def test_messages_that_grew_too_old_meanwhile_expire(world: World) -> None:
    world.policy.error = PolicyError("broken")
    message = world.message(age=604800.0 - 30)
    await world.recover(message)
    world.policy.error = None
    await world.clock.advance(61)
    assert world.log.kinds == ["Expiration"]
    assert world.store.kept == {}
    assert message.num_attempts == 0


@pytest.mark.parametrize("meta", [{"tenant": 1}, {"queue": ["x"]}])
async def test_a_message_without_a_queue_name_stays_in_the_spool(
    world: World, meta: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    message = world.message(**meta)
    await world.recover(message)
    assert world.store.kept == {message.id: (A,)}
    assert f"message {message.id} stays in the spool" in caplog.text
    assert world.queues.counts() == {}


async def test_a_message_that_policy_sends_to_null_is_dropped(world: World) -> None:
    await world.recover(world.message(queue="null"))
    assert world.store.kept == {}
    assert world.log.records == []


async def test_a_content_that_policy_changed_is_stored_before_it_may_be_dropped(world: World) -> None:
    world.policy.default = held_config()
    message = world.message()
    world.store.kept[message.id] = (A,)
    world.store.contents[message.id] = BODY
    message.is_stored = True
    message.set_content(b"changed")
    await world.queues.recover(message)
    assert world.store.contents == {message.id: b"changed"}
    assert message.size == 0


async def test_a_content_that_policy_only_read_is_not_stored_again(world: World) -> None:
    message = world.message()
    world.keep(message)
    world.history.clear()
    message.shrink()
    message.load(BODY)
    await world.queues.recover(message)
    await world.clock.settle()
    assert [event for event, _ in world.history] == ["deliver", "Delivery", "remove"]
    assert world.store.loads == 0


async def test_an_envelope_that_policy_changed_is_stored(world: World) -> None:
    world.policy.default = held_config()
    message = world.message()
    world.keep(message)
    message.shrink()
    message.recipients = [B]
    message.has_changed = True
    await world.queues.recover(message)
    assert world.store.kept == {message.id: (B,)}
    assert world.store.contents == {message.id: BODY}
    assert not message.must_be_saved


@pytest.mark.parametrize("protocol", ["maildir", "none"])
async def test_a_change_that_cannot_be_stored_is_not_lost(world: World, protocol: str) -> None:
    world.policy.default = config() if protocol == "maildir" else held_config()
    message = world.message()
    world.keep(message)
    message.set_content(b"changed")
    # Once when it is found; where it is kept, once more before it would leave the memory.
    world.faults.plan("store", disk_error(), times=1 if protocol == "maildir" else 2)
    await world.queues.recover(message)
    assert message.content == b"changed"
    await world.clock.settle()
    if protocol == "maildir":
        assert world.deliverer.contents == [b"changed"]
        return
    assert world.store.contents == {message.id: BODY}
    await world.queues.shutdown()
    assert world.store.contents == {message.id: b"changed"}


@pytest.mark.parametrize("call", ["remove", "log"])
async def test_an_entry_that_cannot_be_removed_or_logged_holds_up_no_other(world: World, call: str) -> None:
    world.faults.plan(call, disk_error(), times=10**4)
    old = world.message("x@old.example", age=700_000.0)
    await world.recover(old)
    fresh = [world.message(f"u{number}@{number}.example") for number in range(3)]
    for message in fresh:
        await world.recover(message)
    assert [message_id for message_id, _ in world.deliverer.delivered] == [message.id for message in fresh]
    await world.queues.shutdown(grace=0)


async def test_a_dropped_message_that_cannot_be_removed_holds_up_no_other(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.faults.plan("remove", disk_error())
    dropped, fresh = world.message(queue="null"), world.message()
    await world.recover(dropped)
    await world.recover(fresh)
    assert world.deliverer.delivered == [(fresh.id, A)]
    assert set(world.store.kept) == {dropped.id}
    assert f"message {dropped.id} cannot be removed" in caplog.text


async def test_an_expiry_that_waits_for_the_log_neither_holds_up_nor_loses_the_others(world: World) -> None:
    world.policy.error = PolicyError("broken")
    old, young = world.message(age=700_000.0), world.message()
    await world.recover(old)
    await world.recover(young)
    world.policy.error = None
    # For longer than an idle queue lives.
    world.faults.plan("log", OSError("no room"), times=60)
    await world.clock.advance(61)
    assert world.deliverer.delivered == [(young.id, A)]
    await world.clock.advance(3600)
    assert sorted(world.log.kinds) == ["Delivery", "Expiration"]
    assert world.store.kept == {}


async def test_fresh_mail_of_a_forgotten_queue_does_not_wait_for_others(world: World) -> None:
    world.policy.error = PolicyError("broken")
    await world.recover(world.message("a@broken.example"))
    world.policy.error = None
    world.policy.gate = asyncio.Event()
    await world.clock.advance(60)  # going through all that waits, and stuck at the first
    world.policy.gate = None
    fresh = world.message()
    world.queues.insert(fresh)
    await world.clock.settle()
    assert world.deliverer.delivered == [(fresh.id, A)]


async def test_many_waiting_messages_get_into_their_queue_in_slices_and_in_order(world: World) -> None:
    world.policy.error = PolicyError("broken")
    messages = [world.message() for _ in range(250)]
    for message in messages:
        world.keep(message)
        message.shrink()
        await world.queues.recover(message)
    world.policy.error = None
    await world.clock.advance(60)
    for _ in range(100):
        await world.clock.settle()
    assert [message_id for message_id, _ in world.deliverer.delivered] == [m.id for m in messages]


async def test_unresolved_messages_in_memory_only_are_saved_at_shutdown() -> None:
    world = World()
    world.policy.error = PolicyError("broken")
    message = world.message()
    world.queues.insert(message)
    await world.clock.settle()
    await world.queues.shutdown()
    assert world.store.kept == {message.id: (A,)}
    assert world.clock.timers == 0


async def test_a_crash_and_restart_delivers_what_was_waiting(world: World) -> None:
    world.deliverer.failing = lambda _r: True
    message = await world.take_in()
    await world.queues.shutdown()
    world.deliverer.failing = lambda _r: False
    world.restart()
    await world.queues.start()
    await world.clock.advance(1300)
    assert message.num_attempts == 1
    await world.recover(message)
    assert world.deliverer.delivered == [(message.id, A)]
