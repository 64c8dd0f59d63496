"""The steps between the final dot and its reply: their order, and what survives when one fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from kumo.config import BatchHandling, LineEndings, TraceHeaders
from kumo.errors import PolicyError, Rejection, SpoolFull
from kumo.message import Connection, Message
from kumo.smtp import Reply, parse_envelope_address

from .conftest import MakeReception, World, settle, transaction


def set_clock(monkeypatch: pytest.MonkeyPatch, monotonic: Callable[[], float]) -> None:
    """Give reception a clock of its own; the event loop keeps the real one."""
    monkeypatch.setattr("kumo.reception.reception.monotonic", monotonic)


NO_TRACE = TraceHeaders(received_header=False, supplemental_header=False)


async def test_a_message_is_stored_logged_and_queued_before_its_250(
    world: World, make_reception: MakeReception, connection: Connection
) -> None:
    reply = await settle(make_reception().receive(connection, transaction()))
    (message,) = world.queued
    assert reply == Reply(250, f"OK ids={message.id}")
    assert world.order == ["data", "split", "received", "resolve", "store", "log", "insert"]
    assert list(world.stored) == [message.id]


async def test_trace_fields_stand_before_the_content(
    world: World, make_reception: MakeReception, connection: Connection
) -> None:
    await settle(make_reception().receive(connection, transaction()))
    ((content, _),) = world.stored.values()
    assert content.startswith(b"X-KumoRef: ")
    assert b"\r\nReceived: from client.example.com (192.0.2.7)\r\n" in content
    assert content.endswith(b"+0000\r\nSubject: x\r\n\r\nhello\r\n")


async def test_message_received_sees_received_but_not_the_supplemental_field(
    world: World, make_reception: MakeReception, connection: Connection
) -> None:
    seen = []
    world.handlers["received"] = lambda message, _: seen.append(message.content)
    await settle(make_reception().receive(connection, transaction()))
    assert seen[0].startswith(b"Received: ")
    assert b"X-KumoRef" not in seen[0]


def test_nothing_waits_when_nothing_has_to(
    world: World, make_reception: MakeReception, connection: Connection
) -> None:
    """A message for the null queue is answered without an event loop."""
    world.handlers["received"] = lambda message, _: message.meta.update(queue="null")
    reply = make_reception().receive(connection, transaction())
    assert isinstance(reply, Reply)
    assert reply.code == 250
    assert world.order == ["data", "split", "received", "log"]


async def test_null_queue_is_logged_and_dropped_beside_a_stored_sibling(
    world: World, make_reception: MakeReception, connection: Connection
) -> None:
    def discard_the_first(message: Message, _: Connection) -> None:
        if message.recipients[0].user == "one":
            message.meta["queue"] = "null"

    world.handlers["received"] = discard_the_first
    content = transaction(recipients=("one@example.org", "two@example.org"))
    reply = await settle(make_reception().receive(connection, content))
    assert [note for name, note in world.journal if name == "log"] == ["null", "example.org"]
    assert [m.recipients[0].user for m in world.queued] == ["two"]
    assert len(reply.text.split()) == 3  # OK, and the ids of both


async def test_deferred_spool_queues_without_storing(
    world: World, make_reception: MakeReception, connection: Connection
) -> None:
    await settle(make_reception(deferred_spool=True).receive(connection, transaction()))
    assert world.stored == {}
    assert len(world.queued) == 1


@pytest.mark.parametrize(
    ("handling", "expected"),
    [
        (BatchHandling.BIFURCATE_ALWAYS, [["a@x.example"], ["b@y.example"], ["c@X.example"]]),
        (BatchHandling.BATCH_BY_DOMAIN, [["a@x.example", "c@X.example"], ["b@y.example"]]),
    ],
)
async def test_batch_handling_splits(
    world: World,
    make_reception: MakeReception,
    connection: Connection,
    handling: BatchHandling,
    expected: list[list[str]],
) -> None:
    content = transaction(recipients=("a@x.example", "b@y.example", "c@X.example"))
    await settle(make_reception(batch_handling=handling).receive(connection, content))
    got = [[str(r).lower() for r in m.recipients] for m in world.queued]
    assert got == [[r.lower() for r in batch] for batch in expected]


async def test_split_event_decides_and_empty_batches_vanish(
    world: World, make_reception: MakeReception, connection: Connection
) -> None:
    one, two = parse_envelope_address("one@example.org"), parse_envelope_address("two@example.org")
    world.handlers["split"] = lambda *_: [[two, one], []]
    await settle(make_reception().receive(connection, transaction(recipients=(str(one), str(two)))))
    assert [m.recipients for m in world.queued] == [[two, one]]


async def test_no_batch_at_all_is_refused(
    world: World, make_reception: MakeReception, connection: Connection
) -> None:
    world.handlers["split"] = lambda *_: []
    reply = await settle(make_reception().receive(connection, transaction()))
    assert reply == Reply(550, "5.7.1 relaying not permitted")
    assert world.stored == {}


async def test_messages_of_a_transaction_share_meta_values_but_not_the_dict(
    world: World, make_reception: MakeReception, connection: Connection
) -> None:
    def mark(message: Message, _: Connection) -> None:
        message.meta["mine"] = str(message.recipients[0])

    world.handlers["data"] = lambda message, _: message.meta.update(base=True)
    world.handlers["received"] = mark
    content = transaction(recipients=("a@example.org", "b@example.org"))
    await settle(make_reception().receive(connection, content))
    assert [m.meta["mine"] for m in world.queued] == ["a@example.org", "b@example.org"]
    assert all(m.meta["base"] for m in world.queued)
    assert "base" not in connection.meta


async def test_data_event_may_change_the_content_but_not_the_sender(
    world: World, make_reception: MakeReception, connection: Connection
) -> None:
    def edit(message: Message, _: Connection) -> None:
        message.set_content(b"Subject: other\r\n\r\n")
        message.sender = parse_envelope_address("other@example.com")

    world.handlers["data"] = edit
    content = transaction()
    await settle(make_reception(trace_headers=NO_TRACE).receive(connection, content))
    (message,) = world.queued
    assert message.content == b"Subject: other\r\n\r\n"
    assert message.sender == content.sender


@pytest.mark.parametrize("event", ["data", "split", "received"])
@pytest.mark.parametrize("waits", [False, True])
async def test_a_rejection_stores_nothing(
    world: World, make_reception: MakeReception, connection: Connection, event: str, waits: bool
) -> None:
    def refuse(*_: Any) -> Any:
        if not waits:
            raise Rejection(550, "5.7.1 no")

        async def later() -> None:
            raise Rejection(550, "5.7.1 no")

        return later()

    world.handlers[event] = refuse
    with pytest.raises(Rejection, match=r"550 5\.7\.1 no"):
        await settle(make_reception().receive(connection, transaction()))
    assert "store" not in world.order
    assert "log" not in world.order


async def test_the_second_of_two_messages_refused_refuses_both(
    world: World, make_reception: MakeReception, connection: Connection
) -> None:
    def refuse_two(message: Message, _: Connection) -> None:
        if message.recipients[0].user == "two":
            raise Rejection(451, "later")

    world.handlers["received"] = refuse_two
    with pytest.raises(Rejection):
        await settle(
            make_reception().receive(connection, transaction(recipients=("one@e.example", "two@e.example")))
        )
    assert world.stored == {}
    assert world.queued == []


@pytest.mark.parametrize("error", [Rejection(550, "no"), PolicyError("get_queue_config failed")])
async def test_a_queue_that_cannot_be_resolved_is_our_failure_not_the_peers(
    world: World, make_reception: MakeReception, connection: Connection, error: Exception
) -> None:
    def fail(_: str) -> None:
        raise error

    world.handlers["resolve"] = fail
    with pytest.raises(PolicyError):
        await settle(make_reception().receive(connection, transaction()))
    assert "store" not in world.order


async def test_all_queues_are_resolved_before_anything_is_stored(
    world: World, make_reception: MakeReception, connection: Connection
) -> None:
    content = transaction(recipients=("a@one.example", "b@two.example"))
    await settle(make_reception().receive(connection, content))
    assert world.order.index("store") > max(i for i, name in enumerate(world.order) if name == "resolve")


async def test_queue_key_of_the_wrong_type_is_a_policy_error(
    world: World, make_reception: MakeReception, connection: Connection
) -> None:
    world.handlers["received"] = lambda message, _: message.meta.update(tenant=7)
    with pytest.raises(PolicyError, match="tenant"):
        await settle(make_reception().receive(connection, transaction()))


async def test_a_full_spool_logs_and_queues_nothing(
    world: World, make_reception: MakeReception, connection: Connection
) -> None:
    def fail(_: Any) -> None:
        raise SpoolFull("no room")

    world.handlers["store"] = fail
    with pytest.raises(SpoolFull):
        await settle(make_reception().receive(connection, transaction()))
    assert "log" not in world.order
    assert world.queued == []


async def test_a_failure_after_storing_unwinds_the_whole_transaction(
    world: World, make_reception: MakeReception, connection: Connection
) -> None:
    def fail_second(message: Message, *_: Any) -> None:
        if message.recipients[0].user == "two":
            raise OSError("log is gone")

    world.handlers["log"] = fail_second
    with pytest.raises(OSError, match="log is gone"):
        await settle(
            make_reception().receive(connection, transaction(recipients=("one@e.example", "two@e.example")))
        )
    assert world.stored == {}
    assert world.queued == []


# uvloop's timers have whole milliseconds and may fire a fraction early.
@pytest.mark.parametrize("seconds", [0.0123, 0.0257])
@pytest.mark.parametrize(("event", "stage"), [("data", "rx"), ("received", "rx"), ("resolve", "resolve")])
async def test_deadline_names_the_stage(
    world: World,
    make_reception: MakeReception,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
    event: str,
    stage: str,
    seconds: float,
) -> None:
    set_clock(monkeypatch, lambda: 1000.0)  # however slow the machine, the event is reached in time
    world.handlers[event] = lambda *_: asyncio.Event().wait()
    reception = make_reception(data_processing_timeout=seconds)
    reply = await settle(reception.receive(connection, transaction()))
    assert reply == Reply(451, f"4.4.5 data_processing_timeout exceeded ({stage})")
    assert world.stored == {}


async def test_a_hurried_reception_waits_for_nobody_but_the_store(
    world: World, make_reception: MakeReception, connection: Connection
) -> None:
    reached = asyncio.Event()

    async def wait_for_ever() -> None:
        reached.set()
        await asyncio.Event().wait()

    world.handlers["data"] = lambda *_: wait_for_ever()
    reception = make_reception()
    waiting = asyncio.ensure_future(settle(reception.receive(connection, transaction())))
    await reached.wait()
    reception.hurry()
    assert (await waiting).code == 451
    assert (await settle(reception.receive(connection, transaction()))).code == 451
    del world.handlers["data"]
    assert (await settle(reception.receive(connection, transaction()))).code == 250


async def test_handlers_that_compute_use_up_the_deadline_too(
    world: World, make_reception: MakeReception, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of three handlers takes a second of a clock that only they move; there are two."""
    clock = [1000.0]
    set_clock(monkeypatch, lambda: clock[0])

    def compute(*_: Any) -> None:
        clock[0] += 1.0

    world.handlers["received"] = compute
    content = transaction(recipients=("a@e.example", "b@e.example", "c@e.example", "d@e.example"))
    reply = await settle(make_reception(data_processing_timeout=2.0).receive(connection, content))
    assert reply == Reply(451, "4.4.5 data_processing_timeout exceeded (rx)")
    assert world.order.count("received") < 4
    assert world.stored == {}


@pytest.mark.parametrize(
    ("event", "next_step"), [("received", "resolve"), ("domain", "store"), ("log", "insert")]
)
async def test_others_have_their_turn_between_the_messages(
    world: World,
    make_reception: MakeReception,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
    event: str,
    next_step: str,
) -> None:
    clock = [1000.0]
    set_clock(monkeypatch, lambda: clock[0])
    others: list[int] = []

    def compute(*_: Any) -> None:
        clock[0] += 0.01
        asyncio.get_running_loop().call_soon(lambda: others.append(len(world.journal)))

    world.handlers[event] = compute
    content = transaction(recipients=("a@1.example", "b@2.example", "c@3.example"))
    reply = await settle(make_reception().receive(connection, content))
    assert reply.code == 250
    assert others[0] < world.order.index(next_step)


async def test_a_handlers_own_timeout_is_not_taken_for_the_deadline(
    world: World, make_reception: MakeReception, connection: Connection
) -> None:
    async def impatient() -> None:
        raise TimeoutError("mine")

    world.handlers["data"] = lambda *_: impatient()
    with pytest.raises(TimeoutError, match="mine"):
        await settle(make_reception().receive(connection, transaction()))


@pytest.mark.parametrize(
    ("line_endings", "stream", "expected", "kept"),
    [
        (LineEndings.DENY, b"a\r\nb\r\n.\r\n", 250, b"a\r\nb\r\n"),
        (LineEndings.DENY, b"a\nb\r\n.\r\n", 552, None),
        (LineEndings.DENY, b"a\rb\r\n.\r\n", 552, None),
        (LineEndings.ALLOW, b"a\nb\rc\r\n.\r\n", 250, b"a\nb\rc\r\n"),
        (LineEndings.FIX, b"a\nb\rc\r\n.\r\n", 250, b"a\r\nb\r\nc\r\n"),
        # LF-only mail is one long line only for Deny, which names the line endings first.
        (LineEndings.DENY, b"0123456789\n" * 3 + b"\r\n.\r\n", 552, None),
        (LineEndings.FIX, b"0123456789\n" * 3 + b"\r\n.\r\n", 250, b"0123456789\r\n" * 3 + b"\r\n"),
        (LineEndings.ALLOW, b"0123456789\n" * 3 + b"\r\n.\r\n", 250, b"0123456789\n" * 3 + b"\r\n"),
        (LineEndings.DENY, b"0123456789abcdefg\r\n.\r\n", 500, None),
        (LineEndings.FIX, b"0123456789abcdefg\n\r\n.\r\n", 500, None),
        (LineEndings.ALLOW, b"0123456789abcdefg\r\r\n.\r\n", 500, None),
        # A removed dot does not count; sixteen octets are the limit here.
        (LineEndings.DENY, b".0123456789abcdef\r\n.\r\n", 250, b"0123456789abcdef\r\n"),
        # A dot that mending moves to a line's start is data and stays.
        (LineEndings.FIX, b"a\n.b\r\n.\r\n", 250, b"a\r\n.b\r\n"),
        (LineEndings.DENY, b".\r\n", 250, b""),
    ],
)
async def test_line_endings_and_lengths(
    world: World,
    make_reception: MakeReception,
    connection: Connection,
    line_endings: LineEndings,
    stream: bytes,
    expected: int,
    kept: bytes | None,
) -> None:
    reception = make_reception(invalid_line_endings=line_endings, trace_headers=NO_TRACE)
    reply = await settle(reception.receive(connection, transaction(stream, limit=16)))
    assert reply.code == expected
    assert [content for content, _ in world.stored.values()] == ([] if kept is None else [kept])
    if kept is None:
        assert world.journal == []  # refused before any event
