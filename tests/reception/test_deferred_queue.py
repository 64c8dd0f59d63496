"""``deferred_queue``: taken and queued before policy's reception event, which comes later."""

from __future__ import annotations

from typing import Any

import pytest

from kumo.config import ListenerDomain, ReportHandling
from kumo.errors import Rejection, SpoolFull
from kumo.message import DEFERRED_INJECTION_QUEUE, Connection
from kumo.reception import RELAYING_NOT_PERMITTED

from .conftest import NO_RELAY_HOSTS, MakeReception, World, settle, transaction
from .samples import DSN


async def test_it_is_stored_recorded_and_queued_without_the_event(
    world: World, make_reception: MakeReception, connection: Connection
) -> None:
    connection.meta["queue"] = "mine"
    world.handlers["data"] = lambda message, _: message.meta.update(queue="null", tenant="t")
    reply = await settle(make_reception(deferred_queue=True).receive(connection, transaction()))
    assert reply.code == 250
    assert world.order == ["data", "split", "resolve", "store", "log", "insert"]
    assert ("log", DEFERRED_INJECTION_QUEUE) in world.journal
    ((content, meta),) = world.stored.values()
    assert meta == {"reception_protocol": "ESMTP", "queue": DEFERRED_INJECTION_QUEUE, "tenant": "t"}
    assert content.startswith(b"X-KumoRef: ")
    assert b"\r\nReceived: from client.example.com" in content


async def test_with_deferred_spool_it_is_queued_and_not_stored(
    world: World, make_reception: MakeReception, connection: Connection
) -> None:
    reception = make_reception(deferred_queue=True, deferred_spool=True)
    assert (await settle(reception.receive(connection, transaction()))).code == 250
    assert world.stored == {}
    assert [message.meta["queue"] for message in world.queued] == [DEFERRED_INJECTION_QUEUE]


@pytest.mark.parametrize(
    ("event", "error"),
    [("data", Rejection(550, "no")), ("split", Rejection(451, "later")), ("store", SpoolFull("no room"))],
)
async def test_a_250_that_cannot_be_kept_is_not_given(
    world: World, make_reception: MakeReception, connection: Connection, event: str, error: Exception
) -> None:
    def fail(*_: Any) -> None:
        raise error

    world.handlers[event] = fail
    with pytest.raises(type(error)):
        await settle(make_reception(deferred_queue=True).receive(connection, transaction()))
    assert world.queued == []


async def test_relay_rights_and_reports_are_as_ever(
    world: World, make_reception: MakeReception, connection: Connection
) -> None:
    world.domains["example.org"] = ListenerDomain(log_oob=ReportHandling.LOG_THEN_DROP)
    reception = make_reception(deferred_queue=True, relay_hosts=NO_RELAY_HOSTS)
    assert await settle(reception.receive(connection, transaction())) == RELAYING_NOT_PERMITTED
    assert (await settle(reception.receive(connection, transaction(DSN)))).code == 250
    assert world.stored == {}
