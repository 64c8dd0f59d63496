"""What the tests of the bridge share: policies written to a file, loaded by a real engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kumo.message import Connection, Message, SpoolIdSource
from kumo.policy import PolicyEngine, QueueEvents, ReceptionEvents, SessionEvents, StorageEvents
from kumo.policy.api import ALL_FUNCTIONS
from kumo.policy.registry import PolicyContext, host_function
from kumo.smtp import EnvelopeAddress, parse_envelope_address

BODY = b"Subject: one\r\nFrom: Ann <ann@a.example>\r\nX-Tenant: t1\r\nX-Two: b\r\nX-Two: c\r\n\r\nbody\r\n"


def address(text: str) -> EnvelopeAddress:
    return parse_envelope_address(text)


class Policy:
    """An engine with a loaded script, the adapters, and what the script noted."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        self.notes: list[Any] = []
        self.gates: dict[str, asyncio.Future[Any]] = {}
        functions = (
            host_function("note")(self._note),
            host_function("gate")(self._gate),
            host_function("source")(self._source),
            host_function("boom")(self._boom),
            host_function("boom_direct", scalar_only=True)(self._boom),
            host_function("several")(self._several),
            host_function("interrupt")(self._interrupt),
            host_function("give_table")(lambda context, *_: context.to_lua({"a": [1, 2]})),
        )
        self.engine = PolicyEngine(functions=(*ALL_FUNCTIONS, *functions), **options)
        self.session = SessionEvents(self.engine)
        self.reception = ReceptionEvents(self.engine)
        self.queues = QueueEvents(self.engine)
        self.storage = StorageEvents(self.engine)
        self._ids = SpoolIdSource(node=1)

    @property
    def path(self) -> Path:
        return self.folder / "init.lua"

    def write(self, text: str) -> None:
        self.path.write_text(f"local kumo = require 'kumo';\n{text}", encoding="utf-8")

    def load(self, text: str) -> Policy:
        self.write(text)
        self.engine.load(str(self.path))
        return self

    def connection(self, **meta: Any) -> Connection:
        return Connection(
            peer_ip="192.0.2.7",
            peer_port=4711,
            local_ip="192.0.2.1",
            local_port=25,
            session_id="5b0e2f7e-0000-4000-8000-000000000000",
            hostname="mx.example",
            meta=dict(meta),
        )

    def message(
        self, *recipients: str, body: bytes | None = BODY, sender: str = "ann@a.example", **meta: Any
    ) -> Message:
        return Message(
            id=self._ids.new_id(),
            sender=address(sender),
            recipients=[address(text) for text in recipients or ("bob@b.example",)],
            meta=dict(meta),
            body=body,
        )

    def open_gate(self, name: str, value: Any = None) -> None:
        self.gates.pop(name).set_result(value)

    def _note(self, _context: PolicyContext, *values: Any) -> None:
        self.notes.append(values[0] if len(values) == 1 else values)

    def _gate(self, _context: PolicyContext, name: str) -> asyncio.Future[Any]:
        self.gates[name] = asyncio.get_running_loop().create_future()
        return self.gates[name]

    def _source(self, context: PolicyContext) -> str | None:
        return context.source()

    def _boom(self, _context: PolicyContext, text: str = "") -> None:
        raise ValueError(f"boom {text}€")

    def _interrupt(self, _context: PolicyContext) -> None:
        raise KeyboardInterrupt

    def _several(self, _context: PolicyContext, *values: Any) -> tuple[Any, ...]:
        return values


@pytest.fixture
def make_policy(tmp_path: Path) -> Callable[..., Policy]:
    """Make a policy with options for the engine; it is not loaded yet."""

    def make(**options: Any) -> Policy:
        return Policy(tmp_path, **options)

    return make


@pytest.fixture
def load(make_policy: Callable[..., Policy]) -> Callable[[str], Policy]:
    """Load a policy text."""
    return lambda text: make_policy().load(text)
