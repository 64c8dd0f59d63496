from __future__ import annotations

import base64
import json
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kumo.config import TraceHeaders
from kumo.message import Connection, received_date, received_field, received_protocol, supplemental_field
from kumo.message.trace import supplemental_content
from kumo.smtp import EnvelopeAddress

RECIPIENT = EnvelopeAddress("test", "example.com")


def _connection(**fields: Any) -> Connection:
    parameters: dict[str, Any] = {
        "peer_ip": "192.0.2.7",
        "peer_port": 4711,
        "local_ip": "192.0.2.1",
        "local_port": 25,
        "session_id": "s",
        "hostname": "mx.example.org",
        "ehlo_domain": "client.example",
    }
    return Connection(**{**parameters, **fields})


def test_received_is_exact() -> None:
    field = received_field(_connection(), "0123", RECIPIENT, "Tue, 8 Mar 2005 14:00:00 +0000")
    assert field == (
        b"Received: from client.example (192.0.2.7)\r\n"
        b"  by mx.example.org (KumoMTA 192.0.2.1) \r\n"
        b"  with ESMTP id 0123 for <test@example.com>;\r\n"
        b"  Tue, 8 Mar 2005 14:00:00 +0000\r\n"
    )


def test_received_under_tls_has_two_blanks_before_id() -> None:
    connection = _connection(
        ehlo_domain=None,
        peer_ip="2001:db8::7",
        local_ip="2001:db8::1",
        is_authenticated=True,
        tls_protocol_version="TLSv1_3",
        tls_cipher="TLS13_AES_256_GCM_SHA384",
    )
    assert (
        received_field(connection, "0123", EnvelopeAddress('"a b"', "é.example"), "DATE")
        == (
            "Received: from unspecified (2001:db8::7)\r\n"
            "  by mx.example.org (KumoMTA 2001:db8::1) \r\n"
            '  with ESMTPSA (TLSv1_3:TLS13_AES_256_GCM_SHA384)  id 0123 for <"a b"@é.example>;\r\n'
            "  DATE\r\n"
        ).encode()
    )


@pytest.mark.parametrize(
    ("is_authenticated", "tls", "words"),
    [
        (False, None, "ESMTP"),
        (True, None, "ESMTP"),
        (False, "TLSv1_2", "ESMTPS (TLSv1_2:C) "),
        (True, "TLSv1_2", "ESMTPSA (TLSv1_2:C) "),
    ],
)
def test_protocol_words(is_authenticated: bool, tls: str | None, words: str) -> None:
    connection = _connection(is_authenticated=is_authenticated, tls_protocol_version=tls, tls_cipher="C")
    assert received_protocol(connection) == words


@pytest.mark.parametrize(
    ("unix", "text"),
    [
        (1110290400.9, "Tue, 8 Mar 2005 14:00:00 +0000"),
        (0, "Thu, 1 Jan 1970 00:00:00 +0000"),
        (-1, "Wed, 31 Dec 1969 23:59:59 +0000"),
        (1735689599, "Tue, 31 Dec 2024 23:59:59 +0000"),
    ],
)
def test_date_is_utc_without_leading_zero(unix: float, text: str) -> None:
    assert received_date(unix) == text
    assert parsedate_to_datetime(text).timestamp() == int(unix)


def test_a_date_is_that_of_its_second_whatever_was_printed_before() -> None:
    printed = [received_date(unix) for unix in (5.9, 6.0, 6.5, 5.0)]
    assert [text[16:24] for text in printed] == ["00:00:05", "00:00:06", "00:00:06", "00:00:05"]


def test_supplemental_header_is_exact() -> None:
    assert supplemental_field(TraceHeaders(), [RECIPIENT], {}) == (
        b"X-KumoRef: eyJfQF8iOiJcXF8vIiwicmVjaXBpZW50IjoidGVzdEBleGFtcGxlLmNvbSJ9\r\n"
    )


def _decoded(field: bytes) -> str:
    payload = field.partition(b": ")[2].replace(b"\r\n\t", b"").removesuffix(b"\r\n")
    return base64.b64decode(payload, validate=True).decode()


@pytest.mark.parametrize(
    ("recipients", "names", "meta", "text"),
    [
        ([], (), {}, '{"_@_":"\\\\_/","recipient":[]}'),
        (
            [RECIPIENT, EnvelopeAddress("b", "c")],
            (),
            {"tenant": "unlisted"},
            '{"_@_":"\\\\_/","recipient":["test@example.com","b@c"]}',
        ),
        (
            [EnvelopeAddress("a", "b")],
            ("zone", "absent", "null", "Tenant", "0"),
            {"zone": {"z": 1, "a": [True, None]}, "null": None, "Tenant": "é/", "0": 1.5},
            '{"0":1.5,"Tenant":"é/","_@_":"\\\\_/","recipient":"a@b","zone":{"a":[true,null],"z":1}}',
        ),
        (
            [EnvelopeAddress("a", "b")],
            ("recipient",),
            {"recipient": "mine"},
            '{"_@_":"\\\\_/","recipient":"mine"}',
        ),
        (
            [EnvelopeAddress("a", "b")],
            ("t",),
            {"t": ["\udcff"]},
            '{"_@_":"\\\\_/","recipient":"a@b","t":["\ufffd"]}',
        ),
        ([EnvelopeAddress("a\udcff", "b")], (), {}, '{"_@_":"\\\\_/","recipient":"a\ufffd@b"}'),
    ],
)
def test_supplemental_content(
    recipients: list[EnvelopeAddress], names: tuple[str, ...], meta: dict[str, Any], text: str
) -> None:
    field = supplemental_field(TraceHeaders(include_meta_names=names), recipients, meta)
    assert _decoded(field) == text


@pytest.mark.parametrize("length", range(1, 210))
def test_supplemental_folding(length: int) -> None:
    parameters = TraceHeaders(header_name="X-Ref")
    recipient = EnvelopeAddress("a" * length, "b")
    lines = supplemental_field(parameters, [recipient], {}).split(b"\r\n")
    assert lines.pop() == b""
    pieces = [lines[0].removeprefix(b"X-Ref: "), *(line.removeprefix(b"\t") for line in lines[1:])]
    assert all(line.startswith(b"\t") for line in lines[1:])
    assert {len(piece) for piece in pieces[:-1]} <= {75}
    assert 1 <= len(pieces[-1]) <= 75
    assert json.loads(base64.b64decode(b"".join(pieces), validate=True))["recipient"] == recipient.email


def _encoded(text: str) -> bytes:
    return base64.b64encode(text.encode())


@pytest.mark.parametrize("length", range(1, 210))
def test_what_is_written_is_read_back(length: int) -> None:
    meta = {"tenant": "t" * length, "zone": {"a": [1, None]}}
    field = supplemental_field(TraceHeaders(include_meta_names=("tenant", "zone")), [RECIPIENT], meta)
    raw = field.partition(b":")[2]
    expected = {"recipient": RECIPIENT.email, **meta}
    assert supplemental_content(raw) == expected
    assert supplemental_content(raw.replace(b"\r\n", b"\n")) == expected


DEEP = '{"_@_":"\\\\_/","a":' + "[" * 99 + "]" * 99 + "}"
LONG = '{"_@_":"\\\\_/","a":"' + "x" * 12_266 + '"}'


@pytest.mark.parametrize(
    ("raw", "content"),
    [
        (_encoded('{"_@_":"\\\\_/"}'), {}),
        (_encoded('{ "a": 1, "_@_" : "\\\\_/" }'), {"a": 1}),
        (b" \t" + _encoded('{"_@_":"\\\\_/"}') + b"\r", {}),
        (_encoded('{"_@_":"_/"}'), None),
        (_encoded('{"_@_":1}'), None),
        (_encoded('{"recipient":"a"}'), None),
        (_encoded('["_@_"]'), None),
        (_encoded('{"_@_":"\\\\_/"} x'), None),
        (_encoded('{"_@_":"\\\\_/"'), None),
        (_encoded('{"_@_":"\\\\_/","a":"\\ud800"}'), None),
        (_encoded('{"_@_":"\\\\_/","a":1e999}'), None),
        (base64.b64encode(b'{"_@_":"\\\\_/","a":"\xff"}'), None),
        (_encoded('{"_@_":"\\\\_/","a":""}')[:-2], None),
        (_encoded('{"_@_":"\\\\_/"}') + b"=", None),
        (_encoded('{"_@_":"\\\\_/"}') + b"!", None),
        (b"eyJfQF8iOiJcXF8vIn1=", None),
        (base64.urlsafe_b64encode(b'{"_@_":"\\\\_/","a":"???>>>"}'), None),
        (b"hello", None),
        (b"", None),
        (_encoded(DEEP), {"a": json.loads(DEEP)["a"]}),
        (_encoded(DEEP.replace("[]", "[[]]")), None),
        (_encoded('{"_@_":"\\\\_/","a":' + "[" * 5000), None),
        (_encoded(LONG), {"a": "x" * 12_266}),
        (_encoded(LONG.replace('"}', 'xxxx"}')), None),
    ],
)
def test_only_the_marked_object_is_read(raw: bytes, content: dict[str, Any] | None) -> None:
    assert supplemental_content(raw) == content


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=100), st.text(max_size=100).map(_encoded)))
def test_any_octets_are_read_without_an_exception(raw: bytes) -> None:
    assert supplemental_content(raw) is None
