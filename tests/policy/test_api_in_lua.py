"""The API as a script sees it, through the real engine."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from kumo.config import EsmtpListener, MaildirProtocol
from kumo.errors import ConfigError, PolicyError
from kumo.policy import VERSION, PolicyEngine, QueueEvents

Load = Callable[[str], PolicyEngine]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load_text(text: str) -> PolicyEngine:
        script = tmp_path / "init.lua"
        script.write_text(f"local kumo = require 'kumo'\n{text}", encoding="utf-8")
        engine = PolicyEngine()
        engine.load(str(script))
        return engine

    return load_text


async def test_init_declares_and_the_file_may_too(load: Load) -> None:
    engine = load(
        "kumo.define_spool { name = 'meta', path = '/m' }\n"
        "kumo.on('init', function()\n"
        "  kumo.define_spool { name = 'data', path = '/d' }\n"
        "  kumo.start_esmtp_listener { listen = '127.0.0.1:0' }\n"
        "end)"
    )
    await engine.start()
    assert [spool.name for spool in engine.declarations.spools] == ["meta", "data"]
    assert engine.declarations.listeners == [EsmtpListener(listen="127.0.0.1:0")]


async def test_a_bad_parameter_names_the_script_line(load: Load, tmp_path: Path) -> None:
    engine = load("kumo.on('init', function()\n  kumo.start_esmtp_listener {\n    banner = 5 }\nend)")
    with pytest.raises(ConfigError) as caught:
        await engine.start()
    assert caught.value.source in {
        f"{tmp_path}/init.lua:3",
        f"{tmp_path}/init.lua:4",
        f"{tmp_path}/init.lua:5",
    }
    assert (
        "kumo.start_esmtp_listener: deserialize error: invalid type: integer `5`, expected a string"
        in str(caught.value)
    )


def test_a_bad_parameter_at_file_scope_is_a_config_error_too(load: Load, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load("kumo.define_spool { name = 'data' }")
    assert str(caught.value) == (
        f"{tmp_path}/init.lua:2: kumo.define_spool: deserialize error: missing field `path`, "
        'while processing {"name":"data"}'
    )


async def test_a_broken_template_is_refused_with_the_script_line(load: Load, tmp_path: Path) -> None:
    engine = load(
        "kumo.on('init', function()\n"
        "  kumo.configure_local_logs { log_dir = '/l', per_record = { Any = { template = '{{ id' } } }\n"
        "end)\n"
        "kumo.on('get_queue_config', function()\n"
        "  local config = kumo.make_queue_config { protocol = { maildir_path = '{{ foo' } }\n"
        "  return config\n"
        "end)"
    )
    with pytest.raises(ConfigError) as refused:
        await engine.start()
    assert str(refused.value).startswith(
        f"{tmp_path}/init.lua:3: kumo.configure_local_logs: deserialize error: "
        "`template` is no template: line 1: "
    )
    with pytest.raises(PolicyError) as failed:
        QueueEvents(engine).get_queue_config("example.org", None, None, None)
    assert str(failed.value).startswith(
        f"get_queue_config: {tmp_path}/init.lua:6: kumo.make_queue_config: deserialize error: "
        "`maildir_path` is no template: line 1: "
    )


def test_a_spool_that_nothing_uses_is_named_in_the_log_once(
    load: Load, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "kumod.policy")
    engine = load("kumo.define_spool { name = 'dat', path = '/d' }")
    engine.reload()
    [text] = caplog.messages
    assert text.startswith(f"{tmp_path}/init.lua:2: spool `dat` is not used; ")


async def test_a_policy_can_catch_the_error_and_read_its_text(
    load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "lua")
    engine = load(
        "kumo.on('init', function()\n"
        "  local ok, err = pcall(kumo.make_queue_config, { max_age = 'soon' })\n"
        "  kumo.log_info(ok, tostring(err):match 'deserialize error: (.*), while processing')\n"
        "end)"
    )
    await engine.start()
    [text] = [message.partition("init.lua:4: ")[2] for message in caplog.messages]
    assert text == 'false invalid value: string "soon", expected a duration'


async def test_a_queue_config_behaves_like_a_table(load: Load) -> None:
    engine = load(
        "kumo.on('get_queue_config', function(domain)\n"
        "  local config = kumo.make_queue_config { max_age = 90, protocol = { maildir_path = domain } }\n"
        "  assert(config.max_age == '1m 30s')\n"
        "  assert(config.protocol.maildir_path == 'example.org')\n"
        "  assert(config.retry_interval == nil)\n"
        "  local names = {}\n"
        "  for name in pairs(config) do names[#names + 1] = name end\n"
        "  table.sort(names)\n"
        "  assert(table.concat(names, ' ') == 'max_age protocol')\n"
        "  assert(kumo.make_queue_config(config) == config)\n"
        "  return config\n"
        "end)"
    )
    config = QueueEvents(engine).get_queue_config("example.org", None, None, None)
    assert not inspect.isawaitable(config)
    assert (config.max_age, config.protocol) == (90.0, MaildirProtocol(maildir_path="example.org"))


def test_serde_works_at_file_scope(load: Load, tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text('{"list": [1, 2.5, "b\u00fc"] /* c */}', encoding="utf-8")
    load(
        f"local data = kumo.json_load '{tmp_path}/data.json'\n"
        "assert(#data.list == 3)\n"
        "assert(math.type(data.list[1]) == 'integer' and math.type(data.list[2]) == 'float')\n"
        "assert(data.list[3] == 'bü' and #data.list[3] == 3)\n"
        'assert(kumo.serde.json_encode(data) == \'{"list":[1,2.5,"bü"]}\')\n'
        "assert(require('kumo.serde').toml_parse(kumo.toml_encode(data)).list[3] == 'bü')\n"
        "assert(kumo.json_parse 'null' == nil)\n"
    )


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ("kumo.json_parse '{'", "parsing json: Expecting property name"),
        ("kumo.json_load '/no/such'", "reading file /no/such: No such file or directory"),
        ("kumo.toml_parse(nil)", "bad argument #1 to 'kumo.toml_parse' (string expected, got nil)"),
        (
            "kumo.set_spoolin_threads 'x'",
            "bad argument #1 to 'kumo.set_spoolin_threads' (integer expected, got string)",
        ),
        ("local _, e = pcall(kumo.json_parse, '{')\n\n error(e)", "parsing json: Expecting property name"),
        ("kumo.sleep(1)", "kumo.sleep waits and cannot be called here"),
        ("kumo.time.sleep(1)", "kumo.time.sleep waits and cannot be called here"),
        (
            "kumo.start_esmtp_listener()",
            "bad argument #1 to 'kumo.start_esmtp_listener' (table expected, got ",
        ),
    ],
)
def test_a_failing_call_at_file_scope_says_where_and_why(
    load: Load, tmp_path: Path, call: str, text: str
) -> None:
    with pytest.raises(PolicyError) as caught:
        load(call)
    assert str(caught.value).startswith(f"{tmp_path}/init.lua:2: {text}")


async def test_sleep_suspends_only_its_handler(load: Load, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "lua")
    engine = load(
        "kumo.on('first', function() kumo.log_info 'a'; kumo.sleep(0); kumo.log_info 'c' end)\n"
        "kumo.on('second', function() kumo.log_info 'b' end)"
    )
    first = engine.call("first")
    assert inspect.isawaitable(first)
    assert engine.call("second") is None
    await first
    assert [message[-1] for message in caplog.messages] == ["a", "b", "c"]
    assert [message.partition("init.lua:")[2] for message in caplog.messages] == ["2: a", "3: b", "2: c"]


def test_version_and_parallelism_are_values(load: Load) -> None:
    load(
        f"assert(kumo.version == '{VERSION}' and kumo.version >= '2026.08.04')\n"
        "assert(kumo.available_parallelism() > 0)"
    )


def test_introspection_reaches_the_script(load: Load) -> None:
    load(
        "kumo.on('init', function() end)\n"
        "local registrars = kumo.get_event_registrars 'init'\n"
        "assert(#registrars == 1 and registrars[1][1]:match 'init.lua:2$')\n"
        "assert(#kumo.get_event_registrars 'pre_init' == 0)\n"
        "local frames = kumo.traceback(1)\n"
        "assert(frames[1].curr_line == 6, frames[1].curr_line)\n"
    )


async def test_after_a_reload_what_init_said_can_still_be_asked_for(load: Load) -> None:
    engine = load(
        "kumo.on('init', function()\n"
        "  kumo.set_memory_soft_limit(1024)\n"
        "  kumo.set_config_monitor_globs { '/no/such/*' }\n"
        "end)\n"
        "kumo.on('asked', function()\n"
        "  return kumo.get_memory_soft_limit(), #kumo.eval_config_monitor_globs()\n"
        "end)"
    )
    await engine.start()
    assert engine.reload()
    assert engine.call("asked") == (1024, 0)


def test_a_reload_declares_nothing_twice(load: Load) -> None:
    engine = load("kumo.define_spool { name = 'data', path = '/d' }")
    assert engine.reload()
    assert [spool.name for spool in engine.declarations.spools] == ["data"]


@pytest.mark.parametrize(
    "expression", ["kumo.make_egress_path", "kumo.dkim.rsa_sha256_signer", "kumo.inject_message"]
)
def test_what_is_not_there_yet_fails_when_called_not_when_read(load: Load, expression: str) -> None:
    load(f"local later = {expression}\nassert(type(later) == 'function')")
    with pytest.raises(PolicyError, match=rf"{expression} is not implemented in kumo {VERSION}"):
        load(f"{expression} {{}}")
