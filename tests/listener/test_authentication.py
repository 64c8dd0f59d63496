"""AUTH PLAIN as the listener sees it: policy, identity, records."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest

from kumo.errors import PolicyError, Rejection
from kumo.message import Authenticated, AuthInfo, Connection, Identity
from tests.listener.fakes import Client, House, until

IDENTITIES = (
    Identity("boss", "SmtpAuthPlainAuthorization"),
    Identity("fred", "SmtpAuthPlainAuthentication"),
)
YES = Authenticated("boss", "fred", IDENTITIES, ("staff",))
COMMAND = "AUTH PLAIN " + base64.b64encode(b"boss\0fred\0hunter2").decode()
TROUBLE = "421 4.3.0 mx.example.com technical difficulties"


async def secured(house: House, **parameters: Any) -> Client:
    client = await house.greeted(await house.start(**parameters))
    await client.start_tls()
    assert await client.say("NOOP") == "250 the goggles do nothing"
    return client


def connection_of(house: House) -> Connection:
    connection: Connection = house.policy.calls[0][1][0]
    return connection


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "later"])
@pytest.mark.parametrize(("answer", "reply"), [(YES, "235 2.7.0 AUTH OK!"), (None, "535 5.7.8 AUTH invalid")])
async def test_answer_of_policy(
    house: House, answer: Authenticated | None, reply: str, *, waits: bool
) -> None:
    async def answer_later(*_arguments: object) -> Authenticated | None:
        await asyncio.sleep(0)
        return answer

    house.policy.answers["auth_plain"] = answer_later if waits else answer
    client = await secured(house)
    connection = connection_of(house)
    connection.listener_domains = {"example.org": None}
    assert await client.say(COMMAND) == reply
    ((_, *credentials),) = [arguments for name, arguments in house.policy.calls if name == "auth_plain"]
    assert credentials == ["boss", "fred", "hunter2"]
    success = answer is not None
    await until(lambda: bool(house.accounting.records))
    info = AuthInfo("127.0.0.1", list(IDENTITIES), ["staff"]) if success else None
    assert house.accounting.records == [("fred", success, info)]
    assert connection.is_authenticated is success
    assert connection.auth_info == info
    assert connection.meta.get("authz_id") == ("boss" if success else None)
    assert connection.meta.get("authn_id") == ("fred" if success else None)
    assert (connection.listener_domains is None) is success


async def test_session_goes_on_authenticated(house: House) -> None:
    house.policy.answers["auth_plain"] = YES
    client = await secured(house)
    assert (await client.say(COMMAND)).startswith("235 ")
    assert await client.say(COMMAND) == "503 5.5.1 AUTH me once, can't get authed again!"
    assert (await client.deliver(b"x\r\n")).startswith("250 ")
    assert house.receiver.received[0][0].is_authenticated


async def test_what_the_client_was_before_is_kept(house: House) -> None:
    house.policy.answers["auth_plain"] = YES
    client = await secured(house)
    connection = connection_of(house)
    connection.auth_info = AuthInfo("192.0.2.1", [IDENTITIES[1]], ["old", "staff"])
    await client.say(COMMAND)
    assert connection.auth_info == AuthInfo("192.0.2.1", [IDENTITIES[1], IDENTITIES[0]], ["old", "staff"])


@pytest.mark.parametrize(
    ("error", "reply"),
    [
        (Rejection(454, "4.7.0 later"), "454 4.7.0 later"),
        (Rejection(421, "4.7.0 go away"), "421 4.7.0 go away"),
        (PolicyError("no"), TROUBLE),
        (RuntimeError("no"), TROUBLE),
    ],
)
async def test_other_outcomes_are_not_accounted_for(house: House, error: Exception, reply: str) -> None:
    house.policy.answers["auth_plain"] = error
    client = await secured(house)
    assert await client.say(COMMAND) == reply
    await asyncio.sleep(0)
    assert house.accounting.records == []
    assert not connection_of(house).is_authenticated


async def test_password_is_in_no_record_and_no_log(house: House, caplog: pytest.LogCaptureFixture) -> None:
    client = await secured(house)
    await client.say(COMMAND)
    house.policy.answers["auth_plain"] = RuntimeError("no")
    await client.say(COMMAND)
    commands = [command for _, _, command, _, _ in house.rejections.records]
    assert commands == ["AUTH PLAIN ***", "Error in SmtpServerSession: no"]
    everything = f"{caplog.text}{commands}{house.accounting.records}"
    assert "hunter2" not in everything
    assert COMMAND[11:] not in everything


async def test_without_tls_nothing_is_asked(house: House) -> None:
    client = await house.greeted(await house.start())
    assert await client.say(COMMAND) == "524 5.7.11 AUTH PLAIN requires an encrypted channel"
    assert house.policy.names() == ["connection_accepted"]
    assert house.accounting.records == []


@pytest.mark.parametrize(
    ("response", "reply"),
    [
        ("*", "501 5.5.0 AUTH cancelled by client"),
        ("%%%", "501 5.5.2 Invalid base64 response"),
        ("x" * 16000, "500 5.5.6 authentication exchange line too long"),
        (base64.b64encode(b"no fields").decode(), "501 5.5.2 Invalid decoded PLAIN response"),
        (base64.b64encode(b"\0" * 9).decode(), "501 5.5.2 Invalid decoded PLAIN response"),
        (base64.b64encode(b"\0fred\0x").decode(), "535 5.7.8 AUTH invalid"),
    ],
)
async def test_response_on_a_line_of_its_own(house: House, response: str, reply: str) -> None:
    client = await secured(house)
    client.send(b"AUTH PLAIN\r\n")
    assert await client.line() == "334  "
    assert await client.say(response) == reply
    assert await client.say("NOOP") == "250 the goggles do nothing"


async def test_idle_within_the_exchange(house: House) -> None:
    client = await secured(house, client_timeout=0.3)
    client.send(b"AUTH PLAIN\r\n")
    assert await client.line() == "334  "
    assert await client.line() == "421 4.3.2 mx.example.com idle too long"
