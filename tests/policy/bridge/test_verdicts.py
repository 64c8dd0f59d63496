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
    policy = load(f"kumo.on('x', function() {way} end)")
    with pytest.raises(Rejection) as caught:
        policy.engine.call("x")
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
    policy = load(f"kumo.on('x', function() kumo.disconnect(451, 'bye'{mode}) end)")
    with pytest.raises(Rejection) as caught:
        policy.engine.call("x")
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
    policy = load(f"kumo.on('x', function()\n{call}\nend)")
    with pytest.raises(PolicyError) as caught:
        policy.engine.call("x")
    assert words in str(caught.value)
    assert "init.lua:3:" in str(caught.value).partition("\n")[0]


def test_codes_and_texts_pass_unchecked_and_text_is_unicode(load: Load) -> None:
    policy = load("kumo.on('x', function() kumo.reject('999', 'zwei\\nZeilen €') end)")
    with pytest.raises(Rejection) as caught:
        policy.engine.call("x")
    assert (caught.value.code, caught.value.text) == (999, "zwei\nZeilen €")


def test_a_caught_rejection_is_userdata_whose_text_lua_can_read(load: Load) -> None:
    policy = load(
        "kumo.on('x', function() local _, e = pcall(kumo.reject, 550, 'nein €')"
        " kumo.note(type(e), tostring(e), e.code) end)"
    )
    policy.engine.call("x")
    assert policy.notes == [("userdata", "550 nein €".encode().decode("latin-1"), 550)]


def test_a_swallowed_rejection_is_none(load: Load) -> None:
    policy = load("kumo.on('x', function() pcall(kumo.reject, 550, 'x') return 7 end)")
    assert policy.engine.call("x") == 7


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("error('mine')", r"\S*init\.lua:3: mine\nstack traceback"),
        (
            "kumo.boom('here')",
            r"\S*init\.lua:3: ValueError: boom here€\nstack traceback:(.|\n)*init\.lua:3: in",
        ),
        ("kumo.boom_direct('here')", r"\S*init\.lua:3: ValueError: boom here€\nstack traceback:"),
        ("coroutine.wrap(function() error('in there') end)()", r"\S*init\.lua:3: in there"),
        ("error({ code = 550 })", r"EVENT: table: 0x"),
        ("error(nil)", "EVENT: nil\nstack traceback"),
        ("error(42)", "EVENT: 42\nstack"),
        ("coroutine.yield(1)", "EVENT: attempt to yield from outside a coroutine"),
    ],
)
@pytest.mark.parametrize("event", ["init", "smtp_server_ehlo"])
def test_any_other_error_names_its_line_or_the_event_and_has_a_traceback(
    load: Load, event: str, body: str, words: str
) -> None:
    policy = load(f"kumo.on('{event}', function()\n {body}\nend)")
    # What happens while mail comes in is told with its event, too.
    prefix = "" if event == "init" or words.startswith("EVENT") else f"{event}: "
    with pytest.raises(PolicyError, match="^" + prefix + words.replace("EVENT", event)):
        policy.engine.call(event)


@pytest.mark.parametrize("event", ["init", "pre_init"])
@pytest.mark.parametrize("function", ["reject", "disconnect"])
@pytest.mark.parametrize("call", ["kumo.{}(550, 'no\\n€')", "return kumo.{}(550, 'no\\n€')"])
def test_a_verdict_where_there_is_no_peer_is_an_error_that_names_event_and_line(
    load: Load, event: str, function: str, call: str
) -> None:
    policy = load(f"kumo.on('{event}', function() {call.format(function)} end)")
    with pytest.raises(PolicyError) as caught:
        policy.engine.call(event)
    assert str(caught.value).partition("\n")[0] == (
        f"{policy.path}:2: kumo.{function}(550, 'no €') called in {event}, where there is no peer to answer;"
        " `error` stops the start"
    )


NOT_A_TABLE = "bad argument #1 to 'kumo.make_queue_config' (table expected, got string)"
NOT_TOML = "parsing toml: Expected '=' after a key in a key/value pair"

WRONG_CALLS = [
    ("kumo.make_queue_config('x')", NOT_A_TABLE),
    ("return kumo.make_queue_config('x')", NOT_A_TABLE),
    ("kumo.make_queue_config { x = 1 }", "kumo.make_queue_config: deserialize error: unknown field `x`"),
    ("kumo.sleep(-1)", "bad argument #1 to 'kumo.sleep' (0 to 31622400 seconds expected, got -1.0)"),
    ("kumo.json_encode({ print })", "a Lua function has no JSON form"),
    ("kumo.toml_parse('x')", NOT_TOML),
    ("('x'):gsub('x', function() kumo.sleep(0) end)", "kumo.sleep waits and cannot be called here"),
    ("('x'):gsub('x', function() kumo.toml_parse('x') end)", NOT_TOML),
    ("coroutine.wrap(function() kumo.toml_parse('x') end\n\n)()", NOT_TOML),
    ("local _, e = pcall(kumo.toml_parse, 'x')\n\n error(e)", NOT_TOML),
    ("_, e = coroutine.resume(coroutine.create(function() kumo.toml_parse('x') end))\nerror(e)", NOT_TOML),
    ("coroutine.wrap(function() msg:prepend_header('a b', 'c') end\n\n)()", "invalid header name"),
    ("msg:prepend_header('a', 'b\\r\\nBcc: c')", "invalid header value: "),
    ("msg:append_header('a', 'b\\r\\nBcc: c')", "invalid header value: "),
    ("msg:set_sender('no address')", "set_sender: 'no address' is not an address"),
    ("msg:set_meta('tenant', 7) msg:queue_name()", "meta `tenant` must be a string"),
    ("msg:set_meta('a', { print })", "a Lua function has no JSON form"),
    ("msg.id()", "bad self: use msg:id(); "),
    ("return msg.id()", "bad self: use msg:id(); "),
    ("msg.get_meta('key')", "bad self: use msg:get_meta(); "),
    ("msg.get_meta(conn, 'key')", "bad self: use msg:get_meta(); "),
    ("msg.set_meta('key', 1)", "bad self: use msg:set_meta(); "),
    ("msg.get_data()", "bad self: use msg:get_data(); "),
    ("msg.prepend_header('a', 'b')", "bad self: use msg:prepend_header(); "),
    ("msg.get_all_headers()", "bad self: use msg:get_all_headers(); "),
    ("conn.get_meta('key')", "bad self: use conn_meta:get_meta(); "),
    ("conn.auth_info()", "bad self: use conn_meta:auth_info(); "),
]  # fmt: skip


@pytest.mark.parametrize(("body", "words"), WRONG_CALLS)
def test_a_wrong_call_is_told_with_the_policys_line_and_nothing_of_python(
    load: Load, body: str, words: str
) -> None:
    policy = load(f"kumo.on('smtp_server_data', function(msg, conn) {body} end)")
    with pytest.raises(PolicyError) as caught:
        policy.reception.on_data(policy.message(), policy.connection())
    text = str(caught.value)
    assert text.startswith(f"smtp_server_data: {policy.path}:2: {words}")
    assert "Error" not in text
    assert 'File "' not in text


def test_a_stale_object_is_told_with_the_policys_line(load: Load) -> None:
    policy = load("kumo.on('smtp_server_data', function(msg) kept = kept or msg\n kept:id() end)")
    policy.reception.on_data(policy.message(), policy.connection())
    with pytest.raises(PolicyError) as caught:
        policy.reception.on_data(policy.message(), policy.connection())
    assert str(caught.value).startswith(
        f"smtp_server_data: {policy.path}:3: this message belongs to an event that is over"
    )


@pytest.mark.parametrize("call", ["boom", "boom_direct"])
def test_a_fault_of_ours_keeps_its_class_and_shows_where_in_python_it_arose(load: Load, call: str) -> None:
    policy = load(f"kumo.on('x', function()\n kumo.{call}('here')\nend)")
    with pytest.raises(PolicyError) as caught:
        policy.engine.call("x")
    text = str(caught.value)
    assert text.startswith(f"x: {policy.path}:3: ValueError: boom here€\nstack traceback:\n")
    assert "\nTraceback (most recent call last):\n" in text
    assert "in _boom\n" in text


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


def test_nor_does_what_the_cause_was_raised_from_carry_frames(load: Load) -> None:
    policy = load("kumo.on('x', function() kumo.toml_parse('x') end)")
    with pytest.raises(PolicyError) as caught:
        policy.engine.call("x")
    cause = caught.value.__cause__
    assert cause is not None
    assert cause.__context__ is not None
    assert cause.__context__.__traceback__ is None
