"""Fakes for everything reception asks; each keeps a common journal, so that order can be asserted."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from kumo.config import CidrSet, EsmtpListener, ListenerDomain
from kumo.maybe_awaitable import MaybeAwaitable
from kumo.message import Connection, Message, SpoolIdSource
from kumo.reception import Reception, RelayAuthority
from kumo.smtp import (
    NOTHING_DECLARED,
    ContentReceived,
    DeclaredParameters,
    RecipientParameters,
    parse_envelope_address,
)
from kumo_core import DataScanner, unstuff

Handler = Callable[..., Any]

RELAY_HOSTS = CidrSet.parse(["192.0.2.0/24"])
NO_RELAY_HOSTS = CidrSet.parse([])


def transaction(
    stream: bytes = b"Subject: x\r\n\r\nhello\r\n.\r\n",
    *,
    sender: str = "a@example.com",
    recipients: Sequence[str] = ("b@example.org",),
    limit: int = 998,
    declared: DeclaredParameters = NOTHING_DECLARED,
    recipients_declared: Sequence[RecipientParameters] | None = None,
) -> ContentReceived:
    """What a session hands over for these octets after DATA."""
    scanner = DataScanner(limit)
    assert scanner.scan(stream) == len(stream)
    assert scanner.complete
    addresses = tuple(parse_envelope_address(recipient) for recipient in recipients)
    return ContentReceived(
        sender=parse_envelope_address(sender),
        recipients=addresses,
        declared=declared,
        recipients_declared=tuple(recipients_declared or (RecipientParameters(),) * len(addresses)),
        content=unstuff(stream[:-3]),
        report=scanner.report(),
    )


async def settle(answer: MaybeAwaitable[Any]) -> Any:
    """The answer, awaited if it has to be."""
    return await answer if hasattr(answer, "__await__") else answer


@dataclass
class World:
    """Policy, store, queues and log in one; a handler replaces the harmless answer of its name.

    Policy knows of domains as soon as ``domains`` has any; others it answers with None.
    """

    domains: dict[str, ListenerDomain] = field(default_factory=dict)
    handlers: dict[str, Handler] = field(default_factory=dict)
    journal: list[tuple[str, Any]] = field(default_factory=list)
    stored: dict[str, tuple[bytes, dict[str, Any]]] = field(default_factory=dict)
    queued: list[Message] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)

    def _ask(self, name: str, note: Any, *arguments: Any) -> Any:
        self.journal.append((name, note))
        handler = self.handlers.get(name)
        return handler(*arguments) if handler else None

    def on_data(self, message: Message, connection: Connection) -> Any:
        return self._ask("data", [str(r) for r in message.recipients], message, connection)

    def on_split_transaction(self, message: Message, connection: Connection) -> Any:
        return self._ask("split", len(message.recipients), message, connection)

    def on_message_received(self, message: Message, connection: Connection) -> Any:
        return self._ask("received", [str(r) for r in message.recipients], message, connection)

    @property
    def has_listener_domains(self) -> bool:
        return bool(self.domains) or "domain" in self.handlers

    def get_listener_domain(self, connection: Connection, domain: str) -> Any:
        self.journal.append(("domain", domain))
        handler = self.handlers.get("domain")
        return self.domains.get(domain) if handler is None else handler(connection, domain)

    def resolve(self, name: str) -> Any:
        return self._ask("resolve", name, name)

    def store(self, messages: Sequence[Message]) -> Awaitable[None]:
        async def store() -> None:
            await asyncio.sleep(0)
            self._ask("store", [m.id for m in messages], messages)
            for message in messages:
                self.stored[message.id] = (b"".join(message.segments), dict(message.meta))

        # As the spool does: a future, no coroutine.
        return asyncio.ensure_future(store())

    def remove(self, messages: Sequence[Message]) -> Awaitable[None]:
        async def remove() -> None:
            self._ask("remove", [m.id for m in messages], messages)
            for message in messages:
                self.stored.pop(message.id, None)

        return asyncio.ensure_future(remove())

    def log_reception(self, message: Message, connection: Connection, queue: str, **report: Any) -> Any:
        self.records.append(report)
        return self._ask("log", queue, message, connection, queue)

    def insert(self, message: Message) -> None:
        self._ask("insert", message.id, message)
        self.queued.append(message)

    @property
    def order(self) -> list[str]:
        return [name for name, _ in self.journal]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def connection() -> Connection:
    return Connection(
        peer_ip="192.0.2.7",
        peer_port=4321,
        local_ip="192.0.2.1",
        local_port=25,
        session_id="6f1b0a52-2b3c-4d7e-8f90-123456789abc",
        hostname="mx.example.net",
        meta={"reception_protocol": "ESMTP"},
        ehlo_domain="client.example.com",
    )


MakeReception = Callable[..., Reception]


@pytest.fixture
def make_reception(world: World, connection: Connection) -> MakeReception:
    """A reception over the fake world; keyword arguments are parameters of the connection's listener."""
    ids = SpoolIdSource(node=0x0A0B0C0D0E0F)
    seconds = itertools.count(1_700_000_000)

    def make(**parameters: Any) -> Reception:
        connection.listener = EsmtpListener(**{"relay_hosts": RELAY_HOSTS, **parameters})
        return Reception(world, RelayAuthority(world), world, world, world, lambda: ids.new_id(next(seconds)))

    return make
