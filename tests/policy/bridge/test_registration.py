"""``kumo.on``: who may register what, and where."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kumo.errors import PolicyError
from kumo.policy.events import MULTIPLE_EVENTS

Load = Callable[[str], Any]


def test_a_second_handler_of_a_single_event_names_the_first_ones_place(load: Load) -> None:
    with pytest.raises(
        PolicyError, match=r"init\.lua:3: init event already has a handler defined at .*init\.lua:2\n"
    ):
        load("kumo.on('init', function() end)\nkumo.on('init', function() end)")


@pytest.mark.parametrize("event", sorted(MULTIPLE_EVENTS))
def test_a_multiple_event_takes_several_handlers(load: Load, event: str) -> None:
    policy = load(f"for i = 1, 3 do kumo.on('{event}', function() kumo.note(i) end) end")
    policy.engine.call(event)
    assert policy.notes == [1, 2, 3]


def test_a_chain_ends_with_the_first_answer_and_nil_is_none(load: Load) -> None:
    policy = load(
        """
        kumo.on('requeue_message', function() kumo.note(1) end)
        kumo.on('requeue_message', function() kumo.note(2) return nil end)
        kumo.on('requeue_message', function() kumo.note(3) return false end)
        kumo.on('requeue_message', function() kumo.note(4) end)
        """
    )
    assert policy.engine.call("requeue_message") is False
    assert policy.notes == [1, 2, 3]


def test_registering_inside_a_handler_is_refused_with_both_names(load: Load) -> None:
    policy = load("kumo.on('init', function() kumo.on('late', function() end) end)")
    with pytest.raises(
        PolicyError,
        match=r"Attempting to register an event handler via `kumo\.on\('late', \.\.\.\)` from within"
        r" the event handler 'init'",
    ):
        policy.engine.call("init")


def test_registering_inside_main_is_allowed(load: Load) -> None:
    policy = load("kumo.on('main', function() kumo.on('late', function() end) kumo.note('done') end)")
    policy.engine.call("main")
    assert policy.notes == ["done"]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("kumo.on(1, print)", "bad argument #1 to 'kumo.on' (string expected, got number)"),
        ("kumo.on('init')", "bad argument #2 to 'kumo.on' (function expected, got nil)"),
        ("kumo.on('init', {})", "bad argument #2 to 'kumo.on' (function expected, got table)"),
    ],
)
def test_wrong_arguments_are_named(load: Load, call: str, words: str) -> None:
    with pytest.raises(PolicyError) as caught:
        load(call)
    assert f"init.lua:2: {words}" in str(caught.value)


def test_any_name_may_be_registered_and_called(load: Load) -> None:
    policy = load("kumo.on('my own event €', function(a, b) return a .. b end)")
    assert policy.engine.call("my own event €", "x", "y") == "xy"
    assert policy.engine.call("another") is None


def test_registrars_tell_every_line_that_led_to_the_registration(load: Load) -> None:
    policy = load(
        "local function setup()\n kumo.on('get_queue_config', function() end)\nend\nsetup()\n"
        "kumo.note(#kumo.get_event_registrars('get_queue_config'), #kumo.get_event_registrars('x'))\n"
        "local lines = kumo.get_event_registrars('get_queue_config')[1]\n"
        "kumo.note(lines[1]:match('init.lua:%d+$'), lines[2]:match('init.lua:%d+$'), #lines)"
    )
    assert policy.notes == [(1, 0), ("init.lua:3", "init.lua:5", 2)]


@pytest.mark.parametrize("is_inside", [False, True])
def test_the_traceback_begins_at_the_caller(load: Load, is_inside: bool) -> None:
    body = """
        local function inner()
          local frames = kumo.traceback(1)
          local first, second = frames[1], frames[2]
          kumo.note(first.name, first.curr_line, first.what, second.name, kumo.traceback(2)[1].name)
          return 1
        end
        local function outer() local x = inner() return x end
        """
    if is_inside:
        policy = load(f"{body} kumo.on('init', function() outer() return 1 end)")
        policy.engine.call("init")
    else:
        policy = load(f"{body} outer()")
    assert policy.notes == [("inner", 4, "Lua", "outer", "outer")]
