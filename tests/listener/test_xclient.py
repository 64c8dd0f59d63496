"""XCLIENT: a trusted client says for whom it speaks."""

from __future__ import annotations

from typing import Any

import pytest

from kumo.config import CidrMap, CidrSet, ListenerOverrides
from kumo.errors import PolicyError, Rejection
from kumo.message import AuthInfo, Connection
from tests.listener.fakes import Client, House

BANNER = "220 mx.example.com KumoMTA"


async def trusted(house: House, **parameters: Any) -> Client:
    return await house.greeted(await house.start(allow_xclient=True, **parameters))


def connection_of(house: House) -> Connection:
    connection: Connection = house.policy.calls[0][1][0]
    return connection


async def test_untrusted_peer(house: House) -> None:
    client = await house.greeted(await house.start())
    assert "XCLIENT" not in await client.say("EHLO c.example")
    before = connection_of(house).peer
    assert await client.say("XCLIENT ADDR=192.0.2.1") == "550 insufficient authorization"
    assert connection_of(house).peer == before


async def test_offered_to_whom_may_use_it(house: House) -> None:
    client = await trusted(house)
    assert (await client.say("EHLO c.example")).endswith("\n250 XCLIENT ADDR PORT DESTADDR DESTPORT")


async def test_addresses_are_replaced(house: House) -> None:
    client = await trusted(house)
    connection = connection_of(house)
    true_peer, true_via = connection.peer, connection.via
    connection.listener_domains = {"example.org": None}
    command = "XCLIENT ADDR=10.1.2.3 PORT=1234 DESTADDR=2001:db8::1 DESTPORT=587"
    assert await client.say(command) == BANNER
    assert (connection.peer, connection.via) == ("10.1.2.3:1234", "[2001:db8::1]:587")
    assert connection.meta["received_from"] == "10.1.2.3:1234"
    assert connection.meta["received_via"] == "[2001:db8::1]:587"
    assert connection.meta["orig_received_from"] == true_peer
    assert connection.meta["orig_received_via"] == true_via
    assert not connection.listener_domains
    # Once more: what came first stays known.
    assert await client.say("XCLIENT ADDR=::ffff:10.9.9.9 PORT=0") == BANNER
    assert connection.peer == "10.9.9.9:0"
    assert connection.meta["orig_received_from"] == true_peer


async def test_authorised_address_follows(house: House) -> None:
    client = await trusted(house)
    connection = connection_of(house)
    connection.auth_info = AuthInfo("127.0.0.1", groups=["g"])
    await client.say("XCLIENT ADDR=10.1.2.3")
    assert connection.auth_info == AuthInfo("10.1.2.3", groups=["g"])


async def test_rights_are_those_of_the_new_address(house: House) -> None:
    client = await trusted(house)
    await client.say("MAIL FROM:<a@example.com>")
    assert await client.say("RCPT TO:<b@example.org>") == "250 OK <b@example.org>"
    await client.say("RSET")
    await client.say("XCLIENT ADDR=192.0.2.1 PORT=99")
    await client.say("MAIL FROM:<a@example.com>")
    reply = await client.say("RCPT TO:<b@example.org>")
    assert reply == "550 5.7.1 relaying not permitted for 192.0.2.1:99"


async def test_rights_can_be_gained(house: House) -> None:
    client = await trusted(house, relay_hosts=CidrSet.parse(["192.0.2.1"]))
    await client.say("MAIL FROM:<a@example.com>")
    assert (await client.say("RCPT TO:<b@example.org>")).startswith("550 5.7.1 ")
    await client.say("RSET")
    await client.say("XCLIENT ADDR=192.0.2.1")
    assert (await client.deliver(b"x\r\n")).startswith("250 ")


async def test_parameters_are_those_of_the_new_addresses(house: House) -> None:
    local = ListenerOverrides(allow_xclient=True, meta={"mine": 1})
    remote = ListenerOverrides(banner="remote", hostname="remote.example.com")
    server = await house.start(
        peer=CidrMap({"127.0.0.1": local, "10.0.0.0/8": remote}),
        via=CidrMap({"192.0.2.0/24": ListenerOverrides(max_message_size=5)}),
    )
    client = await house.greeted(server)
    assert await client.say("XCLIENT ADDR=10.0.0.1 DESTADDR=192.0.2.1") == "220 remote.example.com remote"
    connection = connection_of(house)
    assert connection.hostname == connection.meta["hostname"] == "remote.example.com"
    assert connection.meta["mine"] == 1
    assert connection.listener.max_message_size == 5
    greeting = await client.say("EHLO c.example")
    assert "XCLIENT" not in greeting
    assert "250-SIZE 5\n" in greeting
    assert await client.say("XCLIENT ADDR=127.0.0.1") == "550 insufficient authorization"


async def test_messages_are_counted_by_the_new_address(house: House) -> None:
    client = await trusted(house)
    await client.say("XCLIENT DESTADDR=127.0.0.9 DESTPORT=25")
    assert (await client.deliver(b"x\r\n")).startswith("250 ")
    assert house.metrics.total_messages_received["esmtp_listener:127.0.0.9:25"] == 1


async def test_addresses_that_are_counted_are_bounded(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kumo.listener.context._MOST_SERVICES", 2)
    client = await trusted(house, relay_hosts=CidrSet.parse(["any"]))
    for number in range(1, 5):
        await client.say(f"XCLIENT DESTADDR=192.0.2.{number} DESTPORT=25")
        assert await client.say("RCPT TO:<b@example.org>") == "503 5.5.0 MAIL FROM must be issued first"
        await client.deliver(b"x\r\n")
    received, refused = house.metrics.total_messages_received, house.metrics.smtp_server_rejections
    assert received == {
        "esmtp_listener": 4,
        "esmtp_listener:192.0.2.1:25": 1,
        "esmtp_listener:other": 3,
    }
    assert refused == {"total": 4, "192.0.2.1:25": 1, "other": 3}


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        ("XCLIENT ADDR=nonsense", "501 ADDR nonsense is invalid"),
        ("XCLIENT PORT=65536", "501 PORT 65536 is invalid"),
        ("XCLIENT NAME=x", "501 parameter NAME is not supported"),
        ("XCLIENT", "501 Syntax error in command or arguments"),
    ],
)
async def test_nothing_changes_when_anything_is_wrong(house: House, command: str, reply: str) -> None:
    client = await trusted(house)
    before = connection_of(house).peer
    assert await client.say(command) == reply
    assert connection_of(house).peer == before
    assert "orig_received_from" not in connection_of(house).meta


async def test_not_in_a_transaction(house: House) -> None:
    client = await trusted(house)
    await client.say("MAIL FROM:<>")
    assert await client.say("XCLIENT ADDR=10.0.0.1") == "503 mail transaction in progress"


async def test_greeting_stays(house: House) -> None:
    client = await trusted(house)
    await client.say("EHLO c.example")
    await client.say("XCLIENT ADDR=10.0.0.1")
    assert connection_of(house).ehlo_domain == "c.example"


async def test_inside_tls(house: House) -> None:
    client = await trusted(house)
    await client.start_tls()
    assert await client.say("XCLIENT ADDR=10.0.0.1") == BANNER
    assert await client.say("STARTTLS") == "501 Cannot STARTTLS as TLS is already active"
    assert connection_of(house).tls_cipher is not None


# --- policy's parameters -------------------------------------------------------------------------------


async def test_policy_is_asked_again(house: House) -> None:
    house.policy.has_dynamic_parameters = True
    house.policy.answers["dynamic_parameters"] = lambda connection: ListenerOverrides(
        banner=f"for {connection.peer_ip}"
    )
    client = await house.connect(await house.start(allow_xclient=True))
    assert await client.reply() == "220 mx.example.com for 127.0.0.1"
    assert await client.say("XCLIENT ADDR=10.0.0.1") == "220 mx.example.com for 10.0.0.1"
    assert house.policy.names() == ["dynamic_parameters", "connection_accepted", "dynamic_parameters"]


async def test_rejection_is_the_only_reply_and_the_addresses_stay(house: House) -> None:
    house.policy.has_dynamic_parameters = True
    house.policy.answers["dynamic_parameters"] = ListenerOverrides()
    client = await trusted(house)
    house.policy.answers["dynamic_parameters"] = Rejection(550, "5.7.1 not you")
    assert await client.say("XCLIENT ADDR=10.0.0.1") == "550 5.7.1 not you"
    assert await client.say("NOOP") == "250 the goggles do nothing"
    assert connection_of(house).peer_ip == "10.0.0.1"
    ((_, _, command, _, _),) = house.rejections.records
    assert command == "XCLIENT ADDR=10.0.0.1"


async def test_failure_ends_the_session(house: House) -> None:
    house.policy.has_dynamic_parameters = True
    house.policy.answers["dynamic_parameters"] = ListenerOverrides()
    client = await trusted(house)
    house.policy.answers["dynamic_parameters"] = PolicyError("no")
    assert await client.say("XCLIENT ADDR=10.0.0.1") == "421 4.3.0 mx.example.com technical difficulties"
    assert await client.rest() == b""
