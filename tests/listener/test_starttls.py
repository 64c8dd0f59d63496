"""STARTTLS over real sockets: what must not survive it, what ends it, what comes of it."""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import Any

import pytest
import trustme

from kumo.config import CidrMap, KeyData, KeyFile, ListenerOverrides
from kumo.errors import TlsError
from kumo.message import AuthInfo, Connection
from kumo.smtp import Reply
from tests.listener.fakes import PATIENCE, Client, Gate, House, trusting_context, until

SHORT = 0.2
TROUBLE = "421 4.3.0 mx.example.com technical difficulties"


class Certificates:
    """One authority, one server, one client."""

    def __init__(self) -> None:
        self.authority = trustme.CA()
        server = self.authority.issue_cert("mx.example.com")
        self.client = self.authority.issue_cert("client@example.com", common_name="Testing Common Name")
        self.parameters: dict[str, Any] = {
            "tls_certificate": KeyData(b"".join(blob.bytes() for blob in server.cert_chain_pems)),
            "tls_private_key": KeyData(server.private_key_pem.bytes()),
        }
        self.client_ca = KeyData(self.authority.cert_pem.bytes())

    def trusting(self) -> ssl.SSLContext:
        """For a client that trusts this authority only."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        self.authority.configure_trust(context)
        return context


@pytest.fixture(scope="module")
def certificates() -> Certificates:
    return Certificates()


def connection_of(house: House) -> Connection:
    """The session's connection."""
    connection: Connection = house.policy.calls[0][1][0]
    return connection


async def secured(house: House, **parameters: Any) -> Client:
    """A client inside TLS, before its second greeting."""
    client = await house.greeted(await house.start(**parameters))
    await client.start_tls()
    return client


# --- what comes of it --------------------------------------------------------------------------------


async def test_session_goes_on_inside_tls(house: House) -> None:
    client = await secured(house)
    assert (await client.say("EHLO c.example")).splitlines()[-2:] == ["250-SIZE 20971520", "250 AUTH PLAIN"]
    assert await client.deliver(b"hello\r\n") == "250 OK ids=0123456789abcdef"
    assert await client.say("QUIT") == "221 So long, and thanks for all the fish!"
    assert await client.rest() == b""
    assert house.receiver.contents == [b"hello\r\n"]


async def test_configured_certificate_is_shown(house: House, certificates: Certificates) -> None:
    client = await house.greeted(await house.start(**certificates.parameters))
    await client.start_tls(certificates.trusting())
    assert await client.say("NOOP") == "250 the goggles do nothing"


@pytest.mark.parametrize(
    ("version", "name"), [(ssl.TLSVersion.TLSv1_2, "TLSv1_2"), (ssl.TLSVersion.TLSv1_3, "TLSv1_3")]
)
async def test_connection_tells_what_was_agreed_on(house: House, version: ssl.TLSVersion, name: str) -> None:
    client = await house.greeted(await house.start())
    context = trusting_context()
    context.minimum_version = context.maximum_version = version
    await client.start_tls(context)
    await client.say("NOOP")
    connection = connection_of(house)
    assert connection.tls_protocol_version == connection.meta["tls_protocol_version"] == name
    assert connection.tls_cipher == connection.meta["tls_cipher"]
    assert connection.tls_cipher is not None
    assert connection.tls_cipher.startswith("TLS13_" if name == "TLSv1_3" else "TLS_ECDHE_")
    assert connection.tls_peer_subject_name == ()
    assert "tls_peer_subject_name" not in connection.meta


async def test_client_certificate_is_noted(house: House, certificates: Certificates) -> None:
    server = await house.start(**certificates.parameters, tls_required_client_ca=certificates.client_ca)
    client = await house.greeted(server)
    context = certificates.trusting()
    certificates.client.configure_cert(context)
    await client.start_tls(context)
    await client.say("NOOP")
    connection = connection_of(house)
    assert connection.tls_peer_subject_name is not None
    assert "CN=Testing Common Name" in connection.tls_peer_subject_name
    assert connection.meta["tls_peer_subject_name"] == list(connection.tls_peer_subject_name)


async def test_untrusted_client_certificate_ends_the_connection(
    house: House, certificates: Certificates
) -> None:
    server = await house.start(**certificates.parameters, tls_required_client_ca=certificates.client_ca)
    client = await house.greeted(server)
    context = trusting_context()
    trustme.CA().issue_cert("stranger@example.net").configure_cert(context)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await client.start_tls(context)
    await until(lambda: server.session_count == 0)
    assert house.rejections.records == []


async def test_greeting_is_forgotten(house: House) -> None:
    client = await house.greeted(await house.start())
    await client.say("EHLO clear.example")
    await client.say("MAIL FROM:<>")
    connection = connection_of(house)
    assert (connection.ehlo_domain, connection.meta["ehlo_domain"]) == ("clear.example", "clear.example")
    connection.listener_domains = {"example.org": None}
    await client.start_tls()
    await client.say("NOOP")
    assert connection.ehlo_domain is None
    assert "ehlo_domain" not in connection.meta
    assert connection.listener_domains is None


async def test_transaction_is_forgotten(house: House) -> None:
    client = await house.greeted(await house.start())
    await client.say("MAIL FROM:<a@example.com>")
    await client.start_tls()
    assert await client.say("RCPT TO:<b@example.org>") == "503 5.5.0 MAIL FROM must be issued first"


async def test_starttls_twice(house: House) -> None:
    client = await secured(house)
    assert await client.say("STARTTLS") == "501 Cannot STARTTLS as TLS is already active"


async def test_reply_may_be_rewritten_into_a_refusal(house: House) -> None:
    house.policy.rewrites_replies = True
    house.policy.answers["rewrite_response"] = lambda _connection, reply, _command: (
        Reply(454, "not now") if reply.text.startswith("Ready") else None
    )
    client = await house.greeted(await house.start())
    assert await client.say("STARTTLS") == "454 not now"
    assert await client.say("NOOP") == "250 the goggles do nothing"


# --- injection ---------------------------------------------------------------------------------------

INJECTED = [
    b"MAIL FROM:<evil@example.com>\r\n",
    b"MAIL FROM:<evil@example.com>\r\nRCPT TO:<b@example.org>\r\nDATA\r\nevil\r\n.\r\n",
    b"NOOP\r\nNOOP",
]


@pytest.mark.parametrize("injected", INJECTED)
async def test_octets_behind_starttls_in_its_segment_are_discarded(house: House, injected: bytes) -> None:
    client = await house.greeted(await house.start())
    client.send(b"STARTTLS\r\n" + injected)
    assert await client.reply() == "220 Ready to Start TLS"
    await client.shake_hands()
    assert (await client.say("EHLO c.example")).startswith("250-mx.example.com Aloha c.example\n")
    assert await client.say("RCPT TO:<b@example.org>") == "503 5.5.0 MAIL FROM must be issued first"
    assert house.policy.names() == ["connection_accepted", "ehlo"]
    assert house.receiver.received == []


@pytest.mark.parametrize("injected", INJECTED)
async def test_octets_behind_starttls_in_a_later_segment_do_no_harm(house: House, injected: bytes) -> None:
    """They come while the context is made, or after that: nobody reads them as commands."""
    house.policy.rewrites_replies = True
    gate = Gate()
    server = await house.start()
    client = await house.greeted(server)
    house.policy.answers["rewrite_response"] = gate
    client.send(b"STARTTLS\r\n")
    await gate.wait_until_asked()
    client.send(injected)
    session = next(iter(server._context.sessions))  # type: ignore[union-attr]
    await until(lambda: session._is_held_back)
    house.policy.answers["rewrite_response"] = None
    gate.answer.set_result(None)
    assert await client.reply() == "220 Ready to Start TLS"
    await client.shake_hands()
    assert await client.say("RCPT TO:<b@example.org>") == "503 5.5.0 MAIL FROM must be issued first"
    assert "mail_from" not in house.policy.names()
    assert house.receiver.received == []


async def test_commands_in_the_clear_instead_of_a_handshake_end_the_connection(house: House) -> None:
    server = await house.start()
    client = await house.greeted(server)
    assert await client.say("STARTTLS") == "220 Ready to Start TLS"
    client.send(b"MAIL FROM:<evil@example.com>\r\nRCPT TO:<b@example.org>\r\nDATA\r\nevil\r\n.\r\n")
    assert b"250" not in await client.rest()
    await until(lambda: server.session_count == 0)
    assert house.policy.names() == ["connection_accepted"]
    assert house.rejections.records == []


# --- handshakes that come to nothing -----------------------------------------------------------------


async def test_silent_peer_is_let_go_of_within_the_time_limit(house: House) -> None:
    server = await house.start(client_timeout=SHORT)
    client = await house.greeted(server)
    assert await client.say("STARTTLS") == "220 Ready to Start TLS"
    assert await client.rest() == b""
    await until(lambda: server.session_count == 0)
    assert house.metrics.connection_count["esmtp_listener"] == 0


@pytest.mark.parametrize(
    "octets", [b"\x00" * 100, b"\x16\x03\x01\x02\x00garbage" * 50, b"GET / HTTP/1.0\r\n\r\n"]
)
async def test_garbage_ends_the_connection(
    house: House, octets: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "kumod.listener")
    server = await house.start(client_timeout=SHORT)
    client = await house.greeted(server)
    assert await client.say("STARTTLS") == "220 Ready to Start TLS"
    client.send(octets)
    assert b"250" not in await _rest_or_reset(client)
    await until(lambda: server.session_count == 0)
    assert any("TLS handshake failed" in message for message in caplog.messages)
    assert all(record.levelno < logging.ERROR for record in caplog.records)


@pytest.mark.parametrize("ending", ["FIN", "RST"])
async def test_peer_that_leaves_before_the_handshake_leaves_nothing(house: House, ending: str) -> None:
    server = await house.start()
    client = await house.greeted(server)
    assert await client.say("STARTTLS") == "220 Ready to Start TLS"
    if ending == "FIN":
        client.writer.write_eof()
    else:
        client.reset()
    await until(lambda: server.session_count == 0)
    assert house.metrics.connection_count["esmtp_listener"] == 0
    assert _handshakes() == set()


async def test_peer_that_closes_its_side_with_starttls_is_let_go_of(house: House) -> None:
    server = await house.start()
    client = await house.greeted(server)
    client.send(b"STARTTLS\r\n")
    client.writer.write_eof()
    await client.rest()
    await until(lambda: server.session_count == 0)


async def test_connection_that_is_lost_before_the_handshake_begins(house: House) -> None:
    """Nothing tells a handshake that begins afterwards: it would keep session and descriptor for ever."""
    house.policy.rewrites_replies = True
    server = await house.start()
    client = await house.greeted(server)
    (session,) = server._context.sessions  # type: ignore[union-attr]
    house.policy.answers["rewrite_response"] = lambda *_: session.abort()
    client.send(b"STARTTLS\r\n")
    assert await client.rest() == b""
    await until(lambda: server.session_count == 0)
    assert house.metrics.connection_count["esmtp_listener"] == 0
    assert _handshakes() == set()


@pytest.mark.parametrize("how", ["shut_down", "close"])
async def test_end_of_the_daemon_during_a_handshake(house: House, how: str) -> None:
    server = await house.start()
    client = await house.greeted(server)
    assert await client.say("STARTTLS") == "220 Ready to Start TLS"
    if how == "shut_down":
        async with asyncio.timeout(5):
            await server.shut_down()
    else:
        server.close()
    assert await client.rest() == b""
    await until(lambda: server.session_count == 0)
    assert _handshakes() == set()


async def test_handshake_is_not_begun_while_the_daemon_ends(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    monkeypatch.setattr("kumo.tls.TlsContexts.server_context", gate)
    server = await house.start()
    client = await house.greeted(server)
    client.send(b"STARTTLS\r\n")
    await gate.wait_until_asked()
    ending = asyncio.create_task(server.shut_down())
    await until(lambda: server._context is not None and server._context.is_shutting_down)
    gate.answer.set_result(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    assert await client.rest() == b""
    await ending


def _handshakes() -> set[str]:
    return {task.get_name() for task in asyncio.all_tasks() if task.get_name() == "handshake"}


async def _rest_or_reset(client: Client) -> bytes:
    try:
        return await client.rest()
    except ConnectionError:
        return b""


# --- certificates that cannot be used ----------------------------------------------------------------


async def test_trouble_is_told_before_the_handshake(
    house: House, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    other = trustme.CA().issue_cert("mx.example.com")
    parameters = {**certificates.parameters, "tls_private_key": KeyData(other.private_key_pem.bytes())}
    server = await house.start(**parameters)
    client = await house.greeted(server)
    assert await client.say("STARTTLS") == TROUBLE
    assert await client.rest() == b""
    assert any(f"smtp listener on {server.addresses[0]} cannot do TLS" in text for text in caplog.messages)
    assert "PRIVATE KEY" not in caplog.text
    # Others are served in the clear as before.
    client = await house.greeted(server)
    assert await client.deliver(b"x\r\n") == "250 OK ids=0123456789abcdef"


async def test_mistakes_in_any_block_show_at_the_start(
    house: House, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    missing = ListenerOverrides(tls_certificate=KeyFile("/missing.pem"))
    block = ListenerOverrides(peer=CidrMap({"10.0.0.0/8": missing}))
    server = await house.start(**certificates.parameters, via=CidrMap({"any": block}))
    start = f"smtp listener on {server.addresses[0]} cannot do TLS: "
    await until(lambda: any(message.startswith(start) for message in caplog.messages))
    assert [message for message in caplog.messages if message.startswith(start)] == [
        f"{start}nothing can be had from KeyFile(path='/missing.pem')"
    ]
    # Those whom the block is not for have TLS.
    client = await house.greeted(server)
    await client.start_tls(certificates.trusting())


async def test_certificate_is_that_of_the_block(house: House, certificates: Certificates) -> None:
    block = CidrMap({"127.0.0.1": ListenerOverrides(**certificates.parameters)})
    client = await house.greeted(await house.start(peer=block))
    await client.start_tls(certificates.trusting())


async def test_handshake_is_given_up_when_replies_are_not_read(house: House) -> None:
    server = await house.start()
    client = await house.connect(server, receive_buffer=4096)
    await client.reply()
    client.stop_reading()
    (session,) = server._context.sessions  # type: ignore[union-attr]
    flow = session._flow
    assert flow is not None
    flow.is_writing_paused = True
    client.send(b"STARTTLS\r\n")
    await until(lambda: server.session_count == 0)


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "later"])
async def test_context_that_cannot_be_had(
    house: House, monkeypatch: pytest.MonkeyPatch, *, waits: bool
) -> None:
    async def fail_later() -> ssl.SSLContext:
        await asyncio.sleep(0)
        raise TlsError("no")

    def fail(*_arguments: object) -> Any:
        if waits:
            return fail_later()
        raise TlsError("no")

    monkeypatch.setattr("kumo.tls.TlsContexts.server_context", fail)
    client = await house.greeted(await house.start())
    assert await client.say("STARTTLS") == TROUBLE
    assert await client.rest() == b""
    ((_, reply, command, _, _),) = house.rejections.records
    assert (reply.code, command) == (421, "Error in SmtpServerSession: no")


# --- inside TLS --------------------------------------------------------------------------------------


async def test_idle_session_is_told_and_closed(house: House) -> None:
    server = await house.start(client_timeout=SHORT)
    client = await house.greeted(server)
    await client.start_tls()
    assert (await client.rest()).decode() == "421 4.3.2 mx.example.com idle too long\r\n"
    await client.close()
    await until(lambda: server.session_count == 0)


async def test_session_is_told_of_a_shutdown(house: House) -> None:
    server = await house.start()
    client = await house.greeted(server)
    await client.start_tls()
    await client.say("NOOP")
    ending = asyncio.create_task(server.shut_down())
    assert (await client.rest()).decode() == "421 4.3.2 mx.example.com shutting down\r\n"
    await client.close()
    await ending


@pytest.mark.parametrize("ending", ["close_notify", "FIN", "RST"])
async def test_half_a_message_is_dropped(house: House, caplog: pytest.LogCaptureFixture, ending: str) -> None:
    server = await house.start()
    client = await house.greeted(server)
    await client.start_tls()
    await client.start_content()
    client.send(b"half a mess")
    if ending == "close_notify":
        client.writer.close()
    elif ending == "FIN":
        client.half_close_below()
    else:
        client.reset()
    await until(lambda: server.session_count == 0)
    assert house.receiver.received == []
    # Neither we nor the loop have anything to complain of.
    assert caplog.records == []


async def test_plaintext_inside_tls_is_not_read(house: House) -> None:
    server = await house.start()
    client = await house.greeted(server)
    await client.start_tls()
    await client.start_content()
    client.send_below(b"evil\r\n.\r\nNOOP\r\n")
    assert b"250" not in await _rest_or_reset(client)
    await until(lambda: server.session_count == 0)
    assert house.receiver.received == []


async def test_many_commands_that_come_with_the_handshake(house: House) -> None:
    """More than a session keeps while it waits: the rest has to stay where it is."""
    gate = Gate()
    house.policy.answers["mail_from"] = gate
    server = await house.start()
    client = await house.greeted(server)
    (session,) = server._context.sessions  # type: ignore[union-attr]
    assert await client.say("STARTTLS") == "220 Ready to Start TLS"
    tls = await _shake_hands_with(client, b"MAIL FROM:<>\r\n" + b"NOOP\r\n" * 60000 + b"QUIT\r\n")
    await gate.wait_until_asked()
    await until(lambda: session._is_held_back)
    gate.answer.set_result(None)
    replies = await _read_all(client, *tls)
    assert replies.count(b"the goggles do nothing") == 60000
    assert replies.endswith(b"fish!\r\n")


_Tls = tuple[ssl.SSLObject, ssl.MemoryBIO]


async def _shake_hands_with(client: Client, commands: bytes) -> _Tls:
    """A handshake with commands in the last of its segments."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = trusting_context().wrap_bio(incoming, outgoing)
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                client.send(outgoing.read())
                incoming.write(await client.reader.read(65536))
            else:
                break
    while commands:
        commands = commands[tls.write(commands) :]
    client.send(outgoing.read())
    return tls, incoming


async def _read_all(client: Client, tls: ssl.SSLObject, incoming: ssl.MemoryBIO) -> bytes:
    """What the server sends until it says goodbye."""
    replies = bytearray()
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                octets = tls.read(65536)
            except ssl.SSLWantReadError:
                incoming.write(await client.reader.read(65536))
            except ssl.SSLZeroReturnError:
                return bytes(replies)
            else:
                if not octets:
                    return bytes(replies)
                replies += octets


async def test_large_message(house: House) -> None:
    client = await secured(house)
    content = b"0123456789" * 90 + b"\r\n"
    content *= 2000
    assert await client.deliver(content) == "250 OK ids=0123456789abcdef"
    assert house.receiver.contents == [content]


async def test_peer_that_does_not_read_is_bounded_and_given_up(house: House) -> None:
    server = await house.start(client_timeout=1.0)
    client = await house.connect(server, receive_buffer=4096)
    await client.reply()
    await client.start_tls()
    await client.say("NOOP")
    (session,) = server._context.sessions  # type: ignore[union-attr]
    flow = session._flow
    assert flow is not None
    assert session._transport is not None
    assert session._transport.get_write_buffer_limits()[1] == 65536
    client.stop_reading()
    client.send(b"NOOP\r\n" * 400000)
    await until(lambda: flow.is_writing_paused)
    # Either layer's high-water mark and the replies to one read.
    assert flow._unsent_octets() < 1024 * 1024
    await until(lambda: server.session_count == 0)
    client.reset_below()


async def test_old_connections_leave_nothing(house: House) -> None:
    server = await house.start()
    for _ in range(5):
        client = await house.greeted(server)
        await client.start_tls()
        await client.say("QUIT")
        await client.close()
    await until(lambda: server.session_count == 0)
    assert _handshakes() == set()
    assert house.metrics.connection_count["esmtp_listener"] == 0


async def test_authorised_address_stays_that_of_the_proxy(house: House) -> None:
    client = await house.greeted(await house.start())
    connection = connection_of(house)
    connection.auth_info = AuthInfo("192.0.2.1", groups=["old"])
    await client.start_tls()
    await client.say("NOOP")
    assert connection.auth_info == AuthInfo("192.0.2.1")
