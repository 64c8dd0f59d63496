"""Fresh states: when the script is evaluated anew, what stays, and that the old state is freed."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from kumo.errors import PolicyError

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
    assert "the policy was not reloaded, the one in use stays: policy: " in caplog.text


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
    assert not policy.engine.has_handler("x")
