"""Key sources without files or servers, a server that does STARTTLS, and a client for it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, cast

from kumo.config import KeyEvent, KeyFile, KeySource, KeyVault
from kumo.errors import KeySourceError, TlsError
from kumo.tls import (
    ServerContext,
    ServerIdentity,
    TlsContexts,
    TlsSession,
    describe_session,
    start_server_tls,
)

PATIENCE = 20.0
"""Seconds after which something that does not happen has failed; a bound, not an expectation."""


class Clock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        self.seconds += seconds


class Material:
    """What the sources hold, by path or event; a source that is not there fails to load."""

    def __init__(self, **held: bytes) -> None:
        self.held = held
        self.loads = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def load(self, source: KeySource) -> bytes:
        self.loads += 1
        await self.gate.wait()
        match source:
            case KeyFile(path=name) | KeyEvent(event_name=name) | KeyVault(vault_path=name):
                if name not in self.held:
                    raise KeySourceError(f"{name} cannot be loaded")
                return self.held[name]
            case _:
                return source.key_data


def identity(
    hostname: str = "mx.example.com",
    *,
    certificate: KeySource | None = None,
    private_key: KeySource | None = None,
    client_ca: KeySource | None = None,
) -> ServerIdentity:
    return ServerIdentity(hostname, certificate, private_key, client_ca)


CONFIGURED = identity(certificate=KeyFile("certificate"), private_key=KeyFile("key"))


async def settled(contexts: TlsContexts) -> None:
    """Wait until no refresh is under way."""
    while contexts._flights:
        await asyncio.wait(set(contexts._flights), timeout=PATIENCE)


async def make_context(material: Material, identity: ServerIdentity) -> ServerContext:
    """A context that is kept by nobody."""
    context = TlsContexts(material.load).server_context(identity)
    assert not isinstance(context, ssl.SSLContext)
    return await context


class _Session(asyncio.BufferedProtocol):
    """Greets, answers EHLO, starts TLS when asked, and then echoes in capitals."""

    def __init__(self, server: StartTlsServer) -> None:
        self._server = server
        self._buffer = bytearray(65536)
        self._line = b""
        self._is_secure = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes.
        self._transport = cast("asyncio.Transport", transport)
        self._server.transports.append(self._transport)
        self._transport.write(b"220 test ESMTP\r\n")

    def get_buffer(self, _: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, count: int) -> None:
        octets = bytes(self._buffer[:count])
        if self._is_secure:
            self._transport.write(octets.upper())
            return
        self._line += octets
        if self._line.startswith(b"EHLO ") and self._line.endswith(b"\r\n"):
            self._line = b""
            self._transport.write(b"250-test\r\n250 STARTTLS\r\n")
        elif self._line == b"STARTTLS\r\n":
            self._transport.pause_reading()
            self._transport.write(b"220 Ready to Start TLS\r\n")
            self._server.handshakes.append(asyncio.ensure_future(self._start_tls()))

    async def _start_tls(self) -> None:
        server = self._server
        try:
            self._transport = await start_server_tls(
                self._transport, self, server.context, handshake_timeout=server.handshake_timeout
            )
        except TlsError as error:
            server.outcomes.put_nowait(error)
        else:
            self._is_secure = True
            server.transports.append(self._transport)
            server.outcomes.put_nowait(describe_session(self._transport))


class StartTlsServer:
    """What happened on the server's side."""

    def __init__(self, context: ServerContext, handshake_timeout: float) -> None:
        self.context = context
        self.handshake_timeout = handshake_timeout
        self.outcomes: asyncio.Queue[TlsSession | TlsError] = asyncio.Queue()
        self.handshakes: list[asyncio.Future[None]] = []
        self.transports: list[asyncio.Transport] = []
        self.port = 0

    async def session(self) -> TlsSession:
        """The next handshake's outcome, which must be good."""
        outcome = await asyncio.wait_for(self.outcomes.get(), PATIENCE)
        assert isinstance(outcome, TlsSession), outcome
        return outcome

    async def failure(self) -> str:
        """The next handshake's outcome, which must be bad."""
        outcome = await asyncio.wait_for(self.outcomes.get(), PATIENCE)
        assert isinstance(outcome, TlsError), outcome
        return str(outcome)


@contextlib.asynccontextmanager
async def start_tls_server(
    context: ServerContext, *, handshake_timeout: float = PATIENCE
) -> AsyncIterator[StartTlsServer]:
    """A server on loopback; the loop must have had nothing to complain of."""
    complaints: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, what: complaints.append(what))
    server = StartTlsServer(context, handshake_timeout)
    listening = await loop.create_server(lambda: _Session(server), "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for transport in server.transports:
            transport.abort()
        await asyncio.gather(*server.handshakes)
        await listening.wait_closed()
    assert complaints == []


@dataclass(frozen=True)
class Seen:
    """What the client saw of a session."""

    version: str | None
    cipher: str
    echo: bytes
    certificate: bytes
    session: ssl.SSLSession | None
    was_resumed: bool | None


def trusting(authority: bytes | None = None) -> ssl.SSLContext:
    """A client's context; without an authority it trusts everybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = authority is not None
    context.verify_mode = ssl.CERT_NONE if authority is None else ssl.CERT_REQUIRED
    if authority is not None:
        context.load_verify_locations(cadata=authority.decode())
    return context


def plain_start(port: int) -> socket.socket:
    """A connection on which the server waits for the handshake; blocks."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    assert connection.recv(100).startswith(b"220 ")
    connection.sendall(b"STARTTLS\r\n")
    assert connection.recv(100).startswith(b"220 ")
    return connection


def handshake(port: int, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> Seen:
    """A client that does a handshake, has its octets echoed, and leaves; blocks."""
    with (
        plain_start(port) as connection,
        context.wrap_socket(connection, server_hostname="mx.example.com", session=session) as tls,
    ):
        tls.sendall(b"abc")
        # Tickets of TLS 1.3, and refusals of the client's certificate, come with the first octets.
        echo = tls.recv(100)
        cipher = tls.cipher()
        assert cipher is not None
        return Seen(
            version=tls.version(),
            cipher=cipher[0],
            echo=echo,
            certificate=tls.getpeercert(binary_form=True) or b"",
            session=tls.session,
            was_resumed=tls.session_reused,
        )
