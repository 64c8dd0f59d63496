from __future__ import annotations

import dataclasses
import json
import re
from typing import Annotated, Any

import pytest

from kumo.config import (
    CidrMap,
    CidrSet,
    CustomLuaProtocol,
    EsmtpListener,
    HttpListener,
    KeyData,
    KeyEvent,
    KeyFile,
    KeyVault,
    LineEndings,
    ListenerDomain,
    ListenerOverrides,
    LocalLogs,
    MaildirProtocol,
    MinFree,
    QueueConfig,
    RecordParameters,
    ReportHandling,
    SmtpProtocol,
    Spool,
    SpoolKind,
    TraceHeaders,
)
from kumo.errors import ConfigError
from kumo.policy.convert import convert, plain_parameters
from kumo.policy.readers import reader_for, schema_of
from kumo.policy.registry import VERSION

# As policy helpers take it apart.
FRAME = re.compile(r"deserialize error: (.*), while processing (.*)", re.DOTALL)


def read(lua: Any, dataclass_type: type[Any], table: str, **options: Any) -> Any:
    return convert(
        lua.value(table), dataclass_type, constructor="kumo.make_it", source="init.lua:7", **options
    )


def problem(lua: Any, dataclass_type: type[Any], table: str, **options: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read(lua, dataclass_type, table, **options)
    return caught.value


def detail(error: ConfigError) -> str:
    found = FRAME.fullmatch(error.detail)
    assert found, error.detail
    return found[1]


UNFINISHED = "unexpected end of template, expected 'end of print statement'."

LUA_FIELDS = "`constructor`, `batch_size`, `min_batch_size`, `max_batch_latency`"

GOOD: list[tuple[type[Any], str, str, object]] = [
    (EsmtpListener, "listen", "'0:25'", "0:25"),
    (EsmtpListener, "hostname", "'mx.example.com'", "mx.example.com"),
    (EsmtpListener, "hostname", "'b\\xc3\\xbccher.example'", "bücher.example"),
    (EsmtpListener, "banner", "''", ""),
    (EsmtpListener, "relay_hosts", "{}", CidrSet.parse([])),
    (EsmtpListener, "relay_hosts", "{'10.0.0.0/8','any'}", CidrSet.parse(["10.0.0.0/8", "any"])),
    (EsmtpListener, "client_timeout", "'1h 30m'", 5400.0),
    (EsmtpListener, "client_timeout", "0", 0.0),
    (EsmtpListener, "client_timeout", "2.5", 2.5),
    (EsmtpListener, "data_processing_timeout", "'300ms'", 0.3),
    (EsmtpListener, "data_buffer_size", "1", 1),
    (EsmtpListener, "max_message_size", "20 * 1024 * 1024", 20971520),
    (EsmtpListener, "max_recipients_per_message", "0", 0),
    (EsmtpListener, "max_messages_per_connection", "5", 5),
    (EsmtpListener, "max_connections", "math.maxinteger", 2**63 - 1),
    (EsmtpListener, "line_length_hard_limit", "2000", 2000),
    (EsmtpListener, "invalid_line_endings", "'Fix'", LineEndings.FIX),
    (EsmtpListener, "deferred_spool", "true", True),
    (EsmtpListener, "trace_headers", "{}", TraceHeaders()),
    (
        EsmtpListener,
        "trace_headers",
        "{ received_header = false, include_meta_names = { 'a', 'b' } }",
        TraceHeaders(received_header=False, include_meta_names=("a", "b")),
    ),
    (
        EsmtpListener,
        "trace_headers",
        "{ include_meta_names = {} }",
        TraceHeaders(include_meta_names=()),
    ),
    (EsmtpListener, "trace_headers", "{ header_name = 'X-Ref' }", TraceHeaders(header_name="X-Ref")),
    (EsmtpListener, "tls_certificate", "'/etc/tls/cert.pem'", KeyFile("/etc/tls/cert.pem")),
    (EsmtpListener, "tls_private_key", "{ key_data = 'a\\xff' }", KeyData(b"a\xff")),
    (EsmtpListener, "tls_private_key", "{ key_data = 'k', vault_mount = 'm', surplus = 1 }", KeyData(b"k")),
    (
        EsmtpListener,
        "tls_private_key",
        "{ vault_mount = 'm', vault_path = 'p' }",
        KeyVault(vault_mount="m", vault_path="p"),
    ),
    (
        EsmtpListener,
        "tls_private_key",
        "{ vault_mount = 'm', vault_path = 'p', vault_address = 'a', vault_token = 't', vault_key = 'k' }",
        KeyVault(vault_mount="m", vault_path="p", vault_address="a", vault_token="t", vault_key="k"),  # noqa: S106
    ),
    (
        EsmtpListener,
        "tls_private_key",
        "{ event_name = 'get_key', event_args = { 'a', 1, true } }",
        KeyEvent(event_name="get_key", event_args=("a", 1, True)),
    ),
    (
        EsmtpListener,
        "tls_private_key",
        "{ event_name = 'get_key', event_args = {} }",
        KeyEvent(event_name="get_key", event_args=()),
    ),
    (EsmtpListener, "tls_required_client_ca", "'/etc/tls/ca.pem'", KeyFile("/etc/tls/ca.pem")),
    (EsmtpListener, "allow_xclient", "true", True),
    (EsmtpListener, "require_proxy_protocol", "true", True),
    (EsmtpListener, "deferred_queue", "true", True),
    (EsmtpListener, "meta", "{}", {}),
    (
        EsmtpListener,
        "meta",
        "{ a = 'b', n = 1.5, list = { 1, { x = false } } }",
        {"a": "b", "n": 1.5, "list": [1, {"x": False}]},
    ),
    (EsmtpListener, "peer", "{}", CidrMap({})),
    (
        EsmtpListener,
        "peer",
        "{ ['10.0.0.0/8'] = { banner = 'a' }, any = {} }",
        CidrMap({"10.0.0.0/8": ListenerOverrides(banner="a"), "any": ListenerOverrides()}),
    ),
    (
        EsmtpListener,
        "via",
        "{ ['::1'] = { peer = { ['10.0.0.1'] = { via = { any = { relay_hosts = {} } } } } } }",
        CidrMap(
            {
                "::1": ListenerOverrides(
                    peer=CidrMap(
                        {
                            "10.0.0.1": ListenerOverrides(
                                via=CidrMap({"any": ListenerOverrides(relay_hosts=CidrSet.parse([]))})
                            )
                        }
                    )
                )
            }
        ),
    ),
    (ListenerDomain, "relay_to", "true", True),
    (ListenerDomain, "relay_from", "{}", CidrSet.parse([])),
    (ListenerDomain, "relay_from", "{ '10.0.0.0/8' }", CidrSet.parse(["10.0.0.0/8"])),
    (ListenerDomain, "log_arf", "true", ReportHandling.LOG_THEN_RELAY),
    (ListenerDomain, "log_arf", "false", ReportHandling.IGNORE),
    (ListenerDomain, "log_oob", "'Ignore'", ReportHandling.IGNORE),
    (ListenerDomain, "log_oob", "'LogThenDrop'", ReportHandling.LOG_THEN_DROP),
    (ListenerDomain, "log_oob", "'LogThenRelay'", ReportHandling.LOG_THEN_RELAY),
    (ListenerDomain, "ttl", "'5 mins'", 300.0),
    (HttpListener, "request_body_limit", "5", 5),
    (HttpListener, "trusted_hosts", "{ '192.0.2.0/24' }", CidrSet.parse(["192.0.2.0/24"])),
    (Spool, "kind", "'RocksDB'", SpoolKind.ROCKS_DB),
    (Spool, "flush", "true", True),
    (Spool, "min_free_space", "'5%'", MinFree(percent=5.0)),
    (Spool, "min_free_space", "'2.5%'", MinFree(percent=2.5)),
    (Spool, "min_free_space", "1024", MinFree(absolute=1024)),
    (Spool, "min_free_inodes", "'1024'", MinFree(absolute=1024)),
    (
        Spool,
        "rocks_params",
        "{ increase_parallelism = 4, nested = { 1, 2 } }",
        {"increase_parallelism": 4, "nested": [1, 2]},
    ),
    (LocalLogs, "max_segment_duration", "'1 minute'", 60.0),
    (LocalLogs, "compression_level", "-5", -5),
    (LocalLogs, "meta", "{ 'tenant', 'x_*' }", ("tenant", "x_*")),
    (
        LocalLogs,
        "per_record",
        "{ Any = { enable = false }, Reception = { suffix = '_r', template = 't' } }",
        {"Any": RecordParameters(enable=False), "Reception": RecordParameters(suffix="_r", template="t")},
    ),
    (QueueConfig, "max_message_rate", "'1,000/5min'", "1,000/5min"),
    (QueueConfig, "max_retry_interval", "'20m'", 1200.0),
    (QueueConfig, "protocol", "{ smtp = {} }", SmtpProtocol()),
    (
        QueueConfig,
        "protocol",
        "{ smtp = { mx_list = { 'a', { name = 'b', addr = '10.0.0.1' } } } }",
        SmtpProtocol(mx_list=("a", {"name": "b", "addr": "10.0.0.1"})),
    ),
    (
        QueueConfig,
        "protocol",
        "{ maildir_path = '/m', dir_mode = 511 }",
        MaildirProtocol(maildir_path="/m", dir_mode=511),
    ),
    (
        QueueConfig,
        "protocol",
        "{ custom_lua = { constructor = 'make.x', max_batch_latency = '1s' } }",
        CustomLuaProtocol(constructor="make.x", max_batch_latency=1.0),
    ),
    (
        QueueConfig,
        "shrink_policy",
        "{ { interval = '1m', policy = 'ShrinkDataAndMeta' } }",
        ({"interval": "1m", "policy": "ShrinkDataAndMeta"},),
    ),
]
REQUIRED = {Spool: "name = 'data', path = '/s', ", LocalLogs: "log_dir = '/l', "}


@pytest.mark.parametrize(("dataclass_type", "key", "value", "expected"), GOOD)
def test_a_good_value_becomes_the_field(
    lua: Any, dataclass_type: type[Any], key: str, value: str, expected: object
) -> None:
    made = read(lua, dataclass_type, f"{{ {REQUIRED.get(dataclass_type, '')}{key} = {value} }}")
    got = getattr(made, key)
    assert got == expected
    assert type(got) is type(expected)


@pytest.mark.parametrize(
    "dataclass_type",
    [EsmtpListener, ListenerOverrides, ListenerDomain, HttpListener, QueueConfig, Spool, LocalLogs],
)
def test_keys_that_are_not_given_keep_their_default(lua: Any, dataclass_type: type[Any]) -> None:
    made = read(lua, dataclass_type, f"{{ {REQUIRED.get(dataclass_type, '')} }}")
    for field in dataclasses.fields(dataclass_type):
        if field.default is not dataclasses.MISSING:
            assert getattr(made, field.name) == field.default
        elif field.default_factory is not dataclasses.MISSING:
            assert getattr(made, field.name) == field.default_factory()


BAD_BY_TYPE: dict[str, list[tuple[str, str]]] = {
    "text": [
        ("5", "invalid type: integer `5`, expected a string"),
        ("5.0", "invalid type: floating point `5.0`, expected a string"),
        ("true", "invalid type: boolean `true`, expected a string"),
        ("{ a = 1 }", "invalid type: map, expected a string"),
        ("{ 1 }", "invalid type: sequence, expected a string"),
        ("print", "invalid type: function, expected a string"),
    ],
    "boolean": [
        ("'yes'", 'invalid type: string "yes", expected a boolean'),
        ("1", "invalid type: integer `1`, expected a boolean"),
        ("{}", "invalid type: map, expected a boolean"),
    ],
    "usize": [
        ("'20M'", 'invalid type: string "20M", expected usize'),
        ("20e6", "invalid type: floating point `20000000.0`, expected usize"),
        ("10/2", "invalid type: floating point `5.0`, expected usize"),
        ("-1", "invalid value: integer `-1`, expected usize"),
        ("true", "invalid type: boolean `true`, expected usize"),
        ("{}", "invalid type: map, expected usize"),
    ],
    "duration": [
        ("'soon'", 'invalid value: string "soon", expected a duration'),
        ("'60'", 'invalid value: string "60", expected a duration'),
        ("-1", "invalid value: integer `-1`, expected a duration"),
        ("-0.5", "invalid value: floating point `-0.5`, expected a duration"),
        ("1/0", "invalid value: floating point `inf`, expected a duration"),
        ("0/0", "invalid value: floating point `{nan}`, expected a duration"),
        ("false", "invalid type: boolean `false`, expected a duration"),
        ("{}", "invalid type: map, expected a duration"),
    ],
    "cidr": [
        ("'127.0.0.1'", 'invalid type: string "127.0.0.1", expected a sequence'),
        ("{ a = '127.0.0.1' }", "invalid type: map, expected a sequence"),
        ("{ 1 }", "invalid type: integer `1`, expected a string"),
        ("{ 'a', nil, 'b' }", "invalid type: map, expected a sequence"),
        (
            "{ '10.0.0.1/8' }",
            (
                "10.0.0.1/8: 10.0.0.1/8 is not a valid CIDR: host part of address was not zero. "
                "Did you mean 10.0.0.0/8?"
            ),
        ),
    ],
    "texts": [
        ("'a'", 'invalid type: string "a", expected a sequence'),
        ("{ 'a', 5 }", "invalid type: integer `5`, expected a string"),
        ("{ 'a', nil, 'b' }", "invalid type: map, expected a sequence"),
        ("{ 'a', x = 'b' }", "invalid type: map, expected a sequence"),
        ("{ [0] = 'a' }", "invalid type: map, expected a sequence"),
    ],
    "key source": [
        (value, "data did not match any variant of untagged enum KeySource")
        for value in (
            "5",
            "true",
            "{}",
            "{ 'a' }",
            "{ key_data = 5 }",
            "{ vault_mount = 'm' }",
            "{ vault_mount = 'm', vault_path = 5 }",
            "{ vault_mount = 'm', vault_path = 'p', vault_token = 5 }",
            "{ event_name = 'e' }",
            "{ event_name = 'e', event_args = 'a' }",
            "{ event_args = {} }",
        )
    ]
    + [
        ("'-----BEGIN PRIVATE KEY-----'", "the key itself stands where the path of its file belongs"),
        (
            "{ event_name = 'e', event_args = { print } }",
            "invalid type: function, expected any valid JSON value",
        ),
    ],
    "overrides": [
        ("'10.0.0.0/8'", 'invalid type: string "10.0.0.0/8", expected a map'),
        ("{ 'a' }", "invalid type: sequence, expected a map"),
        ("{ [7] = {} }", "invalid type: integer `7`, expected a string"),
        ("{ any = 5 }", "invalid type: integer `5`, expected struct ListenerOverrides"),
        (
            "{ ['10.0.0.1/8'] = {} }",
            "10.0.0.1/8: 10.0.0.1/8 is not a valid CIDR: host part of address was not zero",
        ),
        (
            "{ ['::1/8'] = {}, ['::/129'] = {} }",
            (
                "::/129: ::/129 is not a valid CIDR: invalid length for network: 129 is more than 128, "
                "::1/8: ::1/8 is not a valid CIDR: host part of address was not zero"
            ),
        ),
    ],
    "json": [
        ("'a'", 'invalid type: string "a", expected a map'),
        ("{ 1 }", "invalid type: sequence, expected a map"),
        ("{ a = print }", "invalid type: function, expected any valid JSON value"),
        (
            "{ a = { { b = print } } }",
            "invalid type: function, expected any valid JSON value",
        ),
        ("{ a = 1/0 }", "invalid type: floating point `inf`, expected any valid JSON value"),
        ("{ a = { [3] = 1 } }", "invalid type: integer `3`, expected a string"),
    ],
    "reports": [
        (value, f"{kind}, expected a boolean value or one of 'Ignore', 'LogThenDrop' or 'LogThenRelay'")
        for value, kind in (
            ("'yes'", 'invalid value: string "yes"'),
            ("'ignore'", 'invalid value: string "ignore"'),
            ("1", "invalid type: integer `1`"),
            ("{ 'Ignore' }", "invalid type: sequence"),
        )
    ],
    "minimum": [
        ("'lots'", 'invalid value: string "lots", expected a percentage or a number'),
        ("'-1%'", 'invalid value: string "-1%", expected a percentage or a number'),
        ("'101%'", "invalid value: 101.0%, expected a percentage from 0% to 100%"),
        ("-1", "invalid value: integer `-1`, expected a number of zero or more"),
        ("0.1", "invalid type: floating point `0.1`, expected a percentage or a number"),
        ("true", "invalid type: boolean `true`, expected a percentage or a number"),
    ],
    "protocol": [
        *(
            (value, "data did not match any variant of untagged enum DeliveryProto")
            for value in ("'smtp'", "{}", "{ 'smtp' }", "{ lmtp = {} }")
        ),
        ("{ smtp = {}, maildir_path = 'x' }", "unknown field `maildir_path`, expected `smtp`"),
        ("{ smtp = true }", "invalid type: boolean `true`, expected struct SmtpProtocol"),
        (
            "{ smtp = { mxlist = {} } }",
            "unknown field `mxlist`, expected `mx_list` or `treat_mx_list_as_secure`",
        ),
        ("{ maildir_path = 5 }", "invalid type: integer `5`, expected a string"),
        (
            "{ maildir_path = 'x', mode = 5 }",
            "unknown field `mode`, expected one of `maildir_path`, `dir_mode`, `file_mode`",
        ),
        ("{ custom_lua = {} }", "missing field `constructor`"),
        (
            "{ custom_lua = { constructor = 'make.x', batch = 2 } }",
            f"unknown field `batch`, expected one of {LUA_FIELDS}",
        ),
        ("{ smtp = {}, custom_lua = {} }", "unknown field `custom_lua`, expected `smtp`"),
        ("{ xfer = { target = 'http://b.example:8000' } }", f"`xfer` is not implemented in kumo {VERSION}"),
        ("{ maildir_path = '{{ foo' }", f"`maildir_path` is no template: line 1: {UNFINISHED}"),
        (r"{ maildir_path = '/m/\n{{ foo' }", f"`maildir_path` is no template: line 2: {UNFINISHED}"),
        (
            "{ maildir_path = '/m/{{ domain | nope }}' }",
            "`maildir_path` is no template: line 1: No filter named 'nope'.",
        ),
    ],
}
BY_TYPE: dict[str, list[tuple[type[Any], str]]] = {
    "text": [
        (EsmtpListener, "hostname"),
        (EsmtpListener, "banner"),
        (EsmtpListener, "listen"),
        (Spool, "path"),
        (HttpListener, "listen"),
        (HttpListener, "hostname"),
        (LocalLogs, "filter_event"),
        (QueueConfig, "egress_pool"),
        (QueueConfig, "max_message_rate"),
        (QueueConfig, "provider_name"),
    ],
    "boolean": [
        (EsmtpListener, "deferred_spool"),
        (EsmtpListener, "deferred_queue"),
        (EsmtpListener, "allow_xclient"),
        (EsmtpListener, "require_proxy_protocol"),
        (ListenerDomain, "relay_to"),
        (Spool, "flush"),
    ],
    "usize": [
        (EsmtpListener, "data_buffer_size"),
        (EsmtpListener, "max_message_size"),
        (EsmtpListener, "max_recipients_per_message"),
        (EsmtpListener, "max_messages_per_connection"),
        (EsmtpListener, "max_connections"),
        (EsmtpListener, "line_length_hard_limit"),
        (HttpListener, "request_body_limit"),
        (LocalLogs, "max_file_size"),
        (LocalLogs, "back_pressure"),
    ],
    "duration": [
        (EsmtpListener, "client_timeout"),
        (EsmtpListener, "data_processing_timeout"),
        (LocalLogs, "max_segment_duration"),
        (QueueConfig, "retry_interval"),
        (QueueConfig, "max_retry_interval"),
        (QueueConfig, "max_age"),
        (QueueConfig, "reap_interval"),
        (QueueConfig, "refresh_interval"),
        (QueueConfig, "timerwheel_tick_interval"),
    ],
    "cidr": [
        (EsmtpListener, "relay_hosts"),
        (ListenerOverrides, "relay_hosts"),
        (ListenerDomain, "relay_from"),
        (HttpListener, "trusted_hosts"),
    ],
    "overrides": [(EsmtpListener, "peer"), (EsmtpListener, "via"), (ListenerOverrides, "peer")],
    "json": [(EsmtpListener, "meta"), (ListenerOverrides, "meta")],
    "reports": [(ListenerDomain, "log_arf"), (ListenerDomain, "log_oob")],
    "texts": [(LocalLogs, "meta"), (LocalLogs, "headers")],
    "key source": [
        (EsmtpListener, "tls_certificate"),
        (EsmtpListener, "tls_private_key"),
        (ListenerOverrides, "tls_required_client_ca"),
    ],
    "minimum": [(Spool, "min_free_space"), (Spool, "min_free_inodes"), (LocalLogs, "min_free_space")],
    "protocol": [(QueueConfig, "protocol")],
}
BAD = [
    (dataclass_type, key, value, text.replace("{nan}", "nan"))
    for kind, fields in BY_TYPE.items()
    for dataclass_type, key in fields
    for value, text in BAD_BY_TYPE[kind]
]


@pytest.mark.parametrize(("dataclass_type", "key", "value", "text"), BAD)
def test_a_bad_value_is_refused_in_serdes_words(
    lua: Any, dataclass_type: type[Any], key: str, value: str, text: str
) -> None:
    # Whether 0/0 prints its sign is the C library's choice.
    error = problem(lua, dataclass_type, f"{{ {REQUIRED.get(dataclass_type, '')}{key} = {value} }}")
    assert detail(error).replace("-nan", "nan") == text
    assert f"in `{key}" in str(error)


ENUMS: list[tuple[type[Any], str, str]] = [
    (EsmtpListener, "invalid_line_endings", "expected one of `Deny`, `Allow`, `Fix`"),
    (EsmtpListener, "batch_handling", "expected `BifurcateAlways` or `BatchByDomain`"),
    (Spool, "kind", "expected `LocalDisk` or `RocksDB`"),
    (QueueConfig, "refresh_strategy", "expected `Ttl` or `Epoch`"),
    (
        QueueConfig,
        "strategy",
        "expected one of `TimerWheel`, `SkipList`, `SingletonTimerWheel`, `SingletonTimerWheelV2`",
    ),
]


@pytest.mark.parametrize(("dataclass_type", "key", "expected"), ENUMS)
def test_a_choice_is_case_sensitive_and_names_its_variants(
    lua: Any, dataclass_type: type[Any], key: str, expected: str
) -> None:
    start = REQUIRED.get(dataclass_type, "")
    assert detail(problem(lua, dataclass_type, f"{{ {start}{key} = 'nonsense' }}")) == (
        f"unknown variant `nonsense`, {expected}"
    )
    assert detail(problem(lua, dataclass_type, f"{{ {start}{key} = true }}")) == (
        "invalid type: boolean `true`, expected string or map"
    )


def test_a_choice_in_the_wrong_case_is_pointed_out(lua: Any) -> None:
    error = problem(lua, EsmtpListener, "{ invalid_line_endings = 'deny' }")
    assert error.hint == "in `invalid_line_endings`; did you mean `Deny`?"


NESTED = [
    (
        "{ header = 'X' }",
        (
            "unknown field `header`, expected one of `received_header`, `supplemental_header`, "
            "`header_name`, `include_meta_names`"
        ),
    ),
    ("{ received_header = 'yes' }", 'invalid type: string "yes", expected a boolean'),
    ("{ supplemental_header = 0 }", "invalid type: integer `0`, expected a boolean"),
    ("{ header_name = 5 }", "invalid type: integer `5`, expected a string"),
    (
        "{ header_name = 'X Y' }",
        "invalid header name `X Y`: expected printable US-ASCII without colon or blank",
    ),
    ("{ include_meta_names = 'a' }", 'invalid type: string "a", expected a sequence'),
    ("true", "invalid type: boolean `true`, expected struct TraceHeaders"),
    ("{ true }", "invalid type: sequence, expected struct TraceHeaders"),
]


@pytest.mark.parametrize(("value", "text"), NESTED)
def test_nested_tables_are_checked_the_same_way(lua: Any, value: str, text: str) -> None:
    error = problem(lua, EsmtpListener, f"{{ trace_headers = {value} }}")
    assert detail(error) == text
    assert "in `trace_headers" in (error.hint or "")


def test_the_error_names_script_constructor_parameter_and_table(lua: Any) -> None:
    error = problem(lua, EsmtpListener, "{ banner = 'b', trace_headers = { header_name = 5 } }")
    assert str(error) == (
        "init.lua:7: kumo.make_it: deserialize error: invalid type: integer `5`, expected a string, "
        'while processing {"banner":"b","trace_headers":{"header_name":5}} (in `trace_headers.header_name`)'
    )


@pytest.mark.parametrize("dataclass_type", [EsmtpListener, ListenerOverrides, HttpListener])
def test_a_hostname_is_one_word(lua: Any, dataclass_type: type[Any]) -> None:
    error = problem(lua, dataclass_type, "{ hostname = 'mx\\r\\nX-Evil: 1' }")
    assert detail(error).startswith("invalid hostname 'mx\\r\\nX-Evil: 1': ")
    assert "in `hostname`" in (error.hint or "")


@pytest.mark.parametrize(
    ("key", "meant"),
    [("host_name", "hostname"), ("Banner", "banner"), ("relay_host", "relay_hosts"), ("peers", "peer")],
)
def test_an_unknown_key_is_answered_with_the_one_that_was_meant(lua: Any, key: str, meant: str) -> None:
    error = problem(lua, EsmtpListener, f"{{ {key} = 1 }}", names_alternatives=False)
    assert detail(error) == f"unknown field `{key}`"
    assert error.hint == f"did you mean `{meant}`?"


def test_a_key_like_no_other_gets_no_suggestion(lua: Any) -> None:
    assert problem(lua, EsmtpListener, "{ qqqqqq = 1 }").hint is None


def test_alternatives_are_listed_where_upstream_lists_them(lua: Any) -> None:
    assert detail(problem(lua, HttpListener, "{ port = 8000 }")) == (
        "unknown field `port`, expected one of `listen`, `hostname`, `request_body_limit`, `trusted_hosts`"
    )


@pytest.mark.parametrize("key", sorted(HttpListener.NOT_IMPLEMENTED))
def test_parameters_of_later_versions_are_refused_not_ignored(lua: Any, key: str) -> None:
    error = problem(lua, HttpListener, f"{{ {key} = {{ a = 1 }} }}")
    assert re.fullmatch(rf"`{key}` is not implemented in kumo [\d.]+-kumo\.\d+\.\d+\.\d+", detail(error))


def test_switching_off_what_is_not_there_is_no_error(lua: Any) -> None:
    assert read(lua, HttpListener, "{ use_tls = false }") == HttpListener()


IN_OVERRIDES = [
    ("{ peer = { ['10.0.0.0/8'] = { banner = 5 } } }", "peer.10.0.0.0/8.banner", "a string"),
    (
        "{ via = { any = { peer = { ['::/0'] = { trace_headers = { header_name = 5 } } } } } }",
        "via.any.peer.::/0.trace_headers.header_name",
        "a string",
    ),
    ("{ peer = { any = { relay_hosts = { 'any', 5 } } } }", "peer.any.relay_hosts.2", "a string"),
    ("{ peer = { any = { meta = { a = { print } } } } }", "peer.any.meta.a.1", "any valid JSON value"),
    ("{ peer = { any = { client_timeout = 'soon' } } }", "peer.any.client_timeout", "a duration"),
]


@pytest.mark.parametrize(("table", "path", "wanted"), IN_OVERRIDES)
def test_the_path_of_a_mistake_names_every_block(lua: Any, table: str, path: str, wanted: str) -> None:
    error = problem(lua, EsmtpListener, table, names_alternatives=False)
    assert detail(error).endswith(f", expected {wanted}")
    assert error.hint == f"in `{path}`"


def test_an_unknown_key_in_a_block_is_answered_with_all_that_a_block_may_have(lua: Any) -> None:
    error = problem(lua, EsmtpListener, "{ via = { any = { bannr = 'x' } } }", names_alternatives=False)
    names = [field.name for field in dataclasses.fields(ListenerOverrides)]
    assert names[0] == "hostname"
    assert detail(error) == (
        "unknown field `bannr`, expected one of " + ", ".join(f"`{name}`" for name in names)
    )
    assert error.hint == "in `via.any`; did you mean `banner`?"


@pytest.mark.parametrize("key", ["listen", "max_connections"])
@pytest.mark.parametrize(
    "block", ["{ peer = { any = { KEY = 5 } } }", "{ peer = { any = { via = { any = { KEY = 5 } } } } }"]
)
def test_what_only_the_listener_has_is_unknown_in_a_block(lua: Any, key: str, block: str) -> None:
    error = problem(lua, EsmtpListener, block.replace("KEY", key), names_alternatives=False)
    assert detail(error).startswith(f"unknown field `{key}`, expected one of `hostname`, `banner`, ")
    assert (error.hint or "").endswith(
        f"; `{key}` is one for the whole listener: give it beside `peer` and `via` at the top"
    )


def test_an_unknown_listener_domain_key_is_answered_in_kumomtas_order(lua: Any) -> None:
    error = problem(lua, ListenerDomain, "{ relay_too = true }")
    assert detail(error) == (
        "unknown field `relay_too`, expected one of `log_oob`, `log_arf`, `relay_to`, `relay_from`, `ttl`"
    )
    assert error.hint == "did you mean `relay_to`?"


def test_a_report_word_in_the_wrong_case_is_pointed_out(lua: Any) -> None:
    error = problem(lua, ListenerDomain, "{ log_oob = 'logthendrop' }")
    assert error.hint == "in `log_oob`; did you mean `LogThenDrop`?"


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        bytes(range(256)),
        bytes(range(255, -1, -1)),
        b"\xed\xa0\x80 a surrogate \xf4\x90\x80\x80 past Unicode \xc0\x80 too long",
        "ü€𝄞 in UTF-8".encode(),
        b"-----BEGIN PRIVATE KEY-----\r\n",
    ],
)
def test_key_octets_survive_whatever_they_are(lua: Any, octets: bytes) -> None:
    lua.runtime.globals()["octets"] = octets.decode("latin-1")
    table = "{ peer = { any = { tls_private_key = { key_data = octets } } } }"
    [(_, block)] = read(lua, EsmtpListener, table).peer.items()
    assert block.tls_private_key == KeyData(octets)


@pytest.mark.parametrize(
    ("dataclass_type", "table", "field"),
    [(Spool, "{ path = '/s' }", "name"), (Spool, "{ name = 'data' }", "path"), (LocalLogs, "{}", "log_dir")],
)
def test_a_missing_key_is_named(lua: Any, dataclass_type: type[Any], table: str, field: str) -> None:
    assert detail(problem(lua, dataclass_type, table)) == f"missing field `{field}`"


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ("{ 'data' }", "invalid type: sequence, expected struct Spool"),
        ("{ name = 'data', 'x' }", "invalid type: integer `1`, expected field identifier"),
        ("{ [true] = 1 }", "a table key must be a string or an integer, not a boolean"),
        ("{ [1.5] = 1 }", "a table key must be a string or an integer, not the number 1.5"),
        ("{ [{}] = 1 }", "a table key must be a string or an integer, not a table"),
    ],
)
def test_odd_tables_are_refused(lua: Any, table: str, text: str) -> None:
    assert detail(problem(lua, Spool, table)) == text


def test_a_table_that_contains_itself_is_refused(lua: Any) -> None:
    lua.runtime.execute("loop = { name = 'data' } loop.again = loop")
    assert "nested deeper than 128 levels" in detail(problem(lua, Spool, "loop"))


def test_a_record_template_is_looked_at_when_the_logger_is_made(lua: Any) -> None:
    table = "{ log_dir = '/l', per_record = { Reception = { template = '{{ id' } } }"
    error = problem(lua, LocalLogs, table)
    assert error.source == "init.lua:7"
    assert detail(error) == f"`template` is no template: line 1: {UNFINISHED}"
    assert error.hint == "in `per_record.Reception`"


def test_a_dynamic_map_names_the_entry_that_is_wrong(lua: Any) -> None:
    error = problem(lua, LocalLogs, "{ log_dir = '/l', per_record = { Any = { enabled = true } } }")
    assert detail(error).startswith("unknown field `enabled`, expected one of `suffix`, ")
    assert error.hint == "in `per_record.Any`; did you mean `enable`?"
    assert detail(problem(lua, LocalLogs, "{ log_dir = '/l', per_record = { 'x' } }")) == (
        "invalid type: sequence, expected a map"
    )


SECRETS = [
    "tls_private_key = { key_data = 'hunter2' }",
    "tls_private_key = { vault_mount = 'm', vault_path = 'p', vault_token = 'hunter2' }",
    "tls_private_key = { vault_mount = 'm', vault_tokn = 'hunter2', vault_token = 'hunter2', key_data = 5 }",
    "tls_private_key = '-----BEGIN PRIVATE KEY----- hunter2'",
    "password = 'hunter2'",
    "some = { deep = { smtp_auth_plain_password = { key_data = 'hunter2' } } }",
    "vault_token = { 'hunter2' }",
    "peer = { any = { tls_private_key = { key_data = 'hunter2' } } }",
    "via = { any = { peer = { any = { tls_certificate = { vault_token = { 'hunter2' } } } } } }",
    "peer = { any = { tls_private_key = '-----BEGIN PRIVATE KEY----- hunter2' } }",
    "meta = { api_token = 'hunter2' }",
    "tls_private_key = { vault_mount = 'm', vault_path = 'p', vault_token = { 'hunter2' } }",
]


def test_a_key_in_place_of_its_path_is_not_shown(lua: Any) -> None:
    error = problem(lua, EsmtpListener, "{ tls_private_key = '-----BEGIN EC PRIVATE KEY-----\\nhunter2' }")
    assert "hunter2" not in str(error)
    assert error.hint == "in `tls_private_key`; write `{ key_data = ... }` for a key in the policy"


@pytest.mark.parametrize("entry", SECRETS)
def test_secrets_never_reach_an_error_text(lua: Any, entry: str) -> None:
    text = str(
        problem(lua, EsmtpListener, f"{{ banner = 5, {entry.replace('vault_tokn', 'vault_token_')} }}")
    )
    assert "hunter2" not in text
    assert "***" in text


def test_the_shown_json_is_json_whatever_the_octets(lua: Any) -> None:
    error = problem(lua, EsmtpListener, "{ banner = 5, hostname = 'a\\xff\\n\\0b' }")
    found = FRAME.fullmatch(error.detail)
    assert found
    assert json.loads(found[2].replace("\\udcff", "?")) == {"banner": 5, "hostname": "a?\n\0b"}
    assert "\n" not in str(error)
    str(error).encode("utf-8")


def test_plain_parameters_may_be_converted_again(lua: Any) -> None:
    plain = plain_parameters(lua.value("{ name = 'data', path = '/s' }"), constructor="kumo.define_spool")
    assert plain == {"name": "data", "path": "/s"}
    assert convert(plain, Spool, constructor="kumo.define_spool") == Spool(name="data", path="/s")


def test_a_list_where_parameters_belong_is_refused_with_its_kind(lua: Any) -> None:
    error = problem(lua, Spool, "5")
    assert detail(error) == "invalid type: integer `5`, expected struct Spool"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Odd:
    ratio: complex = 0j


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Undecided:
    either: int | str = 0


@pytest.mark.parametrize("dataclass_type", [Odd, Undecided])
def test_a_field_type_that_has_no_reader_is_a_bug_that_shows_at_once(dataclass_type: Any) -> None:
    with pytest.raises(TypeError, match="no reader for"):
        schema_of(dataclass_type)


def test_markers_other_than_kinds_are_passed_over() -> None:
    assert reader_for(Annotated[bool, "a remark"])(True) is True
