"""``kumo.reject`` and ``kumo.disconnect``, and how errors leave a handler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kumo.errors import DisconnectMode, PolicyError, Rejection

Load = Callable[[str], Any]

REJECT = "kumo.reject(550, '5.7.1 no')"

WAYS_OUT = {
    "straight": REJECT,
    "pcall and error": f"local ok, e = pcall(function() {REJECT} end) error(e)",
    "pcall and error with level 0": f"local ok, e = pcall(function() {REJECT} end) error(e, 0)",
    "tostring on the way": f"local ok, e = pcall(function() {REJECT} end) local t = tostring(e) error(e)",
    "twice pcall": f"local function f() local _, e = pcall(function() {REJECT} end) error(e) end"
    " local _, e = pcall(f) error(e)",
    "xpcall": f"local ok, e = xpcall(function() {REJECT} end, function(e) return e end) error(e)",
    "wrap": f"coroutine.wrap(function() {REJECT} end)()",
    "wrap in wrap": f"coroutine.wrap(function() coroutine.wrap(function() {REJECT} end)() end)()",
    "resume": f"local co = coroutine.create(function() {REJECT} end)"
    " local ok, e = coroutine.resume(co) error(e)",
    "gsub callback": f"('x'):gsub('x', function() {REJECT} end)",
    "sort comparator": f"table.sort({{2, 1}}, function() {REJECT} end)",
    "metamethod": f"local t = setmetatable({{}}, {{ __index = function() {REJECT} end }}) local x = t.y",
    "close variable": f"local x <close> = setmetatable({{}}, {{ __close = function() {REJECT} end }})",
    "after a call that waited": f"kumo.several(1) {REJECT}",
    "function passed on": "pcall(error) kumo.reject(550, '5.7.1 no')",
}


@pytest.mark.parametrize("way", WAYS_OUT.values(), ids=WAYS_OUT.keys())
def test_a_rejection_keeps_code_and_text_whatever_way_it_leaves(load: Load, way: str) -> None:
    policy = load(f"kumo.on('init', function() {way} end)")
    with pytest.raises(Rejection) as caught:
        policy.engine.call("init")
    assert (caught.value.code, caught.value.text, caught.value.mode) == (
        550,
        "5.7.1 no",
        DisconnectMode.IF_421,
    )


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("", DisconnectMode.FORCE_DISCONNECT),
        (", nil", DisconnectMode.FORCE_DISCONNECT),
        (", 'ForceDisconnect'", DisconnectMode.FORCE_DISCONNECT),
        (", 'FollowWith421'", DisconnectMode.FOLLOW_WITH_421),
        (", 'If421'", DisconnectMode.IF_421),
    ],
)
def test_disconnect_has_a_mode(load: Load, mode: str, expected: DisconnectMode) -> None:
    policy = load(f"kumo.on('init', function() kumo.disconnect(451, 'bye'{mode}) end)")
    with pytest.raises(Rejection) as caught:
        policy.engine.call("init")
    assert (caught.value.code, caught.value.text, caught.value.mode) == (451, "bye", expected)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("kumo.reject()", "bad argument #1 to 'kumo.reject' (integer expected, got nil)"),
        ("kumo.reject('x', 'y')", "bad argument #1 to 'kumo.reject' (integer expected, got string)"),
        ("kumo.reject(550.5, 'y')", "bad argument #1 to 'kumo.reject' (integer expected, got number)"),
        ("kumo.reject(550)", "bad argument #2 to 'kumo.reject' (string expected, got nil)"),
        ("kumo.disconnect(550, {})", "bad argument #2 to 'kumo.disconnect' (string expected, got table)"),
        (
            "kumo.disconnect(421, 'x', 'Maybe')",
            "expected one of `ForceDisconnect`, `FollowWith421`, `If421`, got `Maybe`",
        ),
    ],
)
def test_wrong_arguments_are_errors_that_name_the_line(load: Load, call: str, words: str) -> None:
    policy = load(f"kumo.on('init', function()\n{call}\nend)")
    with pytest.raises(PolicyError) as caught:
        policy.engine.call("init")
    assert words in str(caught.value)
    assert "init.lua:3:" in str(caught.value).partition("\n")[0]


def test_codes_and_texts_pass_unchecked_and_text_is_unicode(load: Load) -> None:
    policy = load("kumo.on('init', function() kumo.reject('999', 'zwei\\nZeilen €') end)")
    with pytest.raises(Rejection) as caught:
        policy.engine.call("init")
    assert (caught.value.code, caught.value.text) == (999, "zwei\nZeilen €")


def test_a_caught_rejection_is_userdata_whose_text_lua_can_read(load: Load) -> None:
    policy = load("local _, e = pcall(kumo.reject, 550, 'nein €')\nkumo.note(type(e), tostring(e), e.code)")
    assert policy.notes == [("userdata", "550 nein €".encode().decode("latin-1"), 550)]


def test_a_swallowed_rejection_is_none(load: Load) -> None:
    policy = load("kumo.on('init', function() pcall(kumo.reject, 550, 'x') return 7 end)")
    assert policy.engine.call("init") == 7


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("error('mine')", r"init: .*init\.lua:3: mine\nstack traceback"),
        ("error({ code = 550 })", r"init: table: 0x"),
        ("error(nil)", "init: nil\nstack traceback"),
        ("error(42)", "init: 42\nstack"),
        ("kumo.boom('here')", r"init: ValueError: boom here€\nstack traceback:(.|\n)*init\.lua:3: in"),
        ("kumo.boom_direct('here')", r"init: ValueError: boom here€\nstack traceback:(.|\n)*init\.lua:3: in"),
        ("coroutine.yield(1)", "init: attempt to yield from outside a coroutine"),
        ("coroutine.wrap(function() error('in there') end)()", r"init: .*init\.lua:3: in there"),
    ],
)
def test_any_other_error_names_the_event_and_has_a_traceback(load: Load, body: str, words: str) -> None:
    policy = load(f"kumo.on('init', function()\n {body}\nend)")
    with pytest.raises(PolicyError, match=words):
        policy.engine.call("init")


def test_a_failing_handler_does_not_harm_the_next_call(load: Load) -> None:
    policy = load(
        "local n = 0\nkumo.on('x', function() n = n + 1 if n % 2 == 1 then error('odd') end return n end)"
    )
    results = []
    for _ in range(6):
        try:
            results.append(policy.engine.call("x"))
        except PolicyError:
            results.append(None)
    assert results == [None, 2, None, 4, None, 6]


def test_a_traceback_of_an_earlier_error_is_not_shown_again(load: Load) -> None:
    policy = load(
        """
        kumo.on('first', function() pcall(kumo.boom, 'a') kumo.boom('first') end)
        kumo.on('second', function() error('plain') end)
        """
    )
    with pytest.raises(PolicyError):
        policy.engine.call("first")
    with pytest.raises(PolicyError) as caught:
        policy.engine.call("second")
    assert str(caught.value).count("stack traceback") == 1


def test_a_failure_carries_its_cause_without_the_frames_that_saw_lua_values(load: Load) -> None:
    policy = load("kumo.on('x', function() kumo.boom({}) end)")
    with pytest.raises(PolicyError) as caught:
        policy.engine.call("x")
    assert isinstance(caught.value.__cause__, ValueError)
    assert caught.value.__cause__.__traceback__ is None
