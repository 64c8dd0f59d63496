"""A handler that runs on and on, one that eats all memory, and what is said of slow ones."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Callable
from typing import Any

import pytest

from kumo.errors import PolicyError
from kumo.policy import Limits
from kumo.policy.watchdog import Backoff, Watchdog

Make = Callable[..., Any]

QUICK = Limits(handler_seconds=0.05, load_seconds=0.05)

RUNAWAYS = {
    "loop": "while true do end",
    "pcall swallows": "while true do pcall(function() while true do end end) end",
    "xpcall swallows": "while true do xpcall(function() while true do end end, function(e) return e end) end",
    "pcall of a call": "while true do pcall(string.rep, 'x', 3) end",
    "coroutine": "coroutine.wrap(function() while true do end end)()",
    "coroutines without end": "local function f() while true do end end"
    " while true do coroutine.resume(coroutine.create(f)) end",
    "host calls": "while true do kumo.several(1) end",
    "direct host calls": "while true do pcall(kumo.boom_direct) end",
    "close variable": "local x <close> = setmetatable({}, { __close = function() while true do end end })",
    "message handler": "xpcall(error, function() while true do end end)",
    "text of the error": "error(setmetatable({}, { __tostring = function() while true do end end }))",
}


@pytest.mark.parametrize("body", RUNAWAYS.values(), ids=RUNAWAYS.keys())
def test_a_runaway_handler_is_stopped_and_named(make_policy: Make, body: str) -> None:
    policy = make_policy(limits=QUICK).load(
        f"kumo.on('bad', function() {body} end)\nkumo.on('good', function() return kumo.several('fine') end)"
    )
    for _ in range(2):
        with pytest.raises(PolicyError, match=r"bad: .*bad was stopped: it ran for more than 0\.05 s"):
            policy.engine.call("bad")
        assert policy.engine.call("good") == "fine"


def test_a_stack_that_overflows_is_shown_from_its_top_only(make_policy: Make) -> None:
    """Lua's own traceback would walk the stack anew for each level that it prints."""
    policy = make_policy(limits=Limits(handler_seconds=60.0)).load(
        """
        local function deeper(n) return 1 + deeper(n + 1) end
        kumo.on('bad', function() return deeper(1) end)
        """
    )
    with pytest.raises(PolicyError, match="stack overflow") as caught:
        policy.engine.call("bad")
    text = str(caught.value)
    assert "more than 200 levels" in text
    assert "skipping" not in text
    assert text.count("init.lua:3:") > 3


@pytest.mark.parametrize("body", list(RUNAWAYS.values())[:5], ids=list(RUNAWAYS)[:5])
def test_a_runaway_script_is_stopped(make_policy: Make, body: str) -> None:
    with pytest.raises(PolicyError, match=r"the script was stopped: it ran for more than 0\.05 s"):
        make_policy(limits=QUICK).load(body)


def test_what_a_stopped_script_registered_is_looked_at_by_validating(make_policy: Make) -> None:
    policy = make_policy(limits=QUICK)
    policy.write("kumo.on('smtp_server_elho', function() end)\nwhile true do end")
    policy.engine.load(str(policy.path), validating=True)
    assert set(policy.engine.handlers) == {"smtp_server_elho"}
    assert ["was stopped" in found.message for found in policy.engine.findings.sorted()] == [True]


def test_a_stop_that_a_handler_survived_is_not_told_of_the_next_one(make_policy: Make) -> None:
    policy = make_policy(limits=QUICK).load(
        """
        kumo.on('survives', function()
          return coroutine.resume(coroutine.create(function() while true do end end))
        end)
        kumo.on('fails', function() error('mine') end)
        kumo.on('busy', function() for i = 1, 50000 do end return 'fine' end)
        """
    )
    ok, text = policy.engine.call("survives")
    assert not ok
    assert "was stopped" in text
    assert policy.engine.call("busy") == "fine"
    with pytest.raises(PolicyError) as caught:
        policy.engine.call("fails")
    assert "was stopped" not in str(caught.value)


def test_xpcall_hands_the_error_and_the_stack_to_its_handler(make_policy: Make) -> None:
    policy = make_policy().load(
        """
        local function fails(a) error('mine ' .. a, 0) end
        local function handler(e)
          return e .. '!' .. debug.traceback('', 2):match("in function <.-init.lua:(%d+)>")
        end
        kumo.note(xpcall(fails, handler, 1))
        kumo.note(xpcall(function(...) return ... end, print, 1, nil))
        kumo.note((pcall(xpcall, print)))
        """
    )
    assert policy.notes == [(False, "mine 1!3"), (True, 1, None), False]


async def test_init_gets_the_time_of_the_script(make_policy: Make) -> None:
    policy = make_policy(limits=Limits(handler_seconds=0.01, load_seconds=0.1)).load(
        "kumo.on('init', function() while true do end end)"
    )
    with pytest.raises(PolicyError, match=r"init was stopped: it ran for more than 0\.1 s"):
        await policy.engine.start()


async def test_others_work_on_while_a_runaway_is_stopped(make_policy: Make) -> None:
    policy = make_policy(limits=QUICK).load(
        """
        kumo.on('good', function() kumo.gate('g') kumo.sleep(0) return 'fine' end)
        kumo.on('bad', function() kumo.sleep(0) while true do end end)
        """
    )
    good = asyncio.ensure_future(policy.engine.call("good"))
    await asyncio.sleep(0)
    with pytest.raises(PolicyError, match="bad was stopped"):
        await policy.engine.call("bad")
    policy.open_gate("g")
    assert await good == "fine"


async def test_time_spent_waiting_does_not_count(make_policy: Make) -> None:
    policy = make_policy(limits=Limits(handler_seconds=0.5)).load(
        "kumo.on('x', function()"
        " for i = 1, 4 do kumo.sleep(0.15) for j = 1, 20000 do end end return 'fine' end)"
    )
    assert await policy.engine.call("x") == "fine"


def test_a_coroutine_that_outlives_a_stopped_handler_works_again(make_policy: Make) -> None:
    policy = make_policy(limits=QUICK).load(
        """
        kept = coroutine.create(function()
          pcall(function() while true do end end)
          while true do pcall(coroutine.yield) end
        end)
        again = coroutine.wrap(function()
          while true do
            local n = 0
            for i = 1, 1000 do n = n + 1 end
            coroutine.yield(n)
          end
        end)
        kumo.on('bad', function() again() coroutine.resume(kept) while true do end end)
        kumo.on('good', function() return again() end)
        """
    )
    with pytest.raises(PolicyError, match="bad was stopped"):
        policy.engine.call("bad")
    assert policy.engine.call("good") == 1000


GREEDY = {
    "strings of its own": "while true do kept[#kept + 1] = ('x'):rep(100) .. #kept end",
    "long strings of its own": "while true do kept[#kept + 1] = ('x'):rep(1000000) .. #kept end",
    "one string": "kept[1] = ('x'):rep(1e9)",
    "pcall": "while true do pcall(function() kept[#kept + 1] = ('x'):rep(1000) .. #kept end) end",
    "coroutine": "coroutine.wrap(function() while true do kept[#kept + 1] = {} end end)()",
    "host strings": "while true do kept[#kept + 1] = m:get_data() end",
    "long meta": "while true do kept[#kept + 1] = m:get_meta('long') end",
    "short meta": "while true do kept[#kept + 1] = m:get_meta('short') .. #kept end",
    "long header": "while true do kept[#kept + 1] = m:get_first_named_header_value('x-long') end",
    "tables": "while true do kept[#kept + 1] = kumo.json_parse('[1,[2,3],{}]') end",
    "one table": "kept[1] = kumo.json_parse('[' .. ('[],'):rep(300000) .. '1]')",
    "one result": "kept[1] = kumo.several(m:get_data())",
    "result in gsub": "('x'):gsub('x', function()"
    " while true do kept[#kept + 1] = kumo.json_encode(m:get_data()) end end)",
    "errors": "while true do kept[#kept + 1] = select(2, pcall(kumo.boom_direct, 'x')) end",
}


@pytest.mark.parametrize("body", GREEDY.values(), ids=GREEDY.keys())
def test_a_handler_that_uses_up_the_memory_fails_and_the_state_is_replaced(
    make_policy: Make, caplog: pytest.LogCaptureFixture, body: str
) -> None:
    policy = make_policy(limits=Limits(memory=8_000_000, handler_seconds=30)).load(
        f"""
        kept = {{}}
        kumo.on('smtp_server_data', function(m) {body} end)
        kumo.on('good', function() return #kept end)
        """
    )
    before = policy.engine.handlers["good"].state
    message = policy.message(
        body=b"X-Long: " + b"y" * 50_000 + b"\r\n\r\n" + b"x" * 7_000_000, long="z" * 50_000, short="z" * 100
    )
    with (
        caplog.at_level(logging.ERROR, "kumod.policy"),
        pytest.raises(
            PolicyError,
            match=r"smtp_server_data: (.|\n)*not enough memory(.|\n)*the Lua state may use 8000000 octets",
        ),
    ):
        policy.reception.on_data(message, policy.connection())
    assert "smtp_server_data used up the memory of the Lua state; it is replaced" in caplog.text
    assert policy.engine.handlers["good"].state is not before
    assert policy.engine.call("good") == 0


def test_a_message_larger_than_the_state_may_hold_is_refused_and_the_next_one_works(
    make_policy: Make,
) -> None:
    policy = make_policy(limits=Limits(memory=8_000_000)).load(
        "kumo.on('smtp_server_data', function(m) kumo.note(#m:get_data()) end)"
    )
    with pytest.raises(PolicyError, match="not enough memory"):
        policy.reception.on_data(policy.message(body=b"x" * 200_000_000), policy.connection())
    policy.reception.on_data(policy.message(body=b"x"), policy.connection())
    assert policy.notes == [1]


def test_a_state_that_grows_by_and_by_is_replaced_before_it_fails(make_policy: Make) -> None:
    policy = make_policy(limits=Limits(memory=8_000_000)).load(
        "kept = {} kumo.on('x', function() kept[#kept + 1] = ('x'):rep(1000000) .. #kept return #kept end)"
    )
    sizes = [policy.engine.call("x") for _ in range(40)]
    assert sizes[:7] == [1, 2, 3, 4, 5, 6, 7]
    assert 1 in sizes[7:]


def test_garbage_is_collected_before_the_memory_counts_as_used_up(make_policy: Make) -> None:
    policy = make_policy(limits=Limits(memory=8_000_000)).load(
        "kumo.on('smtp_server_data', function(m)"
        " for i = 1, 50 do local s = m:get_data() .. i end kumo.note('done') end)"
    )
    before = policy.engine.handlers["smtp_server_data"].state
    policy.reception.on_data(policy.message(body=b"x" * 2_000_000), policy.connection())
    assert policy.notes == ["done"]
    assert policy.engine.handlers["smtp_server_data"].state is before


async def test_every_handler_that_ran_is_reported_with_its_time(make_policy: Make) -> None:
    seen: list[tuple[str, float]] = []
    policy = make_policy(observer_of=lambda event: lambda seconds: seen.append((event, seconds))).load(
        """
        kumo.on('quick', function() end)
        kumo.on('waits', function() kumo.sleep(0.001) end)
        kumo.on('fails', function() error('x') end)
        """
    )
    # A second passes between any two looks at the clock, of which a handler that waits has more.
    policy.engine.handlers["quick"].state.watchdog._clock = itertools.count().__next__
    policy.engine.call("quick")
    await policy.engine.call("waits")
    with pytest.raises(PolicyError):
        policy.engine.call("fails")
    assert [event for event, _ in seen] == ["quick", "waits", "fails"]
    assert seen[0][1] == seen[2][1] == 1
    assert seen[1][1] > 1


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def ran(
    watchdog: Watchdog, clock: Clock, event: str | None, seconds: float, *, is_startup: bool = False
) -> None:
    began = watchdog.begin(event, is_startup)
    clock.now += seconds
    watchdog.end(began)


def test_a_slow_handler_is_named_but_not_each_time(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    watchdog = Watchdog(Limits(), clock)
    with caplog.at_level(logging.WARNING, "kumod.policy"):
        ran(watchdog, clock, "mail", 0.049)
        ran(watchdog, clock, "mail", 0.051)
        ran(watchdog, clock, "mail", 0.060)
        ran(watchdog, clock, "rcpt", 0.070)
        ran(watchdog, clock, "init", 0.5, is_startup=True)
        ran(watchdog, clock, None, 0.5)
        clock.now += 10
        ran(watchdog, clock, "mail", 0.080)
    assert [record.getMessage() for record in caplog.records] == [
        "mail kept all sessions waiting for 51 ms",
        "rcpt kept all sessions waiting for 70 ms",
        "mail kept all sessions waiting for 80 ms",
    ]


@pytest.mark.parametrize(
    ("is_reload", "is_startup", "seconds", "is_over"),
    [
        (False, False, 1.0, False),
        (False, False, 1.01, True),
        (False, True, 30.0, False),
        (False, True, 30.1, True),
        (True, False, 1.01, True),
        (True, True, 2.0, False),
        (True, True, 2.1, True),
    ],
)
def test_the_limit_depends_on_what_runs(
    is_reload: bool, is_startup: bool, seconds: float, is_over: bool
) -> None:
    clock = Clock()
    watchdog = Watchdog(Limits(), clock, is_reload=is_reload)
    watchdog.begin("mail", is_startup)
    clock.now += seconds
    assert (watchdog.overdue() is not None) is is_over


@pytest.mark.parametrize(
    ("times", "waits"),
    [
        ([0, 0, 0, 0, 0], [0, 1, 3, 7, 15]),
        ([50, 50.5, 51], [0, 0.5, 2]),
        ([50, 51.5, 54], [0, 0, 0]),
        ([0] * 9, [0, 1, 3, 7, 15, 31, 63, 123, 183]),
        ([0, 0, 0, 66, 66], [0, 1, 3, 0, 8]),
        ([0, 0, 0, 67, 67], [0, 1, 3, 0, 1]),
    ],
)
def test_the_pauses_grow_and_start_over_after_a_calm_time(times: list[float], waits: list[float]) -> None:
    backoff = Backoff()
    assert [backoff.seconds_to_wait(now) for now in times] == waits


@pytest.mark.parametrize("work", ["", "for i = 1, 30000 do end"])
async def test_a_state_that_stays_too_large_is_not_collected_at_every_turn(
    make_policy: Make, monkeypatch: pytest.MonkeyPatch, work: str
) -> None:
    monkeypatch.setattr("kumo.policy.lua_state.monotonic", lambda: 100.0)
    policy = make_policy(limits=Limits(memory=8_000_000, handler_seconds=30)).load(
        f"""
        kept, collections = {{}}, 0
        local function count()
          setmetatable({{}}, {{ __gc = function() collections = collections + 1 count() end }})
        end
        count()
        kumo.on('fill', function() for i = 1, 12 do kept[i] = ('x'):rep(1000000) .. i end collections = 0 end)
        kumo.on('work', function() {work} end)
        kumo.on('collections', function() return collections end)
        """
    )
    state = policy.engine.handlers["fill"].state
    # As after an overrun: a replacement is due, but not yet.
    policy.engine._replacement = asyncio.get_running_loop().call_later(60, policy.engine.reload)
    policy.engine.call("fill")
    for _ in range(96):
        with contextlib.suppress(PolicyError):
            policy.engine.call("work")
    assert policy.engine.handlers["fill"].state is state
    assert policy.engine.call("collections") <= 3
    policy.engine._replacement.cancel()
