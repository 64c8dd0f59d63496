"""Which parameters hold for whom: ``peer``, ``via``, ``meta``, and policy's own."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from kumo.config import CidrMap, CidrSet, EsmtpListener, ListenerOverrides, TraceHeaders
from kumo.errors import PolicyError, Rejection
from kumo.listener import ReadBuffer, largest_read
from kumo.listener.parameters import possible_parameters, resolve
from kumo.message import Connection
from tests.listener.fakes import Gate, House, until

PEER = "10.1.2.3"
VIA = "192.0.2.25"
TROUBLE = "421 4.3.0 mx.example.com technical difficulties"


def overrides(**parameters: Any) -> ListenerOverrides:
    """A block; ``peer`` and ``via`` are given as mappings."""
    return ListenerOverrides(**_with_maps(parameters))


def listener(**parameters: Any) -> EsmtpListener:
    return EsmtpListener(**_with_maps({"banner": "own", **parameters}))


def _with_maps(parameters: dict[str, Any]) -> dict[str, Any]:
    maps: dict[str, Any] = {name: CidrMap(parameters[name]) for name in ("peer", "via") if name in parameters}
    return {**parameters, **maps}


NESTED = overrides(
    banner="peer",
    peer={"10.1.0.0/16": overrides(banner="peer peer")},
    via={"192.0.2.0/24": overrides(banner="peer via")},
)

ROWS: list[tuple[str, dict[str, Any], str]] = [
    ("nothing", {}, "own"),
    ("peer", {"peer": {"10.0.0.0/8": overrides(banner="peer")}}, "peer"),
    ("peer, other host", {"peer": {"10.9.0.0/16": overrides(banner="peer")}}, "own"),
    ("peer, any", {"peer": {"any": overrides(banner="any")}}, "any"),
    (
        "longest prefix",
        {"peer": {"10.1.0.0/16": overrides(banner="long"), "10.0.0.0/8": overrides(banner="short")}},
        "long",
    ),
    (
        "only the longest prefix",
        {"peer": {"10.1.0.0/16": overrides(), "10.0.0.0/8": overrides(banner="short")}},
        "own",
    ),
    ("via", {"via": {"192.0.2.25": overrides(banner="via")}}, "via"),
    (
        "via beats peer",
        {"peer": {"any": overrides(banner="peer")}, "via": {"any": overrides(banner="via")}},
        "via",
    ),
    ("via beats peer within a block", {"peer": {"any": NESTED}}, "peer via"),
    (
        "what is nested beats what is round it",
        {"via": {"any": overrides(banner="via", peer={"any": overrides(banner="via peer")})}},
        "via peer",
    ),
    (
        "via beats even what is nested in peer",
        {"peer": {"any": NESTED}, "via": {"any": overrides(banner="via")}},
        "via",
    ),
]


@pytest.mark.parametrize(("config", "banner"), [pytest.param(c, b, id=name) for name, c, b in ROWS])
def test_blocks_apply_in_order(config: dict[str, Any], banner: str) -> None:
    assert resolve(listener(**config), PEER, VIA).listener.banner == banner


def test_every_parameter_can_be_overridden() -> None:
    given = {
        "hostname": "other.example.com",
        "relay_hosts": CidrSet.parse(()),
        "client_timeout": 7.0,
        "data_processing_timeout": 8.0,
        "data_buffer_size": 9,
        "max_message_size": 10,
        "max_recipients_per_message": 0,
        "max_messages_per_connection": 12,
        "line_length_hard_limit": 13,
        "deferred_spool": True,
        "deferred_queue": True,
        "allow_xclient": True,
        "require_proxy_protocol": True,
    }
    found = resolve(listener(peer={"any": overrides(**given)}), PEER, VIA).listener
    assert {name: getattr(found, name) for name in given} == given


def test_trace_headers_are_replaced_as_a_whole() -> None:
    config = listener(
        trace_headers=TraceHeaders(header_name="X-Mine"),
        peer={"any": overrides(trace_headers=TraceHeaders(received_header=False))},
    )
    assert resolve(config, PEER, VIA).listener.trace_headers == TraceHeaders(received_header=False)


def test_meta_merges() -> None:
    config = listener(
        hostname="one",
        meta={"a": 1, "b": 1, "hostname": "said"},
        peer={"any": overrides(meta={"b": 2})},
        via={"any": overrides(hostname="two", meta={"c": [3]})},
    )
    assert resolve(config, PEER, VIA).meta == {"a": 1, "b": 2, "c": [3], "hostname": "two"}


def test_largest_read_is_looked_for_everywhere() -> None:
    inner = overrides(via={"any": overrides(data_buffer_size=500000)})
    assert largest_read(listener(peer={"10.0.0.0/8": inner, "any": overrides()})) == 500000
    assert largest_read(listener()) == 131072


def test_possible_parameters_stand_within_their_blocks() -> None:
    inner = overrides(banner="inner", via={"any": overrides(hostname="innermost")})
    found = [p.listener for p in possible_parameters(listener(hostname="own", peer={"any": inner}))]
    assert [(one.hostname, one.banner) for one in found] == [
        ("own", "own"),
        ("own", "inner"),
        ("innermost", "inner"),
    ]


# --- over sockets ------------------------------------------------------------------------------------


def connection_of(house: House) -> Connection:
    connection: Connection = house.policy.calls[0][1][0]
    return connection


async def test_session_goes_by_the_overrides(house: House) -> None:
    block = overrides(hostname="peer.example.com", banner="hi", max_recipients_per_message=1, meta={"k": "v"})
    server = await house.start(peer=CidrMap({"127.0.0.0/8": block}), meta={"s": 1})
    client = await house.connect(server)
    assert await client.reply() == "220 peer.example.com hi"
    await client.say("MAIL FROM:<>")
    await client.say("RCPT TO:<a@example.org>")
    assert (await client.say("RCPT TO:<b@example.org>")).startswith("452 4.5.3 ")
    connection = connection_of(house)
    assert connection.hostname == connection.listener.hostname == "peer.example.com"
    assert (connection.meta["hostname"], connection.meta["k"], connection.meta["s"]) == (
        "peer.example.com",
        "v",
        1,
    )


async def test_hostname_in_meta_is_the_hosts_own_by_default(house: House) -> None:
    await house.greeted(await house.start(hostname=None, peer=CidrMap({"any": overrides(banner="x")})))
    assert connection_of(house).meta["hostname"] == socket.gethostname()


async def test_relay_hosts_of_a_block(house: House) -> None:
    block = overrides(relay_hosts=CidrSet.parse(["192.0.2.0/24"]))
    client = await house.greeted(await house.start(via=CidrMap({"127.0.0.1": block})))
    await client.say("MAIL FROM:<>")
    reply = await client.say("RCPT TO:<b@example.org>")
    assert reply == f"550 5.7.1 relaying not permitted for 127.0.0.1:{client.port}"


async def test_same_blocks_share_their_settings(house: House) -> None:
    server = await house.start(peer=CidrMap({"any": overrides(banner="x")}))
    await house.greeted(server)
    await house.greeted(server)
    context = server._context
    assert context is not None
    first, second = context.sessions
    assert first._settings is second._settings


async def test_too_many_connections_are_told_the_listeners_own_name(house: House) -> None:
    block = overrides(hostname="peer.example.com")
    client = await house.connect(await house.start(max_connections=0, peer=CidrMap({"any": block})))
    reply = await client.reply()
    assert reply == "421 4.3.2 mx.example.com too many concurrent sessions. Try later"


async def test_large_reads_are_cut_to_the_buffer(house: House) -> None:
    house.read_buffer = ReadBuffer(65536)
    server = await house.start(peer=CidrMap({"any": overrides(data_buffer_size=10**9)}))
    client = await house.greeted(server)
    content = b"x" * 900 + b"\r\n"
    assert (await client.deliver(content * 1000)).startswith("250 ")
    assert house.receiver.contents == [content * 1000]


# --- smtp_server_get_dynamic_parameters ---------------------------------------------------------------


def dynamic(house: House, answer: Any) -> None:
    house.policy.has_dynamic_parameters = True
    house.policy.answers["dynamic_parameters"] = answer


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "later"])
async def test_policy_changes_the_parameters(house: House, *, waits: bool) -> None:
    given = overrides(
        hostname="dyn.example.com",
        meta={"k": 1},
        peer={"127.0.0.1": overrides(banner="for you")},
        via={"192.0.2.1": overrides(banner="not for you")},
    )

    async def answer_later(_connection: Connection) -> ListenerOverrides:
        await asyncio.sleep(0)
        return given

    dynamic(house, answer_later if waits else given)
    client = await house.connect(await house.start())
    assert await client.reply() == "220 dyn.example.com for you"
    assert house.policy.names() == ["dynamic_parameters", "connection_accepted"]
    connection = connection_of(house)
    assert (connection.meta["hostname"], connection.meta["k"]) == ("dyn.example.com", 1)
    assert connection.hostname == "dyn.example.com"
    assert connection.listener.banner == "for you"


async def test_empty_answer_changes_nothing(house: House) -> None:
    dynamic(house, ListenerOverrides())
    server = await house.start(meta={"hostname": "said"})
    client = await house.connect(server)
    assert await client.reply() == "220 mx.example.com KumoMTA"
    assert connection_of(house).meta["hostname"] == "said"


async def test_meta_hostname_of_the_listener_outlives_other_answers(house: House) -> None:
    dynamic(house, overrides(banner="x"))
    client = await house.connect(await house.start(meta={"hostname": "said"}))
    assert await client.reply() == "220 mx.example.com x"
    assert connection_of(house).meta["hostname"] == "said"


async def test_rejection_is_sent_in_place_of_the_banner(house: House) -> None:
    dynamic(house, Rejection(550, "5.7.1 not you"))
    client = await house.connect(await house.start())
    assert (await client.rest()).decode() == "550 5.7.1 not you\r\n"
    assert house.policy.names() == ["dynamic_parameters"]


async def test_failure_ends_the_session(house: House) -> None:
    dynamic(house, PolicyError("smtp_server_get_dynamic_parameters: expected a table"))
    client = await house.connect(await house.start())
    assert (await client.rest()).decode() == f"{TROUBLE}\r\n"


async def test_policy_is_not_asked_when_mail_cannot_be_taken(house: House) -> None:
    dynamic(house, ListenerOverrides())
    house.admission.text = "disk is too full. Try later"
    client = await house.connect(await house.start())
    assert await client.reply() == "421 4.3.2 mx.example.com disk is too full. Try later"
    assert house.policy.names() == []


async def test_time_limit_of_policy_holds_at_once(house: House) -> None:
    dynamic(house, overrides(client_timeout=0.2))
    client = await house.greeted(await house.start())
    assert await client.reply() == "421 4.3.2 mx.example.com idle too long"


async def test_policy_cannot_ask_for_a_proxy_header(house: House) -> None:
    dynamic(house, overrides(require_proxy_protocol=True))
    client = await house.greeted(await house.start())
    assert await client.say("NOOP") == "250 the goggles do nothing"


async def test_peer_that_leaves_while_policy_thinks(house: House) -> None:
    gate = Gate()
    dynamic(house, gate)
    server = await house.start()
    client = await house.connect(server)
    await gate.wait_until_asked()
    client.reset_below()
    await until(lambda: server.session_count == 0)
    assert gate.was_cancelled
