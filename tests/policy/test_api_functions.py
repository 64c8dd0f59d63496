"""Logging, waiting, knobs, the configuration monitor, and what a policy asks about itself."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from kumo.policy.api import ALL_FUNCTIONS, DEFAULT_GLOBS, matching_files
from kumo.policy.api.config_monitor import expand_braces
from kumo.policy.call_error import CallError
from kumo.policy.json_values import lua_to_json


def test_every_function_has_a_name_of_its_own() -> None:
    names = [name for function in ALL_FUNCTIONS for name in (function.name, *function.aliases)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("function", "level"),
    [
        ("log_error", logging.ERROR),
        ("log_warn", logging.WARNING),
        ("log_info", logging.INFO),
        ("log_debug", logging.DEBUG),
    ],
)
def test_log_functions_write_to_the_logger_lua(
    lua: Any, caplog: pytest.LogCaptureFixture, function: str, level: int
) -> None:
    caplog.set_level(logging.DEBUG, "lua")
    assert lua.call(function, "'hello', 'world'") is None
    assert caplog.record_tuples == [("lua", level, "init.lua:7: hello world")]


def test_a_level_that_is_off_costs_no_formatting(lua: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "lua")
    lua.call("log_info", "setmetatable({}, { __tostring = function() error('formatted') end })")
    assert caplog.records == []


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("", ""),
        ("nil", "nil"),
        ("'a', nil, 'b', nil", "a nil b nil"),
        ("1, 1.0, -2.5, 1e100, 1/0, true, false", "1 1.0 -2.5 1e+100 inf true false"),
        ("-3.0, 0.1, 2^53", "-3.0 0.1 9.007199254741e+15"),
        ("setmetatable({}, { __tostring = function() return 'b\\xc3\\xbc' end })", "bü"),
        ("'b\\xc3\\xbc'", "bü"),
        ("'a\\r\\n421 forged\\0\\x1b[31m'", "a\\r\\n421 forged\\x00\\x1b[31m"),
        ("'tab\\tstays'", "tab\tstays"),
        ("'\\xff\\xc2\\x85'", "\\xff\\x85"),
        ("'100%s %d'", "100%s %d"),
    ],
)
def test_log_arguments_are_printed_as_lua_prints_them(
    lua: Any, caplog: pytest.LogCaptureFixture, arguments: str, text: str
) -> None:
    caplog.set_level(logging.INFO, "lua")
    lua.call("log_info", arguments)
    assert caplog.messages == [f"init.lua:7: {text}"]


def test_tables_and_functions_are_logged_by_kind_and_address(
    lua: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "lua")
    lua.call("log_info", "{}, function() end")
    [message] = caplog.messages
    table, function = message.removeprefix("init.lua:7: ").split(" function: ")
    assert table.startswith("table: 0x")
    assert function.startswith("0x")


def test_an_exception_of_ours_is_logged_with_its_text(lua: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "lua")
    lua.runtime.globals().problem = ValueError("b\u00fc \n")
    lua.call("log_info", "problem")
    assert caplog.messages == ["init.lua:7: bü \\n"]


def test_where_the_caller_is_unknown_the_text_stands_alone(
    lua: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "lua")
    monkeypatch.setattr(lua, "source", lambda: None)
    lua.call("log_info", "'x'")
    assert caplog.messages == ["x"]


@pytest.mark.parametrize("function", ["sleep", "time.sleep"])
@pytest.mark.parametrize("seconds", ["0", "0.001"])
async def test_sleep_gives_something_to_wait_for(lua: Any, function: str, seconds: str) -> None:
    assert await asyncio.wait_for(lua.call(function, seconds), 30) is None


@pytest.mark.parametrize("function", ["sleep", "time.sleep"])
@pytest.mark.parametrize("seconds", ["-1", "-0.001", "1/0", "0/0", "1e18"])
def test_sleep_is_bounded(lua: Any, function: str, seconds: str) -> None:
    with pytest.raises(
        CallError, match=rf"^bad argument #1 to 'kumo.{function}' \(0 to 31622400 seconds expected, got "
    ):
        lua.call(function, seconds)


@pytest.mark.parametrize(("argument", "got"), [("", "no value"), ("'1'", "string"), ("true", "boolean")])
def test_sleep_wants_a_number(lua: Any, argument: str, got: str) -> None:
    with pytest.raises(CallError) as caught:
        lua.call("sleep", argument)
    assert str(caught.value) == f"bad argument #1 to 'kumo.sleep' (number expected, got {got})"


COUNTS = [
    "set_httpinject_threads",
    "set_logging_threads",
    "set_qmaint_threads",
    "set_ready_qmaint_threads",
    "set_readyq_threads",
    "set_smtpsrv_threads",
    "set_spoolin_threads",
    "dkim.set_signing_threads",
    "set_max_lua_context_use_count",
    "set_max_spare_lua_contexts",
    "set_memory_hard_limit",
    "set_memory_soft_limit",
    "set_memory_low_thresh",
]


@pytest.mark.parametrize("function", COUNTS)
def test_knobs_remember_a_count(lua: Any, function: str) -> None:
    lua.call(function, "4, 'surplus is ignored'")
    assert lua.declarations.knobs == {function: 4}


@pytest.mark.parametrize("function", COUNTS)
@pytest.mark.parametrize(
    ("argument", "problem"),
    [
        ("", "integer expected, got no value"),
        ("1.5", "integer expected, got number"),
        ("'4'", "integer expected, got string"),
        ("-1", "-1 is less than zero"),
    ],
)
def test_knobs_check_their_count(lua: Any, function: str, argument: str, problem: str) -> None:
    with pytest.raises(CallError) as caught:
        lua.call(function, argument)
    assert str(caught.value) == f"bad argument #1 to 'kumo.{function}' ({problem})"
    assert lua.declarations.knobs == {}


@pytest.mark.parametrize(
    ("function", "argument", "value"),
    [
        ("set_max_lua_context_age", "300", 300.0),
        ("set_lua_gc_on_put", "0.5", 0.5),
        ("enable_memory_callstack_tracking", "true", True),
        ("suspend_delivery_when_spool_unhealthy", "false", False),
        ("set_diagnostic_log_filter", "'kumod=debug'", "kumod=debug"),
        ("set_timeq_spawn_reinsertion", "true", True),
        ("set_httpinject_recipient_rate_limit", "'1,000/s'", "1,000/s"),
        ("set_httpinject_recipient_rate_limit", "nil", None),
        ("set_httpinject_recipient_rate_limit", "", None),
    ],
)
def test_other_knobs_remember_their_value(lua: Any, function: str, argument: str, value: object) -> None:
    lua.call(function, argument)
    assert lua.declarations.knobs == {function: value}


@pytest.mark.parametrize(
    ("function", "argument"),
    [
        ("enable_memory_callstack_tracking", "1"),
        ("suspend_delivery_when_spool_unhealthy", "nil"),
        ("set_diagnostic_log_filter", "5"),
        ("set_max_lua_context_age", "'5'"),
        ("set_httpinject_recipient_rate_limit", "'fast'"),
        ("set_httpinject_recipient_rate_limit", "5"),
        ("set_lruttl_cache_capacity", "'name'"),
        ("set_lruttl_cache_capacity", "5, 5"),
        ("set_lruttl_cache_capacity", "'dns_resolver_mx', -1"),
    ],
)
def test_other_knobs_check_their_value(lua: Any, function: str, argument: str) -> None:
    with pytest.raises(CallError):
        lua.call(function, argument)
    assert lua.declarations.knobs == {}


@pytest.mark.parametrize("limit", ["memory_hard_limit", "memory_soft_limit", "memory_low_thresh"])
def test_memory_limits_read_back(lua: Any, limit: str) -> None:
    assert lua.call(f"get_{limit}") > 1024
    lua.call(f"set_{limit}", "1024")
    assert lua.call(f"get_{limit}") == 1024


def test_caches_and_thread_pools_are_remembered_by_name(lua: Any) -> None:
    lua.call("set_lruttl_cache_capacity", "'dns_resolver_mx', 10")
    lua.call("set_lruttl_cache_capacity", "'dns_resolver_ip', 20")
    lua.call("spawn_thread_pool", "{ name = 'pool', num_threads = 3 }")
    assert lua.declarations.knobs == {
        "set_lruttl_cache_capacity": {"dns_resolver_mx": 10, "dns_resolver_ip": 20},
        "spawn_thread_pool": {"pool": 3},
    }


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("dns_resolvr_mx", "there is no cache `dns_resolvr_mx`; did you mean `dns_resolver_mx`?"),
        ("mine", "there is no cache `mine`"),
        ("", "there is no cache ``"),
    ],
)
def test_only_a_cache_of_kumomta_has_a_capacity(lua: Any, name: str, problem: str) -> None:
    with pytest.raises(CallError) as caught:
        lua.call("set_lruttl_cache_capacity", f"'{name}', 5")
    assert str(caught.value) == f"bad argument #1 to 'kumo.set_lruttl_cache_capacity' ({problem})"
    assert lua.declarations.knobs == {}


def test_parallelism_is_what_this_process_may_use(lua: Any) -> None:
    assert lua.call("available_parallelism") == len(os.sched_getaffinity(0))


def test_traceback_and_registrars_are_lua_tables(lua: Any) -> None:
    assert lua_to_json(lua.call("traceback", "3")) == [{"event": "init", "curr_line": 3}]
    assert lua_to_json(lua.call("get_event_registrars", "'init'")) == [["init:1"]]
    with pytest.raises(CallError, match="integer expected, got no value"):
        lua.call("traceback")


@pytest.mark.parametrize(
    ("pattern", "alternatives"),
    [
        ("/a/*.lua", ["/a/*.lua"]),
        ("/a/*.{lua,json}", ["/a/*.json", "/a/*.lua"]),
        ("{a,b}{c,d}", ["ac", "ad", "bc", "bd"]),
        ("x{a,b{c,d}}", ["xa", "xbc", "xbd"]),
        ("{,a}", ["", "a"]),
        ("", [""]),
    ],
)
def test_braces_unfold(pattern: str, alternatives: list[str]) -> None:
    assert sorted(expand_braces(pattern)) == alternatives


@pytest.mark.parametrize("pattern", ["{a", "a}", "{a,{b}", "{a}}"])
def test_braces_must_match(lua: Any, pattern: str) -> None:
    with pytest.raises(ValueError, match=r"^unmatched `[{}]` in glob `"):
        lua.call("set_config_monitor_globs", f"{{ '{pattern}' }}")
    assert lua.declarations.config_monitor_globs is None


def test_braces_cannot_unfold_without_end(lua: Any) -> None:
    with pytest.raises(ValueError, match="more than 1024 alternatives"):
        lua.call("set_config_monitor_globs", f"{{ '{'{a,b}' * 40}' }}")


def test_globs_are_remembered_and_evaluated(lua: Any, tmp_path: Path) -> None:
    for name in ("b.lua", "a.toml", "deep/er/c.lua", "d.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    lua.call(
        "set_config_monitor_globs", f"{{ '{tmp_path}/**/*.{{lua,toml}}', '{tmp_path}/b.*', '/no/such/*' }}"
    )
    assert lua.declarations.config_monitor_globs is not None
    assert lua_to_json(lua.call("eval_config_monitor_globs")) == [
        f"{tmp_path}/a.toml",
        f"{tmp_path}/b.lua",
        f"{tmp_path}/deep/er/c.lua",
    ]


def test_an_empty_list_of_globs_watches_nothing(lua: Any) -> None:
    lua.call("set_config_monitor_globs", "{}")
    assert lua.declarations.config_monitor_globs == ()
    assert lua_to_json(lua.call("eval_config_monitor_globs")) == {}


def test_without_a_word_the_usual_folder_is_watched(lua: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def record(globs: object) -> list[str]:
        asked.append(globs)
        return []

    monkeypatch.setattr("kumo.policy.api.config_monitor.matching_files", record)
    lua.call("eval_config_monitor_globs")
    assert asked == [DEFAULT_GLOBS]
    assert expand_braces(DEFAULT_GLOBS[0]).pop().startswith("/opt/kumomta/etc/**/*.")
    assert matching_files([]) == []


@pytest.mark.parametrize("argument", ["{ 5 }", "{ a = 'b' }", "'x'", "{ { 'x' } }"])
def test_globs_are_an_array_of_strings(lua: Any, argument: str) -> None:
    with pytest.raises(CallError, match=r"bad argument #1 to 'kumo.set_config_monitor_globs'"):
        lua.call("set_config_monitor_globs", argument)


def test_bumping_the_epoch_reaches_the_engine(lua: Any) -> None:
    lua.call("bump_config_epoch")
    assert lua.epochs == 1
