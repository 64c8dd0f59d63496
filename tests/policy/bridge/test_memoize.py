"""kumo.memoize in a policy: what its function gives back, who waits, what outlives a state."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from kumo.errors import PolicyError, Rejection
from kumo.policy import Limits

Load = Callable[[str], Any]
MakePolicy = Callable[..., Any]

OPTIONS = "{ name = 'm', ttl = '5 minutes', capacity = 10 }"


async def settled(policy: Any, event: str, *arguments: Any) -> Any:
    result = policy.engine.call(event, *arguments)
    return await result if isinstance(result, Awaitable) else result


@pytest.mark.parametrize(
    ("returned", "looked_at", "seen"),
    [
        ("1", "v", 1),
        ("'caf\\xc3\\xa9\\xff'", "v", "caf\xc3\xa9\xff"),
        ("nil", "v == nil", True),
        ("", "select('#', f()) == 1 and v == nil", True),
        ("1, nil, 3, nil", "select('#', f())", 4),
        ("{ 1, 2, 3 }", "#v", 3),
        ("{ 1, 2, 3 }", "table.concat(v, ',')", "1,2,3"),
        ("{ 1, { 2, 3 } }", "select(2, table.unpack(v[2]))", 3),
        ("{ a = { b = { c = 1.5 } } }", "v.a.b.c", 1.5),
        ("{ [7] = 'x', name = 'y' }", "v[7] .. v.name", "xy"),
        ("{ a = 1 }", "next(v)", ("a", 1)),
        ("{}", "next(v) == nil", True),
        ("{ a = { b = 1 } }", "v.a == v.a", True),
        ("{ a = { b = 1 } }", "kumo.json_encode(v)", '{"a":{"b":1}}'),
        ("{ a = { b = 1 } }", "(function() v.a.b = 2 return kumo.json_encode(v) end)()", '{"a":{"b":2}}'),
        ("setmetatable({ a = 1 }, nil)", "type(v)", "table"),
        ("kumo.make_listener_domain { relay_to = true }", "v.relay_to", True),
        ("{ d = kumo.make_listener_domain { log_oob = true } }", "v.d.log_oob", "LogThenRelay"),
        ("{ relay_from = { '10.0.0.0/8' } }", "#kumo.make_listener_domain(v).relay_from", 1),
        ("kumo.domain_map.new { ['*.b.c'] = { x = 1 } }", "v['a.b.c'].x", 1),
    ],
)
def test_values_come_back(load: Load, returned: str, looked_at: str, seen: Any) -> None:
    policy = load(
        f"""
        local f = kumo.memoize(function() return {returned} end, {OPTIONS})
        for _ = 1, 2 do
          local v = f()
          kumo.note({looked_at})
        end
        """
    )
    assert policy.notes == [seen, seen]


@pytest.mark.parametrize(
    "change",
    [
        "v.x = nil",
        "v.list[1] = 9",
        "v.list[#v.list + 1] = 9",
        "table.insert(v.list, 9)",
        "table.remove(v.list)",
        "table.sort(v.list, function(a, b) return a > b end)",
        "v.deep.er.x = 9",
        "for _, item in pairs(v.deep) do item.x = 9 end",
        "for key in pairs(v) do v[key] = nil end",
        "v.map['new.example'] = 9",
        "v.map['old.example'] = nil",
        "v.map['old.example'].x = 9",
    ],
)
def test_what_policy_writes_into_a_value_is_seen_by_nobody_else(load: Load, change: str) -> None:
    policy = load(
        f"""
        local f = kumo.memoize(function()
          return {{ x = 1, list = {{ 1, 2 }}, deep = {{ er = {{ x = 1 }} }},
                   map = kumo.domain_map.new {{ ['old.example'] = {{ x = 1 }} }} }}
        end, {OPTIONS})
        local function shown(v)
          return table.concat({{ tostring(v.x), kumo.json_encode(v.list), tostring(v.deep.er.x),
            tostring(v.map['old.example'].x), tostring(v.map['new.example']) }}, ' ')
        end
        do local v = f() {change} end
        kumo.note(shown(f()))
        """
    )
    assert policy.notes == ["1 [1,2] 1 1 nil"]


def test_what_policy_writes_into_a_value_it_reads_back(load: Load) -> None:
    policy = load(
        f"""
        local f = kumo.memoize(function() return {{ list = {{ 1 }}, a = {{ b = 1 }} }} end, {OPTIONS})
        local v = f()
        v.a.b = 2
        v.list[2] = 5
        v.new = 'x'
        kumo.note(v.a.b, #v.list, v.new)
        """
    )
    assert policy.notes == [(2, 2, "x")]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("'1'", "1"),
        ("1", "1.0"),
        ("nil", "'nil'"),
        ("nil", ""),
        ("'a', 'b'", "'ab', ''"),
        ("'a', 'b'", "'a,b'"),
        ("true", "'true'"),
        ("{ a = 1 }", "{ a = 2 }"),
        ("{ 'a' }", "'a'"),
    ],
)
def test_other_arguments_are_another_value(load: Load, one: str, other: str) -> None:
    policy = load(
        f"""
        local calls = 0
        local f = kumo.memoize(function() calls = calls + 1 return calls end, {OPTIONS})
        kumo.note(f({one}), f({other}), f({one}), f({other}))
        """
    )
    assert policy.notes == [(1, 2, 1, 2)]


def test_equal_tables_as_arguments_are_one_value(load: Load) -> None:
    policy = load(
        f"""
        local f = kumo.memoize(function(t) return t end, {OPTIONS})
        kumo.note(f {{ a = 1, b = {{ 2 }} }}.b[1])
        local again = kumo.memoize(function() error 'not called' end, {OPTIONS})
        kumo.note(again {{ b = {{ 2 }}, a = 1 }}.a)
        """
    )
    assert policy.notes == [2, 1]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ("kumo.memoize(1, {})", r"bad argument #1 to 'kumo\.memoize' \(function expected, got number\)"),
        ("kumo.memoize(print, 1)", r"bad argument #2 to 'kumo\.memoize' \(table expected, got number\)"),
        ("kumo.memoize(print, { ttl = 1, capacity = 1 })", "missing field `name`"),
        ("kumo.memoize(print, { name = 'x', capacity = 1 })", "missing field `ttl`"),
        ("kumo.memoize(print, { name = 'x', ttl = 1 })", "missing field `capacity`"),
        ("kumo.memoize(print, { name = 'x', ttl = 1, capacity = 1, invalidate = true })", "unknown field"),
        ("kumo.memoize(print, { name = 'acl_check', ttl = 1, capacity = 1 })", "cache of KumoMTA's own"),
        ("kumo.memoize(function() return print end, OPTIONS)()", "function cannot be kept"),
        ("kumo.memoize(function() return { [{}] = 1 } end, OPTIONS)()", "a string or an integer"),
        ("kumo.memoize(function() error 'oh' end, OPTIONS)()", "oh"),
        ("local f f = kumo.memoize(function() return f() end, OPTIONS) f()", "that it is about to make"),
        ("kumo.memoize(print, OPTIONS)(print)", "function has no JSON form"),
    ],
)
def test_misuse_is_refused(load: Load, call: str, text: str) -> None:
    policy = load(
        f"""
        local OPTIONS = {OPTIONS}
        local ok, problem = pcall(function() {call} end)
        kumo.note(ok, tostring(problem))
        """
    )
    ((ok, problem),) = policy.notes
    assert not ok
    with pytest.raises(AssertionError, match=text):
        raise AssertionError(problem)


def test_options_may_be_nil(load: Load) -> None:
    load("kumo.memoize(print, { name = 'x', ttl = 1, capacity = 1, allow_stale_reads = nil })")


def test_after_an_error_the_function_is_called_again(load: Load) -> None:
    policy = load(
        f"""
        local calls = 0
        local f = kumo.memoize(function()
          calls = calls + 1
          if calls == 1 then error 'first' end
          return calls
        end, {OPTIONS})
        kumo.note(pcall(f))
        kumo.note(f())
        """
    )
    assert policy.notes[1] == 2


COUNTING = """
local calls = 0
local f = kumo.memoize(function() calls = calls + 1 return {{ '{text}', calls }} end,
  {{ name = 'm', ttl = 300, capacity = 1, invalidate_with_epoch = {depends} }})
kumo.on('ask', function() local v = f() return v[1] .. v[2] end)
"""


@pytest.mark.parametrize(("depends", "seen"), [("false", "old1"), ("true", "new1")])
async def test_a_reload_keeps_values_that_do_not_depend_on_the_epoch(
    load: Load, depends: str, seen: str
) -> None:
    policy = load(COUNTING.format(text="old", depends=depends))
    assert await settled(policy, "ask") == "old1"
    policy.write(COUNTING.format(text="new", depends=depends))
    assert policy.engine.reload()
    assert await settled(policy, "ask") == seen


SLOW = f"""
local f = kumo.memoize(function(key)
  kumo.note('made ' .. key)
  kumo.gate(key)
  return {{ key }}
end, {OPTIONS})
kumo.on('ask', function(key) return f(key)[1] end)
"""


async def asked(policy: Any, key: str = "k") -> asyncio.Task[Any]:
    """A handler that waits, or is through, after it ran as far as it could."""
    task = asyncio.ensure_future(settled(policy, "ask", key))
    for _ in range(5):
        await asyncio.sleep(0)
    return task


async def test_one_handler_makes_the_value_and_the_others_wait(load: Load) -> None:
    policy = load(SLOW)
    tasks = [await asked(policy) for _ in range(4)]
    policy.gates["k"].set_result(None)
    assert await asyncio.gather(*tasks) == ["k"] * 4
    assert policy.notes == ["made k"]


async def test_other_keys_are_not_waited_for(load: Load) -> None:
    policy = load(SLOW)
    slow, fast = await asked(policy, "slow"), await asked(policy, "fast")
    policy.gates["fast"].set_result(None)
    assert await fast == "fast"
    assert not slow.done()
    policy.gates["slow"].set_result(None)
    assert await slow == "slow"


async def test_when_the_maker_is_dropped_another_one_takes_over(load: Load) -> None:
    policy = load(SLOW)
    first, second = await asked(policy), await asked(policy)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    for _ in range(5):
        await asyncio.sleep(0)
    assert policy.notes == ["made k", "made k"]
    policy.gates["k"].set_result(None)
    assert await second == "k"


async def test_when_the_maker_fails_so_do_the_others(load: Load) -> None:
    policy = load(SLOW)
    first, second = await asked(policy), await asked(policy)
    policy.gates["k"].set_exception(OSError("disk"))
    results = await asyncio.gather(first, second, return_exceptions=True)
    assert all(isinstance(result, PolicyError) for result in results)
    assert "the value memoized as `m` could not be made: disk" in str(results[1])
    assert policy.notes == ["made k"]


async def test_a_rejection_reaches_all_who_wait(load: Load) -> None:
    policy = load(
        f"""
        local f = kumo.memoize(function(key) kumo.gate(key) kumo.reject(451, 'later') end, {OPTIONS})
        kumo.on('ask', function(key) return f(key) end)
        """
    )
    tasks = [await asked(policy) for _ in range(2)]
    policy.gates["k"].set_result(None)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [(type(result), str(result)) for result in results] == [(Rejection, "451 later")] * 2


async def test_a_maker_that_is_stopped_keeps_nobody_waiting(make_policy: MakePolicy) -> None:
    policy = make_policy(limits=Limits(handler_seconds=0.02)).load(
        f"""
        local f = kumo.memoize(function(key)
          kumo.gate(key)
          while true do pcall(function() while true do end end) end
        end, {OPTIONS})
        kumo.on('ask', function(key) return f(key) end)
        """
    )
    tasks = [await asked(policy) for _ in range(2)]
    policy.gates["k"].set_result(None)
    first, second = await asyncio.gather(*tasks, return_exceptions=True)
    assert "was stopped" in str(first)
    assert "the value memoized as `m` could not be made: ask was stopped" in str(second)


async def test_a_script_that_is_stopped_keeps_nobody_waiting(make_policy: MakePolicy) -> None:
    policy = make_policy(limits=Limits(reload_seconds=0.05))
    text = f"""
        local f = kumo.memoize(function() %s return 'fine' end, {OPTIONS})
        f()
        kumo.on('ask', function() return f() end)
    """.replace("ttl = '5 minutes'", "ttl = '5 minutes', invalidate_with_epoch = true")
    policy.load(text % "")
    policy.write(text % "while true do end")
    assert not policy.engine.reload()
    assert await asyncio.wait_for(settled(policy, "ask"), 10) == "fine"


async def test_coroutines_of_the_policy_may_make_values(load: Load) -> None:
    policy = load(
        f"""
        local f = kumo.memoize(function(key) kumo.gate(key) return key end, {OPTIONS})
        kumo.on('ask', function(key) return coroutine.wrap(function() return f(key) end)() end)
        """
    )
    tasks = [await asked(policy) for _ in range(2)]
    policy.gates["k"].set_result(None)
    assert await asyncio.gather(*tasks) == ["k", "k"]


def test_values_may_go_into_meta(load: Load) -> None:
    policy = load(
        f"""
        local f = kumo.memoize(function() return {{ a = {{ 1, 2 }} }} end, {OPTIONS})
        kumo.on('smtp_server_connection_accepted', function(meta) meta:set_meta('x', f()) end)
        """
    )
    connection = policy.connection()
    policy.session.on_connection_accepted(connection)
    assert connection.meta["x"] == {"a": [1, 2]}


async def test_many_keys_do_not_pile_up_in_the_state(load: Load) -> None:
    policy = load(
        """
        local f = kumo.memoize(function(key) return { ('x'):rep(1000) .. key } end,
          { name = 'm', ttl = 300, capacity = 2 })
        kumo.on('ask', function()
          for i = 1, 2000 do f(i) end
          collectgarbage()
          return collectgarbage('count')
        end)
        """
    )
    assert await settled(policy, "ask") < 1000
