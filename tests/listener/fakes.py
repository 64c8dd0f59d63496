"""Stand-ins for what a listener asks: policy, reception, health, logs; and a client that speaks octets."""

from __future__ import annotations

import asyncio
import copy
import os
import socket
import ssl
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from kumo.config import EsmtpListener, KeyData, KeySource, ListenerDomain, ListenerOverrides
from kumo.errors import KeySourceError
from kumo.listener import EsmtpServer, Partners, ReadBuffer
from kumo.maybe_awaitable import MaybeAwaitable
from kumo.message import Authenticated, AuthInfo, Connection
from kumo.metrics import Metrics
from kumo.reception import RelayAuthority
from kumo.smtp import ContentReceived, EnvelopeAddress, Reply
from kumo.tls import TlsContexts

PATIENCE = 10.0
"""Seconds after which a test that waits in vain fails."""


class FakePolicy:
    """Answers each event from ``answers``: a value, an exception to raise, or a function of the arguments."""

    def __init__(self) -> None:
        self.rewrites_replies = False
        self.has_dynamic_parameters = False
        self.has_listener_domains = False
        self.answers: dict[str, Any] = {}
        self.calls: list[tuple[str, tuple[Any, ...]]] = []

    def get_dynamic_parameters(self, connection: Connection) -> MaybeAwaitable[ListenerOverrides]:
        answer: MaybeAwaitable[ListenerOverrides] = self._answer("dynamic_parameters", connection)
        return answer

    def get_listener_domain(
        self, connection: Connection, domain: str
    ) -> MaybeAwaitable[ListenerDomain | None]:
        answer: MaybeAwaitable[ListenerDomain | None] = self._answer("listener_domain", connection, domain)
        return answer

    def on_auth_plain(
        self, connection: Connection, authz_id: str, authn_id: str, password: str
    ) -> MaybeAwaitable[Authenticated | None]:
        answer: MaybeAwaitable[Authenticated | None] = self._answer(
            "auth_plain", connection, authz_id, authn_id, password
        )
        return answer

    def on_connection_accepted(self, connection: Connection) -> MaybeAwaitable[None]:
        answer: MaybeAwaitable[None] = self._answer("connection_accepted", connection)
        return answer

    def on_ehlo(
        self, connection: Connection, verb: str, domain: str, keywords: tuple[str, ...]
    ) -> MaybeAwaitable[tuple[str, ...] | None]:
        answer: MaybeAwaitable[tuple[str, ...] | None] = self._answer(
            "ehlo", connection, verb, domain, keywords
        )
        return answer

    def on_mail_from(self, connection: Connection, sender: EnvelopeAddress) -> MaybeAwaitable[None]:
        answer: MaybeAwaitable[None] = self._answer("mail_from", connection, sender)
        return answer

    def on_rcpt_to(self, connection: Connection, recipient: EnvelopeAddress) -> MaybeAwaitable[None]:
        answer: MaybeAwaitable[None] = self._answer("rcpt_to", connection, recipient)
        return answer

    def rewrite_response(
        self, connection: Connection, reply: Reply, command: str | None
    ) -> MaybeAwaitable[Reply | None]:
        answer: MaybeAwaitable[Reply | None] = self._answer("rewrite_response", connection, reply, command)
        return answer

    def names(self) -> list[str]:
        """The events asked so far."""
        return [name for name, _ in self.calls]

    def _answer(self, name: str, *arguments: Any) -> Any:
        self.calls.append((name, arguments))
        answer = self.answers.get(name)
        if isinstance(answer, Exception):
            raise answer
        return answer(*arguments) if callable(answer) else answer


class FakeReceiver:
    """Keeps every message; ``answer`` is a reply, an exception to raise, or a function."""

    def __init__(self) -> None:
        self.answer: Any = Reply(250, "OK ids=0123456789abcdef")
        self.received: list[tuple[Connection, ContentReceived]] = []

    def receive(self, connection: Connection, content: ContentReceived) -> MaybeAwaitable[Reply]:
        self.received.append((connection, content))
        if isinstance(self.answer, Exception):
            raise self.answer
        reply: MaybeAwaitable[Reply] = self.answer() if callable(self.answer) else self.answer
        return reply

    @property
    def contents(self) -> list[bytes]:
        return [content.content for _, content in self.received]


class FakeAdmission:
    def __init__(self) -> None:
        self.text: str | None = None

    def refusal(self) -> str | None:
        return self.text


class FakeRejectionLog:
    def __init__(self) -> None:
        self.records: list[tuple[Connection, Reply, str | None, str | None, str | None]] = []

    def log_rejection(
        self,
        connection: Connection,
        reply: Reply,
        command: str | None,
        sender: EnvelopeAddress | None,
        recipient: EnvelopeAddress | None,
    ) -> None:
        sender_text = None if sender is None else sender.email
        recipient_text = None if recipient is None else recipient.email
        self.records.append((connection, reply, command, sender_text, recipient_text))


class FakeAccountingLog:
    def __init__(self) -> None:
        self.records: list[tuple[str, bool, AuthInfo | None]] = []

    def log_authentication(self, connection: Connection, identity: str, *, success: bool) -> None:
        self.records.append((identity, success, copy.deepcopy(connection.auth_info)))


class Gate:
    """An answer that is given when the test says so."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.was_cancelled = False

    async def __call__(self, *_arguments: Any) -> Any:
        self.asked.set()
        try:
            return await self.answer
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise

    async def wait_until_asked(self) -> None:
        async with asyncio.timeout(PATIENCE):
            await self.asked.wait()


class Client:
    """One TCP connection to the server under test."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @property
    def port(self) -> int:
        port: int = self.writer.get_extra_info("sockname")[1]
        return port

    def send(self, octets: bytes) -> None:
        self.writer.write(octets)

    async def line(self) -> str:
        """The next reply line without CRLF; empty at end-of-file."""
        async with asyncio.timeout(PATIENCE):
            octets = await self.reader.readline()
        assert not octets or octets.endswith(b"\r\n")
        return octets.removesuffix(b"\r\n").decode()

    async def reply(self) -> str:
        """The next reply, its lines joined by LF."""
        lines = [await self.line()]
        while lines[-1][3:4] == "-":
            lines.append(await self.line())
        return "\n".join(lines)

    async def say(self, command: str) -> str:
        """Send a command line, give its reply."""
        self.send(command.encode() + b"\r\n")
        return await self.reply()

    async def rest(self) -> bytes:
        """All that comes until the server closes."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.read()

    async def deliver(self, content: bytes) -> str:
        """Send one message, give the reply to its content."""
        for command in ("MAIL FROM:<a@example.com>", "RCPT TO:<b@example.org>"):
            assert (await self.say(command)).startswith("250 ")
        assert (await self.say("DATA")).startswith("354 ")
        self.send(content + b".\r\n")
        return await self.reply()

    async def start_content(self) -> None:
        """Get as far as the 354 reply."""
        for command in ("MAIL FROM:<a@example.com>", "RCPT TO:<b@example.org>"):
            assert (await self.say(command)).startswith("250 ")
        assert (await self.say("DATA")).startswith("354 ")

    async def start_tls(self, context: ssl.SSLContext | None = None) -> None:
        """STARTTLS, its reply and the handshake; without a context the server may be anybody."""
        assert await self.say("STARTTLS") == "220 Ready to Start TLS"
        await self.shake_hands(context)

    async def shake_hands(self, context: ssl.SSLContext | None = None) -> None:
        """The client's part of a handshake."""
        async with asyncio.timeout(PATIENCE):
            await self.writer.start_tls(context or trusting_context())

    @property
    def tls(self) -> ssl.SSLObject:
        tls: ssl.SSLObject = self.writer.get_extra_info("ssl_object")
        return tls

    def stop_reading(self) -> None:
        """Leave what the server sends where it is."""
        cast("asyncio.Transport", self.writer.transport).pause_reading()

    def send_below(self, octets: bytes) -> None:
        """Send octets past the TLS layer."""
        with self._duplicate() as below:
            below.sendall(octets)

    def half_close_below(self) -> None:
        """Send FIN past the TLS layer, without its goodbye."""
        with self._duplicate() as below:
            below.shutdown(socket.SHUT_WR)

    def reset_below(self) -> None:
        """End the connection with RST, whatever was read."""
        linger_off = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_off)
        self.writer.transport.abort()

    def _duplicate(self) -> socket.socket:
        # What a transport gives out as its socket can do neither.
        descriptor = os.dup(self.writer.get_extra_info("socket").fileno())
        return socket.socket(fileno=descriptor)

    def reset(self) -> None:
        """End the connection with RST."""
        self.writer.transport.abort()

    async def close(self) -> None:
        self.writer.close()
        try:
            async with asyncio.timeout(PATIENCE):
                await self.writer.wait_closed()
        except OSError:
            pass  # the server was first


def trusting_context() -> ssl.SSLContext:
    """For a client that takes any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until something holds that no event tells of."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - sockets close without an event that a test could wait for
            await asyncio.sleep(0.005)


async def load_key(source: KeySource) -> bytes:
    """Key material given in place; there is no other."""
    if isinstance(source, KeyData):
        return source.key_data
    raise KeySourceError(f"nothing can be had from {source!r}")


@dataclass
class House:
    """Everything that listeners under test share, as in a daemon."""

    policy: FakePolicy = field(default_factory=FakePolicy)
    receiver: FakeReceiver = field(default_factory=FakeReceiver)
    admission: FakeAdmission = field(default_factory=FakeAdmission)
    rejections: FakeRejectionLog = field(default_factory=FakeRejectionLog)
    accounting: FakeAccountingLog = field(default_factory=FakeAccountingLog)
    metrics: Metrics = field(default_factory=Metrics)
    read_buffer: ReadBuffer = field(default_factory=ReadBuffer)
    tls: TlsContexts = field(default_factory=lambda: TlsContexts(load_key))
    counts_processors: bool = False
    servers: list[EsmtpServer] = field(default_factory=list)
    clients: list[Client] = field(default_factory=list)

    def partners(self) -> Partners:
        """All of them, as a listener wants them."""
        return Partners(
            policy=self.policy,
            receiver=self.receiver,
            relay_authority=RelayAuthority(self.policy),
            admission=self.admission,
            rejection_log=self.rejections,
            accounting_log=self.accounting,
            metrics=self.metrics,
            tls=self.tls,
            read_buffer=self.read_buffer,
            counts_processors=self.counts_processors,
        )

    def make(self, **parameters: Any) -> EsmtpServer:
        """A listener that was not started."""
        parameters = {"listen": "127.0.0.1:0", "hostname": "mx.example.com", **parameters}
        server = EsmtpServer(EsmtpListener(**parameters), self.partners())
        self.servers.append(server)
        return server

    async def start(self, **parameters: Any) -> EsmtpServer:
        """A listener that serves."""
        server = self.make(**parameters)
        await server.start()
        return server

    async def connect(self, server: EsmtpServer, host: str = "127.0.0.1", receive_buffer: int = 0) -> Client:
        """A client before its banner."""
        port = int(server.addresses[0].rpartition(":")[2])
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        connection = socket.socket(family, socket.SOCK_STREAM)
        connection.setblocking(False)
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            await asyncio.get_running_loop().sock_connect(connection, (host, port))
        except OSError:
            connection.close()
            raise
        client = Client(*await asyncio.open_connection(sock=connection))
        self.clients.append(client)
        return client

    async def greeted(self, server: EsmtpServer, **how: Any) -> Client:
        """A client after its banner."""
        client = await self.connect(server, **how)
        assert (await client.reply()).startswith("220 ")
        return client

    async def close(self) -> None:
        for client in self.clients:
            await client.close()
        for server in self.servers:
            server.close()
        await until(lambda: not any(server.session_count for server in self.servers))
        await self.tls.close()
