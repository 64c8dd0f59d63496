"""KumoMTA's documented parameters and defaults, as a table that knows nothing of the code."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any

import pytest

from kumo.config import (
    CidrSet,
    CustomLuaProtocol,
    EsmtpListener,
    HttpListener,
    KeyVault,
    ListenerDomain,
    ListenerOverrides,
    LocalLogs,
    MaildirProtocol,
    MinFree,
    QueueConfig,
    RecordParameters,
    SmtpProtocol,
    Spool,
    TraceHeaders,
)

LOOPBACK = CidrSet.parse(["127.0.0.1", "::1"])
TENTH = MinFree(percent=10.0)
REQUIRED = object()

PARAMETERS: list[tuple[type[Any], dict[str, object]]] = [
    (
        EsmtpListener,
        {
            "listen": "127.0.0.1:2025",
            "hostname": None,
            "banner": "KumoMTA",
            "relay_hosts": LOOPBACK,
            "client_timeout": 60.0,
            "data_processing_timeout": 300.0,
            "data_buffer_size": 131072,
            "max_message_size": 20971520,
            "max_recipients_per_message": 1024,
            "max_messages_per_connection": 10000,
            "max_connections": 32768,
            "line_length_hard_limit": 998,
            "invalid_line_endings": "Deny",
            "deferred_spool": False,
            "deferred_queue": False,
            "batch_handling": "BifurcateAlways",
            "trace_headers": TraceHeaders(),
            "tls_certificate": None,
            "tls_private_key": None,
            "tls_required_client_ca": None,
            "allow_xclient": False,
            "require_proxy_protocol": False,
            "meta": {},
            "peer": None,
            "via": None,
        },
    ),
    (
        ListenerDomain,
        {
            "log_oob": "Ignore",
            "log_arf": "Ignore",
            "relay_to": False,
            "relay_from": CidrSet.parse([]),
            "ttl": 60.0,
        },
    ),
    (
        TraceHeaders,
        {
            "received_header": True,
            "supplemental_header": True,
            "header_name": "X-KumoRef",
            "include_meta_names": (),
        },
    ),
    (
        HttpListener,
        {
            "listen": "127.0.0.1:8000",
            "hostname": None,
            "request_body_limit": 2097152,
            "trusted_hosts": LOOPBACK,
        },
    ),
    (
        Spool,
        {
            "name": REQUIRED,
            "path": REQUIRED,
            "kind": "LocalDisk",
            "flush": False,
            "min_free_space": TENTH,
            "min_free_inodes": TENTH,
            "rocks_params": None,
        },
    ),
    (
        LocalLogs,
        {
            "log_dir": REQUIRED,
            "max_file_size": 1_000_000_000,
            "max_segment_duration": None,
            "back_pressure": 128_000,
            "compression_level": 0,
            "meta": (),
            "headers": (),
            "per_record": {},
            "filter_event": None,
            "min_free_space": TENTH,
            "min_free_inodes": TENTH,
        },
    ),
    (
        RecordParameters,
        {"suffix": None, "log_dir": None, "enable": True, "template": None, "segment_header": None},
    ),
    (
        QueueConfig,
        {
            "egress_pool": None,
            "retry_interval": 20 * 60.0,
            "max_retry_interval": None,
            "max_age": 7 * 86400.0,
            "max_message_rate": None,
            "protocol": SmtpProtocol(),
            "reap_interval": 600.0,
            "refresh_interval": 60.0,
            "refresh_strategy": "Ttl",
            "strategy": "SingletonTimerWheel",
            "timerwheel_tick_interval": None,
            "provider_name": None,
            "shrink_policy": (),
        },
    ),
    (SmtpProtocol, {"mx_list": (), "treat_mx_list_as_secure": False}),
    (MaildirProtocol, {"maildir_path": REQUIRED, "dir_mode": None, "file_mode": None}),
    (
        CustomLuaProtocol,
        {"constructor": REQUIRED, "batch_size": 1, "min_batch_size": 1, "max_batch_latency": 0.0},
    ),
    (
        KeyVault,
        {
            "vault_mount": REQUIRED,
            "vault_path": REQUIRED,
            "vault_address": None,
            "vault_token": None,
            "vault_key": "key",
        },
    ),
]
CHOICES = [
    (EsmtpListener, "invalid_line_endings", ["Deny", "Allow", "Fix"]),
    (EsmtpListener, "batch_handling", ["BifurcateAlways", "BatchByDomain"]),
    (ListenerDomain, "log_arf", ["Ignore", "LogThenDrop", "LogThenRelay"]),
    (QueueConfig, "refresh_strategy", ["Ttl", "Epoch"]),
    (QueueConfig, "strategy", ["TimerWheel", "SkipList", "SingletonTimerWheel", "SingletonTimerWheelV2"]),
]
EVERYWHERE_BUT = {"listen", "max_connections"}
LATER = [
    (HttpListener, {"use_tls", "tls_certificate", "tls_private_key"}),
]


def default_of(field: dataclasses.Field[Any]) -> object:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    if field.default is dataclasses.MISSING:
        return REQUIRED
    return field.default.value if isinstance(field.default, enum.Enum) else field.default


@pytest.mark.parametrize(("dataclass_type", "parameters"), PARAMETERS)
def test_parameters_and_defaults_are_the_documented_ones(
    dataclass_type: type[Any], parameters: dict[str, object]
) -> None:
    assert {field.name: default_of(field) for field in dataclasses.fields(dataclass_type)} == parameters


def test_a_block_may_have_all_but_two_parameters_and_gives_none_by_itself() -> None:
    listener = {field.name for field in dataclasses.fields(EsmtpListener)}
    overrides = {field.name: field.default for field in dataclasses.fields(ListenerOverrides)}
    assert overrides.keys() == listener - EVERYWHERE_BUT
    assert set(overrides.values()) == {None}


@pytest.mark.parametrize(("dataclass_type", "parameter", "choices"), CHOICES)
def test_choices_are_spelt_as_documented(
    dataclass_type: type[Any], parameter: str, choices: list[str]
) -> None:
    assert [member.value for member in type(getattr(dataclass_type(), parameter))] == choices


@pytest.mark.parametrize(("dataclass_type", "parameters"), LATER)
def test_parameters_of_later_versions_are_known_by_name(
    dataclass_type: type[Any], parameters: set[str]
) -> None:
    assert parameters == dataclass_type.NOT_IMPLEMENTED
    assert parameters.isdisjoint(field.name for field in dataclasses.fields(dataclass_type))
