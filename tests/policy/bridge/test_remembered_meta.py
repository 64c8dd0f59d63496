"""Meta that a handler has read is not asked for again, and still is never an old one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from kumo.errors import PolicyError

Load = Callable[[str], Any]

TARGETS = pytest.mark.parametrize("target", ["msg", "conn"])


def handle(policy: Any, event: str = "on_message_received", /, **meta: Any) -> Any:
    """Fire an event; gives what it gave, and the meta of the message and of the connection."""
    message, connection = policy.message(**meta), policy.connection(**meta)
    result = getattr(policy.reception, event)(message, connection)
    return result, {"msg": message.meta, "conn": connection.meta}


@TARGETS
@pytest.mark.parametrize(
    ("value", "written", "read"),
    [("'b'", "b", "b"), ("2", 2, 2), ("2.5", 2.5, 2.5), ("false", False, False), ("nil", None, None)],
)
def test_what_the_handler_wrote_it_reads(
    load: Load, target: str, value: str, written: Any, read: Any
) -> None:
    policy = load(
        f"""kumo.on('smtp_server_message_received', function(msg, conn)
          kumo.note({target}:get_meta('k'), {target}:get_meta('k'))
          {target}:set_meta('k', {value})
          kumo.note({target}:get_meta('k'), {target}:get_meta('k'))
        end)"""
    )
    _, meta = handle(policy, k="a")
    assert policy.notes == [("a", "a"), (read, read)]
    assert meta[target].get("k") == written


@TARGETS
def test_message_and_connection_have_their_own(load: Load, target: str) -> None:
    other = "conn" if target == "msg" else "msg"
    policy = load(
        f"""kumo.on('smtp_server_message_received', function(msg, conn)
          local _ = msg:get_meta('k'), conn:get_meta('k')
          {target}:set_meta('k', 'b')
          kumo.note({target}:get_meta('k'), {other}:get_meta('k'))
        end)"""
    )
    handle(policy, k="a")
    assert policy.notes == [("b", "a")]


@TARGETS
def test_a_table_takes_the_place_of_a_scalar_and_back(load: Load, target: str) -> None:
    policy = load(
        f"""kumo.on('smtp_server_message_received', function(msg, conn)
          local _ = {target}:get_meta('k')
          {target}:set_meta('k', {{ 'b' }})
          kumo.note({target}:get_meta('k')[1])
          {target}:set_meta('k', 'c')
          kumo.note({target}:get_meta('k'))
        end)"""
    )
    handle(policy, k="a")
    assert policy.notes == ["b", "c"]


@TARGETS
def test_a_table_written_where_lua_cannot_wait_counts_at_once(load: Load, target: str) -> None:
    policy = load(
        f"""kumo.on('smtp_server_message_received', function(msg, conn)
          local _ = {target}:get_meta("k")
          local text = ('x'):gsub('.', function()
            {target}:set_meta('k', {{ 'b' }})
            return type({target}:get_meta('k'))
          end)
          kumo.note(text)
        end)"""
    )
    handle(policy, k="a")
    assert policy.notes == ["table"]


def test_imported_fields_count_at_once(load: Load) -> None:
    policy = load(
        """kumo.on('smtp_server_message_received', function(msg, conn)
          local before = msg:get_meta('x_tenant')
          msg:import_x_headers()
          kumo.note(before, msg:get_meta('x_tenant'))
        end)"""
    )
    handle(policy, x_tenant="before")
    assert policy.notes == [("before", "t1")]


@TARGETS
def test_what_others_wrote_during_a_wait_is_read(load: Load, target: str) -> None:
    policy = load(
        f"""kumo.on('smtp_server_message_received', function(msg, conn)
          local before = {target}:get_meta('k')
          kumo.gate('g')
          kumo.note(before, {target}:get_meta('k'))
        end)"""
    )

    async def run() -> None:
        waiting, meta = handle(policy, k="a")
        meta[target]["k"] = "b"
        asyncio.get_running_loop().call_soon(policy.open_gate, "g")
        await waiting

    asyncio.run(run())
    assert policy.notes == [("a", "b")]


@TARGETS
def test_the_next_handler_reads_what_was_written_since(load: Load, target: str) -> None:
    policy = load(
        f"""
        local function note(msg, conn) kumo.note({target}:get_meta('k')) end
        kumo.on('smtp_server_data', note)
        kumo.on('smtp_server_message_received', note)
        """
    )
    message, connection = policy.message(k="a"), policy.connection(k="a")
    meta = message.meta if target == "msg" else connection.meta
    policy.reception.on_data(message, connection)
    meta["k"] = "b"
    policy.reception.on_message_received(message, connection)
    handle(policy, k="other session")
    assert policy.notes == ["a", "b", "other session"]


@pytest.mark.parametrize(("target", "noun"), [("msg", "message"), ("conn", "connection")])
def test_nothing_of_it_is_left_after_the_event(load: Load, target: str, noun: str) -> None:
    policy = load(
        f"""
        kumo.on('smtp_server_data', function(msg, conn)
          local _ = {target}:get_meta('k'), {target}:get_meta('k')
          kept = {target}
        end)
        kumo.on('x', function() return kept:get_meta('k') end)
        """
    )
    handle(policy, "on_data", k="a")
    with pytest.raises(PolicyError, match=f"x: .*init.lua:7: this {noun} belongs to an event that is over"):
        policy.engine.call("x")


def test_more_keys_than_are_kept_are_read_all_the_same(load: Load) -> None:
    policy = load(
        """kumo.on('smtp_server_message_received', function(msg, conn)
          for round = 1, 2 do
            for n = 1, 200 do
              assert(msg:get_meta('k' .. n) == n)
              assert(conn:get_meta('k' .. n) == n)
            end
          end
          for n = 1, 200 do msg:set_meta('k' .. n, -n) end
          for n = 1, 200 do assert(msg:get_meta('k' .. n) == -n) end
          kumo.note('all')
        end)"""
    )
    for _ in range(2):
        handle(policy, **{f"k{n}": n for n in range(1, 201)})
    assert policy.notes == ["all", "all"]


def test_a_message_that_policy_made_has_its_own(load: Load) -> None:
    policy = load(
        """kumo.on('smtp_server_message_received', function(msg, conn)
          local made = kumo.make_message('a@b.example', 'd@e.example', 'x')
          made:set_meta('k', 'made')
          kumo.note(msg:get_meta('k'), made:get_meta('k'), msg:get_meta('k'))
        end)"""
    )
    handle(policy, k="given")
    assert policy.notes == [("given", "made", "given")]
