"""The life of a message in the deferred queue: shown to policy, then moved, put off or given up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from kumo.errors import PolicyError, Rejection
from kumo.message import DEFERRED_INJECTION_QUEUE, Connection, Identity, Message
from kumo.smtp import EnvelopeAddress
from tests.queue.fakes import BODY, SENDER, World, config, disk_error, held_config

A = EnvelopeAddress("a", "example.org")
B = EnvelopeAddress("b", "example.net")

Handler = Callable[[Message, Connection], Any]


async def take_in(world: World, **options: Any) -> Message:
    """What reception does with ``deferred_queue``."""
    return await world.take_in(**{"queue": DEFERRED_INJECTION_QUEUE, **options})


def raising(error: Exception, before: Handler = lambda *_: None) -> Handler:
    def handler(message: Message, connection: Connection) -> None:
        before(message, connection)
        raise error

    return handler


def change_everything(message: Message, _: Connection) -> None:
    message.sender = EnvelopeAddress("other", "example.com")
    message.recipients = [B]
    message.meta["tenant"] = "t"
    message.meta["nested"]["key"] = "changed"
    message.prepend(b"X-Mine: 1\r\n")


def assert_untouched(world: World, message: Message) -> None:
    """Memory and spool have the message as it was when it was taken."""
    assert message.sender == SENDER
    assert message.recipients == [A]
    assert message.meta == {"queue": DEFERRED_INJECTION_QUEUE, "nested": {"key": "value"}}
    assert world.store.kept == {message.id: (A,)}
    assert world.store.metas == {message.id: message.meta}
    assert world.store.contents == {message.id: BODY}
    assert not message.must_be_saved


async def test_it_moves_to_its_own_queue_and_is_delivered(world: World) -> None:
    message = await take_in(world)
    assert world.policy.injected == [message.id]
    assert world.log.records == [
        ("DeferredInjectionRebind", message.id, (A,), "example.org", 0),
        ("Delivery", message.id, (A,), "done", 0),
    ]
    assert [event for event, _ in world.history] == [
        "store",
        "store",
        "DeferredInjectionRebind",
        "deliver",
        "Delivery",
        "remove",
    ]
    # Policy configures its own queue, and not the deferred one.
    assert world.policy.asked == [("example.org", None, None, None)]


async def test_what_the_handler_changed_is_stored_before_the_message_moves(world: World) -> None:
    world.policy.default = held_config()
    world.policy.injects = change_everything
    message = await take_in(world, nested={"key": "value"})
    assert world.queues.counts() == {DEFERRED_INJECTION_QUEUE: 0, "t@example.net": 1}
    assert world.store.kept == {message.id: (B,)}
    assert world.store.metas == {message.id: {"tenant": "t", "nested": {"key": "changed"}}}
    assert world.store.contents == {message.id: b"X-Mine: 1\r\n" + BODY}
    assert message.due is None


async def test_the_handler_may_name_the_queue(world: World) -> None:
    world.policy.injects = lambda message, _: message.meta.update(queue="c:t@example.com!r")
    await take_in(world)
    assert world.policy.asked == [("example.com", "t", "c", "r")]
    assert world.log.records[0][3] == "c:t@example.com!r"


async def test_the_handler_sees_the_session_as_far_as_meta_tells(world: World) -> None:
    seen: list[Connection] = []

    def look(message: Message, connection: Connection) -> None:
        seen.append(connection)
        assert "queue" not in message.meta
        connection.meta["mine"] = True

    world.policy.default = held_config()
    world.policy.injects = look
    message = await take_in(
        world,
        received_from="[2001:db8::7]:4321",
        received_via="192.0.2.1:25",
        hostname="mx.example.net",
        ehlo_domain="client.example.com",
        authz_id="boss",
        authn_id="clerk",
        tls_cipher="TLS13_AES_128_GCM_SHA256",
        tls_protocol_version="TLSv1_3",
        tls_peer_subject_name=["CN=client"],
    )
    (connection,) = seen
    assert (connection.peer, connection.via) == ("[2001:db8::7]:4321", "192.0.2.1:25")
    assert (connection.hostname, connection.ehlo_domain) == ("mx.example.net", "client.example.com")
    assert connection.tls_protocol_version == "TLSv1_3"
    assert connection.tls_peer_subject_name == ("CN=client",)
    assert connection.auth_info is not None
    assert connection.auth_info.peer_address is None
    assert connection.auth_info.identities == [
        Identity("boss", "SmtpAuthPlainAuthorization"),
        Identity("clerk", "SmtpAuthPlainAuthentication"),
    ]
    assert "mine" not in message.meta


@pytest.mark.parametrize("value", [None, 7, "", "mine", "192.0.2.7", "host.example:25", "[::1]", ["x"]])
async def test_an_address_that_policy_has_spoilt_is_none(world: World, value: Any) -> None:
    seen: list[Connection] = []
    world.policy.injects = lambda _, connection: seen.append(connection)
    await take_in(world, received_from=value, ehlo_domain=value if isinstance(value, int) else None)
    assert (seen[0].peer_ip, seen[0].peer_port, seen[0].ehlo_domain) == ("", 0, None)


@pytest.mark.parametrize("code", [500, 550, 599])
async def test_a_permanent_rejection_bounces(world: World, code: int) -> None:
    world.policy.injects = raising(Rejection(code, "5.7.1 no"), change_everything)
    message = await take_in(world, nested={"key": "value"})
    assert world.log.records == [
        ("Bounce", message.id, (A,), f"{DEFERRED_INJECTION_QUEUE} {code} 5.7.1 no", 0)
    ]
    assert world.store.kept == {}
    assert world.queues.counts() == {DEFERRED_INJECTION_QUEUE: 0}
    assert world.metrics.total_messages_fail == {"defersmtpinject": 1}


FAILURES: list[tuple[Exception, str]] = [
    (Rejection(451, "4.7.1 later"), "451 4.7.1 later"),
    (Rejection(250, "odd"), "250 odd"),
    (PolicyError("a Lua error"), "450 a Lua error"),
    (RuntimeError("a bug"), "450 a bug"),
]


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize(("error", "text"), FAILURES)
async def test_any_other_failure_puts_it_off_as_it_was(
    world: World, waits: bool, error: Exception, text: str
) -> None:
    fail = raising(error, change_everything)

    async def later(message: Message, connection: Connection) -> None:
        await asyncio.sleep(0)
        fail(message, connection)

    world.policy.injects = later if waits else fail
    message = await take_in(world, nested={"key": "value"})
    assert world.log.records == [
        ("TransientFailure", message.id, (A,), f"{DEFERRED_INJECTION_QUEUE} {text}", 0)
    ]
    assert_untouched(world, message)
    assert [event for event, _ in world.history] == ["store", "TransientFailure"]
    assert message.num_attempts == 1
    assert message.due == world.clock.wall + 60
    assert world.metrics.total_messages_transfail == {"defersmtpinject": 1}


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("resolve", "queue example.org cannot be used: 550 no"),
        ("policy", "broken"),
        ("store", "the message cannot be stored"),
        ("no recipient", "has no queue: a message without recipients has no queue name"),
        ("bad name", "has no queue: meta `tenant` must be a string, not int"),
        ("same queue", f"cannot be queued to {DEFERRED_INJECTION_QUEUE} once more"),
    ],
)
async def test_a_message_that_cannot_be_moved_is_put_off_as_it_was(
    world: World, fault: str, text: str
) -> None:
    def spoil(message: Message, _: Connection) -> None:
        message.prepend(b"X-Mine: 1\r\n")
        match fault:
            case "resolve":
                world.policy.error = Rejection(550, "no")
            case "policy":
                world.policy.error = PolicyError("broken")
            case "store":
                world.faults.plan("store", disk_error())
            case "no recipient":
                message.recipients = []
            case "bad name":
                message.meta["tenant"] = 7
            case "same queue":
                message.meta["queue"] = DEFERRED_INJECTION_QUEUE

    world.policy.injects = spoil
    message = await take_in(world, nested={"key": "value"})
    ((kind, _, _, record, _),) = world.log.records
    assert kind == "TransientFailure"
    assert record.startswith(f"{DEFERRED_INJECTION_QUEUE} 450 ")
    assert record.endswith(text)
    assert_untouched(world, message)
    world.policy.error = None
    world.policy.injects = lambda *_: None
    await world.clock.advance(60)
    assert world.deliverer.delivered == [(message.id, A)]
    assert world.deliverer.contents == [BODY]


async def test_it_is_tried_for_a_week_with_growing_pauses(world: World) -> None:
    world.policy.injects = raising(Rejection(451, "later"))
    message = await take_in(world)
    dues = []
    while world.store.kept:
        assert message.due is not None
        dues.append(round(message.due - world.clock.wall))
        await world.clock.advance(dues[-1])
    assert dues[:4] == [60, 120, 240, 480]
    assert world.log.kinds == ["TransientFailure"] * (len(dues) + 1) + ["Expiration"]
    assert world.log.records[-1][3].endswith("which exceeds max_age=7days")


async def test_the_null_queue_finishes_it(world: World) -> None:
    world.policy.injects = lambda message, _: message.meta.update(queue="null")
    message = await take_in(world)
    assert world.log.records == [("DeferredInjectionRebind", message.id, (A,), "null", 0)]
    assert world.store.kept == {}
    assert world.policy.asked == []


async def test_with_deferred_spool_it_is_stored_only_when_it_has_to_wait(world: World) -> None:
    message = await take_in(world, is_stored=False)
    assert world.deliverer.delivered == [(message.id, A)]
    assert "store" not in [event for event, _ in world.history]
    world.policy.injects = raising(Rejection(451, "later"), change_everything)
    message = await take_in(world, is_stored=False, nested={"key": "value"})
    assert_untouched(world, message)


async def test_a_content_that_is_on_the_spool_only_is_loaded_first(world: World) -> None:
    world.policy.injects = raising(Rejection(451, "later"))
    message = await take_in(world)
    assert not message.is_resident
    world.policy.injects = lambda *_: None
    await world.clock.advance(60)
    assert world.store.loads == 1
    assert world.deliverer.contents == [BODY]
    assert message.due is None


async def test_a_record_is_insisted_on_before_the_message_moves(world: World) -> None:
    world.faults.plan("log", OSError("no room"))
    message = await take_in(world)
    assert world.deliverer.attempts == []
    assert "queue" not in world.store.metas[message.id]
    await world.clock.advance(1)
    assert world.log.kinds == ["DeferredInjectionRebind", "Delivery"]


async def test_attempts_are_bounded_together_with_deliveries() -> None:
    world = World(max_attempts=2)
    gate = asyncio.Event()
    world.policy.injects = lambda *_: gate.wait()
    for _ in range(5):
        await take_in(world)
    await world.queues.start()
    await world.clock.settle()
    assert len(world.policy.injected) == 2
    gate.set()
    await world.clock.settle()
    await world.clock.settle()
    assert len(world.deliverer.delivered) == 5
    await world.queues.shutdown()


async def test_unsaved_content_that_crowds_the_memory_stops_no_injection() -> None:
    """An attempt must not wait for room that only attempts can make."""
    world = World(resident_limit=1, max_attempts=1)
    assert world.queues.resolve(DEFERRED_INJECTION_QUEUE) is None
    messages = [world.message(queue=DEFERRED_INJECTION_QUEUE) for _ in range(3)]
    for message in messages:
        world.queues.insert(message)
    await world.queues.start()
    for _ in range(3):
        await world.clock.settle()
    assert sorted(i for i, _ in world.deliverer.delivered) == sorted(m.id for m in messages)
    await world.queues.shutdown()


@pytest.mark.parametrize("is_stored", [True, False])
async def test_a_shutdown_leaves_a_message_in_the_handler_as_it_was(is_stored: bool) -> None:
    world = World()

    async def hang(message: Message, connection: Connection) -> None:
        change_everything(message, connection)
        await asyncio.Event().wait()

    world.policy.injects = hang
    await world.queues.start()
    message = await take_in(world, is_stored=is_stored, nested={"key": "value"})
    await world.queues.shutdown(grace=0)
    assert_untouched(world, message)
    assert world.log.records == []


async def test_a_shutdown_while_policy_thinks_about_the_queue_leaves_no_task() -> None:
    world = World()
    world.policy.gate = asyncio.Event()
    release = asyncio.Event()
    world.policy.injects = lambda *_: release.wait()
    await world.queues.start()
    message = await take_in(world, nested={"key": "value"})
    ending = asyncio.ensure_future(world.queues.shutdown(grace=0.2))
    await world.clock.settle()
    release.set()
    await ending
    assert_untouched(world, message)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_message_that_moves_during_a_shutdown_is_kept(world: World) -> None:
    release = asyncio.Event()
    world.policy.injects = lambda *_: release.wait()
    message = await take_in(world, is_stored=False)
    ending = asyncio.ensure_future(world.queues.shutdown())
    await world.clock.settle()
    release.set()
    await ending
    assert world.deliverer.attempts == []
    assert world.store.metas == {message.id: {}}
    assert world.log.kinds == ["DeferredInjectionRebind"]


async def test_a_message_whose_queue_was_forgotten_before_a_shutdown_is_kept(world: World) -> None:
    world.policy.default = config(reap_interval=0.0)
    world.faults.plan("log", OSError("no room"), times=2)
    message = await take_in(world, is_stored=False)
    await world.clock.advance(2)
    assert world.queues.counts() == {DEFERRED_INJECTION_QUEUE: 1}
    world.policy.gate = asyncio.Event()
    ending = asyncio.ensure_future(world.queues.shutdown())
    await world.clock.advance(2)
    await ending
    assert world.log.kinds == ["DeferredInjectionRebind"]
    assert world.store.metas == {message.id: {}}
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_after_a_crash_it_is_shown_to_policy_again(world: World) -> None:
    gate = asyncio.Event()
    world.policy.injects = lambda *_: gate.wait()
    message = await take_in(world)
    found = world.message(queue=DEFERRED_INJECTION_QUEUE, age=0)
    world.policy.injects = lambda *_: None
    found.id = message.id
    world.restart()
    await world.queues.start()
    await world.recover(found)
    assert world.policy.injected == [message.id, message.id]
    assert world.deliverer.delivered == [(message.id, A)]
    gate.set()


async def test_a_recovered_message_goes_on_with_its_attempts(world: World) -> None:
    world.policy.injects = raising(Rejection(451, "later"))
    message = world.message(queue=DEFERRED_INJECTION_QUEUE, age=60 + 120)
    await world.recover(message)
    assert message.num_attempts == 3
    assert message.due == world.clock.wall + 240


async def test_a_changed_policy_changes_nothing_for_the_deferred_queue(world: World) -> None:
    world.policy.default = config(retry_interval=5.0)
    world.policy.injects = raising(Rejection(451, "later"))
    message = await take_in(world)
    world.queues.policy_changed()
    await world.clock.advance(60)
    assert message.num_attempts == 2
    assert world.policy.asked == []


async def test_an_idle_deferred_queue_is_forgotten_and_comes_back(world: World) -> None:
    await take_in(world)
    await world.clock.advance(601)
    assert world.queues.counts() == {}
    message = await take_in(world)
    assert world.deliverer.delivered[-1] == (message.id, A)
