"""One connection of the soak, and what all of them keep account of."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
import struct
import zlib
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple, Self

LINE = b"The quick brown fox jumps over the lazy dog; nothing of it is ever lost.\r\n"
DOTTED = b".a line that begins with a dot\r\n"
FILLER = (LINE * 40 + DOTTED) * 1000
"""Enough for the largest content."""

PATIENCE = 60.0
"""Seconds that a reply may take on a machine under load."""


class Message(NamedTuple):
    """A message that got its 250.

    Args:
        number: in its content.
        recipients: local-parts, each of which gets a copy.
        ids: spool ids, as the 250 told them.
    """

    number: int
    recipients: tuple[str, ...]
    ids: tuple[str, ...]


@dataclass
class Ledger:
    """What the clients did and what they were told."""

    acknowledged: list[Message] = field(default_factory=list)
    sessions: Counter[str] = field(default_factory=Counter)
    """Sessions that were begun, by what they do."""
    surprises: Counter[str] = field(default_factory=Counter)
    """Replies and ends that must not be, by their text."""
    copies: int = 0
    """Copies that were acknowledged: one for each recipient."""
    copies_delivered: int = 0
    """Those of them that have come to their maildirs, and others."""
    _number: int = 0

    @property
    def backlog(self) -> int:
        """Copies that are still on their way."""
        return self.copies - self.copies_delivered

    def next_number(self) -> int:
        """A number that no other message has."""
        self._number += 1
        return self._number


class UnexpectedReplyError(Exception):
    """The daemon answered something else than it must."""


def content_of(number: int, size: int) -> bytes:
    """The one content that a message of this number and size may have; some lines begin with a dot."""
    body = FILLER[:size]
    end = body.rfind(b"\r\n")
    body = body[: end + 2] if end >= 0 else b"short\r\n"
    return b"Subject: soak\r\nX-Soak: %d %08x\r\n\r\n%s" % (number, zlib.crc32(body), body)


def stuffed(content: bytes) -> bytes:
    """The content with transparency and the end of data."""
    first = b"." if content.startswith(b".") else b""
    return first + content.replace(b"\r\n.", b"\r\n..") + b".\r\n"


class Client:
    """A connection to the daemon; ``async with`` opens and closes it.

    Args:
        port: of 127.0.0.1.
        rng: of the client, seeded.
        ledger: shared by all.
    """

    def __init__(self, port: int, rng: random.Random, ledger: Ledger) -> None:
        self._port = port
        self.rng = rng
        self.ledger = ledger

    async def __aenter__(self) -> Self:
        async with asyncio.timeout(PATIENCE):
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        try:
            async with asyncio.timeout(PATIENCE):
                await self.writer.wait_closed()
        except (OSError, TimeoutError):
            self.writer.transport.abort()

    async def reply(self, *codes: int) -> str:
        """The next reply.

        Raises:
            UnexpectedReplyError: it has none of the codes.
        """
        lines = []
        while True:
            async with asyncio.timeout(PATIENCE):
                line = (await self.reader.readuntil(b"\r\n")).decode(errors="replace")
            lines.append(line[4:-2])
            if line[3:4] != "-":
                break
        if int(line[:3]) not in codes:
            wanted = " or ".join(map(str, codes))
            raise UnexpectedReplyError(f"{line.strip()[:60]!r} and not {wanted}")
        return "\n".join(lines)

    async def send(self, octets: bytes) -> None:
        """Send octets."""
        self.writer.write(octets)
        async with asyncio.timeout(PATIENCE):
            await self.writer.drain()

    async def ask(self, command: bytes, *codes: int) -> str:
        """Send a command line and wait for its reply."""
        await self.send(command + b"\r\n")
        return await self.reply(*codes)

    async def greet(self) -> None:
        """Read the banner and say EHLO."""
        await self.reply(220)
        await self.ask(b"EHLO client.example.com", 250)

    async def begin(self, recipients: tuple[str, ...]) -> None:
        """Everything of a transaction up to the reply to DATA, a command at a time."""
        await self.ask(b"MAIL FROM:<sender@example.com>", 250)
        for recipient in recipients:
            await self.ask(b"RCPT TO:<%s@soak.example>" % recipient.encode(), 250)
        await self.ask(b"DATA", 354)

    async def acknowledge(self, number: int, recipients: tuple[str, ...]) -> None:
        """Read the 250 of a message, and note that it is the daemon's now."""
        text = await self.reply(250)
        ids = tuple(text.partition("ids=")[2].split())
        if len(ids) != len(recipients):
            raise UnexpectedReplyError(f"{len(ids)} ids for {len(recipients)} recipients: {text[:60]!r}")
        self.ledger.copies += len(recipients)
        self.ledger.acknowledged.append(Message(number, recipients, ids))

    async def quit(self) -> None:
        """End the session as RFC 5321 §4.1.1.10 wants it."""
        await self.ask(b"QUIT", 221)

    async def read_to_end(self) -> None:
        """Read until the daemon closes, whatever it says."""
        async with asyncio.timeout(PATIENCE):
            while await self.reader.read(65536):
                pass

    def reset(self) -> None:
        """End the connection with RST."""
        plain: socket.socket = self.writer.get_extra_info("socket")
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def start_tls(self) -> None:
        """STARTTLS, handshake, and EHLO inside."""
        await self.ask(b"STARTTLS", 220)
        async with asyncio.timeout(PATIENCE):
            await self.writer.start_tls(client_context())
        await self.ask(b"EHLO client.example.com", 250)


_contexts: list[ssl.SSLContext] = []


def client_context() -> ssl.SSLContext:
    """The one context of all clients; the daemon's certificate is self-signed."""
    if not _contexts:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        _contexts.append(context)
    return _contexts[0]
