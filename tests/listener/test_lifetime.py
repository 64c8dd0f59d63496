"""Peers that idle, stall, vanish or come in crowds, and the end of the daemon."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import tracemalloc

import pytest

from kumo.config import EsmtpListener
from kumo.errors import LocalProtocolError, TransportError
from kumo.listener import EsmtpServer
from kumo.listener.accepted_socket import AcceptedSocket
from kumo.smtp import Reply
from tests.listener.fakes import PATIENCE, Client, Gate, House, until

SHORT = 0.2
IDLE = "421 4.3.2 mx.example.com idle too long"
STOPPING = "421 4.3.2 mx.example.com shutting down"


# --- addresses ---------------------------------------------------------------------------------------


async def test_listener_says_where_it_is(house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "kumod.listener")
    server = await house.start(listen="127.0.0.1:0")
    assert caplog.messages == [f"smtp listener on {server.addresses[0]}"]
    assert server.addresses[0].startswith("127.0.0.1:")


@pytest.mark.parametrize(
    ("listen", "host", "peer_ip"),
    [
        ("0:0", "127.0.0.1", "127.0.0.1"),
        ("localhost:0", "127.0.0.1", "127.0.0.1"),
        ("[::1]:0", "::1", "::1"),
        ("[::]:0", "::1", "::1"),
        ("[::]:0", "127.0.0.1", "127.0.0.1"),
    ],
)
async def test_both_families_are_served(house: House, listen: str, host: str, peer_ip: str) -> None:
    server = await house.start(listen=listen)
    client = await house.greeted(server, host=host)
    connection = house.policy.calls[0][1][0]
    port = server.addresses[0].rpartition(":")[2]
    printed = f"[{host}]" if ":" in host else host
    assert (connection.peer_ip, connection.local_ip) == (peer_ip, host)
    assert connection.via == f"{printed}:{port}"
    assert await client.deliver(b"x\r\n") == "250 OK ids=0123456789abcdef"


async def test_several_listeners_serve_side_by_side(house: House) -> None:
    first = await house.start(hostname="one.example.com")
    second = await house.start(hostname="two.example.com")
    assert await (await house.connect(first)).reply() == "220 one.example.com KumoMTA"
    assert await (await house.connect(second)).reply() == "220 two.example.com KumoMTA"
    first.close()
    assert await (await house.connect(second)).reply() == "220 two.example.com KumoMTA"


async def test_taken_address_fails_to_start(house: House) -> None:
    first = await house.start()
    second = house.make(listen=first.addresses[0])
    with pytest.raises(
        TransportError, match=rf"^failed to bind to {first.addresses[0]}: Address already in use"
    ):
        await second.start()
    assert second.session_count == 0
    await second.shut_down()


async def test_socket_of_the_service_manager_is_used(house: House) -> None:
    opened = socket.create_server(("127.0.0.1", 0))
    opened.setblocking(False)
    port = opened.getsockname()[1]
    asked: list[tuple[int, tuple[object, ...]]] = []

    def claim(family: int, address: tuple[object, ...]) -> socket.socket:
        asked.append((family, address))
        return opened

    server = EsmtpServer(EsmtpListener(listen="127.0.0.1:25"), house.partners(), claim=claim)
    house.servers.append(server)
    await server.start()
    assert asked == [(socket.AF_INET, ("127.0.0.1", 25))]
    assert server.addresses == (f"127.0.0.1:{port}",)
    await house.greeted(server)


async def test_listener_starts_once(house: House) -> None:
    server = await house.start()
    with pytest.raises(LocalProtocolError):
        await server.start()


async def test_hostname_is_the_hosts_own_by_default(house: House) -> None:
    client = await house.connect(await house.start(hostname=None))
    assert await client.reply() == f"220 {socket.gethostname()} KumoMTA"


async def test_nagles_algorithm_is_off_on_each_connection(house: House) -> None:
    server = await house.start()
    await house.greeted(server)
    context = server._context
    assert context is not None
    (session,) = context.sessions
    transport = session._transport
    assert transport is not None
    accepted = transport.get_extra_info("socket")
    assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


# --- time limits -------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", ["", "HELO c.example", "MAIL FROM:<>"])
async def test_idle_session_is_told_and_closed(house: House, before: str) -> None:
    server = await house.start(client_timeout=SHORT)
    client = await house.greeted(server)
    if before:
        await client.say(before)
    assert (await client.rest()).decode() == f"{IDLE}\r\n"
    await client.close()
    await until(lambda: server.session_count == 0)
    assert house.rejections.records == []


async def test_session_that_idles_within_data_is_told_and_its_half_message_dropped(house: House) -> None:
    server = await house.start(client_timeout=SHORT)
    client = await house.greeted(server)
    await client.start_content()
    client.send(b"half a mess")
    assert (await client.rest()).decode() == f"{IDLE}\r\n"
    assert house.receiver.received == []


async def test_time_limit_of_nothing_ends_the_session_at_once(house: House) -> None:
    client = await house.connect(await house.start(client_timeout=0.0))
    assert (await client.rest()).decode().endswith(f"{IDLE}\r\n")


async def test_idle_peer_that_keeps_its_end_open_is_let_go_of(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kumo.listener.timed_connection.LINGER", SHORT)
    server = await house.start(client_timeout=SHORT)
    await house.greeted(server)
    await until(lambda: server.session_count == 0)


async def test_slow_policy_does_not_count_as_idle(house: House) -> None:
    gate = Gate()
    house.policy.answers["mail_from"] = gate
    server = await house.start(client_timeout=SHORT)
    client = await house.greeted(server)
    client.send(b"MAIL FROM:<>\r\n")
    await gate.wait_until_asked()
    # Longer than the limit: the limit's timer has fired meanwhile.
    loop = asyncio.get_running_loop()
    answer = loop.create_future()
    loop.call_later(3 * SHORT, answer.set_result, None)
    await answer
    gate.answer.set_result(None)
    assert await client.reply() == "250 OK <>"
    assert await client.say("QUIT") == "221 So long, and thanks for all the fish!"


@pytest.mark.parametrize("ends", ["stalls", "vanishes"])
async def test_peer_that_does_not_read_is_bounded_and_dropped(
    house: House, caplog: pytest.LogCaptureFixture, ends: str
) -> None:
    caplog.set_level(logging.INFO, "kumod.listener")
    server = await house.start(client_timeout=1.0)
    client = await house.greeted(server, receive_buffer=2048)
    client.reader._transport.pause_reading()  # type: ignore[attr-defined]
    sent = asyncio.ensure_future(_send_for_ever(client))
    context = server._context
    assert context is not None
    (session,) = context.sessions
    await until(lambda: session._flow is None or session._flow.is_writing_paused)
    transport = session._transport
    assert transport is not None
    # Nothing is read for it any more, so that what is unsent does not grow.
    assert not transport.is_reading()
    assert transport.get_write_buffer_size() < 1_000_000
    if ends == "vanishes":
        client.reset()
    await until(lambda: server.session_count == 0)
    sent.cancel()
    await asyncio.wait([sent])
    assert ("it does not read" in caplog.text) is (ends == "stalls")


async def _send_for_ever(client: Client) -> None:
    while True:
        client.send(b"NOOP\r\n" * 1000)
        await client.writer.drain()


async def test_peer_that_reads_again_is_served_on(house: House) -> None:
    server = await house.start()
    client = await house.greeted(server, receive_buffer=2048)
    noops = 400_000
    client.reader._transport.pause_reading()  # type: ignore[attr-defined]
    client.send(b"NOOP\r\n" * noops + b"QUIT\r\n")
    context = server._context
    assert context is not None
    (session,) = context.sessions
    await until(lambda: session._flow is not None and session._flow.is_writing_paused)
    client.reader._transport.resume_reading()  # type: ignore[attr-defined]
    said = await client.rest()
    assert (
        said == b"250 the goggles do nothing\r\n" * noops + b"221 So long, and thanks for all the fish!\r\n"
    )


# --- peers that go -----------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["banner", "command", "half a command", "data"])
@pytest.mark.parametrize("how", ["FIN", "RST"])
async def test_peer_that_goes_leaves_nothing_behind(house: House, stage: str, how: str) -> None:
    server = await house.start()
    client = await house.connect(server)
    if stage != "banner":
        await client.reply()
    if stage == "half a command":
        client.send(b"MAIL FR")
    if stage == "data":
        await client.start_content()
        client.send(b"half a mess")
    if how == "RST":
        _reset(client)
    else:
        client.writer.close()
    await until(lambda: server.session_count == 0)
    assert house.receiver.received == []
    assert house.metrics.connection_count == {"esmtp_listener": 0}


def _reset(client: Client) -> None:
    linger_off = b"\x01\x00\x00\x00\x00\x00\x00\x00"
    client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_off)
    client.reset()


async def test_peer_that_goes_while_policy_waits_cancels_it(house: House) -> None:
    gate = Gate()
    house.policy.answers["mail_from"] = gate
    server = await house.start()
    client = await house.greeted(server)
    client.send(b"MAIL FROM:<>\r\n")
    await gate.wait_until_asked()
    _reset(client)
    await until(lambda: server.session_count == 0)
    assert gate.was_cancelled


@pytest.mark.parametrize("error", [None, RuntimeError("disk on fire")])
async def test_message_is_stored_to_the_end_though_its_peer_is_gone(
    house: House, caplog: pytest.LogCaptureFixture, error: Exception | None
) -> None:
    gate = Gate()
    house.receiver.answer = gate
    server = await house.start()
    client = await house.greeted(server)
    await client.start_content()
    client.send(b"x\r\n.\r\n")
    await gate.wait_until_asked()
    _reset(client)
    await until(lambda: house.metrics.connection_count["esmtp_listener"] == 0)
    # The session counts until its message is safe: the daemon must not exit before.
    assert server.session_count == 1
    if error is None:
        gate.answer.set_result(Reply(250, "OK ids=1"))
    else:
        gate.answer.set_exception(error)
    await until(lambda: server.session_count == 0)
    assert not gate.was_cancelled
    assert ("disk on fire" in caplog.text) is (error is not None)


async def test_half_closed_peer_hears_a_late_reply(house: House) -> None:
    gate = Gate()
    house.receiver.answer = gate
    server = await house.start()
    client = await house.greeted(server)
    await client.start_content()
    client.send(b"x\r\n.\r\n")
    client.writer.write_eof()
    await gate.wait_until_asked()
    gate.answer.set_result(Reply(250, "OK ids=1"))
    assert await client.rest() == b"250 OK ids=1\r\n"
    await until(lambda: server.session_count == 0)


async def test_peer_that_is_hung_up_on_while_it_sends_can_read_why(house: House) -> None:
    """Without lingering, what it sends meanwhile resets the connection, and the reset overtakes the reply."""
    server = await house.start()
    client = await house.greeted(server)
    client.send(b"\r\n" * 200)
    said = await client.rest()
    assert said.endswith(b"421 4.7.0 mx.example.com too many errors\r\n")
    client.send(b"NOOP\r\n")
    await client.close()
    await until(lambda: server.session_count == 0)


async def test_octets_after_quit_are_ignored(house: House) -> None:
    server = await house.start()
    client = await house.greeted(server)
    client.send(b"QUIT\r\nMAIL FROM:<>\r\n")
    assert await client.rest() == b"221 So long, and thanks for all the fish!\r\n"
    assert "mail_from" not in house.policy.names()


# --- crowds ------------------------------------------------------------------------------------------


async def test_connections_over_the_limit_are_told_and_closed(house: House) -> None:
    server = await house.start(max_connections=2)
    first, _ = await house.greeted(server), await house.greeted(server)
    for _ in range(3):
        surplus = await house.connect(server)
        assert await surplus.rest() == (
            b"421 4.3.2 mx.example.com too many concurrent sessions. Try later\r\n"
        )
    assert house.metrics.total_connections_denied == {"esmtp_listener": 3}
    assert house.rejections.records == []
    await first.say("QUIT")
    await until(lambda: server.session_count == 1)
    await house.greeted(server)


async def test_all_connections_are_counted_where_they_arrive(house: House) -> None:
    house.counts_processors = True
    server = await house.start(max_connections=1)
    await house.greeted(server)
    surplus = await house.connect(server)
    assert (await surplus.rest()).startswith(b"421 ")
    counted = house.metrics.connections_by_processor
    assert sum(counted.values()) == 2
    assert {name.rpartition("/")[0] for name in counted} == {server.addresses[0]}


async def test_connection_of_unknown_processor_is_served(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def getsockopt(*_: object) -> int:
        raise OSError(errno.ENOPROTOOPT, "Protocol not available")

    house.counts_processors = True
    monkeypatch.setattr(AcceptedSocket, "getsockopt", getsockopt)
    await house.greeted(await house.start())
    assert house.metrics.connections_by_processor == {}


async def test_close_tells_what_was_decided_in_the_same_turn(house: House) -> None:
    loop = asyncio.get_running_loop()
    decision: asyncio.Future[None] = loop.create_future()
    house.policy.answers["mail_from"] = lambda *_: decision
    server = await house.start()
    client, _ = await house.greeted(server), await house.greeted(server)
    client.send(b"MAIL FROM:<>\r\n")
    await until(lambda: "mail_from" in house.policy.names())
    decision.set_result(None)
    loop.call_soon(server.close)
    assert await client.rest() == b"250 OK <>\r\n"


async def test_surplus_client_that_speaks_first_still_hears_why(house: House) -> None:
    server = await house.start(max_connections=0)
    port = int(server.addresses[0].rpartition(":")[2])
    # The loop does not run meanwhile, so that the octets are there when the connection is accepted.
    eager = socket.create_connection(("127.0.0.1", port))
    eager.sendall(b"EHLO eager.example\r\n")
    client = Client(*await asyncio.open_connection(sock=eager))
    house.clients.append(client)
    assert await client.rest() == b"421 4.3.2 mx.example.com too many concurrent sessions. Try later\r\n"


async def test_limit_of_no_connections_refuses_everyone(house: House) -> None:
    client = await house.connect(await house.start(max_connections=0))
    assert (await client.rest()).startswith(b"421 4.3.2 ")
    assert house.policy.calls == []


async def test_a_thousand_idle_connections_cost_little_and_disturb_nobody(house: House) -> None:
    count = 1000
    server = await house.start()
    loop = asyncio.get_running_loop()
    address = ("127.0.0.1", int(server.addresses[0].rpartition(":")[2]))
    idle: list[socket.socket] = []
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(count):
            connection = socket.socket()
            connection.setblocking(False)
            idle.append(connection)
            await loop.sock_connect(connection, address)
        await until(lambda: house.metrics.connection_count["esmtp_listener"] == count)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The clients' sockets and what the fake policy keeps are in it as well.
    assert after - before < 8192 * count
    client = await house.greeted(server)
    assert await client.deliver(b"x\r\n") == "250 OK ids=0123456789abcdef"
    for connection in idle:
        connection.close()
    await client.say("QUIT")
    await until(lambda: server.session_count == 0)


# --- shutting down -----------------------------------------------------------------------------------


async def test_idle_sessions_are_told_at_once(house: House) -> None:
    servers = [await house.start(), await house.start()]
    clients = [await house.greeted(server) for server in servers]
    stopping = asyncio.gather(*(server.shut_down() for server in servers))
    for client in clients:
        assert (await client.rest()).decode() == f"{STOPPING}\r\n"
        await client.close()
    async with asyncio.timeout(PATIENCE):
        await stopping
    assert [server.session_count for server in servers] == [0, 0]
    assert house.rejections.records == []


async def test_session_within_data_is_told_at_once_and_nothing_kept(house: House) -> None:
    server = await house.start()
    client = await house.greeted(server)
    await client.start_content()
    client.send(b"half a mess")
    await client.writer.drain()
    stopping = asyncio.ensure_future(server.shut_down())
    assert (await client.rest()).decode() == f"{STOPPING}\r\n"
    await client.close()
    async with asyncio.timeout(PATIENCE):
        await stopping
    assert house.receiver.received == []


async def test_message_in_hand_is_answered_before_the_farewell(house: House) -> None:
    gate = Gate()
    house.receiver.answer = gate
    server = await house.start()
    client = await house.greeted(server)
    await client.start_content()
    client.send(b"x\r\n.\r\n")
    await gate.wait_until_asked()
    stopping = asyncio.ensure_future(server.shut_down())
    await asyncio.sleep(0)
    assert not stopping.done()
    gate.answer.set_result(Reply(250, "OK ids=1"))
    assert (await client.rest()).decode() == f"250 OK ids=1\r\n{STOPPING}\r\n"
    await client.close()
    async with asyncio.timeout(PATIENCE):
        await stopping


async def test_end_waits_for_the_last_session(house: House) -> None:
    gate = Gate()
    house.receiver.answer = gate
    server = await house.start()
    idle, busy = await house.greeted(server), await house.greeted(server)
    await busy.start_content()
    busy.send(b"x\r\n.\r\n")
    await gate.wait_until_asked()
    stopping = asyncio.ensure_future(server.shut_down())
    assert (await idle.rest()).decode() == f"{STOPPING}\r\n"
    await idle.close()
    await until(lambda: server.session_count == 1)
    await asyncio.sleep(0)
    assert not stopping.done()
    gate.answer.set_result(Reply(250, "OK ids=1"))
    await busy.rest()
    await busy.close()
    async with asyncio.timeout(PATIENCE):
        await stopping


async def test_new_connections_are_refused_while_old_ones_end(house: House) -> None:
    gate = Gate()
    house.receiver.answer = gate
    server = await house.start()
    client = await house.greeted(server)
    await client.start_content()
    client.send(b"x\r\n.\r\n")
    await gate.wait_until_asked()
    stopping = asyncio.ensure_future(server.shut_down())
    await asyncio.sleep(0)
    with pytest.raises(ConnectionRefusedError):
        await house.connect(server)
    gate.answer.set_result(Reply(250, "OK ids=1"))
    await client.rest()
    await client.close()
    async with asyncio.timeout(PATIENCE):
        await stopping


async def test_connection_accepted_just_before_the_end_is_told(house: House) -> None:
    """The socket was taken from the backlog, its session begins a turn of the loop later."""
    server = await house.start()
    client = await house.connect(server)
    stopping = asyncio.ensure_future(server.shut_down())
    said = (await client.rest()).decode()
    # Refused by the kernel when it never left the backlog; else 421, before or after its banner.
    assert said in {"", f"{STOPPING}\r\n", f"220 mx.example.com KumoMTA\r\n{STOPPING}\r\n"}
    await client.close()
    async with asyncio.timeout(PATIENCE):
        await stopping


async def test_session_that_begins_after_the_end_began_gets_421_for_a_banner(house: House) -> None:
    server = await house.start()
    context = server._context
    assert context is not None
    context.is_shutting_down = True
    client = await house.connect(server)
    assert (await client.rest()).decode() == f"{STOPPING}\r\n"
    assert house.policy.calls == []


async def test_peer_that_ignores_the_farewell_does_not_hold_up_the_end(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kumo.listener.timed_connection.LINGER", SHORT)
    server = await house.start()
    await house.greeted(server)
    async with asyncio.timeout(PATIENCE):
        await server.shut_down()
    assert server.session_count == 0


async def test_shutting_down_twice_waits_twice(house: House) -> None:
    gate = Gate()
    house.policy.answers["mail_from"] = gate
    server = await house.start()
    client = await house.greeted(server)
    client.send(b"MAIL FROM:<>\r\n")
    await gate.wait_until_asked()
    stopping = asyncio.gather(server.shut_down(), server.shut_down())
    gate.answer.set_result(None)
    assert (await client.rest()).decode() == f"250 OK <>\r\n{STOPPING}\r\n"
    await client.close()
    async with asyncio.timeout(PATIENCE):
        await stopping


async def test_many_sessions_end_together(house: House) -> None:
    server = await house.start()
    clients = [await house.greeted(server) for _ in range(150)]
    stopping = asyncio.ensure_future(server.shut_down())
    for client in clients:
        assert (await client.rest()).decode() == f"{STOPPING}\r\n"
        client.writer.close()
    async with asyncio.timeout(PATIENCE):
        await stopping
    assert house.metrics.connection_count == {"esmtp_listener": 0}


async def test_close_drops_everything_at_once(house: House) -> None:
    server = await house.start()
    client = await house.greeted(server)
    server.close()
    server.close()
    assert await client.rest() == b""
    await until(lambda: server.session_count == 0)
    with pytest.raises(ConnectionRefusedError):
        await house.connect(server)


class BrokenLoop:
    """A loop that takes a connection badly, before or after it has waited for its protocol."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, waits: bool) -> None:
        self._loop = loop
        self._waits = waits

    def __getattr__(self, name: str) -> object:
        return getattr(self._loop, name)

    async def connect_accepted_socket(self, _factory: object, _accepted: socket.socket) -> None:
        if self._waits:
            waiting = self._loop.create_future()
            self._loop.call_soon(waiting.set_result, None)
            await waiting
        raise OSError("no room")


@pytest.mark.parametrize("waits", [False, True])
async def test_a_connection_that_the_loop_cannot_take_disturbs_nobody(
    house: House, caplog: pytest.LogCaptureFixture, waits: bool
) -> None:
    server = await house.start()
    context = server._context
    assert context is not None
    loop = context.loop
    context.loop = BrokenLoop(loop, waits=waits)  # type: ignore[assignment]
    client = await house.connect(server)
    async with asyncio.timeout(PATIENCE):
        assert await client.reader.read() == b""
    assert server.session_count == 0
    assert caplog.messages == ["cannot serve a connection: OSError('no room')"]
    context.loop = loop
    await house.greeted(server)
