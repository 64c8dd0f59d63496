"""What Lua was handed keeps no message: that is let go of when the event is over, not when Lua collects."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from kumo.errors import KumoError, PolicyError
from kumo.message import Connection, Message

Load = Callable[[str], Any]

KEEPING = """
kept = {}
local function keep(msg, conn)
  collectgarbage('stop')
  kept[#kept + 1] = { msg, conn, msg.get_data, function() return msg:sender() end }
  local _ = msg:get_first_named_header_value('Subject'), msg:get_meta('k'), msg:recipient_list(), msg:id()
  msg:get_all_headers()
  msg:prepend_header('X-A', 'b')
end
"""


class WatchedMessage(Message):
    """A message whose end can be seen."""

    __slots__ = ("__weakref__",)


class WatchedConnection(Connection):
    """A connection whose end can be seen."""


def watched(policy: Any, body: bytes) -> tuple[WatchedMessage, WatchedConnection]:
    made = policy.message()
    message = WatchedMessage(made.id, made.sender, made.recipients, {"k": "v"}, body)
    return message, WatchedConnection("192.0.2.7", 4711, "192.0.2.1", 25, "s", "mx.example")


def fresh_body() -> bytes:
    return b"Subject: one\r\n\r\n" + bytes(100_000)


@pytest.mark.parametrize(
    "ending",
    [
        "",
        "error('x')",
        "error({})",
        "kumo.reject(550, 'x')",
        "caught = table.pack(pcall(kumo.reject, 550, 'x'))",
        "msg:get_data()",
        "msg:prepend_header('a b', 'c')",
        "msg:append_header('a b', 'c')",
        "msg:set_meta('queue', 1) msg:queue_name()",
        "caught = table.pack(pcall(msg.set_meta, msg, 'k', { print }))",
        "conn:set_meta('k', { print })",
    ],
)
def test_message_and_content_are_gone_once_the_event_is_over(load: Load, ending: str) -> None:
    policy = load(
        f"{KEEPING} kumo.on('smtp_server_message_received', function(msg, conn) keep(msg, conn) {ending} end)"
    )
    body = fresh_body()
    message, connection = watched(policy, body)
    references = sys.getrefcount(body)
    with contextlib.suppress(KumoError):
        policy.reception.on_message_received(message, connection)
    assert sys.getrefcount(body) == references
    ends = weakref.ref(message), weakref.ref(connection)
    del message, connection
    assert [end() for end in ends] == [None, None]
    # Ours and the argument's: nothing else has the content, and Lua has collected nothing.
    assert sys.getrefcount(body) == 2


async def test_they_are_gone_after_a_handler_that_waited(load: Load) -> None:
    policy = load(
        f"""{KEEPING}
        kumo.on('smtp_server_message_received', function(msg, conn) keep(msg, conn) kumo.gate('g') end)"""
    )
    body = fresh_body()
    message, connection = watched(policy, body)
    ends = weakref.ref(message), weakref.ref(connection)
    waiting = policy.reception.on_message_received(message, connection)
    asyncio.get_running_loop().call_soon(policy.open_gate, "g")
    await waiting
    del message, connection, waiting
    assert [end() for end in ends] == [None, None]
    assert sys.getrefcount(body) == 2


async def test_they_are_gone_after_a_handler_whose_session_ended(load: Load) -> None:
    policy = load(
        f"""{KEEPING}
        kumo.on('smtp_server_message_received', function(msg, conn) keep(msg, conn) kumo.gate('g') end)"""
    )
    body = fresh_body()
    message, connection = watched(policy, body)
    ends = weakref.ref(message), weakref.ref(connection)
    session = asyncio.ensure_future(policy.reception.on_message_received(message, connection))
    await asyncio.sleep(0)
    session.cancel()
    await asyncio.wait([session])
    del message, connection, session
    await asyncio.sleep(0)
    assert [end() for end in ends] == [None, None]
    assert sys.getrefcount(body) == 2


@pytest.mark.parametrize(
    "call",
    [
        "msg:get_data()",
        "msg:get_meta('k')",
        "msg:set_meta('k', 1)",
        "msg:set_meta('k', {})",
        "msg:id()",
        "msg:sender()",
        "msg:recipient()",
        "msg:recipient_list()",
        "msg:set_recipient('a@b.example')",
        "msg:queue_name()",
        "msg:prepend_header('a', 'b')",
        "msg:get_first_named_header_value('a')",
        "msg:get_all_headers()",
        "msg:import_x_headers()",
        "conn:get_meta('k')",
        "conn:set_meta('k', 1)",
        "conn:auth_info()",
    ],
)
def test_every_use_afterwards_says_what_is_wrong_and_where(load: Load, call: str) -> None:
    policy = load(
        f"""{KEEPING}
        kumo.on('smtp_server_message_received', keep)
        kumo.on('x', function()
          local msg, conn = kept[1][1], kept[1][2]
          return {call}, 'and no tail call'
        end)"""
    )
    policy.reception.on_message_received(policy.message(), policy.connection())
    noun = "message" if call.startswith("msg") else "connection"
    with pytest.raises(PolicyError) as caught:
        policy.engine.call("x")
    text = f"init.lua:15: this {noun} belongs to an event that is over; keep what you need of it in meta"
    assert text in str(caught.value)
