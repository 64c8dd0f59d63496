"""The relay check at RCPT; the rule itself is tested with ``kumo.reception``."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kumo.config import CidrSet, ListenerDomain, ReportHandling
from kumo.errors import PolicyError, Rejection
from kumo.listener.relay import RelayCheck
from kumo.message import Connection
from tests.listener.fakes import Client, House

NOWHERE = CidrSet.parse(())
TROUBLE = "421 4.3.0 mx.example.com technical difficulties"


async def with_domains(house: House, domains: Any, **parameters: Any) -> Client:
    """A client of a policy that answers by domain."""
    house.policy.has_listener_domains = True
    house.policy.answers["listener_domain"] = domains
    client = await house.greeted(await house.start(**{"relay_hosts": NOWHERE, **parameters}))
    await client.say("MAIL FROM:<a@sender.example>")
    return client


def for_recipients(domain: ListenerDomain) -> Any:
    return lambda _connection, name: domain if name == "example.org" else None


@pytest.mark.parametrize(
    ("domain", "is_taken"),
    [
        (ListenerDomain(relay_to=True), True),
        (ListenerDomain(), False),
        (ListenerDomain(log_arf=ReportHandling.LOG_THEN_DROP), True),
        (ListenerDomain(log_oob=ReportHandling.LOG_THEN_RELAY), True),
    ],
)
@pytest.mark.parametrize("waits", [False, True], ids=["at once", "later"])
async def test_domains_decide(house: House, domain: ListenerDomain, *, is_taken: bool, waits: bool) -> None:
    async def answer_later(_connection: Connection, name: str) -> ListenerDomain | None:
        await asyncio.sleep(0)
        return domain if name == "example.org" else None

    client = await with_domains(house, answer_later if waits else for_recipients(domain))
    expected = "250 OK <b@example.org>"
    if not is_taken:
        expected = f"550 5.7.1 relaying not permitted for 127.0.0.1:{client.port}"
    assert await client.say("RCPT TO:<b@example.org>") == expected
    assert ("rcpt_to" in house.policy.names()) is is_taken
    ((*_, sender),) = [arguments for name, arguments in house.policy.calls if name == "mail_from"]
    assert sender.email == "a@sender.example"


async def test_relay_hosts_need_no_domain_but_domains_are_looked_up(house: House) -> None:
    client = await with_domains(house, None, relay_hosts=CidrSet.parse(["127.0.0.1"]))
    assert (await client.say("RCPT TO:<b@example.org>")).startswith("250 ")
    assert (await client.say("RCPT TO:<c@example.org>")).startswith("250 ")
    asked = [arguments[1] for name, arguments in house.policy.calls if name == "listener_domain"]
    assert asked == ["sender.example", "example.org"]


@pytest.mark.parametrize("error", [PolicyError("no"), Rejection(550, "no")])
async def test_failure_ends_the_session(house: House, error: Exception) -> None:
    client = await with_domains(house, error)
    assert await client.say("RCPT TO:<b@example.org>") == TROUBLE
    assert await client.rest() == b""


async def test_recipient_over_the_limit_is_not_shown_to_policy(house: House) -> None:
    domains = for_recipients(ListenerDomain(relay_to=True))
    client = await with_domains(house, domains, max_recipients_per_message=1)
    await client.say("RCPT TO:<b@example.org>")
    assert (await client.say("RCPT TO:<c@example.org>")).startswith("452 4.5.3 ")
    assert house.policy.names().count("rcpt_to") == 1


async def test_refused_comes_before_over_the_limit(house: House) -> None:
    client = await house.greeted(await house.start(relay_hosts=NOWHERE, max_recipients_per_message=0))
    await client.say("MAIL FROM:<>")
    assert (await client.say("RCPT TO:<b@example.org>")).startswith("550 5.7.1 ")


async def test_rcpt_to_may_wait_after_a_look_up_that_waited(house: House) -> None:
    async def later(*_arguments: object) -> None:
        await asyncio.sleep(0)
        raise Rejection(550, "5.7.1 no")

    async def domain_later(_connection: Connection, _name: str) -> ListenerDomain:
        await asyncio.sleep(0)
        return ListenerDomain(relay_to=True)

    client = await with_domains(house, domain_later)
    house.policy.answers["rcpt_to"] = later
    assert await client.say("RCPT TO:<b@example.org>") == "550 5.7.1 no"


async def test_without_a_handler_the_address_is_judged_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str] = []
    is_free = RelayCheck.is_free

    def note(check: RelayCheck, connection: Connection) -> bool:
        looks.append(connection.peer_ip)
        return is_free(check, connection)

    monkeypatch.setattr(RelayCheck, "is_free", note)
    client = await house.greeted(await house.start())
    for _ in range(3):
        assert (await client.deliver(b"x\r\n")).startswith("250 ")
    assert looks == ["127.0.0.1"]
