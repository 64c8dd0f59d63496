"""The smaller values: minimum free space, throttles, socket addresses, log and trace parameters."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kumo.config import (
    RECORD_TYPES,
    AcctLog,
    EsmtpListener,
    KeyData,
    KeyVault,
    LocalLogs,
    MinFree,
    RecordParameters,
    TraceHeaders,
    check_hostname,
    parse_socket_address,
    parse_throttle,
)


@pytest.mark.parametrize(
    ("minimum", "free", "total", "met"),
    [
        (MinFree(percent=10.0), 10, 100, True),
        (MinFree(percent=10.0), 9, 100, False),
        (MinFree(percent=0.0), 0, 100, True),
        (MinFree(percent=100.0), 99, 100, False),
        (MinFree(percent=10.0), 0, 0, True),
        (MinFree(absolute=5), 5, 100, True),
        (MinFree(absolute=5), 4, 100, False),
        (MinFree(absolute=0), 0, 0, True),
    ],
)
def test_minimum_free_compares_percent_or_number(minimum: MinFree, free: int, total: int, met: bool) -> None:
    assert minimum.is_met(free, total) is met


@pytest.mark.parametrize(
    ("percent", "absolute"), [(None, None), (1.0, 1), (-1.0, None), (100.5, None), (None, -1)]
)
def test_minimum_free_is_exactly_one_sensible_value(percent: float | None, absolute: int | None) -> None:
    with pytest.raises(ValueError):
        MinFree(percent=percent, absolute=absolute)


@settings(max_examples=100, deadline=None)
@given(st.floats(0, 100), st.integers(1, 10**15))
def test_a_full_disk_meets_no_percentage_but_zero(percent: float, total: int) -> None:
    assert MinFree(percent=percent).is_met(0, total) is (percent == 0)


@pytest.mark.parametrize(
    "text",
    [
        "100/s",
        "1,000/5min",
        "1_000/hour",
        "local:10/d",
        "5/10seconds",
        "100/day,max_burst=3",
        "7/2hrs",
        "1/m",
    ],
)
def test_throttles_are_kept_as_written(text: str) -> None:
    assert parse_throttle(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "100",
        "100/",
        "/s",
        "-1/s",
        "1.5/s",
        "100/fortnight",
        "100 / s",
        "x/s",
        "100/s,burst=1",
        "global:1/s",
    ],
)
def test_other_text_is_no_throttle(text: str) -> None:
    with pytest.raises(ValueError, match=r"^invalid value: string .* expected a throttle such as"):
        parse_throttle(text)


@pytest.mark.parametrize("text", ["0/s", "0,000/min", "local:00/h"])
def test_a_throttle_of_zero_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="more than zero"):
        parse_throttle(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:2025", ("127.0.0.1", 2025)),
        ("0:25", ("0", 25)),
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("[::]:25", ("::", 25)),
        ("[2001:db8::1]:65535", ("2001:db8::1", 65535)),
        ("mx.example.com:25", ("mx.example.com", 25)),
    ],
)
def test_listen_addresses_split_at_the_last_colon(text: str, address: tuple[str, int]) -> None:
    assert parse_socket_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "127.0.0.1",
        ":25",
        "*:25",
        "127.0.0.1:",
        "127.0.0.1:x",
        "127.0.0.1:-1",
        "127.0.0.1:65536",
        "::1:25",
        "[::1",
        "[::1]",
        "[::g]:25",
        "127.0.0.1:٢٥",
        "127.0.0.1:" + "9" * 5000,
    ],
)
def test_other_listen_addresses_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^invalid socket address syntax `"):
        parse_socket_address(text)


@pytest.mark.parametrize("name", ["X-KumoRef", "x", "!#$%&'*+-.^_`|~"])
def test_trace_header_names_follow_rfc_5322(name: str) -> None:
    assert TraceHeaders(header_name=name).header_name == name


@pytest.mark.parametrize("name", ["", "X Ref", "X:Ref", "X-\r\nEvil", "X-é", "X\x7f"])
def test_other_trace_header_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="invalid header name"):
        TraceHeaders(header_name=name)


@pytest.mark.parametrize("name", [*RECORD_TYPES, "Any"])
def test_every_record_type_may_have_parameters(name: str) -> None:
    logs = LocalLogs(log_dir="/x", per_record={name: RecordParameters(enable=False)})
    assert logs.per_record[name].enable is False


def test_an_unknown_record_type_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^unknown variant `Recption`, expected one of `Reception`, "):
        LocalLogs(log_dir="/x", per_record={"Recption": RecordParameters()})


@pytest.mark.parametrize("level", [-131_072, 0, 22])
def test_zstd_levels_at_the_bounds_are_taken(level: int) -> None:
    assert LocalLogs(log_dir="/x", compression_level=level).compression_level == level
    assert AcctLog(log_dir="/x", compression_level=level).compression_level == level


@pytest.mark.parametrize("level", [-131_073, 23])
def test_zstd_levels_past_the_bounds_are_refused(level: int) -> None:
    with pytest.raises(ValueError, match=f"^invalid value: integer `{level}`, expected a zstd level"):
        LocalLogs(log_dir="/x", compression_level=level)
    with pytest.raises(ValueError, match=f"^invalid value: integer `{level}`, expected a zstd level"):
        AcctLog(log_dir="/x", compression_level=level)


@pytest.mark.parametrize("name", ["mx", "mx.example.com", "mäil.example", "[192.0.2.1]", "a_b", "x" * 255])
def test_a_hostname_that_fits_a_line_is_taken(name: str) -> None:
    check_hostname(name)


@pytest.mark.parametrize(
    "name", ["", "a b", "a\tb", "a\r\nb", "a\n", "a\0", "\x7f", "a\x85", "a\udcff", "x" * 256, "ä" * 128]
)
def test_a_hostname_that_breaks_a_line_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"^invalid hostname '"):
        check_hostname(name)


def test_secrets_are_not_in_a_repr() -> None:
    vault = KeyVault(vault_mount="secret", vault_path="tls", vault_token="hvs.token")  # noqa: S106 - a test's
    assert "hvs.token" not in repr(vault)
    assert "octets" not in repr(KeyData(b"octets"))


def test_parameters_cannot_be_changed() -> None:
    listener = EsmtpListener()
    with pytest.raises(dataclasses.FrozenInstanceError):
        listener.listen = "0:25"  # type: ignore[misc]
