"""Loading a script: the module, the search path, the sandbox, and what failures say."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kumo.errors import ConfigError, PolicyError
from kumo.policy import VERSION, PolicyEngine
from kumo.policy.names import MESSAGE_METHODS, known_functions

Load = Callable[[str], Any]


def test_require_gives_the_module_with_its_version(load: Load) -> None:
    policy = load("kumo.note(kumo.version, require 'kumo' == kumo)")
    assert policy.notes == [(VERSION, True)]
    assert VERSION.startswith("2026.08.04-kumo.")


def test_submodules_can_be_required(load: Load) -> None:
    policy = load(
        "kumo.note(require 'kumo.http' == kumo.http)"
        "kumo.note(require 'kumo.api.admin.bounce' == kumo.api.admin.bounce)"
    )
    assert policy.notes == [True, True]


def test_the_policys_own_folder_comes_first(load: Load, tmp_path: Path) -> None:
    (tmp_path / "mine.lua").write_text("return { name = 'mine' }")
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "init.lua").write_text("return { name = 'pack' }")
    policy = load("kumo.note(require('mine').name, require('pack').name, package.path)")
    mine, pack, path = policy.notes[0]
    assert (mine, pack) == ("mine", "pack")
    assert path.split(";")[:6] == [
        f"{tmp_path}/?.lua",
        f"{tmp_path}/?/init.lua",
        "/opt/kumomta/share/?.lua",
        "/opt/kumomta/share/?/init.lua",
        "/opt/kumomta/etc/policy/?.lua",
        "/opt/kumomta/etc/policy/?/init.lua",
    ]


def test_a_required_module_may_register_handlers_and_call_the_host(load: Load, tmp_path: Path) -> None:
    (tmp_path / "mine.lua").write_text(
        "local kumo = require 'kumo'\nkumo.note(kumo.json_parse('{\"a\":[1]}').a[1])\n"
        "kumo.on('init', function() end)"
    )
    policy = load("require 'mine'")
    assert policy.notes == [1]
    assert "init" in policy.engine.handlers


@pytest.mark.parametrize(
    "expression",
    [
        "python",
        "package.loaded.python",
        "select(2, pcall(require, 'python')):match('not found') == nil or nil",
    ],
)
def test_python_is_out_of_reach(load: Load, expression: str) -> None:
    assert load(f"kumo.note(({expression}))").notes == [None]


@pytest.mark.parametrize(
    "statement",
    ["local x = e.__class__", "local x = e._note", "e.args = 1", "local x = e[1]", "e.__traceback__ = nil"],
)
def test_an_exception_in_lua_shows_no_private_attribute_and_takes_no_write(
    load: Load, statement: str
) -> None:
    policy = load(
        f"local _, e = pcall(kumo.boom, 'x')\nkumo.note(type(e), (pcall(function() {statement} end)))"
    )
    assert policy.notes == [("userdata", False)]


def test_the_standard_library_is_there(load: Load) -> None:
    policy = load(
        "kumo.note(type(os.getenv), type(io.popen), math.type(1), string.format('%d', 3), utf8.len('ä'))"
    )
    assert policy.notes == [("function", "function", "integer", "3", 1)]


def test_validation_sets_its_global(make_policy: Callable[..., Any]) -> None:
    policy = make_policy()
    policy.write("kumo.note(_VALIDATING_CONFIG)")
    policy.engine.load(str(policy.path))
    policy.engine.load(str(policy.path), validating=True)
    assert policy.notes == [None, True]


@pytest.mark.parametrize("name", sorted({*known_functions(), "sqlite.open", "redis.open"}))
def test_every_function_of_kumomta_can_be_read_and_is_a_lua_function(load: Load, name: str) -> None:
    path = f"kumo.{name}" if name not in {"sqlite.open", "redis.open"} else f"(require '{name[:-5]}').open"
    assert load(f"kumo.note(type({path}), pcall(string.dump, {path}))").notes[0][:2] == ("function", True)


def test_a_function_that_is_not_there_yet_raises_when_called(load: Load) -> None:
    policy = load("local f = kumo.dkim.rsa_sha256_signer\nkumo.note(pcall(f, {}))")
    assert policy.notes == [
        (False, f"{policy.path}:3: kumo.dkim.rsa_sha256_signer is not implemented in kumo {VERSION}")
    ]


def test_the_error_of_a_missing_function_names_the_script_line(load: Load) -> None:
    with pytest.raises(
        PolicyError, match=r"init\.lua:3: kumo\.inject_message is not implemented in kumo 2026"
    ):
        load("\nkumo.inject_message(print, {})")


def test_a_name_that_kumomta_has_not_is_nil(load: Load) -> None:
    assert load("kumo.note(kumo.no_such_thing, kumo.serde.nothing)").notes == [(None, None)]


@pytest.mark.parametrize(
    "method", ["dkim_sign", "import_scheduling_header", "save", "set_due", "shrink_data"]
)
def test_a_method_that_is_not_there_yet_raises_when_called(load: Load, method: str) -> None:
    policy = load(f"kumo.on('smtp_server_data', function(m) kumo.note(pcall(m.{method}, m)) end)")
    policy.reception.on_data(policy.message(), policy.connection())
    assert policy.notes == [
        (False, f"{policy.path}:2: message:{method} is not implemented in kumo {VERSION}")
    ]


def test_every_method_of_the_message_is_a_function(load: Load) -> None:
    names = ", ".join(f"'{name}'" for name in MESSAGE_METHODS)
    policy = load(
        f"kumo.on('smtp_server_data', function(m)"
        f" for _, n in ipairs {{ {names} }} do kumo.note(type(m[n])) end end)"
    )
    policy.reception.on_data(policy.message(), policy.connection())
    assert policy.notes == ["function"] * len(MESSAGE_METHODS)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("this is no lua", r"^\S*/init\.lua:2: syntax error near 'is'"),
        ("error('my own words')", r"^\S*/init\.lua:2: my own words\nstack traceback:"),
        ("error({})", r"policy: table: 0x"),
        (
            "error(setmetatable({}, { __tostring = function() return 'my table' end }))",
            "policy: my table\nstack",
        ),
        (
            "error(setmetatable({}, { __tostring = function() error('x') end }))",
            "an error object that has no text",
        ),
        ("local t = nil; t.x = 1", r"init\.lua:2: attempt to index a nil value \(local 't'\)"),
        (
            "kumo.boom('load')",
            r"^\S*/init\.lua:2: ValueError: boom load€\nstack traceback:(.|\n)*init\.lua:2: in main chunk",
        ),
        (
            "kumo.reject(550, 'no')",
            r"^\S*/init\.lua:2: kumo\.reject\(550, 'no'\) called at the top level of the script, where there",
        ),
    ],
)
def test_a_script_that_fails_says_where(load: Load, text: str, words: str) -> None:
    with pytest.raises(PolicyError, match=words):
        load(text)


def test_a_missing_script_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"cannot open .*nothing\.lua"):
        PolicyEngine().load(str(tmp_path / "nothing.lua"))


def test_compiled_lua_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.lua").write_bytes(b"\x1bLua")
    with pytest.raises(PolicyError, match="attempt to load a binary chunk"):
        PolicyEngine().load(str(tmp_path / "x.lua"))


def test_a_config_error_at_file_scope_stays_one_and_names_the_line(load: Load) -> None:
    with pytest.raises(ConfigError, match=r"init\.lua:3: kumo\.start_esmtp_listener: deserialize error"):
        load("\nkumo.start_esmtp_listener { nonsense = 1 }")


async def test_start_fires_pre_init_then_init_and_collects_declarations(load: Load) -> None:
    policy = load(
        """
        kumo.on('init', function()
          kumo.note('init', _KUMO_CURRENT_EVENT)
          kumo.start_esmtp_listener { listen = '127.0.0.1:0' }
          kumo.sleep(0)
          kumo.define_spool { name = 'data', path = '/tmp/d' }
        end)
        kumo.on('pre_init', function() kumo.note('first') return true end)
        kumo.on('pre_init', function() kumo.note('second') end)
        kumo.note(_KUMO_CURRENT_EVENT)
        """
    )
    await policy.engine.start()
    assert policy.notes == [None, "first", "second", ("init", "init")]
    assert [listener.listen for listener in policy.engine.declarations.listeners] == ["127.0.0.1:0"]
    assert [spool.name for spool in policy.engine.declarations.spools] == ["data"]


async def test_a_config_error_in_init_stays_one(load: Load) -> None:
    policy = load("kumo.on('init', function()\n kumo.start_esmtp_listener { listen = 3 }\nend)")
    with pytest.raises(ConfigError, match=r"init\.lua:3: kumo\.start_esmtp_listener: .*listen"):
        await policy.engine.start()


async def test_an_error_in_init_begins_with_its_line(load: Load) -> None:
    policy = load("kumo.on('init', function()\n error('bad day')\nend)")
    with pytest.raises(PolicyError, match=r"^\S*/init\.lua:3: bad day\nstack traceback"):
        await policy.engine.start()


async def test_start_without_handlers_does_nothing(load: Load) -> None:
    policy = load("")
    await policy.engine.start()
    assert "init" not in policy.engine.handlers


async def test_a_handler_for_an_unknown_event_is_warned_of_with_the_nearest_name(
    load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    policy = load(
        """
        for _, name in ipairs { 'smtp_server_mail_form', 'zzz', 'my_filter', 'get_listener_domain', 'init',
                                'log_disposition_mine', 'get_egress_pool' } do
          kumo.on(name, function() end)
        end
        kumo.on('pre_init', function()
          kumo.configure_local_logs { log_dir = '/tmp/x', filter_event = 'my_filter' }
        end)
        """
    )
    with caplog.at_level(logging.WARNING, "kumod.policy"):
        await policy.engine.start()
    handler_for = "a handler is registered for"
    typo = "`smtp_server_mail_form`, which is no event of KumoMTA; did you mean `smtp_server_mail_from`?"
    assert sorted(record.getMessage() for record in caplog.records) == [
        f"{handler_for} `get_egress_pool`, which this version does not fire yet",
        f"{handler_for} {typo}",
        f"{handler_for} `zzz`, which is no event of KumoMTA; only the policy's own calls can fire it",
    ]
