"""Whatever fails, no message is lost and no outcome is forgotten before it is logged."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kumo.errors import CorruptEntry, SpoolFull
from kumo.maybe_awaitable import is_awaitable
from kumo.smtp import EnvelopeAddress
from tests.queue.fakes import World, config, disk_error

A = EnvelopeAddress("a", "example.org")
B = EnvelopeAddress("b", "example.org")


async def test_a_deliverer_that_raises_is_a_failure_of_the_attempt(world: World) -> None:
    world.faults.plan("deliver", RuntimeError("oops"))
    message = await world.take_in()
    assert world.log.records == [
        ("TransientFailure", message.id, (A,), "KumoMTA internal: error in deliver_message: oops", 0)
    ]
    assert world.store.kept == {message.id: (A,)}
    await world.clock.advance(1200)
    assert world.deliverer.delivered == [(message.id, A)]


async def test_a_failing_log_is_tried_again_and_holds_back_the_removal(world: World) -> None:
    world.faults.plan("log", OSError("no room"), times=3)
    message = await world.take_in()
    assert world.store.kept == {message.id: (A,)}
    assert world.queues.counts() == {"example.org": 1}
    await world.clock.advance(1 + 2)
    assert world.log.records == []
    await world.clock.advance(4)
    assert world.log.kinds == ["Delivery"]
    assert world.store.kept == {}
    assert world.deliverer.delivered == [(message.id, A)]


async def test_a_failing_removal_is_tried_again(world: World) -> None:
    world.faults.plan("remove", disk_error(), times=2)
    message = await world.take_in()
    assert world.store.kept == {message.id: (A,)}
    await world.clock.advance(3)
    assert world.store.kept == {}
    assert world.log.kinds == ["Delivery"]


async def test_a_failing_store_keeps_the_rest_in_memory_and_tries_again_later(world: World) -> None:
    world.deliverer.failing = lambda r: r == B
    world.faults.plan("store", SpoolFull("full"))
    message = await world.take_in("a@example.org", "b@example.org")
    assert world.store.kept == {message.id: (A, B)}
    assert message.recipients == [B]
    await world.clock.advance(1200)
    assert world.store.kept == {message.id: (B,)}
    assert world.deliverer.delivered == [(message.id, A)]


async def test_a_failing_store_of_an_unstored_message_keeps_it_in_memory(world: World) -> None:
    world.deliverer.failing = lambda _r: True
    world.faults.plan("store", SpoolFull("full"))
    message = await world.take_in(is_stored=False)
    assert message.size > 0
    assert world.queues.counts() == {"example.org": 1}
    world.deliverer.failing = lambda _r: False
    await world.clock.advance(1200)
    assert world.deliverer.delivered == [(message.id, A)]


async def test_a_content_that_is_gone_leaves_the_queue_but_not_the_spool(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    message = world.message()
    world.faults.plan("load", CorruptEntry("torn"))
    await world.recover(message)
    assert world.queues.counts() == {"example.org": 0}
    assert world.store.kept == {message.id: (A,)}
    assert f"message {message.id} cannot be read back" in caplog.text


async def test_a_content_that_cannot_be_read_now_is_read_later_and_no_attempt_counts(world: World) -> None:
    message = world.message()
    world.faults.plan("load", disk_error(), times=2)
    await world.recover(message)
    assert world.deliverer.attempts == []
    await world.clock.advance(120)
    assert world.deliverer.delivered == [(message.id, A)]
    assert world.log.records[-1][4] == 0


async def test_an_unexpected_error_puts_the_message_back(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    message = world.message()
    world.faults.plan("load", ZeroDivisionError())
    await world.recover(message)
    assert f"attempt at message {message.id} failed" in caplog.text
    await world.clock.advance(60)
    assert world.deliverer.delivered == [(message.id, A)]


async def test_shutdown_saves_what_is_in_memory_only() -> None:
    world = World()
    await world.queues.start()
    world.deliverer.failing = lambda r: r == B
    world.faults.plan("store", SpoolFull("full"), times=2)
    unstored = await world.take_in("b@example.org", is_stored=False)
    changed = await world.take_in("a@example.org", "b@example.org")
    assert world.store.kept == {changed.id: (A, B)}
    await world.queues.shutdown()
    assert world.store.kept == {changed.id: (B,), unstored.id: (B,)}


async def test_shutdown_lets_attempts_finish_and_starts_no_more() -> None:
    world = World(max_attempts=1)
    await world.queues.start()
    gate = world.deliverer.gate = asyncio.Event()
    first = await world.take_in()
    second = await world.take_in(is_stored=False)
    ending = asyncio.create_task(world.queues.shutdown())
    await world.clock.settle()
    assert not ending.done()
    gate.set()
    await ending
    assert world.deliverer.delivered == [(first.id, A)]
    assert world.log.kinds == ["Delivery"]
    assert world.store.kept == {second.id: (A,)}
    assert world.clock.timers == 0


async def test_shutdown_does_not_wait_for_ever_and_saves_what_it_gave_up() -> None:
    world = World()
    await world.queues.start()
    world.deliverer.gate = asyncio.Event()
    message = await world.take_in(is_stored=False)
    await world.queues.shutdown(grace=0)
    assert world.store.kept == {message.id: (A,)}


async def test_shutdown_stops_a_long_delivery_and_keeps_its_outcome() -> None:
    world = World()
    await world.queues.start()
    world.deliverer.gate = asyncio.Event()
    message = await world.take_in(is_stored=False)
    await world.queues.shutdown(grace=0.05)
    assert world.deliverer.stops == 1
    assert world.log.kinds == ["TransientFailure"]
    assert message.num_attempts == 1
    assert world.store.kept == {message.id: (A,)}


async def test_shutdown_leaves_deliveries_alone_that_are_over_in_time() -> None:
    world = World()
    await world.queues.start()
    message = await world.take_in()
    await world.queues.shutdown()
    assert world.deliverer.stops == 0
    assert world.deliverer.delivered == [(message.id, A)]


async def test_shutdown_saves_a_message_whose_task_never_began() -> None:
    world = World()
    await world.queues.start()
    world.deliverer.gate = asyncio.Event()
    message = world.message()
    world.queues.resolve("example.org")
    world.queues.insert(message)
    await world.queues.shutdown(grace=0)
    assert world.store.kept == {message.id: (A,)}


async def test_shutdown_saves_what_was_about_to_be_saved() -> None:
    world = World(resident_limit=0)
    await world.queues.start()
    world.store.gate = asyncio.Event()
    message = await world.take_in(is_stored=False)
    ending = asyncio.create_task(world.queues.shutdown(grace=0))
    await world.clock.settle()
    assert world.store.kept == {}
    world.store.gate.set()
    await ending
    assert world.store.kept == {message.id: (A,)}


async def test_shutdown_survives_a_spool_that_takes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    message = await world.take_in(is_stored=False)
    world.faults.plan("store", SpoolFull("full"))
    await world.queues.shutdown()
    assert f"message {message.id} cannot be stored" in caplog.text


_CALLS = ("store", "remove", "load", "log", "deliver")
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("fail"), st.sampled_from(_CALLS)),
        st.tuples(st.just("refuse"), st.sampled_from(["", "a", "b", "ab", "abc"])),
        st.tuples(st.just("wait"), st.integers(1, 3000)),
        st.tuples(st.just("insert"), st.booleans()),
    ),
    max_size=14,
)


async def _play(steps: list[tuple[str, object]]) -> None:
    world = World(max_attempts=2, resident_limit=40)
    world.policy.default = config(retry_interval=300.0)
    await world.queues.start()
    expected: dict[str, set[EnvelopeAddress]] = {}
    recipients = ("a@example.org", "b@example.org", "c@example.org")
    for step, argument in steps:
        if step == "fail":
            world.faults.plan(str(argument), disk_error())
        elif step == "refuse":
            world.deliverer.failing = lambda r, who=str(argument): r.local_part in who  # type: ignore[misc]
        elif step == "wait":
            await world.clock.advance(float(str(argument)))
        else:
            message = world.message(*recipients)
            expected[message.id] = set(message.recipients)
            pending = world.queues.resolve("example.org")
            if is_awaitable(pending):
                waiting = asyncio.ensure_future(pending)
                await world.clock.advance(86400)
                assert waiting.done()
            if argument:
                world.keep(message)
            world.queues.insert(message)
    world.deliverer.failing = lambda _r: False
    await world.clock.advance(86400)
    delivered: dict[str, list[EnvelopeAddress]] = {message_id: [] for message_id in expected}
    for message_id, recipient in world.deliverer.delivered:
        delivered[message_id].append(recipient)
    assert {key: set(value) for key, value in delivered.items()} == expected
    assert all(len(value) == 3 for value in delivered.values())
    assert world.store.kept == {}
    assert world.queues.counts() in ({}, {"example.org": 0})
    await world.queues.shutdown()


@given(_STEPS)
@settings(max_examples=100, deadline=None)
def test_no_interleaving_of_faults_loses_or_repeats_a_recipient(steps: list[tuple[str, object]]) -> None:
    asyncio.run(_play(steps))


async def _crash(steps: list[tuple[str, object]]) -> None:
    world = World(max_attempts=2)
    world.policy.default = config(retry_interval=300.0)
    await world.queues.start()
    ids = []
    for step, argument in steps:
        if step == "refuse":
            world.deliverer.failing = lambda r, who=str(argument): r.local_part in who  # type: ignore[misc]
        elif step == "wait":
            await world.clock.advance(float(str(argument)))
        elif step == "insert":
            ids.append((await world.take_in("a@example.org", "b@example.org", "c@example.org")).id)
        else:
            world.faults.plan(str(argument), disk_error())
    # What is left of a killed process is its spool.
    kept = dict(world.store.kept)
    logged = {record[1] for record in world.log.records if record[0] == "Delivery"}
    for message_id in ids:
        done = {recipient for known, recipient in world.deliverer.delivered if known == message_id}
        lost = {EnvelopeAddress(c, "example.org") for c in "abc"} - done - set(kept.get(message_id, ()))
        assert lost == set()
        assert message_id in kept or message_id in logged
    await world.queues.shutdown(grace=0)


@given(_STEPS)
@settings(max_examples=100, deadline=None)
def test_a_crash_at_any_moment_loses_no_recipient(steps: list[tuple[str, object]]) -> None:
    asyncio.run(_crash(steps))
