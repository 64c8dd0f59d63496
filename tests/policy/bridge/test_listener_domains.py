"""policy-extras.listener_domains: which entry a lookup finds, and what is said about bad files."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kumo.config import ListenerDomain, ReportHandling
from kumo.errors import PolicyError
from kumo.maybe_awaitable import is_awaitable
from kumo.message import Connection

Load = Callable[[str], Any]

TOML = """
["example.com"]
relay_to = true

["*.example.com"]
relay_from = ["10.0.0.0/24"]

["Upper.Example"]
log_arf = "LogThenDrop"

["auth.example"]
relay_from = ["10.0.0.0/24"]
relay_from_authz = ["john", "joan"]

["*"]
log_oob = true

[listener."127.0.0.1:25"."example.com"]
log_arf = true

[listener."127.0.0.1:25"."only.example"]
relay_to = true

[listener."127.0.0.2:25"."*"]
log_oob = "LogThenDrop"

[listener."*"."every.example"]
relay_to = true
"""

SETUP = """
local listener_domains = require 'policy-extras.listener_domains'
kumo.on('get_listener_domain', listener_domains:setup { %s })
"""


def connection(local_ip: str = "127.0.0.3", peer_ip: str = "192.0.2.7", **meta: Any) -> Connection:
    received_from = f"[{peer_ip}]:4711" if ":" in peer_ip else f"{peer_ip}:4711"
    return Connection(
        peer_ip=peer_ip,
        peer_port=4711,
        local_ip=local_ip,
        local_port=25,
        session_id="5b0e2f7e-0000-4000-8000-000000000000",
        hostname="mx.example",
        meta={"received_from": received_from, **meta},
    )


def write(folder: Path, text: str, name: str = "domains.toml") -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return f"'{folder / name}'"


def looked_up(policy: Any, domain: str, session: Connection | None = None) -> ListenerDomain | None:
    value = policy.session.get_listener_domain(session or connection(), domain)
    assert value is None or isinstance(value, ListenerDomain)
    return value


def given(value: ListenerDomain | None) -> dict[str, Any] | None:
    """What differs from an empty entry."""
    if value is None:
        return None
    empty = ListenerDomain()
    names = ("relay_to", "relay_from", "log_oob", "log_arf")
    found = {name: getattr(value, name) for name in names if getattr(value, name) != getattr(empty, name)}
    return {
        name: item.value if isinstance(item, ReportHandling) else item if item is True else list(item)
        for name, item in found.items()
    }


ANY = {"log_oob": "LogThenRelay"}


@pytest.mark.parametrize(
    ("local_ip", "domain", "found"),
    [
        ("127.0.0.3", "example.com", {"relay_to": True}),
        ("127.0.0.3", "a.b.example.com", {"relay_from": ["10.0.0.0/24"]}),
        ("127.0.0.3", "upper.example", {"log_arf": "LogThenDrop"}),
        ("127.0.0.3", "every.example", {"relay_to": True}),
        ("127.0.0.3", "other.org", ANY),
        ("127.0.0.3", "other.com", ANY),
        ("127.0.0.3", "", ANY),
        ("127.0.0.3", "only.example", ANY),
        # The listener's own map comes first, and an entry there is not merged with the others.
        ("127.0.0.1", "example.com", {"log_arf": "LogThenRelay"}),
        ("127.0.0.1", "only.example", {"relay_to": True}),
        ("127.0.0.1", "a.example.com", {"relay_from": ["10.0.0.0/24"]}),
        ("127.0.0.1", "other.org", ANY),
        ("127.0.0.2", "example.com", {"log_oob": "LogThenDrop"}),
        ("127.0.0.2", "other.org", {"log_oob": "LogThenDrop"}),
    ],
)
def test_lookups(load: Load, tmp_path: Path, local_ip: str, domain: str, found: dict[str, Any]) -> None:
    policy = load(SETUP % write(tmp_path, TOML))
    assert given(looked_up(policy, domain, connection(local_ip))) == found


def test_without_an_entry_there_is_no_object(load: Load, tmp_path: Path) -> None:
    policy = load(SETUP % write(tmp_path, '["example.com"]\nrelay_to = true\n'))
    assert looked_up(policy, "example.org") is None
    assert looked_up(policy, "sub.example.com") is None


@pytest.mark.parametrize(
    ("domain", "peer_ip", "meta", "relay_from"),
    [
        ("auth.example", "192.0.2.7", {"authz_id": "john"}, ["192.0.2.7"]),
        ("auth.example", "192.0.2.7", {"authz_id": "joan"}, ["192.0.2.7"]),
        ("auth.example", "2001:db8::7", {"authz_id": "joan"}, ["2001:db8::7"]),
        ("auth.example", "192.0.2.7", {"authz_id": "John"}, ["10.0.0.0/24"]),
        ("auth.example", "192.0.2.7", {}, ["10.0.0.0/24"]),
        ("a.example.com", "192.0.2.7", {"authz_id": "john"}, ["10.0.0.0/24"]),
    ],
)
def test_an_authorised_session_relays_from_where_it_is(
    load: Load, tmp_path: Path, domain: str, peer_ip: str, meta: dict[str, Any], relay_from: list[str]
) -> None:
    policy = load(SETUP % write(tmp_path, TOML))
    value = looked_up(policy, domain, connection(peer_ip=peer_ip, **meta))
    assert value is not None
    assert list(value.relay_from) == relay_from


def test_later_files_override_key_by_key(load: Load, tmp_path: Path) -> None:
    files = [
        write(tmp_path, '["example.com"]\nrelay_to = true\nlog_arf = true\n'),
        write(tmp_path, json.dumps({"EXAMPLE.com": {"log_arf": False}, "b.example": {}}), "two.json"),
        "{ ['example.com'] = { relay_from = { '10.0.0.1' } } }",
    ]
    policy = load(SETUP % ", ".join(files))
    assert given(looked_up(policy, "example.com")) == {"relay_to": True, "relay_from": ["10.0.0.1"]}
    assert given(looked_up(policy, "b.example")) == {}


def test_two_setups_do_not_mix(load: Load) -> None:
    policy = load(
        """
        local listener_domains = require 'policy-extras.listener_domains'
        local one = listener_domains:setup { { ['a.example'] = { relay_to = true } } }
        local two = listener_domains:setup { { ['b.example'] = { relay_to = true } } }
        kumo.on('get_listener_domain', function(...) kumo.note(one(...) ~= nil, two(...) ~= nil) end)
        """
    )
    looked_up(policy, "a.example")
    looked_up(policy, "b.example")
    assert policy.notes == [(True, False), (False, True)]


async def awaited(policy: Any, domain: str) -> ListenerDomain | None:
    answer = policy.session.get_listener_domain(connection(), domain)
    value = await answer if is_awaitable(answer) else answer
    assert value is None or isinstance(value, ListenerDomain)
    return value


async def test_a_changed_file_counts_from_the_next_epoch(load: Load, tmp_path: Path) -> None:
    policy = load(SETUP % write(tmp_path, '["example.com"]\nrelay_to = true\n'))
    write(tmp_path, '["example.com"]\nlog_arf = true\n')
    assert given(looked_up(policy, "example.com")) == {"relay_to": True}
    assert policy.engine.reload()
    found = await asyncio.gather(*(awaited(policy, "example.com") for _ in range(3)))
    assert list(map(given, found)) == [{"log_arf": "LogThenRelay"}] * 3
    assert given(looked_up(policy, "example.com")) == {"log_arf": "LogThenRelay"}


async def test_a_file_that_broke_changes_nothing(
    load: Load, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    policy = load(SETUP % write(tmp_path, '["example.com"]\nrelay_to = true\n'))
    write(tmp_path, "[")
    assert policy.engine.reload()
    # Begun at once: nobody has to ask first.
    (files,) = policy.engine.domain_files.values()
    await files._reading
    assert "listener domains are not read again: parsing " in caplog.text
    # It is not tried again for each recipient.
    assert given(looked_up(policy, "example.com")) == {"relay_to": True}
    assert given(looked_up(policy, "example.com")) == {"relay_to": True}
    assert caplog.text.count("are not read again") == 1


async def test_bad_entries_of_a_changed_file_are_logged(
    load: Load, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    policy = load(SETUP % write(tmp_path, '["example.com"]\nrelay_to = true\n'))
    write(tmp_path, '["example.com"]\nrelay_too = true\n')
    policy.engine.reload()
    with pytest.raises(PolicyError, match="unknown field `relay_too`"):
        await awaited(policy, "example.com")
    assert "domains.toml: domain `example.com`: `relay_too`: unknown field" in caplog.text


async def test_a_script_that_is_not_taken_changes_no_files_either(load: Load, tmp_path: Path) -> None:
    policy = load(SETUP % write(tmp_path, '["example.com"]\nrelay_to = true\n'))
    policy.write(SETUP % write(tmp_path, '["example.com"]\n', "other.toml") + "\nerror('no')")
    assert not policy.engine.reload()
    assert given(await awaited(policy, "example.com")) == {"relay_to": True}


def test_a_reload_reads_no_file_that_is_open(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everybody waits for a reload, and a large file would take longer than the script may."""
    policy = load(SETUP % write(tmp_path, '["example.com"]\nrelay_to = true\n'))
    monkeypatch.delattr("kumo.policy.api.policy_extras.load_toml")
    assert policy.engine.reload()
    assert policy.engine.reload()


def test_files_are_forgotten_with_the_last_state_that_has_them(load: Load, tmp_path: Path) -> None:
    policy = load(SETUP % write(tmp_path, ""))
    assert len(policy.engine.domain_files) == 1
    policy.write("")
    assert policy.engine.reload()
    gc.collect()
    assert not policy.engine.domain_files


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ("'/nowhere/domains.toml'", "reading file /nowhere/domains.toml: No such file or directory"),
        ("'/nowhere/domains.json'", "reading file /nowhere/domains.json: No such file or directory"),
        ("7", "file #1 must be a file name or a table, not a number"),
    ],
)
def test_files_that_cannot_be_read_stop_the_start(load: Load, files: str, text: str) -> None:
    with pytest.raises(PolicyError, match=text):
        load(SETUP % files)


def test_setup_wants_a_colon(load: Load) -> None:
    with pytest.raises(PolicyError, match=r"init\.lua:2: .* not a nil; call it with a colon"):
        load("require('policy-extras.listener_domains').setup { 'x' }")


BAD = [
    ("['x.example'] = { relay_too = true }", "domain `x.example`: `relay_too`: unknown field `relay_too`"),
    ("['x.example'] = { relay_too = true }", "(did you mean `relay_to`?)"),
    ("['x.example'] = { relay_from_auth = {} }", "(did you mean `relay_from_authz`?)"),
    ("['x.example'] = { relay_from_authz = 'john' }", '`relay_from_authz`: invalid type: string "john"'),
    ("['x.example'] = { log_oob = 'yes' }", "`log_oob`: invalid value"),
    ("['x.example'] = { relay_from = { '10.0.0.1/8' } }", "Did you mean 10.0.0.0/8?"),
    ("['x.example'] = true", "domain `x.example` must be a table with a name, not a boolean"),
    ("listener = 1", "`listener` must be a table of listeners, not a number"),
    ("listener = { ['127.0.0.1:25'] = 1 }", "listener `127.0.0.1:25` must be a table of domains"),
    (
        "listener = { ['127.0.0.1:25'] = { ['x.example'] = { relayto = 1 } } }",
        "listener `127.0.0.1:25`, domain `x.example`: `relayto`: unknown field",
    ),
]


@pytest.mark.parametrize(("entry", "text"), BAD)
def test_bad_entries_are_logged_at_the_start(
    load: Load, caplog: pytest.LogCaptureFixture, entry: str, text: str
) -> None:
    load(SETUP % f"{{ {entry} }}")
    assert text in caplog.text


@pytest.mark.parametrize(("entry", "text"), BAD)
def test_bad_entries_are_found_by_validating(load: Load, entry: str, text: str) -> None:
    policy = load("")
    policy.write(SETUP % f"{{ {entry} }}")
    policy.engine.load(str(policy.path), validating=True)
    findings = policy.engine.findings
    assert findings is not None
    assert [(found.line, text in found.message) for found in findings.sorted()] == [(4, True)]


def test_all_of_a_file_is_reported_under_its_name(load: Load, tmp_path: Path) -> None:
    policy = load("")
    text = '["a.example"]\nx = 1\ny = 2\nrelay_to = 3\n["b.example"]\nz = 1\n'
    policy.write(SETUP % write(tmp_path, text))
    policy.engine.load(str(policy.path), validating=True)
    findings = policy.engine.findings
    assert findings is not None
    assert {found.source for found in findings.sorted()} == {str(tmp_path / "domains.toml")}
    assert len(findings.sorted()) == 4


def test_a_bad_entry_fails_its_domain_only(load: Load) -> None:
    policy = load(
        SETUP % "{ ['bad.example'] = { relay_too = true }, ['good.example'] = { relay_to = true } }"
    )
    with pytest.raises(PolicyError, match=r"table #1: domain `bad\.example`: `relay_too`: unknown field"):
        looked_up(policy, "bad.example")
    assert given(looked_up(policy, "good.example")) == {"relay_to": True}
