"""The PROXY protocol: the header by itself, then in front of a session."""

from __future__ import annotations

import asyncio
import logging
import struct
from ipaddress import ip_address
from typing import Any

import pytest

from kumo.config import CidrMap, CidrSet, ListenerOverrides
from kumo.errors import Rejection
from kumo.listener.proxy_header import MAX_OCTETS, ProxiedAddresses, ProxyHeader, ProxyHeaderError
from kumo.message import AuthInfo, Connection
from tests.listener.fakes import Client, House, until

SHORT = 0.2
BANNER = b"220 mx.example.com KumoMTA\r\n"
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def version_2(command: int, family: int, rest: bytes, length: int | None = None) -> bytes:
    """A header; ``command`` 0 is LOCAL and 1 PROXY, ``family`` has the protocol in its low half."""
    length = len(rest) if length is None else length
    return SIGNATURE + struct.pack("!BBH", 0x20 | command, family, length) + rest


def ends(peer: str, local: str, ports: tuple[int, int] = (40000, 25)) -> bytes:
    return ip_address(peer).packed + ip_address(local).packed + struct.pack("!HH", *ports)


V4 = ends("10.1.2.3", "192.0.2.25")
V6 = ends("2001:db8::1", "2001:db8::25")
TLV = struct.pack("!BH", 0x04, 5) + b"xxxxx"
FROM_V4 = ProxiedAddresses(("10.1.2.3", 40000), ("192.0.2.25", 25))
FROM_V6 = ProxiedAddresses(("2001:db8::1", 40000), ("2001:db8::25", 25))

GOOD: list[tuple[str, bytes, ProxiedAddresses | None]] = [
    ("v1 TCP4", b"PROXY TCP4 10.1.2.3 192.0.2.25 40000 25\r\n", FROM_V4),
    ("v1 TCP6", b"PROXY TCP6 2001:db8::1 2001:db8::25 40000 25\r\n", FROM_V6),
    ("v1 UNKNOWN", b"PROXY UNKNOWN\r\n", None),
    ("v1 UNKNOWN and more", b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", None),
    ("v2 IPv4", version_2(1, 0x11, V4), FROM_V4),
    ("v2 IPv4 with more", version_2(1, 0x11, V4 + TLV), FROM_V4),
    ("v2 IPv6", version_2(1, 0x21, V6), FROM_V6),
    ("v2 LOCAL", version_2(0, 0x00, b""), None),
    ("v2 LOCAL with addresses", version_2(0, 0x11, V4), None),
    ("v2 unspecified", version_2(1, 0x00, b""), None),
    ("v2 unix", version_2(1, 0x31, b"/a".ljust(108, b"\0") + b"/b".ljust(108, b"\0")), None),
]

BAD: list[tuple[str, bytes]] = [
    ("a command", b"EHLO client.example\r\n"),
    ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    ("v1 lower case", b"proxy TCP4 10.1.2.3 192.0.2.25 40000 25\r\n"),
    ("v1 bare LF", b"PROXY TCP4 10.1.2.3 192.0.2.25 40000 25\n"),
    ("v1 host name", b"PROXY TCP4 localhost 192.0.2.25 40000 25\r\n"),
    ("v1 short address", b"PROXY TCP4 10.1 192.0.2.25 40000 25\r\n"),
    ("v1 other family", b"PROXY TCP4 2001:db8::1 2001:db8::25 40000 25\r\n"),
    ("v1 zone", b"PROXY TCP6 fe80::1%eth0 2001:db8::25 40000 25\r\n"),
    ("v1 port too large", b"PROXY TCP4 10.1.2.3 192.0.2.25 65536 25\r\n"),
    ("v1 port with sign", b"PROXY TCP4 10.1.2.3 192.0.2.25 +4000 25\r\n"),
    ("v1 port with underscore", b"PROXY TCP4 10.1.2.3 192.0.2.25 4_000 25\r\n"),
    ("v1 port without", b"PROXY TCP4 10.1.2.3 192.0.2.25\r\n"),
    ("v1 UDP", b"PROXY UDP4 10.1.2.3 192.0.2.25 40000 25\r\n"),
    ("v1 too long", b"PROXY UNKNOWN " + b"x" * 100 + b"\r\n"),
    ("v1 without end", b"PROXY UNKNOWN " + b"x" * 100),
    ("v2 wrong version", SIGNATURE + b"\x31\x11\x00\x0c" + V4),
    ("v2 wrong command", version_2(2, 0x11, V4)),
    ("v2 wrong signature", b"\r\n\r\n\x00\r\nQUOT\n\x21\x11\x00\x0c" + V4),
    ("v2 addresses cut short", version_2(1, 0x11, V4[:7])),
    ("v2 too long", version_2(1, 0x11, b"", MAX_OCTETS)),
]


def headers(rows: list[Any]) -> list[Any]:
    return [pytest.param(*row[1:], id=row[0]) for row in rows]


@pytest.mark.parametrize("piece", [1, 7, 10000])
@pytest.mark.parametrize(("octets", "addresses"), headers(GOOD))
async def test_header_is_read_and_no_more(
    octets: bytes, addresses: ProxiedAddresses | None, piece: int
) -> None:
    header = ProxyHeader(asyncio.get_running_loop())
    stream = octets + b"EHLO client.example\r\n"
    taken = 0
    for start in range(0, len(stream), piece):
        taken += header.receive(stream[start : start + piece])
    assert taken == len(octets)
    assert header.is_complete
    assert header.addresses.result() == addresses


@pytest.mark.parametrize("piece", [1, 7, 10000])
@pytest.mark.parametrize("octets", headers(BAD))
async def test_anything_else_is_refused(octets: bytes, piece: int) -> None:
    header = ProxyHeader(asyncio.get_running_loop())
    with pytest.raises(ProxyHeaderError):  # noqa: PT012 - which piece it is does not matter
        for start in range(0, len(octets), piece):
            header.receive(octets[start : start + piece])
    assert not header.is_complete


async def test_incomplete_header_keeps_no_more_than_it_needs() -> None:
    header = ProxyHeader(asyncio.get_running_loop())
    octets = version_2(1, 0x11, b"\0" * 100)[:-1]
    assert header.receive(octets) == len(octets)
    assert len(header._octets) == len(octets)


# --- in front of a session -----------------------------------------------------------------------------


async def proxied(house: House, **parameters: Any) -> Client:
    return await house.connect(await house.start(require_proxy_protocol=True, **parameters))


def connection_of(house: House) -> Connection:
    connection: Connection = house.policy.calls[0][1][0]
    return connection


@pytest.mark.parametrize(("octets", "addresses"), headers(GOOD))
async def test_session_begins_after_the_header(
    house: House, octets: bytes, addresses: ProxiedAddresses | None
) -> None:
    server = await house.start(require_proxy_protocol=True, relay_hosts=CidrSet.parse(["any"]))
    client = await house.connect(server)
    client.send(octets)
    assert await client.reply() == "220 mx.example.com KumoMTA"
    connection = connection_of(house)
    socket_peer, socket_via = f"127.0.0.1:{client.port}", server.addresses[0]
    if addresses is None:
        assert (connection.peer, connection.via) == (socket_peer, socket_via)
        assert connection.auth_info is None
        assert "orig_received_from" not in connection.meta
    else:
        assert (connection.peer_ip, connection.peer_port) == addresses.peer
        assert (connection.local_ip, connection.local_port) == addresses.local
        assert connection.meta["received_from"] == connection.peer
        assert connection.meta["received_via"] == connection.via
        assert connection.meta["orig_received_from"] == socket_peer
        assert connection.meta["orig_received_via"] == socket_via
        assert connection.auth_info == AuthInfo("127.0.0.1")
    assert (await client.deliver(b"x\r\n")).startswith("250 ")
    label = f"esmtp_listener:{connection.via}"
    assert house.metrics.total_messages_received[label] == 1


@pytest.mark.parametrize(("octets", "addresses"), headers(GOOD[:6:4]))
async def test_header_octet_by_octet(house: House, octets: bytes, addresses: ProxiedAddresses) -> None:
    client = await proxied(house)
    client.writer.get_extra_info("socket").setsockopt(6, 1, 1)
    for octet in octets:
        client.send(bytes((octet,)))
        await asyncio.sleep(0)
    assert await client.reply() == "220 mx.example.com KumoMTA"
    assert (connection_of(house).peer_ip, connection_of(house).peer_port) == addresses.peer


async def test_octets_behind_the_header_are_commands(house: House) -> None:
    client = await proxied(house)
    client.send(GOOD[0][1] + b"NOOP\r\nQUIT\r\n")
    assert await client.rest() == (
        BANNER + b"250 the goggles do nothing\r\n221 So long, and thanks for all the fish!\r\n"
    )


async def test_banner_waits_for_the_header(house: House) -> None:
    client = await proxied(house)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await client.reader.readline()
    assert house.policy.calls == []
    client.send(GOOD[0][1])
    assert await client.reply() == "220 mx.example.com KumoMTA"


@pytest.mark.parametrize("octets", headers(BAD))
async def test_anything_else_ends_the_connection_without_a_word(
    house: House, octets: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "kumod.listener")
    server = await house.start(require_proxy_protocol=True)
    client = await house.connect(server)
    client.send(octets)
    assert await _nothing(client) == b""
    await until(lambda: server.session_count == 0)
    assert house.policy.calls == []
    assert house.rejections.records == []
    assert any("dropped: " in message for message in caplog.messages)


async def test_header_that_does_not_come(house: House) -> None:
    server = await house.start(require_proxy_protocol=True, client_timeout=SHORT)
    client = await house.connect(server)
    assert await client.rest() == b""
    await until(lambda: server.session_count == 0)
    assert house.policy.calls == []
    assert house.rejections.records == []


async def test_header_that_dribbles_has_no_more_time_than_another(house: House) -> None:
    server = await house.start(require_proxy_protocol=True, client_timeout=SHORT)
    client = await house.connect(server)
    dribble = asyncio.create_task(_dribble(client))
    assert await _nothing(client) == b""
    dribble.cancel()
    await until(lambda: server.session_count == 0)


async def test_peer_that_closes_within_the_header(house: House) -> None:
    server = await house.start(require_proxy_protocol=True)
    client = await house.connect(server)
    client.send(GOOD[0][1][:20])
    client.writer.write_eof()
    assert await client.rest() == b""
    await until(lambda: server.session_count == 0)
    assert house.policy.calls == []


async def test_shutdown_within_the_header(house: House) -> None:
    server = await house.start(require_proxy_protocol=True)
    client = await house.connect(server)
    await until(lambda: server.session_count == 1)
    async with asyncio.timeout(5):
        await server.shut_down()
    assert await client.rest() == b""
    assert house.rejections.records == []


async def test_refusal_to_take_mail_comes_before_the_header(house: House) -> None:
    house.admission.text = "load shedding. Try later"
    client = await proxied(house)
    assert await client.reply() == "421 4.3.2 mx.example.com load shedding. Try later"


async def test_slow_client_is_idle_after_the_header(house: House) -> None:
    client = await proxied(house, client_timeout=SHORT)
    client.send(GOOD[0][1])
    assert await client.rest() == BANNER + b"421 4.3.2 mx.example.com idle too long\r\n"


async def test_parameters_are_those_of_the_new_addresses(house: House) -> None:
    client = await proxied(
        house,
        peer=CidrMap({"10.0.0.0/8": ListenerOverrides(banner="proxied")}),
        via=CidrMap({"192.0.2.25": ListenerOverrides(hostname="via.example.com")}),
    )
    client.send(GOOD[0][1])
    assert await client.reply() == "220 via.example.com proxied"
    await client.say("MAIL FROM:<>")
    assert await client.say("RCPT TO:<b@example.org>") == (
        "550 5.7.1 relaying not permitted for 10.1.2.3:40000"
    )


async def test_only_balancers_have_to_send_it(house: House) -> None:
    block = CidrMap({"127.0.0.1": ListenerOverrides(require_proxy_protocol=True)})
    client = await house.connect(await house.start(peer=block))
    client.send(GOOD[0][1])
    assert await client.reply() == "220 mx.example.com KumoMTA"
    assert connection_of(house).peer_ip == "10.1.2.3"


async def test_policy_is_asked_twice(house: House) -> None:
    house.policy.has_dynamic_parameters = True
    house.policy.answers["dynamic_parameters"] = lambda connection: ListenerOverrides(
        banner=f"for {connection.peer}"
    )
    client = await proxied(house)
    client.send(GOOD[0][1])
    assert await client.reply() == "220 mx.example.com for 10.1.2.3:40000"
    assert house.policy.names() == ["dynamic_parameters", "dynamic_parameters", "connection_accepted"]


async def test_rejection_by_policy(house: House) -> None:
    house.policy.has_dynamic_parameters = True
    house.policy.answers["dynamic_parameters"] = Rejection(550, "5.7.1 not you")
    client = await proxied(house)
    client.send(GOOD[0][1])
    assert await client.rest() == b"550 5.7.1 not you\r\n"
    assert house.policy.names() == ["dynamic_parameters"]


async def test_header_and_tls(house: House) -> None:
    client = await proxied(house)
    client.send(GOOD[0][1])
    await client.reply()
    await client.start_tls()
    assert await client.say("NOOP") == "250 the goggles do nothing"
    assert connection_of(house).auth_info == AuthInfo("127.0.0.1")


async def _dribble(client: Client) -> None:
    for octet in version_2(1, 0x11, V4 + b"\0" * 2000):
        client.send(bytes((octet,)))
        await asyncio.sleep(0.01)


async def _nothing(client: Client) -> bytes:
    try:
        return await client.rest()
    except ConnectionError:
        return b""
