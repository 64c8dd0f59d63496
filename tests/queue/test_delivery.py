"""What becomes of a message from its insertion to its end."""

from __future__ import annotations

import asyncio

import pytest

from kumo.config import CustomLuaProtocol, QueueConfig, QueueProtocol, SmtpProtocol
from kumo.smtp import EnvelopeAddress
from tests.queue.fakes import BODY, START, World, config, disk_error, held_config

A = EnvelopeAddress("a", "example.org")
B = EnvelopeAddress("b", "example.org")


async def test_a_delivered_message_is_logged_and_only_then_removed(world: World) -> None:
    message = await world.take_in()
    assert world.history == [
        ("store", message.id),
        ("deliver", message.id),
        ("Delivery", message.id),
        ("remove", message.id),
    ]
    assert world.store.kept == {}
    assert world.queues.counts() == {"example.org": 0}
    assert world.metrics.total_messages_delivered == {"maildir": 1}
    assert world.metrics.total_messages_transfail == {}


async def test_nothing_is_delivered_before_the_start() -> None:
    world = World()
    await world.take_in()
    assert world.deliverer.attempts == []
    assert world.queues.counts() == {"example.org": 1}
    await world.queues.start()
    await world.clock.settle()
    assert len(world.deliverer.attempts) == 1


async def test_failures_follow_the_retry_schedule_to_the_second(world: World) -> None:
    world.deliverer.failing = lambda _r: True
    message = await world.take_in()
    for delay in (1200, 2400, 4800, 9600):
        attempts = len(world.deliverer.attempts)
        assert message.due == world.clock.wall + delay
        await world.clock.advance(delay - 1)
        assert len(world.deliverer.attempts) == attempts
        await world.clock.advance(1)
        assert len(world.deliverer.attempts) == attempts + 1
    assert [record[4] for record in world.log.records] == [0, 1, 2, 3, 4]
    assert message.num_attempts == 5
    assert world.metrics.total_messages_transfail == {"maildir": 5}


async def test_jitter_comes_from_the_injected_numbers() -> None:
    world = World(uniform=lambda: 0.0)
    await world.queues.start()
    world.deliverer.failing = lambda _r: True
    message = await world.take_in()
    assert message.due == world.clock.wall + 1170


async def test_a_message_expires_when_its_next_try_would_be_too_late(world: World) -> None:
    world.policy.default = config(retry_interval=60.0, max_age=200.0)
    world.deliverer.failing = lambda _r: True
    message = await world.take_in()
    await world.clock.advance(60)
    assert world.log.kinds == ["TransientFailure", "TransientFailure"]
    await world.clock.advance(120)
    assert world.log.kinds == ["TransientFailure", "TransientFailure", "TransientFailure", "Expiration"]
    assert world.log.records[-1][3] == (
        "Next delivery time would be 7m after creation, which exceeds max_age=3m 20s"
    )
    assert world.history[-2:] == [("Expiration", message.id), ("remove", message.id)]
    assert world.store.kept == {}
    assert world.queues.counts() == {"example.org": 0}
    assert world.metrics.total_messages_fail == {"maildir": 1}


async def test_delivered_recipients_are_done_and_the_rest_is_stored_before_it_waits(world: World) -> None:
    world.deliverer.failing = lambda r: r == B
    message = await world.take_in("a@example.org", "b@example.org")
    assert world.log.records[:2] == [
        ("Delivery", message.id, (A, B), "done", 0),
        ("TransientFailure", message.id, (A, B), "not now", 0),
    ]
    assert [event for event, _ in world.history] == [
        "store",
        "deliver",
        "Delivery",
        "TransientFailure",
        "store",
    ]
    assert world.store.kept == {message.id: (B,)}
    world.deliverer.failing = lambda _r: False
    await world.clock.advance(1200)
    assert world.deliverer.delivered == [(message.id, A), (message.id, B)]
    assert world.store.kept == {}


async def test_a_recipient_named_twice_is_delivered_twice(world: World) -> None:
    message = await world.take_in("a@example.org", "a@example.org")
    assert world.deliverer.delivered == [(message.id, A)] * 2


async def test_a_stored_message_that_fails_whole_is_not_stored_again(world: World) -> None:
    world.deliverer.failing = lambda _r: True
    await world.take_in()
    assert [event for event, _ in world.history] == ["store", "deliver", "TransientFailure"]


async def test_a_delayed_message_leaves_its_content_to_the_spool(world: World) -> None:
    world.deliverer.failing = lambda _r: True
    message = await world.take_in()
    assert message.size == 0
    await world.clock.advance(1200)
    assert world.store.loads == 1
    assert len(world.deliverer.attempts) == 2


async def test_an_unstored_message_that_succeeds_never_touches_the_spool(world: World) -> None:
    await world.take_in(is_stored=False)
    assert [event for event, _ in world.history] == ["deliver", "Delivery"]


async def test_an_unstored_message_that_fails_is_stored(world: World) -> None:
    world.deliverer.failing = lambda _r: True
    message = await world.take_in(is_stored=False)
    assert world.store.kept == {message.id: (A,)}
    assert world.store.contents == {message.id: BODY}
    assert message.size == 0


async def test_a_due_time_in_the_future_is_kept(world: World) -> None:
    message = world.message()
    message.due = world.clock.wall + 100
    world.queues.resolve("example.org")
    world.queues.insert(message)
    await world.clock.advance(99)
    assert world.deliverer.attempts == []
    await world.clock.advance(1)
    assert world.deliverer.attempts == [message.id]


async def test_a_jump_of_the_wall_clock_moves_neither_retry_nor_expiry(world: World) -> None:
    world.deliverer.failing = lambda _r: True
    await world.take_in()
    world.clock.wall += 86400 * 30
    await world.clock.advance(1199)
    assert len(world.deliverer.attempts) == 1
    await world.clock.advance(1)
    assert len(world.deliverer.attempts) == 2
    assert "Expiration" not in world.log.kinds


async def test_attempts_at_one_time_are_bounded_and_queues_take_turns() -> None:
    world = World(max_attempts=3)
    for domain in ("one.example", "two.example"):
        for _ in range(10):
            await world.take_in(f"a@{domain}")
    await world.queues.start()
    for _ in range(10):
        await world.clock.settle()
    assert world.deliverer.most_running == 3
    first_four = [recipient.domain for _, recipient in world.deliverer.delivered[:4]]
    assert first_four == ["one.example", "two.example"] * 2
    assert len(world.deliverer.delivered) == 20


@pytest.mark.parametrize(
    ("protocol", "words"), [(SmtpProtocol(), "over SMTP"), (CustomLuaProtocol(constructor="c"), "by Lua")]
)
async def test_a_queue_without_a_protocol_that_exists_keeps_its_messages(
    world: World, protocol: QueueProtocol, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    world.policy.default = QueueConfig(protocol=protocol)
    caplog.set_level("INFO", "kumod.queue")
    first = await world.take_in()
    second = await world.take_in(is_stored=False)
    await world.clock.advance(86400)
    assert world.deliverer.attempts == []
    assert world.queues.counts() == {"example.org": 2}
    assert set(world.store.kept) == {first.id, second.id}
    assert first.size == second.size == 0
    assert {message.id for message in world.queues.messages("example.org")} == {first.id, second.id}
    assert caplog.messages == [
        f"queue example.org: this version does not deliver {words}; its messages are kept"
    ]


async def test_kept_messages_expire_at_their_age(world: World) -> None:
    world.policy.default = held_config(max_age=1000.0)
    old = await world.take_in(age=400.0)
    young = await world.take_in()
    await world.clock.advance(601)
    assert [(record[0], record[1]) for record in world.log.records] == [("Expiration", old.id)]
    assert set(world.store.kept) == {young.id}
    await world.clock.advance(400)
    assert world.store.kept == {}
    assert world.deliverer.attempts == []


async def test_kept_messages_are_delivered_once_policy_has_a_protocol_for_them(world: World) -> None:
    world.policy.default = held_config()
    message = await world.take_in()
    await world.clock.advance(300)
    world.policy.default = config()
    await world.clock.advance(61)
    assert world.deliverer.delivered == [(message.id, A)]
    assert world.store.kept == {}


async def test_waiting_messages_are_kept_once_policy_takes_the_protocol_away(world: World) -> None:
    world.deliverer.failing = lambda _r: True
    message = await world.take_in()
    world.policy.default = held_config(max_age=5000.0)
    await world.clock.advance(1200)
    assert len(world.deliverer.attempts) == 1
    assert world.queues.counts() == {"example.org": 1}
    await world.clock.advance(3801)
    assert world.log.records[-1][:2] == ("Expiration", message.id)


async def test_content_beyond_the_limit_waits_on_the_spool() -> None:
    world = World(max_attempts=1, resident_limit=3 * len(BODY))
    messages = [await world.take_in() for _ in range(10)]
    assert [message.size > 0 for message in messages] == [True] * 3 + [False] * 7
    await world.queues.start()
    for _ in range(20):
        await world.clock.settle()
    assert len(world.deliverer.delivered) == 10
    assert world.store.loads == 7
    again = await world.take_in()
    assert world.deliverer.delivered[-1] == (again.id, A)


async def test_content_beyond_the_limit_that_is_in_memory_only_is_stored_first() -> None:
    world = World(max_attempts=1, resident_limit=2 * len(BODY))
    await world.queues.start()
    world.deliverer.gate = asyncio.Event()
    messages = [await world.take_in(is_stored=False) for _ in range(6)]
    assert len(world.store.kept) == 3
    assert world.queues.counts() == {"example.org": 6}
    world.deliverer.gate.set()
    for _ in range(20):
        await world.clock.settle()
    assert {message_id for message_id, _ in world.deliverer.delivered} >= {message.id for message in messages}
    assert world.store.kept == {}


async def test_content_that_cannot_be_stored_first_is_delivered_from_memory() -> None:
    world = World(resident_limit=0, max_attempts=1)
    await world.queues.start()
    world.faults.plan("store", disk_error())
    message = await world.take_in(is_stored=False)
    assert world.deliverer.delivered == [(message.id, A)]


async def test_a_due_message_does_not_wait_for_a_long_line_of_new_ones() -> None:
    world = World(max_attempts=1)
    await world.queues.start()
    world.deliverer.failing = lambda _r: True
    late = await world.take_in()
    world.deliverer.failing = lambda _r: False
    gate = world.deliverer.gate = asyncio.Event()
    await world.clock.advance(1199)
    for _ in range(5):
        await world.take_in()
    await world.clock.advance(1)
    gate.set()
    for _ in range(10):
        await world.clock.settle()
    assert world.deliverer.attempts.index(late.id, 1) == 2


async def test_created_long_ago_still_gets_its_first_attempt(world: World) -> None:
    message = await world.take_in(age=86400.0 * 30)
    assert world.deliverer.delivered == [(message.id, A)]
    assert message.created == START - 86400 * 30
