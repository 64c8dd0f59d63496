"""kumo.secrets, kumo.aaa and kumo.validation_failed as a policy calls them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kumo.config import AcctLog, KeyData, KeyEvent, KeyFile, KeySource, KeyVault
from kumo.errors import ConfigError, KeySourceError, PolicyError

Load = Callable[[str], Any]
MakePolicy = Callable[..., Any]


async def asked(policy: Any) -> Any:
    return await policy.engine.call("ask")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("'/etc/key'", KeyFile("/etc/key")),
        ("{ key_data = 'a\\xff\\0b' }", KeyData(b"a\xff\x00b")),
        (
            "{ vault_mount = 'secret', vault_path = 'p', vault_token = 't' }",
            KeyVault(vault_mount="secret", vault_path="p", vault_token="t"),  # noqa: S106 - no secret
        ),
        (
            "{ event_name = 'my_key', event_args = { 'a', 1 } }",
            KeyEvent(event_name="my_key", event_args=("a", 1)),
        ),
    ],
)
async def test_a_key_comes_as_octets(make_policy: MakePolicy, source: str, expected: KeySource) -> None:
    asked_for: list[KeySource] = []

    async def load_key(source: KeySource) -> bytes:
        asked_for.append(source)
        return b"\x00\xffkey"

    policy = make_policy(load_key=load_key).load(
        f"kumo.on('ask', function() return kumo.secrets.load({source}) end)"
    )
    assert await asked(policy) == "\x00\xffkey"
    assert asked_for == [expected]


def test_an_event_gets_tables_as_tables(load: Load) -> None:
    policy = load("kumo.on('my_key', function(a, b, c) return a.x[2] .. #a.x .. b .. tostring(c) end)")
    assert policy.engine.call("my_key", {"x": ["é", "ü"]}, "ö", None) == "Ã¼2Ã¶nil"


async def test_a_key_that_cannot_be_had_is_an_error_that_policy_may_catch(make_policy: MakePolicy) -> None:
    async def load_key(_source: KeySource) -> bytes:
        raise KeySourceError("no such key")

    policy = make_policy(load_key=load_key).load(
        "kumo.on('ask', function() return tostring(select(2, pcall(kumo.secrets.load, 'x'))) end)"
    )
    assert "no such key" in await asked(policy)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{ vault_token = 's3cret' }", "data did not match any variant of untagged enum KeySource"),
        ("7", "data did not match any variant of untagged enum KeySource"),
        ("nil", r"bad argument #1 to 'kumo\.secrets\.load' \(string or table expected, got nil\)"),
    ],
)
def test_odd_sources_are_refused_without_being_shown(load: Load, source: str, text: str) -> None:
    policy = load(f"kumo.on('ask', function() return kumo.secrets.load({source}) end)")
    with pytest.raises((PolicyError, ConfigError), match=text) as caught:
        policy.engine.call("ask")
    assert "s3cret" not in str(caught.value)


def test_at_file_scope_a_key_cannot_be_waited_for(make_policy: MakePolicy) -> None:
    async def load_key(_source: KeySource) -> bytes:
        raise AssertionError("not called")

    policy = make_policy(load_key=load_key)
    with pytest.raises(PolicyError, match=r"init\.lua:2: kumo\.secrets\.load waits and cannot be called"):
        policy.load("kumo.secrets.load 'x'")


async def test_the_accounting_log_is_declared(load: Load) -> None:
    policy = load(
        """
        kumo.on('init', function()
          kumo.aaa.configure_acct_log { log_dir = '/var/log/acct', max_segment_duration = '1 min' }
        end)
        """
    )
    assert policy.engine.declarations.acct_log is None
    await policy.engine.start()
    assert policy.engine.declarations.acct_log == AcctLog(log_dir="/var/log/acct", max_segment_duration=60.0)


async def test_a_bad_accounting_log_is_refused(load: Load) -> None:
    policy = load("kumo.on('init', function() kumo.aaa.configure_acct_log { logdir = '/x' } end)")
    with pytest.raises(ConfigError, match=r"kumo\.aaa\.configure_acct_log: .*did you mean `log_dir`"):
        await policy.engine.start()


def test_validation_failed_does_nothing_while_the_policy_serves(load: Load) -> None:
    assert load("kumo.validation_failed()").engine.findings is None


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("kumo.validation_failed()", ("init.lua", 2, "the policy says that it is not valid")),
        ("kumo.validation_failed('odd', 'a.toml')", ("a.toml", None, "odd")),
    ],
)
def test_validation_failed_is_noted(load: Load, call: str, expected: tuple[Any, ...]) -> None:
    policy = load("")
    policy.write(call)
    policy.engine.load(str(policy.path), validating=True)
    (found,) = policy.engine.findings.sorted()
    assert (found.source.rpartition("/")[2], found.line, found.message) == expected
