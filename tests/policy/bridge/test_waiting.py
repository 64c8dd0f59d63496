"""Handlers that wait, host functions called from everywhere, and coroutines that policy makes."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from typing import Any

import pytest

from kumo.errors import PolicyError, Rejection
from kumo.maybe_awaitable import is_awaitable
from kumo.policy.handler import ignored

Load = Callable[[str], Any]


async def turn() -> None:
    """Let everything run that can."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_handler_that_does_not_wait_answers_at_once(load: Load) -> None:
    policy = load("kumo.on('x', function() return kumo.several('a', 2) end)")
    result = policy.engine.call("x")
    assert not is_awaitable(result)
    assert result == ("a", 2)


@pytest.mark.parametrize(
    ("returned", "result"),
    [
        ("", None),
        ("return nil", None),
        ("return nil, nil", (None, None)),
        ("return false", False),
        ("return 1", 1),
        ("return 1.5", 1.5),
        ("return 'ü'", "ü".encode().decode("latin-1")),
        ("return 1, 'b', nil", (1, "b", None)),
        ("return kumo.several()", None),
        ("return kumo.several(nil)", None),
        ("return kumo.several(nil, 1)", (None, 1)),
        ("return select('#', kumo.several(1, nil, nil))", 3),
    ],
)
async def test_results_arrive_as_they_were_returned(load: Load, returned: str, result: Any) -> None:
    policy = load(
        f"kumo.on('x', function() {returned} end)\nkumo.on('y', function() kumo.sleep(0) {returned} end)"
    )
    assert policy.engine.call("x") == result
    assert await policy.engine.call("y") == result


async def test_a_wait_gives_the_value_of_what_was_waited_for(load: Load) -> None:
    policy = load("kumo.on('x', function(a) return a .. kumo.gate('g') end)")
    task = asyncio.ensure_future(policy.engine.call("x", "one "))
    await turn()
    assert not task.done()
    policy.open_gate("g", "two")
    assert await task == "one two"


async def test_five_handlers_wait_at_the_same_time_and_end_in_any_order(load: Load) -> None:
    policy = load(
        """
        kumo.on('x', function(name)
          for i = 1, 3 do
            kumo.gate(name .. i)
            kumo.note(name .. i, _KUMO_CURRENT_EVENT)
          end
          return name
        end)
        kumo.on('y', function() return 'between' end)
        """
    )
    names = ["a", "b", "c", "d", "e"]
    tasks = [asyncio.ensure_future(policy.engine.call("x", name)) for name in names]
    await turn()
    assert sorted(policy.gates) == [f"{name}1" for name in names]
    expected = []
    for step, order in ((1, "ebdca"), (2, "abcde"), (3, "cadbe")):
        for name in order:
            policy.open_gate(f"{name}{step}")
            await turn()
            # Another event in between must not confuse whose event this is.
            assert policy.engine.call("y") == "between"
            expected.append((f"{name}{step}", "x"))
    assert policy.notes == expected
    assert await asyncio.gather(*tasks) == names


async def test_pcall_around_a_wait_works(load: Load) -> None:
    policy = load("kumo.on('x', function() return pcall(function() return kumo.gate('g') end) end)")
    task = asyncio.ensure_future(policy.engine.call("x"))
    await turn()
    policy.gates["g"].set_exception(ValueError("closed"))
    ok, error = await task
    assert not ok
    assert isinstance(error, ValueError)


async def test_an_exception_of_a_wait_ends_the_handler(load: Load) -> None:
    policy = load("kumo.on('x', function() kumo.gate('g') end)")
    task = asyncio.ensure_future(policy.engine.call("x"))
    await turn()
    policy.gates["g"].set_exception(ValueError("closed"))
    with pytest.raises(
        PolicyError, match=r"^x: .*/init\.lua:2: ValueError: closed\nstack traceback(.|\n)*init\.lua:2:"
    ):
        await task


async def test_a_rejection_after_a_wait_keeps_its_form(load: Load) -> None:
    policy = load("kumo.on('x', function() kumo.sleep(0) kumo.reject(450, 'later') end)")
    with pytest.raises(Rejection, match="450 later"):
        await policy.engine.call("x")


async def test_a_cancelled_handler_is_unwound_and_the_engine_goes_on(load: Load) -> None:
    policy = load(
        """
        kumo.on('x', function()
          local guard <close> = setmetatable({}, { __close = function() kumo.note('unwound') end })
          kumo.gate('g')
          kumo.note('never')
        end)
        kumo.on('y', function() kumo.sleep(0) return 1 end)
        """
    )
    task = asyncio.ensure_future(policy.engine.call("x"))
    await turn()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert policy.notes == ["unwound"]
    assert policy.engine.handlers["x"].state.active == 0
    assert await policy.engine.call("y") == 1


def close_what_would_await(pending: Any) -> None:
    coroutine: Any = ignored(pending)
    coroutine.close()


ENDINGS = {
    "the task is cancelled before its first step": lambda pending: asyncio.ensure_future(pending).cancel(),
    "a coroutine that would await it is closed": close_what_would_await,
    "nobody awaits it": lambda _: None,
}


@pytest.mark.parametrize("give_up", ENDINGS.values(), ids=ENDINGS.keys())
@pytest.mark.parametrize("awaited", ["kumo.gate('g')", "kumo.sleep(60)"])
async def test_a_handler_whose_wait_never_begins_is_unwound(
    load: Load, give_up: Callable[[Any], Any], awaited: str
) -> None:
    policy = load(
        f"""
        kumo.on('smtp_server_data', function()
          local guard <close> = setmetatable({{}}, {{ __close = function() kumo.note('unwound') end }})
          {awaited}
          kumo.note('never')
        end)
        """
    )
    state = policy.engine.handlers["smtp_server_data"].state
    give_up(policy.engine.handlers["smtp_server_data"].run(policy.message(), policy.connection()))
    await turn()
    gc.collect()
    assert policy.notes == ["unwound"]
    assert (len(state.messages), len(state.connections), state.active) == (0, 0, 0)
    assert all(gate.cancelled() for gate in policy.gates.values())


async def begun(pending: Any) -> Any:
    """A coroutine that waits for the handler, and that nothing will ever resume."""

    async def wait() -> None:
        await pending

    coroutine = wait()
    coroutine.send(None)
    return coroutine


@pytest.mark.parametrize("has_begun", [False, True])
async def test_the_garbage_collector_does_not_run_lua(load: Load, *, has_begun: bool) -> None:
    """It may come in the middle of a walk through a Lua table, and in any thread."""
    policy = load(
        """
        kumo.on('x', function()
          local guard <close> = setmetatable({}, { __close = function() kumo.note('unwound') end })
          kumo.gate('g')
        end)
        """
    )
    abandoned: list[Any] = [policy.engine.call("x")]
    if has_begun:
        abandoned[0] = await begun(abandoned[0])
    abandoned.append(abandoned)
    del abandoned
    collector = threading.Thread(target=gc.collect)
    collector.start()
    collector.join()
    assert policy.notes == []
    await turn()
    assert policy.notes == ["unwound"]
    assert policy.engine.handlers["x"].state.active == 0


async def test_a_handler_that_is_awaited_is_not_given_up(load: Load) -> None:
    policy = load("kumo.on('x', function() return kumo.gate('g') end)")

    async def through(pending: Any) -> Any:
        return await pending

    task = asyncio.ensure_future(through(policy.engine.call("x")))
    await turn()
    gc.collect()
    policy.open_gate("g", 7)
    assert await task == 7
    assert policy.engine.handlers["x"].state.active == 0


@pytest.mark.parametrize("is_slow", [False, True])
async def test_an_interrupt_in_a_host_function_leaves_nothing_behind(load: Load, is_slow: bool) -> None:
    policy = load(
        f"""
        kumo.on('smtp_server_data', function()
          local guard <close> = setmetatable({{}}, {{ __close = function() kumo.note('unwound') end }})
          {"kumo.sleep(0)" if is_slow else ""}
          kumo.interrupt()
        end)
        """
    )
    state = policy.engine.handlers["smtp_server_data"].state
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - only some handlers wait
        result = policy.reception.on_data(policy.message(), policy.connection())
        # Driven by hand: a task would hand the interrupt to the test's own loop.
        for _ in result.__await__():
            await asyncio.sleep(0)
    assert policy.notes == ["unwound"]
    assert (len(state.messages), len(state.connections), state.active) == (0, 0, 0)


def test_what_the_binding_itself_raises_fails_the_handler(load: Load) -> None:
    policy = load("kumo.on('x', function() end)")
    handler = policy.engine.handlers["x"]
    with pytest.raises(PolicyError, match=r"^x: UnicodeEncodeError: ") as caught:
        handler.run(policy.message(), policy.connection(), "no octets: €")
    assert isinstance(caught.value.__cause__, UnicodeEncodeError)
    state = handler.state
    assert (len(state.messages), len(state.connections), state.active) == (0, 0, 0)
    assert policy.engine.call("x") is None


UNYIELDABLE = {
    "gsub": "('x'):gsub('x', function() {call} end)",
    "sort": "table.sort({{2, 1}}, function() {call} return false end)",
    "gsub in a coroutine": "coroutine.wrap(function() ('x'):gsub('x', function() {call} end) end)()",
    "coroutine in gsub": "('x'):gsub('x', function() coroutine.wrap(function() {call} end)() end)",
    "close": "local x <close> = setmetatable({{}}, {{ __close = function() {call} end }})",
}


@pytest.mark.parametrize("way", UNYIELDABLE.values(), ids=UNYIELDABLE.keys())
def test_host_functions_with_tables_work_where_lua_cannot_yield(load: Load, way: str) -> None:
    call = (
        "kumo.note(kumo.json_encode({ a = { 1, 2 } }), kumo.give_table().a[2],"
        " select('#', kumo.several(nil)))"
    )
    policy = load(f"kumo.on('x', function() {way.format(call=call)} end)")
    policy.engine.call("x")
    assert policy.notes[0] == ('{"a":[1,2]}', 2, 1)


@pytest.mark.parametrize("way", list(UNYIELDABLE)[:4])
def test_waiting_where_lua_cannot_yield_is_an_error_that_says_so(load: Load, way: str) -> None:
    policy = load(f"kumo.on('x', function() {UNYIELDABLE[way].format(call='kumo.sleep(0)')} end)")
    with pytest.raises(PolicyError, match=r"^x: .*/init\.lua:2: kumo\.sleep waits and cannot be called here"):
        policy.engine.call("x")


@pytest.mark.parametrize("call", ["kumo.sleep(0)", "coroutine.wrap(function() kumo.sleep(0) end)()"])
def test_waiting_at_the_top_level_of_the_script_is_an_error_that_says_so(load: Load, call: str) -> None:
    with pytest.raises(PolicyError, match="waits and cannot be called here"):
        load(call)


def test_tables_pass_at_the_top_level_in_plain_calls_and_coroutines(load: Load) -> None:
    policy = load(
        """
        kumo.note(kumo.json_encode({ 1, { b = 2 } }))
        coroutine.wrap(function() kumo.note(kumo.json_encode({ 3 }), kumo.json_parse('[4]')[1]) end)()
        kumo.note(pcall(kumo.json_parse, 'x') == false)
        """
    )
    assert policy.notes == ['[1,{"b":2}]', ("[3]", 4), True]


async def test_a_policys_coroutine_yields_its_own_values_and_waits_in_between(load: Load) -> None:
    policy = load(
        """
        kumo.on('x', function()
          local step = coroutine.wrap(function(a)
            local b = coroutine.yield(a + 1)
            kumo.gate('g')
            local c = coroutine.yield(b + kumo.several(1))
            return c + 1, 'end'
          end)
          kumo.note(step(1))
          kumo.note(step(10))
          kumo.note(step(100))
        end)
        """
    )
    task = asyncio.ensure_future(policy.engine.call("x"))
    await turn()
    assert policy.notes == [2]
    policy.open_gate("g")
    await task
    assert policy.notes == [2, 11, (101, "end")]


async def test_waits_pass_through_coroutines_in_coroutines(load: Load) -> None:
    policy = load(
        """
        kumo.on('x', function()
          local co = coroutine.create(function()
            local inner = coroutine.wrap(function()
              kumo.gate('g')
              coroutine.yield(kumo.json_parse('{"a":1}').a)
              error('inner')
            end)
            coroutine.yield(inner())
            inner()
          end)
          kumo.note(coroutine.resume(co))
          local ok, e = coroutine.resume(co)
          kumo.note(ok, e:match('inner') , coroutine.status(co))
          kumo.note(coroutine.resume(co))
        end)
        """
    )
    task = asyncio.ensure_future(policy.engine.call("x"))
    await turn()
    policy.open_gate("g")
    await task
    assert policy.notes == [(True, 1), (False, "inner", "dead"), (False, "cannot resume dead coroutine")]


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("kumo.note(kumo.source())", 3),
        ("local s = kumo.source() kumo.note(s)", 3),
        ("coroutine.wrap(function()\n kumo.note(kumo.source()) end)()", 4),
        ("('x'):gsub('x', function()\n\n kumo.note(kumo.source()) end)", 5),
        ("pcall(function() kumo.note(kumo.source()) end)", 3),
    ],
)
@pytest.mark.parametrize("is_handler", [False, True])
def test_a_host_function_learns_the_line_that_called_it(
    load: Load, body: str, line: int, is_handler: bool
) -> None:
    if is_handler:
        policy = load(f"kumo.on('x', function()\n{body}\nend)")
        policy.engine.call("x")
    else:
        policy = load(f"\n{body}")
    assert policy.notes == [f"{policy.path}:{line}"]


def test_after_a_tail_call_the_line_is_where_the_handler_begins(load: Load) -> None:
    policy = load("kumo.on('x', function()\n\n return kumo.source()\nend)")
    assert policy.engine.call("x") == f"{policy.path}:2"


def test_a_host_function_that_lua_code_passes_on_works(load: Load) -> None:
    policy = load("kumo.on('x', function() kumo.note(pcall(kumo.json_encode, { 1 })) end)")
    policy.engine.call("x")
    assert policy.notes == [(True, "[1]")]


def test_globals_live_on_between_events_of_one_state(load: Load) -> None:
    policy = load("n = 0 kumo.on('x', function() n = n + 1 return n end)")
    assert [policy.engine.call("x") for _ in range(100)] == list(range(1, 101))
