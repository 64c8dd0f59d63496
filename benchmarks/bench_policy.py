"""What policy costs: events without handler, with an empty one, with the usual calls, and each call alone.

Beside it stand a bare call into Lua and a bare call from Lua into Python: what the binding itself takes.
A call by itself is measured in a Lua loop; ``nanoseconds_a_call`` in ``extra_info`` says what it took, the
row ``loop`` what of that is the loop. Run with ``--benchmark-enable``; the numbers mean something only as
ratios inside one run.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from lupa.lua54 import LuaRuntime

from kumo.message import Connection, Message
from kumo.metrics import Metrics
from kumo.policy import PolicyEngine, ReceptionEvents, SessionEvents
from kumo.smtp import parse_envelope_address

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_benchmark.fixture import BenchmarkFixture

REPEATS = 100
"""Calls in one handler; few, so that fields that are prepended stay few."""

BODY = b"From: Ann <ann@a.example>\r\nSubject: one\r\nX-Tenant: t1\r\n\r\n" + b"text of a line\r\n" * 120

EMPTY = """
kumo.on('smtp_server_ehlo', function(domain, conn) end)
kumo.on('smtp_server_mail_from', function(sender, conn) end)
kumo.on('smtp_server_rcpt_to', function(recipient, conn) end)
kumo.on('smtp_server_message_received', function(msg, conn) end)
"""
USUAL = """
local locals = { ['b.example'] = true }
kumo.on('smtp_server_ehlo', function(domain, conn) conn:set_meta('greeting', domain) end)
kumo.on('smtp_server_mail_from', function(sender, conn)
  if sender.domain == 'spam.example' then kumo.reject(550, 'no') end
end)
kumo.on('smtp_server_rcpt_to', function(recipient, conn)
  if recipient.user == 'nobody' or not locals[recipient.domain] then kumo.reject(550, 'no') end
end)
kumo.on('smtp_server_message_received', function(msg, conn)
  msg:set_meta('tenant', 't1')
  msg:set_meta('greeting', conn:get_meta('greeting'))
  msg:prepend_header('X-Tenant', msg:get_meta('tenant'))
end)
"""
CALLS = {
    "loop": "",
    "address_user": "local _ = address.user",
    "address_domain": "local _ = address.domain",
    "address_email": "local _ = address.email",
    "address_tostring": "local _ = tostring(address)",
    "conn_get_meta": "local _ = conn:get_meta 'received_from'",
    "conn_set_meta": "conn:set_meta('a', i)",
    "msg_get_meta": "local _ = msg:get_meta 'received_from'",
    "msg_get_meta_integer": "local _ = msg:get_meta 'n'",
    "msg_get_meta_absent": "local _ = msg:get_meta 'absent'",
    "msg_set_meta": "msg:set_meta('a', 'b')",
    "msg_id": "local _ = msg:id()",
    "msg_sender": "local _ = msg:sender()",
    "msg_sender_domain": "local _ = msg:sender().domain",
    "msg_recipient": "local _ = msg:recipient()",
    "msg_recipient_list": "local _ = msg:recipient_list()",
    "msg_get_first_named_header_value": "local _ = msg:get_first_named_header_value 'Subject'",
    "msg_prepend_header": "msg:prepend_header('X-A', 'b')",
    "msg_get_data": "local _ = msg:get_data()",
}


class Policy:
    """A loaded policy and what its events are fired with."""

    def __init__(self, folder: Path, text: str) -> None:
        path = folder / "init.lua"
        path.write_text(f"local kumo = require 'kumo'\n{text}", encoding="utf-8")
        metrics = Metrics()
        engine = PolicyEngine(observer_of=lambda event: metrics.lua_event_latency[event].observe)
        engine.load(str(path))
        self.session = SessionEvents(engine)
        self.reception = ReceptionEvents(engine)
        self.sender = parse_envelope_address("ann@a.example")
        self.recipient = parse_envelope_address("bob@b.example")
        self.connection = Connection(
            "192.0.2.7", 4711, "192.0.2.1", 25, "5b0e2f7e", "mx.example", self.meta()
        )

    def meta(self) -> dict[str, Any]:
        """What reception and the listener put there, roughly."""
        return {"reception_protocol": "ESMTP", "received_from": "192.0.2.7:4711", "n": 1}

    def message(self) -> Message:
        """A message of 2 KB as reception makes it."""
        return Message("0" * 32, self.sender, [self.recipient], self.meta(), BODY)

    def ehlo(self) -> object:
        """Fire ``smtp_server_ehlo``."""
        return self.session.on_ehlo(self.connection, "EHLO", "mail.a.example", ("PIPELINING", "8BITMIME"))

    def mail_from(self) -> object:
        """Fire ``smtp_server_mail_from``."""
        return self.session.on_mail_from(self.connection, self.sender)

    def rcpt_to(self) -> object:
        """Fire ``smtp_server_rcpt_to``."""
        return self.session.on_rcpt_to(self.connection, self.recipient)

    def message_received(self) -> object:
        """Fire ``smtp_server_message_received`` for a message of its own."""
        return self.reception.on_message_received(self.message(), self.connection)

    def three_events(self) -> None:
        """What one message fires when connections are reused."""
        self.mail_from()
        self.rcpt_to()
        self.message_received()

    def four_events(self) -> None:
        """The same in a connection of its own."""
        self.ehlo()
        self.three_events()


EVENTS: dict[str, Callable[[Policy], object]] = {
    "make_message": Policy.message,
    "ehlo": Policy.ehlo,
    "mail_from": Policy.mail_from,
    "rcpt_to": Policy.rcpt_to,
    "message_received": Policy.message_received,
    "three_events": Policy.three_events,
    "four_events": Policy.four_events,
}


def note_each(benchmark: BenchmarkFixture, calls: int) -> None:
    if benchmark.stats is not None:
        benchmark.extra_info["nanoseconds_a_call"] = round(benchmark.stats.stats.median / calls * 1e9)


@pytest.mark.parametrize("policy", ["absent", "empty", "usual"])
@pytest.mark.parametrize("event", EVENTS)
def test_event(benchmark: BenchmarkFixture, tmp_path: Path, event: str, policy: str) -> None:
    benchmark.group = f"event {event}"
    text = {"absent": "", "empty": EMPTY, "usual": USUAL}[policy]
    benchmark(EVENTS[event], Policy(tmp_path, text))


@pytest.mark.parametrize("call", CALLS)
def test_call(benchmark: BenchmarkFixture, tmp_path: Path, call: str) -> None:
    benchmark.group = "calls"
    policy = Policy(
        tmp_path,
        f"""kumo.on('smtp_server_message_received', function(msg, conn)
          local address = msg:sender()
          for i = 1, {REPEATS} do {CALLS[call]} end
        end)""",
    )
    benchmark(policy.message_received)
    note_each(benchmark, REPEATS)


def test_event_that_waits_once(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    benchmark.group = "waiting"
    policy = Policy(tmp_path, "kumo.on('smtp_server_mail_from', function() kumo.sleep(0) end)")

    async def many() -> None:
        for _ in range(REPEATS):
            await policy.mail_from()  # type: ignore[misc]

    with asyncio.Runner() as runner:
        benchmark(lambda: runner.run(many()))
    note_each(benchmark, REPEATS)


def test_wait_without_policy(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "waiting"

    async def many() -> None:
        for _ in range(REPEATS):
            await asyncio.sleep(0)

    with asyncio.Runner() as runner:
        benchmark(lambda: runner.run(many()))
    note_each(benchmark, REPEATS)


def bare_runtime() -> Any:
    return LuaRuntime(encoding="latin-1", unpack_returned_tuples=True)


@pytest.mark.parametrize("arguments", [(), (1,), (1, "ann@a.example")], ids=len)
def test_bare_call_into_lua(benchmark: BenchmarkFixture, arguments: tuple[Any, ...]) -> None:
    benchmark.group = "bare"
    benchmark(bare_runtime().eval("function(...) end"), *arguments)


def test_bare_calls_into_python(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "bare"
    loop = bare_runtime().eval(f"function(fn) for i = 1, {REPEATS} do fn(i, 'key') end end")
    benchmark(loop, lambda _number, _key: None)
    note_each(benchmark, REPEATS)


def test_bare_coroutine(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "bare"
    resume = bare_runtime().eval(
        "(function() local co = coroutine.wrap(function() while true do coroutine.yield() end end);"
        " return function() co() end end)()"
    )
    benchmark(resume)
