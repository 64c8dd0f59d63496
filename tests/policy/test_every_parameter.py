"""A policy with every listener parameter at each place where it is legal, and what becomes of it."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import pytest

from kumo.config import (
    BatchHandling,
    CidrMap,
    CidrSet,
    EsmtpListener,
    KeyData,
    KeyEvent,
    KeyFile,
    KeyVault,
    LineEndings,
    ListenerOverrides,
    TraceHeaders,
)
from kumo.message import Connection
from kumo.policy import PolicyEngine, SessionEvents, declaration_problems

SCRIPT = Path(__file__).parents[1] / "policies" / "every_parameter.lua"


def expected(salt: int) -> dict[str, Any]:
    """What ``overrides(salt)`` of the script becomes."""
    return {
        "hostname": f"mx{salt}.example.com",
        "banner": f"banner {salt}",
        "relay_hosts": CidrSet.parse([f"10.0.{salt}.0/24", f"2001:db8::{salt}"]),
        "client_timeout": 60.0 + salt,
        "data_processing_timeout": 300.0 + salt,
        "data_buffer_size": 65536 + salt,
        "max_message_size": 20971520 + salt,
        "max_recipients_per_message": 100 + salt,
        "max_messages_per_connection": 1000 + salt,
        "line_length_hard_limit": 2000 + salt,
        "invalid_line_endings": LineEndings.FIX,
        "deferred_spool": True,
        "deferred_queue": True,
        "batch_handling": BatchHandling.BATCH_BY_DOMAIN,
        "trace_headers": TraceHeaders(
            received_header=False,
            supplemental_header=False,
            header_name=f"X-Ref-{salt}",
            include_meta_names=("tenant", "campaign"),
        ),
        "tls_certificate": KeyFile(f"/etc/kumo/{salt}.pem"),
        "tls_private_key": KeyData(b"octets \0\xff of %d" % salt),
        "tls_required_client_ca": KeyVault(
            vault_mount="secret",
            vault_path=f"tls/ca{salt}",
            vault_key="bundle",
            vault_address="http://127.0.0.1:8200",
            vault_token=f"token {salt}",
        ),
        "allow_xclient": True,
        "require_proxy_protocol": True,
        "meta": {"tenant": f"tenant {salt}", "tags": ["a", "b"], "nested": {"deep": [salt]}},
    }


NARROW = {
    "192.0.2.0/24": ListenerOverrides(
        **expected(2),
        peer=CidrMap({"192.0.2.128/25": ListenerOverrides(banner="upper half")}),
        via=CidrMap({"any": ListenerOverrides(**expected(3), via=CidrMap({"::1": ListenerOverrides()}))}),
    ),
    "192.0.2.7": ListenerOverrides(banner="one peer"),
}
LISTENER = EsmtpListener(
    **expected(1),
    listen="127.0.0.1:2525",
    max_connections=12,
    peer=CidrMap(NARROW),
    via=CidrMap(
        {
            "10.0.0.0/8": ListenerOverrides(
                tls_private_key=KeyEvent(event_name="get_key", event_args=("mx", 4))
            )
        }
    ),
)


async def started() -> PolicyEngine:
    engine = PolicyEngine()
    engine.load(str(SCRIPT))
    await engine.start()
    return engine


@pytest.mark.parametrize(
    ("dataclass_type", "elsewhere"),
    [(EsmtpListener, {"listen", "max_connections", "peer", "via"}), (ListenerOverrides, {"peer", "via"})],
)
def test_the_script_leaves_no_parameter_out(dataclass_type: type[Any], elsewhere: set[str]) -> None:
    names = {field.name for field in dataclasses.fields(dataclass_type)}
    assert names == set(expected(1)) | elsewhere
    text = SCRIPT.read_text(encoding="ascii")
    assert [name for name in names if f"{name} = " not in text] == []


async def test_every_parameter_is_declared_as_it_was_given(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        engine = await started()
    assert caplog.messages == []
    assert declaration_problems(engine.declarations) == []
    [listener] = engine.declarations.listeners
    for field in dataclasses.fields(EsmtpListener):
        assert getattr(listener, field.name) == getattr(LISTENER, field.name), field.name


async def test_the_dynamic_event_takes_the_same_parameters() -> None:
    connection = Connection("192.0.2.7", 4711, "192.0.2.1", 25, "an id", "mx.example")
    overrides = SessionEvents(await started()).get_dynamic_parameters(connection)
    assert overrides == ListenerOverrides(
        **expected(5), peer=CidrMap({"192.0.2.7": ListenerOverrides(banner="dynamic")})
    )
    assert connection.meta == {"asked_for": "192.0.2.1:25"}


async def test_no_secret_of_it_is_printed() -> None:
    [listener] = (await started()).declarations.listeners
    for text in (repr(listener), str(listener)):
        assert "octets" not in text
        assert "token 1" not in text
        assert "token 3" not in text
