"""The relay rule: rows of who may relay where, and what a session remembers of policy's answers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kumo.config import CidrSet, EsmtpListener, ListenerDomain, ReportHandling
from kumo.errors import PolicyError, Rejection
from kumo.message import Connection
from kumo.reception import RelayAuthority, RelayDisposition
from kumo.smtp import NULL_REVERSE_PATH, POSTMASTER, EnvelopeAddress

from .conftest import NO_RELAY_HOSTS, RELAY_HOSTS, World, settle

IGNORE, DROP, RELAY = ReportHandling

SENDER = EnvelopeAddress("a", "from.example")
RECIPIENT = EnvelopeAddress("b", "to.example")

NEAR = CidrSet.parse(["192.0.2.7"])
FAR = CidrSet.parse(["198.51.100.0/24"])


async def ask(
    world: World,
    connection: Connection,
    sender: EnvelopeAddress = SENDER,
    recipient: EnvelopeAddress = RECIPIENT,
) -> RelayDisposition:
    answer: RelayDisposition = await settle(RelayAuthority(world).disposition(connection, sender, recipient))
    return answer


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize(
    ("is_relay_host", "source", "target", "expected", "takes_recipient"),
    [
        (True, None, None, (True, IGNORE, IGNORE), True),
        (False, None, None, (False, IGNORE, IGNORE), False),
        # The sender's domain: only relay_from counts.
        (False, {"relay_from": NEAR}, None, (True, IGNORE, IGNORE), True),
        (False, {"relay_from": FAR}, None, (False, IGNORE, IGNORE), False),
        (False, {"relay_to": True, "log_oob": RELAY}, None, (False, IGNORE, IGNORE), False),
        # The recipient's domain: all but relay_from.
        (False, None, {"relay_to": True}, (True, IGNORE, IGNORE), True),
        (False, None, {"relay_from": NEAR}, (False, IGNORE, IGNORE), False),
        (False, None, {"log_arf": DROP}, (False, DROP, IGNORE), True),
        (False, None, {"log_oob": RELAY}, (False, IGNORE, RELAY), True),
        (False, None, {"relay_to": True, "log_arf": RELAY, "log_oob": DROP}, (True, RELAY, DROP), True),
        # No veto, and reports are told of where relaying is granted anyway.
        (True, {"relay_from": FAR}, {"relay_to": False}, (True, IGNORE, IGNORE), True),
        (True, None, {"log_oob": DROP}, (True, IGNORE, DROP), True),
        (False, {"relay_from": NEAR}, {"log_arf": DROP}, (True, DROP, IGNORE), True),
    ],
)
async def test_who_may_relay_where(
    world: World,
    connection: Connection,
    waits: bool,
    is_relay_host: bool,
    source: dict[str, Any] | None,
    target: dict[str, Any] | None,
    expected: tuple[bool, ReportHandling, ReportHandling],
    takes_recipient: bool,
) -> None:
    table = {
        domain: ListenerDomain(**parameters)
        for domain, parameters in (("from.example", source), ("to.example", target))
        if parameters is not None
    }

    async def later(domain: str) -> ListenerDomain | None:
        await asyncio.sleep(0)
        return table.get(domain)

    world.handlers["domain"] = lambda _, domain: later(domain) if waits else table.get(domain)
    connection.listener = EsmtpListener(relay_hosts=RELAY_HOSTS if is_relay_host else NO_RELAY_HOSTS)
    got = await ask(world, connection)
    assert tuple(got) == expected
    assert got.takes_recipient is takes_recipient
    # Both look-ups run whatever the first one and relay_hosts say.
    assert world.journal == [("domain", "from.example"), ("domain", "to.example")]


def test_without_handler_the_address_decides_at_once(world: World, connection: Connection) -> None:
    authority = RelayAuthority(world)
    for relay_hosts, may_relay in ((RELAY_HOSTS, True), (NO_RELAY_HOSTS, False)):
        connection.listener = EsmtpListener(relay_hosts=relay_hosts)
        got = authority.disposition(connection, SENDER, RECIPIENT)
        assert isinstance(got, RelayDisposition)
        assert got is authority.disposition(connection, RECIPIENT, SENDER)
        assert got == (may_relay, IGNORE, IGNORE)
    assert world.journal == []
    assert connection.listener_domains is None


async def test_paths_without_a_domain_look_up_the_empty_one(world: World, connection: Connection) -> None:
    world.domains[""] = ListenerDomain(relay_to=True)
    got = await ask(world, connection, NULL_REVERSE_PATH, POSTMASTER)
    assert got.may_relay
    assert world.journal == [("domain", "")]


async def test_a_session_asks_once_a_domain_also_when_there_is_none(
    world: World, connection: Connection
) -> None:
    world.domains["to.example"] = ListenerDomain(relay_to=True)
    for _ in range(3):
        assert (await ask(world, connection)).may_relay
    assert world.order == ["domain", "domain"]


async def test_relay_from_is_tested_each_time(world: World, connection: Connection) -> None:
    world.domains["from.example"] = ListenerDomain(relay_from=NEAR)
    assert (await ask(world, connection)).may_relay
    connection.peer_ip = "192.0.2.8"
    assert not (await ask(world, connection)).may_relay


async def test_an_emptied_cache_is_filled_anew(world: World, connection: Connection) -> None:
    world.handlers["domain"] = lambda known, _: ListenerDomain(relay_to=known.is_authenticated)
    assert not (await ask(world, connection)).may_relay
    connection.is_authenticated = True
    assert not (await ask(world, connection)).may_relay
    connection.listener_domains = None
    assert (await ask(world, connection)).may_relay


async def test_the_oldest_of_many_domains_is_forgotten(world: World, connection: Connection) -> None:
    world.domains["0.example"] = ListenerDomain()
    for number in range(18):
        domain = EnvelopeAddress("a", f"{number}.example")
        await ask(world, connection, domain, domain)
    assert connection.listener_domains is not None
    assert list(connection.listener_domains) == [f"{number}.example" for number in range(1, 18)]


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("failing", ["from.example", "to.example"])
@pytest.mark.parametrize("error", [PolicyError("a Lua error"), Rejection(550, "5.7.1 no")])
async def test_failures_and_rejections_are_policy_errors_and_not_remembered(
    world: World, connection: Connection, waits: bool, failing: str, error: Exception
) -> None:
    async def later(domain: str) -> None:
        await asyncio.sleep(0)
        fail(domain)

    def fail(domain: str) -> None:
        if domain == failing:
            raise error

    world.handlers["domain"] = lambda _, domain: later(domain) if waits else fail(domain)
    for _ in range(2):
        with pytest.raises(PolicyError):
            await ask(world, connection)
    assert [domain for _, domain in world.journal].count(failing) == 2
