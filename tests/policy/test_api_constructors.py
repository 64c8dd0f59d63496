from __future__ import annotations

from typing import Any

import pytest

from kumo.config import EsmtpListener, HttpListener, LocalLogs, MaildirProtocol, QueueConfig, Spool, SpoolKind
from kumo.errors import ConfigError
from kumo.policy.api import QUEUE_CONFIG, declaration_problems
from kumo.policy.call_error import CallError
from kumo.policy.registry import VERSION, Declarations

DECLARING = [
    ("define_spool", "{ name = 'data', path = '/s' }", "spools", Spool(name="data", path="/s")),
    ("configure_local_logs", "{ log_dir = '/l' }", "local_logs", LocalLogs(log_dir="/l")),
    ("start_esmtp_listener", "{ listen = '0:25' }", "listeners", EsmtpListener(listen="0:25")),
    (
        "start_http_listener",
        "{ listen = '127.0.0.1:0' }",
        "http_listeners",
        HttpListener(listen="127.0.0.1:0"),
    ),
]


@pytest.mark.parametrize(("function", "table", "where", "expected"), DECLARING)
def test_a_constructor_only_declares(
    lua: Any, function: str, table: str, where: str, expected: object
) -> None:
    assert lua.call(function, table) is None
    assert getattr(lua.declarations, where) == [expected]
    assert lua.warnings == {}


def test_declarations_keep_their_order(lua: Any) -> None:
    for port in (3, 1, 2):
        lua.call("start_esmtp_listener", f"{{ listen = '127.0.0.1:{port}' }}")
    assert [listener.listen for listener in lua.declarations.listeners] == [
        "127.0.0.1:3",
        "127.0.0.1:1",
        "127.0.0.1:2",
    ]


@pytest.mark.parametrize(("function", "table", "where", "_expected"), DECLARING)
def test_a_constructor_outside_start_up_is_refused(
    lua: Any, function: str, table: str, where: str, _expected: object
) -> None:
    lua.current_event = "smtp_server_mail_from"
    with pytest.raises(ConfigError) as caught:
        lua.call(function, table)
    assert str(caught.value) == (
        f"init.lua:7: kumo.{function}: cannot be called while the event `smtp_server_mail_from` is handled: "
        "call it from `init`"
    )
    assert getattr(lua.declarations, where) == []


@pytest.mark.parametrize("event", [None, "pre_init", "init"])
def test_start_up_is_the_file_and_its_two_first_events(lua: Any, event: str | None) -> None:
    lua.current_event = event
    lua.call("start_esmtp_listener", "{}")
    assert lua.declarations.listeners == [EsmtpListener()]


@pytest.mark.parametrize(("function", "_table", "where", "_expected"), DECLARING)
@pytest.mark.parametrize(
    ("arguments", "got"),
    [("", "no value"), ("nil", "nil"), ("'x'", "string"), ("5", "number"), ("print", "function")],
)
def test_a_constructor_wants_a_table(
    lua: Any, function: str, _table: str, where: str, _expected: object, arguments: str, got: str
) -> None:
    with pytest.raises(CallError) as caught:
        lua.call(function, arguments)
    assert str(caught.value) == f"bad argument #1 to 'kumo.{function}' (table expected, got {got})"
    assert getattr(lua.declarations, where) == []


@pytest.mark.parametrize(("function", "_table", "where", "_expected"), DECLARING)
def test_a_constructor_that_fails_declares_nothing(
    lua: Any, function: str, _table: str, where: str, _expected: object
) -> None:
    with pytest.raises(
        ConfigError, match=f"^init.lua:7: kumo.{function}: deserialize error: unknown field `nope`"
    ):
        lua.call(function, "{ nope = 1 }")
    assert getattr(lua.declarations, where) == []


def test_the_listener_lists_no_alternatives_for_an_unknown_key(lua: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        lua.call("start_esmtp_listener", "{ hostnam = 'x' }")
    assert str(caught.value) == (
        "init.lua:7: kumo.start_esmtp_listener: deserialize error: unknown field `hostnam`, "
        'while processing {"hostnam":"x"} (did you mean `hostname`?)'
    )


def test_a_spool_name_is_taken_once(lua: Any) -> None:
    lua.call("define_spool", "{ name = 'data', path = '/s' }")
    with pytest.raises(
        ConfigError, match=r"^init.lua:7: kumo.define_spool: spool `data` has already been defined$"
    ):
        lua.call("define_spool", "{ name = 'data', path = '/t' }")
    assert [spool.path for spool in lua.declarations.spools] == ["/s"]


@pytest.mark.parametrize(
    ("name", "hint"), [("dta", "; did you mean `data`?"), ("Meta", "; did you mean `meta`?"), ("x", "")]
)
def test_a_spool_that_nothing_uses_is_warned_of(lua: Any, name: str, hint: str) -> None:
    for other in ("data", name, "meta"):
        lua.call("define_spool", f"{{ name = '{other}', path = '/{other}' }}")
    assert list(lua.warnings.values()) == [
        f"init.lua:7: spool `{name}` is not used; the names are `data` and `meta`{hint}"
    ]
    assert [spool.name for spool in lua.declarations.spools] == ["data", name, "meta"]


def test_rocksdb_is_taken_and_left_to_the_spool_to_warn_of(lua: Any) -> None:
    lua.call("define_spool", "{ name = 'data', path = '/s', kind = 'RocksDB' }")
    assert [spool.kind for spool in lua.declarations.spools] == [SpoolKind.ROCKS_DB]
    assert lua.warnings == {}


@pytest.mark.parametrize(
    ("function", "table", "keys"),
    [
        ("define_spool", "{ name = 'data', path = '/s', rocks_params = {} }", ["rocks_params"]),
        (
            "make_queue_config",
            "{ egress_pool = 'p', max_message_rate = '1/s', shrink_policy = {} }",
            ["egress_pool", "max_message_rate", "shrink_policy"],
        ),
    ],
)
def test_keys_without_effect_are_warned_of(lua: Any, function: str, table: str, keys: list[str]) -> None:
    lua.call(function, table)
    assert list(lua.warnings.values()) == [
        f"kumo.{function}: `{key}` is accepted but has no effect in kumo {VERSION}" for key in keys
    ]


def test_keys_whose_effect_nobody_could_see_are_taken_in_silence(lua: Any) -> None:
    lua.call(
        "make_queue_config",
        "{ strategy = 'SkipList', timerwheel_tick_interval = '1s', provider_name = 'p',"
        " refresh_strategy = 'Epoch' }",
    )
    assert lua.warnings == {}


def test_the_accounting_path_is_taken(lua: Any) -> None:
    lua.call("configure_accounting_db_path", "'/tmp/b\\xc3\\xbc.db'")
    assert lua.declarations.accounting_db_path == "/tmp/bü.db"  # noqa: S108 - never opened
    with pytest.raises(CallError, match="string expected, got table"):
        lua.call("configure_accounting_db_path", "{}")


def test_a_queue_config_is_an_object_that_shows_what_was_set(lua: Any) -> None:
    proxy = lua.call(
        "make_queue_config",
        "{ retry_interval = 90, max_age = '1 day', protocol = { maildir_path = '/m' }, provider_name = 'x' }",
    )
    [(kind, value, fields, made)] = lua.objects
    assert proxy is made
    assert kind == QUEUE_CONFIG == "kumo.make_queue_config"
    assert value == QueueConfig(
        retry_interval=90.0, max_age=86400.0, protocol=MaildirProtocol(maildir_path="/m"), provider_name="x"
    )
    assert fields == {
        "retry_interval": "1m 30s",
        "max_age": "1day",
        "protocol": {"maildir_path": "/m"},
        "provider_name": "x",
    }


def test_a_queue_config_is_made_during_any_event_and_from_another(lua: Any) -> None:
    lua.current_event = "get_queue_config"
    proxy = lua.call("make_queue_config", "{}")
    assert lua.functions["make_queue_config"](lua.context, proxy) is proxy
    assert len(lua.objects) == 1


def test_a_bad_queue_config_makes_no_object(lua: Any) -> None:
    with pytest.raises(ConfigError, match="invalid type: boolean `true`, expected a duration"):
        lua.call("make_queue_config", "{ max_age = true }")
    assert lua.objects == []


def spools(*pairs: tuple[str, str]) -> Declarations:
    return Declarations(spools=[Spool(name=name, path=path) for name, path in pairs])


@pytest.mark.parametrize(
    ("declarations", "problems"),
    [
        (spools(), ["No spools have been defined"]),
        (spools(("other", "/o")), ["No spools have been defined"]),
        (spools(("data", "/d")), ["No spool named `meta` has been defined"]),
        (spools(("meta", "/m")), ["No spool named `data` has been defined"]),
        (spools(("data", "/d"), ("meta", "/m")), []),
        (spools(("data", "/d"), ("meta", "/d")), ["Spools `data` and `meta` have the same path /d"]),
        (
            spools(("data", "/d"), ("meta", "/x/../d/")),
            ["Spools `data` and `meta` have the same path /x/../d/"],
        ),
    ],
)
def test_declarations_are_checked_after_init(declarations: Declarations, problems: list[str]) -> None:
    assert declaration_problems(declarations) == problems
