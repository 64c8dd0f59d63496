"""Every script in policy/ loads, and does what its comments say."""

from __future__ import annotations

import inspect
import logging
from pathlib import Path
from typing import Any

import pytest

from kumo.config import CidrSet, MaildirProtocol, MinFree
from kumo.message import Connection, Message, SpoolIdSource
from kumo.policy import PolicyEngine, QueueEvents, ReceptionEvents, declaration_problems
from kumo.smtp import EnvelopeAddress

POLICY = Path(__file__).parents[2] / "policy"
SCRIPTS = sorted(path.name for path in POLICY.glob("*.lua"))


def message(content: bytes = b"Subject: x\r\n\r\nbody\r\n") -> Message:
    return Message(
        id=SpoolIdSource().new_id(),
        sender=EnvelopeAddress("a", "example.com"),
        recipients=[EnvelopeAddress("b", "example.org")],
        meta={},
        body=content,
    )


def connection() -> Connection:
    return Connection(
        "127.0.0.1", 40001, "127.0.0.1", 2025, "00000000-0000-4000-8000-000000000000", "mx.example"
    )


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KUMO_VAR", "KUMO_SMTP_LISTEN", "KUMO_HTTP_LISTEN"):
        monkeypatch.delenv(name, raising=False)


async def started(script: str) -> PolicyEngine:
    engine = PolicyEngine()
    engine.load(str(POLICY / script))
    await engine.start()
    return engine


def test_both_scripts_of_the_readme_are_there() -> None:
    assert {"init.lua", "sink.lua"} <= set(SCRIPTS)


@pytest.mark.parametrize("script", SCRIPTS)
async def test_a_script_loads_without_a_warning(script: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    engine = await started(script)
    assert declaration_problems(engine.declarations) == []
    assert caplog.messages == []


@pytest.mark.parametrize("script", SCRIPTS)
async def test_a_script_is_no_open_relay_and_listens_on_loopback(script: str) -> None:
    engine = await started(script)
    [listener] = engine.declarations.listeners
    assert listener.listen == "127.0.0.1:2025"
    assert listener.relay_hosts == CidrSet.parse(["127.0.0.1", "::1"])


@pytest.mark.parametrize(("script", "folder"), [("init.lua", "/v"), ("sink.lua", "/v/sink")])
async def test_everything_is_written_below_kumo_var(
    script: str, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUMO_VAR", "/v")
    declarations = (await started(script)).declarations
    assert {spool.name: spool.path for spool in declarations.spools} == {
        "data": f"{folder}/spool/data",
        "meta": f"{folder}/spool/meta",
    }
    assert [logs.log_dir for logs in declarations.local_logs] == [f"{folder}/log"]
    limits = [(spool.min_free_space, spool.min_free_inodes) for spool in declarations.spools]
    limits += [(logs.min_free_space, logs.min_free_inodes) for logs in declarations.local_logs]
    assert limits == [(MinFree(percent=1.0), MinFree(percent=1.0))] * 3


@pytest.mark.parametrize("script", SCRIPTS)
async def test_without_kumo_var_the_folder_is_beside_the_caller(script: str) -> None:
    for spool in (await started(script)).declarations.spools:
        assert spool.path.startswith("./var/")


@pytest.mark.parametrize("script", SCRIPTS)
async def test_ports_come_from_the_environment(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUMO_SMTP_LISTEN", "127.0.0.1:0")
    monkeypatch.setenv("KUMO_HTTP_LISTEN", "127.0.0.1:1")
    declarations = (await started(script)).declarations
    assert [listener.listen for listener in declarations.listeners] == ["127.0.0.1:0"]
    assert [listener.listen for listener in declarations.http_listeners] == ["127.0.0.1:1"]


async def test_only_the_starting_policy_serves_http_unasked() -> None:
    assert [http.listen for http in (await started("init.lua")).declarations.http_listeners] == [
        "127.0.0.1:8000"
    ]
    assert (await started("sink.lua")).declarations.http_listeners == []


async def received(script: str, content: bytes) -> dict[str, Any]:
    sent = message(content)
    assert ReceptionEvents(await started(script)).on_message_received(sent, connection()) is None
    return sent.meta


@pytest.mark.parametrize(
    ("header", "meta"),
    [
        (b"X-Tenant: acme-1\r\n", {"tenant": "acme-1"}),
        (b"x-tenant: ACME_2\r\n", {"tenant": "ACME_2"}),
        (b"", {}),
        (b"X-Tenant:\r\n", {}),
        (b"X-Tenant: a@b!c\r\n", {}),
        (b"X-Tenant: ../etc\r\n", {}),
    ],
)
async def test_the_starting_policy_takes_only_a_plain_tenant(header: bytes, meta: dict[str, Any]) -> None:
    assert await received("init.lua", header + b"Subject: x\r\n\r\nbody\r\n") == meta


async def test_the_sink_sends_everything_to_the_queue_null() -> None:
    assert await received("sink.lua", b"x\r\n") == {"queue": "null"}


async def test_the_starting_policy_delivers_into_maildirs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUMO_VAR", "/v")
    config = QueueEvents(await started("init.lua")).get_queue_config("example.org", None, None, None)
    assert not inspect.isawaitable(config)
    assert config.protocol == MaildirProtocol(maildir_path="/v/maildir/{{ domain_part }}/{{ local_part }}")
    assert (config.retry_interval, config.max_age) == (300.0, 86400.0)
