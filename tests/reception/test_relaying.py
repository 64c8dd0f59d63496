"""At the final dot: who is relayed, what is dropped, what counts as a report and how it is recorded."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kumo.config import BatchHandling, CidrSet, ListenerDomain, ReportHandling
from kumo.errors import PolicyError, Rejection
from kumo.message import Connection, Message
from kumo.reception import RELAYING_NOT_PERMITTED
from kumo.smtp import EnvelopeAddress, Reply

from .conftest import NO_RELAY_HOSTS, MakeReception, World, settle, transaction
from .samples import ARF, DSN, MAIL

IGNORE, DROP, RELAY = ReportHandling


def kind_of(record: dict[str, Any]) -> str:
    """What the logs make of the call: the records by name."""
    if record.get("feedback") is not None:
        return "Feedback"
    if record.get("delivery_status") is None:
        return "Reception"
    return "OOB" if record["is_dropped_report"] else "Reception OOB"


async def receive(
    world: World,
    make_reception: MakeReception,
    connection: Connection,
    stream: bytes = MAIL,
    recipients: tuple[str, ...] = ("b@to.example",),
    **parameters: Any,
) -> Reply:
    reception = make_reception(**{"relay_hosts": NO_RELAY_HOSTS, **parameters})
    reply: Reply = await settle(reception.receive(connection, transaction(stream, recipients=recipients)))
    # Whatever was decided, no message is queued that is not stored.
    assert {m.id for m in world.queued} == set(world.stored)
    return reply


@pytest.mark.parametrize("is_relay_host", [False, True])
@pytest.mark.parametrize(
    ("target", "stream", "records", "is_queued", "code"),
    [
        # Reports are not looked at unless the domain has them logged.
        ({"relay_to": True}, DSN, "Reception", True, 250),
        ({"relay_to": True}, ARF, "Reception", True, 250),
        ({"log_oob": DROP}, DSN, "OOB", False, 250),
        ({"log_oob": RELAY}, DSN, "Reception OOB", True, 250),
        ({"log_arf": DROP}, ARF, "Feedback", False, 250),
        ({"log_arf": RELAY}, ARF, "Feedback", True, 250),
        # What becomes of a report overrides what may be relayed.
        ({"relay_to": True, "log_oob": DROP}, DSN, "OOB", False, 250),
        ({"relay_to": True, "log_arf": DROP}, ARF, "Feedback", False, 250),
        # Each kind of handling is for its own kind of report.
        ({"relay_to": True, "log_arf": DROP}, DSN, "Reception", True, 250),
        ({"relay_to": True, "log_oob": DROP}, MAIL, "Reception", True, 250),
        ({"log_arf": DROP, "log_oob": RELAY}, DSN, "Reception OOB", True, 250),
        ({"log_arf": RELAY, "log_oob": DROP}, ARF, "Feedback", True, 250),
    ],
)
async def test_reports(
    world: World,
    make_reception: MakeReception,
    connection: Connection,
    is_relay_host: bool,
    target: dict[str, Any],
    stream: bytes,
    records: str,
    is_queued: bool,
    code: int,
) -> None:
    world.domains["to.example"] = ListenerDomain(**target)
    parameters: dict[str, Any] = {"relay_hosts": CidrSet.parse([connection.peer_ip])} if is_relay_host else {}
    reply = await receive(world, make_reception, connection, stream, **parameters)
    assert reply.code == code
    assert [kind_of(record) for record in world.records] == [records]
    assert len(world.queued) == is_queued


@pytest.mark.parametrize(
    ("target", "stream"),
    [
        ({"log_oob": DROP}, MAIL),
        ({"log_oob": RELAY, "log_arf": RELAY}, MAIL),
        ({"log_arf": RELAY}, DSN),
        ({"log_oob": RELAY}, ARF),
        ({"log_oob": RELAY}, DSN.replace(b"Status: 5.1.1\r\n", b"")),
        ({"log_arf": RELAY}, ARF.replace(b"Version: 1\r\n", b"")),
    ],
)
async def test_what_is_no_report_needs_relay_rights(
    world: World,
    make_reception: MakeReception,
    connection: Connection,
    target: dict[str, Any],
    stream: bytes,
) -> None:
    """It is recorded all the same, then refused."""
    world.domains["to.example"] = ListenerDomain(**target)
    reply = await receive(world, make_reception, connection, stream)
    assert reply == RELAYING_NOT_PERMITTED
    assert [kind_of(record) for record in world.records] == ["Reception"]
    assert world.stored == {}


async def test_a_whole_run_of_reports_counts_as_kumomta_counts(
    world: World, make_reception: MakeReception, connection: Connection
) -> None:
    """Two complaints, two notifications, one of each to be relayed, and a mail that is neither."""
    world.domains["relay.example"] = ListenerDomain(log_arf=RELAY, log_oob=RELAY)
    world.domains["drop.example"] = ListenerDomain(log_arf=DROP, log_oob=DROP)
    codes = [
        (await receive(world, make_reception, connection, stream, (f"b@{domain}",))).code
        for stream, domain in (
            (DSN, "relay.example"),
            (DSN, "drop.example"),
            (ARF, "relay.example"),
            (ARF, "drop.example"),
            (MAIL, "relay.example"),
        )
    ]
    assert codes == [250, 250, 250, 250, 550]
    counts = " ".join(kind_of(record) for record in world.records).split()
    # KumoMTA counts a third Reception, for the notification that is dropped; its manual does not.
    assert {kind: counts.count(kind) for kind in counts} == {"Reception": 2, "OOB": 2, "Feedback": 2}
    assert len(world.queued) == 2


@pytest.mark.parametrize(
    ("recipients", "queued", "code"),
    [
        (("a@no.example", "b@no.example"), [], 550),
        (("a@no.example", "b@yes.example"), ["b@yes.example"], 250),
        (("a@yes.example", "b@no.example"), ["a@yes.example"], 250),
    ],
)
async def test_one_message_that_is_relayed_makes_the_reply(
    world: World,
    make_reception: MakeReception,
    connection: Connection,
    recipients: tuple[str, ...],
    queued: list[str],
    code: int,
) -> None:
    world.domains["yes.example"] = ListenerDomain(relay_to=True)
    reply = await receive(world, make_reception, connection, recipients=recipients)
    assert reply.code == code
    assert [str(message.recipients[0]) for message in world.queued] == queued
    # All of them are recorded, and named in a 250.
    assert world.order.count("log") == len(recipients)
    assert code == 550 or len(reply.text.split()) == 1 + len(recipients)


async def test_the_first_recipient_of_a_batch_decides(
    world: World, make_reception: MakeReception, connection: Connection
) -> None:
    world.domains["yes.example"] = ListenerDomain(relay_to=True)
    addresses = [EnvelopeAddress("a", "yes.example"), EnvelopeAddress("b", "no.example")]
    world.handlers["split"] = lambda *_: [addresses]
    assert (await receive(world, make_reception, connection)).code == 250
    world.handlers["split"] = lambda *_: [addresses[::-1]]
    assert (await receive(world, make_reception, connection)).code == 550


async def test_the_envelope_counts_as_policy_left_it(
    world: World, make_reception: MakeReception, connection: Connection
) -> None:
    world.domains["from.example"] = ListenerDomain(relay_from=CidrSet.parse([connection.peer_ip]))

    def become(message: Message, _: Connection) -> None:
        message.sender = EnvelopeAddress("a", "from.example")

    world.handlers["received"] = become
    assert (await receive(world, make_reception, connection)).code == 250


async def test_without_rights_or_handler_the_message_is_recorded_and_refused(
    world: World, make_reception: MakeReception, connection: Connection
) -> None:
    assert await receive(world, make_reception, connection) == RELAYING_NOT_PERMITTED
    assert world.order == ["data", "split", "received", "resolve", "log"]


async def test_the_null_queue_takes_what_may_not_be_relayed(
    world: World, make_reception: MakeReception, connection: Connection
) -> None:
    world.handlers["received"] = lambda message, _: message.meta.update(queue="null")
    assert (await receive(world, make_reception, connection)).code == 250
    assert world.order == ["data", "split", "received", "log"]


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("error", [PolicyError("a Lua error"), Rejection(550, "no")])
async def test_a_failing_look_up_stores_and_records_nothing(
    world: World, make_reception: MakeReception, connection: Connection, waits: bool, error: Exception
) -> None:
    def fail(*_: Any) -> Any:
        if not waits:
            raise error

        async def later() -> None:
            raise error

        return later()

    world.handlers["domain"] = fail
    with pytest.raises(PolicyError):
        await receive(world, make_reception, connection)
    assert not {"store", "log"} & set(world.order)


async def test_a_look_up_that_never_ends_is_bounded(
    world: World, make_reception: MakeReception, connection: Connection
) -> None:
    world.handlers["domain"] = lambda *_: asyncio.Event().wait()
    reply = await receive(world, make_reception, connection, data_processing_timeout=0.01)
    assert reply == Reply(451, "4.4.5 data_processing_timeout exceeded (rx)")
    assert world.stored == {}


async def test_siblings_share_one_reading_of_a_report(
    world: World, make_reception: MakeReception, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[bytes] = []
    monkeypatch.setattr("kumo.reception.verdict.parse_delivery_status", read.append)
    world.domains["to.example"] = ListenerDomain(relay_to=True, log_oob=DROP)
    recipients = tuple(f"{number}@to.example" for number in range(100))
    assert (await receive(world, make_reception, connection, DSN, recipients)).code == 250
    assert len(read) == 1


async def test_a_content_that_policy_replaced_is_read_itself(
    world: World, make_reception: MakeReception, connection: Connection
) -> None:
    world.domains["to.example"] = ListenerDomain(relay_to=True, log_oob=DROP)

    def replace(message: Message, _: Connection) -> None:
        if message.recipients[0].local_part == "one":
            message.set_content(b"Subject: no report\r\n\r\n")

    world.handlers["received"] = replace
    await receive(world, make_reception, connection, DSN, ("one@to.example", "two@to.example"))
    assert [kind_of(record) for record in world.records] == ["Reception", "OOB"]


async def test_an_unrecorded_report_unwinds_what_was_stored(
    world: World, make_reception: MakeReception, connection: Connection
) -> None:
    world.domains["to.example"] = ListenerDomain(log_oob=DROP, log_arf=RELAY)
    world.domains["yes.example"] = ListenerDomain(relay_to=True)

    def fail(message: Message, *_: Any) -> None:
        if message.recipients[0].domain == "to.example":
            raise OSError("log is gone")

    world.handlers["log"] = fail
    with pytest.raises(OSError, match="log is gone"):
        await receive(
            world,
            make_reception,
            connection,
            DSN,
            ("a@yes.example", "b@to.example"),
            batch_handling=BatchHandling.BATCH_BY_DOMAIN,
        )
    assert world.stored == {}
    assert world.queued == []
