"""A clock that is moved by hand, and a spool, log, policy and deliverer that fail where they are told to."""

from __future__ import annotations

import asyncio
import copy
import heapq
import itertools
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from kumo.config import MaildirProtocol, QueueConfig, SmtpProtocol
from kumo.egress import Disposition
from kumo.errors import CorruptEntry, SpoolError
from kumo.maybe_awaitable import MaybeAwaitable, is_awaitable
from kumo.message import Connection, Message, SpoolIdSource, queue_name
from kumo.queue import ScheduledQueues
from kumo.smtp import EnvelopeAddress

START = 1_700_000_000.0
BODY = b"Subject: x\r\n\r\nbody"
SENDER = EnvelopeAddress("sender", "example.com")
MAILDIR = MaildirProtocol(maildir_path="/nowhere")

_TURNS = 12
"""Turns of the loop after which everything that can run without time passing has run."""


class _Timer:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class FakeClock:
    """Time that passes only in ``advance``."""

    def __init__(self) -> None:
        self.now = 5000.0
        self.wall = START
        self._timers: list[tuple[float, int, _Timer]] = []
        self._order = itertools.count()

    def unix(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> _Timer:
        timer = _Timer(callback)
        heapq.heappush(self._timers, (when, next(self._order), timer))
        return timer

    @property
    def timers(self) -> int:
        """Timers that are still to fire."""
        return sum(timer.callback is not None for _, _, timer in self._timers)

    async def settle(self) -> None:
        for _ in range(_TURNS):
            await asyncio.sleep(0)
            self._fire()

    async def advance(self, seconds: float) -> None:
        end = self.now + seconds
        await self.settle()
        while self._timers and self._timers[0][0] <= end:
            self._move_to(max(self._timers[0][0], self.now))
            await self.settle()
        self._move_to(end)
        await self.settle()

    def _move_to(self, when: float) -> None:
        self.wall += when - self.now
        self.now = when

    def _fire(self) -> None:
        due = []
        while self._timers and self._timers[0][0] <= self.now:
            due.append(heapq.heappop(self._timers)[2])
        for timer in due:
            if timer.callback is not None:
                timer.callback()


class Faults:
    """Calls that are to fail, by name: how often, and with what."""

    def __init__(self) -> None:
        self._planned: dict[str, list[Exception]] = defaultdict(list)

    def plan(self, call: str, error: Exception, times: int = 1) -> None:
        self._planned[call] += [error] * times

    def check(self, call: str) -> None:
        if self._planned[call]:
            raise self._planned[call].pop(0)


class FakeStore:
    """What would be on disk: recipients and content by id."""

    def __init__(self, faults: Faults, history: list[tuple[str, str]]) -> None:
        self.kept: dict[str, tuple[EnvelopeAddress, ...]] = {}
        self.contents: dict[str, bytes] = {}
        self.metas: dict[str, dict[str, Any]] = {}
        self.loads = 0
        self.gate: asyncio.Event | None = None
        self._faults = faults
        self._history = history

    async def store(self, messages: Sequence[Message]) -> None:
        await (asyncio.sleep(0) if self.gate is None else self.gate.wait())
        self._faults.check("store")
        for message in messages:
            self.kept[message.id] = tuple(message.recipients)
            self.metas[message.id] = copy.deepcopy(message.meta)
            if message.is_resident:
                self.contents[message.id] = message.content
            message.is_stored = True
            self._history.append(("store", message.id))

    async def remove(self, messages: Sequence[Message]) -> None:
        await asyncio.sleep(0)
        self._faults.check("remove")
        for message in messages:
            self.kept.pop(message.id, None)
            self.contents.pop(message.id, None)
            message.is_stored = False
            self._history.append(("remove", message.id))

    async def load_content(self, message: Message) -> None:
        await asyncio.sleep(0)
        self._faults.check("load")
        if message.id not in self.contents:
            raise CorruptEntry(message.id)
        self.loads += 1
        message.load(self.contents[message.id])


class FakeLog:
    """Records as tuples: type, id, recipients, text, attempts before."""

    def __init__(self, faults: Faults, history: list[tuple[str, str]]) -> None:
        self.records: list[tuple[str, str, tuple[EnvelopeAddress, ...], str, int]] = []
        self._faults = faults
        self._history = history

    async def log_disposition(self, message: Message, disposition: Disposition, queue: str) -> None:  # noqa: ARG002 - the interface's
        await asyncio.sleep(0)
        self._faults.check("log")
        for kind, text in (
            ("Delivery", disposition.delivered_response),
            ("TransientFailure", disposition.failed_response),
        ):
            if text is not None:
                self._write(kind, message, text)

    async def log_expiration(self, message: Message, queue: str, text: str) -> None:  # noqa: ARG002 - the interface's
        await asyncio.sleep(0)
        self._faults.check("log")
        self._write("Expiration", message, text)

    async def log_bounce(
        self, message: Message, queue: str, code: int, text: str, *, delivery_protocol: str | None = None
    ) -> None:
        assert delivery_protocol == "DeferredSmtpInjection"
        await self._write_later("Bounce", message, f"{queue} {code} {text}")

    async def log_transient_failure(
        self, message: Message, queue: str, code: int, text: str, *, delivery_protocol: str | None = None
    ) -> None:
        assert delivery_protocol == "DeferredSmtpInjection"
        await self._write_later("TransientFailure", message, f"{queue} {code} {text}")

    async def log_deferred_injection_rebind(self, message: Message, queue: str) -> None:
        await self._write_later("DeferredInjectionRebind", message, queue)

    async def _write_later(self, kind: str, message: Message, text: str) -> None:
        await asyncio.sleep(0)
        self._faults.check("log")
        self._write(kind, message, text)

    @property
    def kinds(self) -> list[str]:
        return [record[0] for record in self.records]

    def _write(self, kind: str, message: Message, text: str) -> None:
        self.records.append((kind, message.id, tuple(message.recipients), text, message.num_attempts))
        self._history.append((kind, message.id))


class FakeDeliverer:
    """Delivers to all but ``failing``; each delivery is noted."""

    def __init__(self, faults: Faults, history: list[tuple[str, str]]) -> None:
        self.delivered: list[tuple[str, EnvelopeAddress]] = []
        self.attempts: list[str] = []
        self.contents: list[bytes] = []
        self.failing: Callable[[EnvelopeAddress], bool] = lambda _recipient: False
        self.gate: asyncio.Event | None = None
        self.stops = 0
        self.running = 0
        self.most_running = 0
        self._faults = faults
        self._history = history

    async def deliver(self, message: Message, protocol: MaildirProtocol, queue: str) -> Disposition:  # noqa: ARG002 - the interface's
        assert message.is_resident
        self.attempts.append(message.id)
        self.contents.append(b"".join(message.segments))
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await (asyncio.sleep(0) if self.gate is None else self.gate.wait())
        finally:
            self.running -= 1
        self._faults.check("deliver")
        self._history.append(("deliver", message.id))
        good = tuple(r for r in message.recipients if not self.failing(r))
        bad = tuple(r for r in message.recipients if self.failing(r))
        self.delivered += [(message.id, recipient) for recipient in good]
        return Disposition(
            delivered=good,
            failed=bad,
            delivered_response="done" if good else None,
            failed_response="not now" if bad else None,
            delivery_protocol="Maildir",
            session_id="s",
        )

    def stop(self) -> None:
        self.stops += 1
        self.failing = lambda _recipient: True
        if self.gate is not None:
            self.gate.set()


class FakePolicy:
    """``get_queue_config`` from a table, the default for all others; a handler for deferred messages."""

    def __init__(self) -> None:
        self.configs: dict[str, QueueConfig] = {}
        self.default = QueueConfig(protocol=MAILDIR)
        self.asked: list[tuple[str, str | None, str | None, str | None]] = []
        self.error: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.injects: Callable[[Message, Connection], Any] = lambda _message, _connection: None
        self.injected: list[str] = []

    def on_message_deferred_inject(self, message: Message, connection: Connection) -> MaybeAwaitable[None]:
        assert message.is_resident
        self.injected.append(message.id)
        answer: MaybeAwaitable[None] = self.injects(message, connection)
        return answer

    def get_queue_config(
        self, domain: str, tenant: str | None, campaign: str | None, routing_domain: str | None
    ) -> MaybeAwaitable[QueueConfig]:
        self.asked.append((domain, tenant, campaign, routing_domain))
        if self.gate is not None:
            return self._later(self.gate, domain)
        return self._answer(domain)

    async def _later(self, gate: asyncio.Event, domain: str) -> QueueConfig:
        await gate.wait()
        return self._answer(domain)

    def _answer(self, domain: str) -> QueueConfig:
        if self.error is not None:
            raise self.error
        return self.configs.get(domain, self.default)


class FakeMetrics:
    def __init__(self) -> None:
        self.total_messages_delivered: dict[str, float] = defaultdict(float)
        self.total_messages_transfail: dict[str, float] = defaultdict(float)
        self.total_messages_fail: dict[str, float] = defaultdict(float)


class World:
    """The queues with everything round them."""

    def __init__(self, **options: Any) -> None:
        self.faults = Faults()
        self.history: list[tuple[str, str]] = []
        self.clock = FakeClock()
        self.policy = FakePolicy()
        self.store = FakeStore(self.faults, self.history)
        self.log = FakeLog(self.faults, self.history)
        self.deliverer = FakeDeliverer(self.faults, self.history)
        self.metrics = FakeMetrics()
        self.queues = self._make(**{"uniform": lambda: 0.5, **options})
        self._ids = SpoolIdSource(node=1)

    def _make(self, **options: Any) -> ScheduledQueues:
        return ScheduledQueues(
            self.policy, self.store, self.log, self.deliverer, self.metrics, self.clock, **options
        )

    def message(self, *emails: str, age: float = 0.0, body: bytes | None = BODY, **meta: Any) -> Message:
        return Message(
            id=self._ids.new_id(self.clock.wall - age),
            sender=SENDER,
            recipients=[EnvelopeAddress(*email.split("@")) for email in emails or ("a@example.org",)],
            meta=meta,
            body=body,
        )

    async def take_in(self, *emails: str, is_stored: bool = True, **meta: Any) -> Message:
        """What reception does."""
        message = self.message(*emails, **meta)
        pending = self.queues.resolve(queue_name(message.meta, message.recipients))
        if is_awaitable(pending):
            await pending
        if is_stored:
            self.keep(message)
        self.queues.insert(message)
        await self.clock.settle()
        return message

    def keep(self, message: Message) -> None:
        """Have a message in the spool, whatever faults are planned."""
        self.store.kept[message.id] = tuple(message.recipients)
        self.store.contents[message.id] = message.content if message.is_resident else BODY
        self.store.metas[message.id] = copy.deepcopy(message.meta)
        message.is_stored = True
        self.history.append(("store", message.id))

    async def recover(self, message: Message) -> None:
        """What the enumeration of the spool does."""
        self.keep(message)
        message.shrink()
        await self.queues.recover(message)
        await self.clock.settle()

    def restart(self) -> None:
        """New queues over the same spool, as after a crash."""
        self.queues = self._make(uniform=lambda: 0.5)


def config(**parameters: Any) -> QueueConfig:
    return QueueConfig(**{"protocol": MAILDIR, **parameters})


def held_config(**parameters: Any) -> QueueConfig:
    return QueueConfig(**{"protocol": SmtpProtocol(), **parameters})


def disk_error() -> SpoolError:
    return SpoolError("the disk is broken")
