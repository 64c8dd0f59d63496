"""Fresh states: when the script is evaluated anew, what stays, and that the old state is freed."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import re
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from kumo.errors import PolicyError
from kumo.policy import Limits

Load = Callable[[str], Any]


def test_a_reload_takes_the_new_script_and_fires_no_init(load: Load) -> None:
    policy = load(
        "kumo.on('x', function() return 'old' end) kumo.on('init', function() kumo.note('init') end)"
    )
    policy.write(
        "kumo.on('x', function() return 'new' end) kumo.on('init', function() kumo.note('init') end)"
    )
    assert policy.engine.call("x") == "old"
    assert policy.engine.reload()
    assert policy.engine.call("x") == "new"
    assert policy.notes == []


def test_handlers_come_and_go_with_the_script(load: Load) -> None:
    policy = load("kumo.on('smtp_server_rewrite_response', function() end)")
    assert policy.session.rewrites_replies
    policy.write("")
    policy.engine.reload()
    assert not policy.session.rewrites_replies


def test_a_reload_that_fails_keeps_the_old_state_and_is_logged(
    load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    policy = load("kumo.on('x', function() return 'old' end)")
    policy.write("this is no lua")
    with caplog.at_level(logging.ERROR, "kumod.policy"):
        assert not policy.engine.reload()
    assert policy.engine.call("x") == "old"
    [text] = caplog.messages
    assert re.match(r"the policy was not reloaded, the one in use stays: \S*/init\.lua:2: syntax error", text)


def test_a_reload_does_not_declare_again(load: Load) -> None:
    policy = load("kumo.start_esmtp_listener { listen = '127.0.0.1:0' }")
    policy.engine.reload()
    assert len(policy.engine.declarations.listeners) == 1


def test_globals_do_not_survive_a_reload(load: Load) -> None:
    policy = load("n = 0 kumo.on('x', function() n = n + 1 return n end)")
    assert [policy.engine.call("x"), policy.engine.call("x")] == [1, 2]
    policy.engine.reload()
    assert policy.engine.call("x") == 1


async def test_a_handler_in_flight_finishes_in_the_old_state(load: Load) -> None:
    policy = load("name = 'old' kumo.on('x', function() kumo.gate('g') kumo.several({}) return name end)")
    task = asyncio.ensure_future(policy.engine.call("x"))
    await asyncio.sleep(0)
    policy.write("name = 'new' kumo.on('x', function() return name end)")
    policy.engine.reload()
    assert policy.engine.call("x") == "new"
    policy.open_gate("g")
    assert await task == "old"


async def test_a_queue_config_of_an_old_state_is_still_understood(load: Load) -> None:
    policy = load(
        "kumo.on('get_queue_config', function()"
        " kumo.gate('g') return kumo.make_queue_config { max_age = 77 } end)"
    )
    task = asyncio.ensure_future(policy.queues.get_queue_config("d", None, None, None))
    await asyncio.sleep(0)
    policy.engine.reload()
    policy.open_gate("g")
    assert (await task).max_age == 77


async def test_bumping_the_epoch_in_a_handler_reloads_after_it(load: Load) -> None:
    policy = load(
        "n = 0 kumo.on('x', function()"
        " n = n + 1 kumo.bump_config_epoch() kumo.bump_config_epoch() return n end)"
    )
    before = policy.engine.handlers["x"].state
    assert [policy.engine.call("x"), policy.engine.call("x")] == [1, 2]
    assert policy.engine.handlers["x"].state is before
    await asyncio.sleep(0)
    assert policy.engine.handlers["x"].state is not before
    assert policy.engine.call("x") == 1


def test_bumping_the_epoch_without_a_loop_reloads_at_once(load: Load) -> None:
    policy = load("n = 0 kumo.on('x', function() n = n + 1 kumo.bump_config_epoch() return n end)")
    assert [policy.engine.call("x"), policy.engine.call("x")] == [1, 1]


def test_bumping_the_epoch_at_the_top_level_does_not_go_round_in_circles(load: Load) -> None:
    policy = load("kumo.note('evaluated') kumo.bump_config_epoch()")
    assert policy.notes == ["evaluated"]
    policy.engine.reload()
    assert policy.notes == ["evaluated"] * 2


def test_an_engine_without_a_script_has_nothing_to_reload(make_policy: Callable[..., Any]) -> None:
    engine = make_policy().engine
    engine.bump_config_epoch()
    with pytest.raises(RuntimeError, match="no policy was loaded"):
        engine.reload()


class Tracked(Exception):  # noqa: N818 - stands for anything that Lua holds
    pass


async def test_replaced_states_are_freed(load: Load) -> None:
    policy = load(
        """
        local kept
        kumo.on('x', function()
          kept = select(2, pcall(kumo.gate, 'g'))
          kumo.json_parse('[1]')
          return type(kept)
        end)
        """
    )
    trackers = []
    for _ in range(3):
        task = asyncio.ensure_future(policy.engine.call("x"))
        await asyncio.sleep(0)
        error = Tracked()
        trackers.append(weakref.ref(error))
        policy.gates["g"].set_exception(error)
        del error
        assert await task == "userdata"
        policy.gates.clear()
        del task
        policy.engine.reload()
    gc.collect()
    assert [tracker() for tracker in trackers] == [None, None, None]


async def test_a_busy_state_is_freed_once_its_handlers_have_ended(load: Load) -> None:
    policy = load("kumo.on('x', function() kumo.gate('g') end)")
    task = asyncio.ensure_future(policy.engine.call("x"))
    await asyncio.sleep(0)
    old = policy.engine.handlers["x"].state
    policy.engine.reload()
    assert old.bridge
    policy.open_gate("g")
    await task
    policy.engine.reload()
    with pytest.raises(RuntimeError, match="this Lua state was closed"):
        _ = old.bridge
    with pytest.raises(RuntimeError, match="this Lua state was closed"):
        old.to_lua([])


def test_a_failed_first_load_leaves_no_handlers(make_policy: Callable[..., Any]) -> None:
    policy = make_policy()
    with pytest.raises(PolicyError):
        policy.load("kumo.on('x', function() end) error('late')")
    assert "x" not in policy.engine.handlers


def test_a_reload_gets_less_time_than_the_start(
    make_policy: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    slow = "local ends = os.clock() + 0.1 while os.clock() < ends do end"
    policy = make_policy(limits=Limits(load_seconds=60, reload_seconds=0.02)).load(
        f"kumo.on('x', function() return 'old' end) {slow}"
    )
    with caplog.at_level(logging.ERROR, "kumod.policy"):
        assert not policy.engine.reload()
    assert "the script was stopped: it ran for more than 0.02 s" in caplog.text
    assert policy.engine.call("x") == "old"


SMALL = Limits(memory=8_000_000, handler_seconds=30)
GROWS = "kept = {} kumo.on('x', function() for i = 1, 12 do kept[i] = ('x'):rep(1000000) .. i end end)"


def overrun(policy: Any) -> None:
    """Fill the state in use beyond what it may keep."""
    with contextlib.suppress(PolicyError):
        policy.engine.call("x")
    policy.engine.handlers["x"].state.tidy("x")


async def test_a_state_that_overruns_again_is_replaced_later_and_that_is_said_once(
    make_policy: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    policy = make_policy(limits=SMALL).load(GROWS)
    states = [policy.engine.handlers["x"].state]
    with caplog.at_level(logging.ERROR, "kumod.policy"):
        for _ in range(4):
            overrun(policy)
            await asyncio.sleep(0)
            states.append(policy.engine.handlers["x"].state)
    assert states[0] is not states[1]
    assert states[1] is states[2] is states[3] is states[4]
    assert caplog.messages == [
        "x used up the memory of the Lua state; it is replaced",
        "x used up the memory of the Lua state, again; it is replaced in 1 s",
    ]


async def test_a_reload_that_is_asked_for_does_not_wait_for_the_later_replacement(
    make_policy: Callable[..., Any],
) -> None:
    policy = make_policy(limits=SMALL).load(GROWS)
    for _ in range(2):
        overrun(policy)
        await asyncio.sleep(0)
    over = policy.engine.handlers["x"].state
    policy.engine.bump_config_epoch()
    await asyncio.sleep(0)
    fresh = policy.engine.handlers["x"].state
    assert fresh is not over
    assert policy.engine._replacement is None


async def test_a_replaced_state_that_is_still_too_large_has_nothing_replaced(
    make_policy: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    policy = make_policy(limits=SMALL).load(GROWS)
    old = policy.engine.handlers["x"].state
    overrun(policy)
    await asyncio.sleep(0)
    fresh = policy.engine.handlers["x"].state
    caplog.clear()
    with caplog.at_level(logging.ERROR, "kumod.policy"):
        old.surroundings.on_memory_overrun(old, "x")
        await asyncio.sleep(0)
    assert policy.engine.handlers["x"].state is fresh
    assert caplog.messages == []


@pytest.mark.parametrize("is_reload", [False, True])
def test_a_script_that_alone_keeps_too_much_is_refused(
    make_policy: Callable[..., Any], caplog: pytest.LogCaptureFixture, is_reload: bool
) -> None:
    policy = make_policy(limits=SMALL)
    policy.write("kept = {} for i = 1, 12 do kept[i] = ('x'):rep(1000000) .. i end")
    if not is_reload:
        with pytest.raises(PolicyError, match="not enough memory: the Lua state may use 8000000 octets"):
            policy.engine.load(str(policy.path))
        return
    policy.load("")
    policy.write("kept = {} for i = 1, 12 do kept[i] = ('x'):rep(1000000) .. i end")
    with caplog.at_level(logging.ERROR, "kumod.policy"):
        assert not policy.engine.reload()
    [text] = caplog.messages
    assert "not reloaded" in text
    assert "the Lua state may use 8000000 octets" in text
