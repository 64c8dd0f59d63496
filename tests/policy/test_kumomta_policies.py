"""Listener policies as KumoMTA's manual has its readers write them: they load unchanged."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from kumo.config import (
    CidrMap,
    CidrSet,
    EsmtpListener,
    KeyVault,
    ListenerDomain,
    ListenerOverrides,
    ReportHandling,
    TraceHeaders,
)
from kumo.message import Authenticated, Connection, Identity
from kumo.policy import PolicyEngine, SessionEvents

PLAIN = """
kumo.on('init', function()
  kumo.start_esmtp_listener {
    listen = '0:25',
    hostname = 'mail.example.com',
    relay_hosts = { '127.0.0.1', '192.168.1.0/24' },
    banner = 'Welcome to KumoMTA!',
    client_timeout = '1 minute',
    max_messages_per_connection = 10000,
    trace_headers = { include_meta_names = { 'tenant', 'campaign' } },
  }
end)
"""

BY_PEER = """
kumo.on('init', function()
  for _, port in ipairs { 25, 2026, 587 } do
    kumo.start_esmtp_listener {
      listen = '0:' .. tostring(port),
      peer = {
        ['10.0.0.0/24'] = { relay_hosts = { '10.0.0.0/24' } },
        ['10.0.1.0/24'] = { hostname = 'other.example.com', meta = { tenant = 'second' } },
      },
      via = {
        ['10.0.0.1'] = { meta = { pool = 'one' } },
        any = { meta = { pool = 'rest' } },
      },
    }
  end
end)
"""

PROXIED = """
local TRUSTED = { '192.0.2.10', '192.0.2.11' }
kumo.on('init', function()
  kumo.start_esmtp_listener {
    listen = '[::]:2525',
    require_proxy_protocol = true,
    tls_certificate = { vault_mount = 'secret', vault_path = 'tls/example.com.crt' },
    tls_private_key = { vault_mount = 'secret', vault_path = 'tls/example.com.key' },
    peer = (function()
      local by_ip = {}
      for _, ip in ipairs(TRUSTED) do by_ip[ip] = { allow_xclient = true } end
      return by_ip
    end)(),
  }
end)
"""

EVENTS = """
local ACCOUNTS = { ['scott'] = 'tiger' }

kumo.on('smtp_server_auth_plain', function(authz, authc, password, conn_meta)
  if ACCOUNTS[authc] ~= password then return false end
  conn_meta:set_meta('tenant', authz)
  return {
    identities = { { identity = authc, context = 'SmtpAuthPlainAuthentication' } },
    groups = { 'staff' },
  }
end)

kumo.on('get_listener_domain', function(domain, listener, conn_meta)
  if domain == 'example.com' then
    return kumo.make_listener_domain { relay_to = true, log_oob = true, log_arf = 'LogThenDrop' }
  end
  if listener == '192.0.2.1:25' and conn_meta:get_meta('authn_id') then
    return kumo.make_listener_domain { relay_from = { '192.0.2.0/24' } }
  end
end)

kumo.on('smtp_server_get_dynamic_parameters', function(listener, conn_meta)
  local peer = conn_meta:get_meta 'received_from'
  if peer and peer:match '^198%.51%.100%.' then return { hostname = 'far.example.com' } end
  return {}
end)
"""


async def started(folder: Path, text: str) -> PolicyEngine:
    script = folder / "init.lua"
    script.write_text(f"local kumo = require 'kumo'\n{text}", encoding="utf-8")
    engine = PolicyEngine()
    engine.load(str(script))
    await engine.start()
    return engine


def connection(**meta: Any) -> Connection:
    return Connection("192.0.2.7", 4711, "192.0.2.1", 25, "an id", "mx.example", meta=dict(meta))


TENANT, POOL_ONE, POOL_REST = ({"tenant": "second"}, {"pool": "one"}, {"pool": "rest"})
DECLARED = [
    (
        PLAIN,
        [
            EsmtpListener(
                listen="0:25",
                hostname="mail.example.com",
                relay_hosts=CidrSet.parse(["127.0.0.1", "192.168.1.0/24"]),
                banner="Welcome to KumoMTA!",
                trace_headers=TraceHeaders(include_meta_names=("tenant", "campaign")),
            )
        ],
    ),
    (
        BY_PEER,
        [
            EsmtpListener(
                listen=f"0:{port}",
                peer=CidrMap(
                    {
                        "10.0.0.0/24": ListenerOverrides(relay_hosts=CidrSet.parse(["10.0.0.0/24"])),
                        "10.0.1.0/24": ListenerOverrides(hostname="other.example.com", meta=TENANT),
                    }
                ),
                via=CidrMap(
                    {"10.0.0.1": ListenerOverrides(meta=POOL_ONE), "any": ListenerOverrides(meta=POOL_REST)}
                ),
            )
            for port in (25, 2026, 587)
        ],
    ),
    (
        PROXIED,
        [
            EsmtpListener(
                listen="[::]:2525",
                require_proxy_protocol=True,
                tls_certificate=KeyVault(vault_mount="secret", vault_path="tls/example.com.crt"),
                tls_private_key=KeyVault(vault_mount="secret", vault_path="tls/example.com.key"),
                peer=CidrMap(
                    {ip: ListenerOverrides(allow_xclient=True) for ip in ("192.0.2.10", "192.0.2.11")}
                ),
            )
        ],
    ),
    (EVENTS, []),
]


@pytest.mark.parametrize(
    ("text", "listeners"), DECLARED, ids=["plain", "peer and via", "proxied", "events only"]
)
async def test_a_policy_is_taken_without_a_word(
    tmp_path: Path, text: str, listeners: list[EsmtpListener], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        engine = await started(tmp_path, text)
    assert engine.declarations.listeners == listeners
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("password", "expected"),
    [
        (
            "tiger",
            Authenticated(
                "scott", "scott", (Identity("scott", "SmtpAuthPlainAuthentication"),), groups=("staff",)
            ),
        ),
        ("lion", None),
    ],
)
async def test_its_accounts_are_asked(tmp_path: Path, password: str, expected: Authenticated | None) -> None:
    session = SessionEvents(await started(tmp_path, EVENTS))
    client = connection()
    assert session.on_auth_plain(client, "acme", "scott", password) == expected
    assert client.meta == ({"tenant": "acme"} if expected else {})


@pytest.mark.parametrize(
    ("domain", "meta", "expected"),
    [
        (
            "example.com",
            {},
            ListenerDomain(
                relay_to=True, log_oob=ReportHandling.LOG_THEN_RELAY, log_arf=ReportHandling.LOG_THEN_DROP
            ),
        ),
        ("a.example", {}, None),
        ("", {}, None),
        ("a.example", {"authn_id": "scott"}, ListenerDomain(relay_from=CidrSet.parse(["192.0.2.0/24"]))),
    ],
)
async def test_its_domains_are_asked(
    tmp_path: Path, domain: str, meta: dict[str, Any], expected: ListenerDomain | None
) -> None:
    session = SessionEvents(await started(tmp_path, EVENTS))
    assert session.get_listener_domain(connection(**meta), domain) == expected


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        ("198.51.100.9:25", ListenerOverrides(hostname="far.example.com")),
        ("192.0.2.7:25", ListenerOverrides()),
    ],
)
async def test_its_parameters_are_asked(tmp_path: Path, peer: str, expected: ListenerOverrides) -> None:
    session = SessionEvents(await started(tmp_path, EVENTS))
    assert session.get_dynamic_parameters(connection(received_from=peer)) == expected
