from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from kumo.egress import Disposition
from kumo.logs.queue_records import expiration_record, outcome_records
from kumo.logs.record import EnhancedCode, LogRecord, encode_record, make_response
from kumo.logs.session_records import reception_record, rejection_record
from kumo.smtp import NULL_REVERSE_PATH, POSTMASTER, Reply
from tests.logs.samples import NODE_ID, NOW, SESSION_ID, SPOOL_ID, address, make_connection, make_message

CREATED = b'"created":1795416477,"created_time":"2026-11-23T06:47:57.873409500Z"'
SHARED = (
    b'"egress_pool":null,"egress_source":null,"source_address":null,"feedback_report":null,'
    b'"meta":{},"headers":{}'
)


def reception(**changes: Any) -> LogRecord:
    return reception_record(
        make_message(**changes), make_connection(), "example.org", node_id=NODE_ID, now=NOW
    )


def decoded(record: LogRecord) -> dict[str, Any]:
    line = encode_record(record)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    fields: dict[str, Any] = msgspec.json.decode(line)
    return fields


def test_a_reception_record_to_the_octet() -> None:
    assert encode_record(reception()) == (
        b'{"type":"Reception","id":"d161520fe70911f189f502fc00000001","sender":"alice@example.com",'
        b'"recipient":"bob@example.org","queue":"example.org","site":"","size":22,'
        b'"response":{"code":250,"enhanced_code":null,"content":"","command":null},'
        b'"peer_address":{"name":"client.example.com","addr":"192.0.2.1"},'
        b'"timestamp":1795416478,"event_time":"2026-11-23T06:47:58.250Z",' + CREATED + b',"num_attempts":0,'
        b'"bounce_classification":"Uncategorized",' + SHARED + b',"delivery_protocol":null,'
        b'"reception_protocol":"ESMTP","nodeid":"01234567-89ab-4cde-8f01-23456789abcd",'
        b'"session_id":"11111111-2222-4333-8444-555555555555"}\n'
    )


def test_a_rejection_record_to_the_octet() -> None:
    record = rejection_record(
        make_connection(),
        Reply(550, "5.7.1 relaying not permitted for 192.0.2.1:40001"),
        "RCPT TO:<x@example.net>",
        address("alice@example.com"),
        address("bob@example.org"),
        node_id=NODE_ID,
        now=NOW,
    )
    assert encode_record(record) == (
        b'{"type":"Rejection","id":"","sender":"alice@example.com","recipient":"bob@example.org","queue":"","site":"",'
        b'"size":0,"response":{"code":550,"enhanced_code":{"class":5,"subject":7,"detail":1},'
        b'"content":"relaying not permitted for 192.0.2.1:40001","command":"RCPT TO:<x@example.net>"},'
        b'"peer_address":{"name":"client.example.com","addr":"192.0.2.1"},"timestamp":1795416478,'
        b'"event_time":"2026-11-23T06:47:58.250Z","created":1795416478,"created_time":"2026-11-23T06:47:58.250Z",'
        b'"num_attempts":0,"bounce_classification":"Uncategorized",' + SHARED + b',"delivery_protocol":null,'
        b'"reception_protocol":null,"nodeid":"01234567-89ab-4cde-8f01-23456789abcd",'
        b'"session_id":"11111111-2222-4333-8444-555555555555"}\n'
    )


def test_the_records_of_an_attempt_to_the_octet() -> None:
    message = make_message(recipients=[address("bob@example.org"), address("carol@example.org")])
    message.num_attempts = 3
    disposition = Disposition(
        delivered=(message.recipients[0],),
        failed=(message.recipients[1],),
        delivered_response="bob@example.org: wrote to maildir with id=1",
        failed_response="carol@example.org: failed to write to maildir: no",
        delivery_protocol="Maildir",
        session_id=SESSION_ID,
    )
    begin = (
        b'"id":"d161520fe70911f189f502fc00000001","sender":"alice@example.com",'
        b'"recipient":["bob@example.org","carol@example.org"],"queue":"example.org","site":"","size":22,'
    )
    end = (
        b'"peer_address":null,"timestamp":1795416478,"event_time":"2026-11-23T06:47:58.250Z",'
        + CREATED
        + b',"num_attempts":3,"bounce_classification":"Uncategorized",'
        + SHARED
        + b',"delivery_protocol":"Maildir","reception_protocol":"ESMTP",'
        b'"nodeid":"01234567-89ab-4cde-8f01-23456789abcd","session_id":"11111111-2222-4333-8444-555555555555"}\n'
    )
    records = outcome_records(message, disposition, "example.org", node_id=NODE_ID, now=NOW)
    assert [encode_record(record) for record in records] == [
        b'{"type":"Delivery",' + begin + b'"response":{"code":200,"enhanced_code":null,'
        b'"content":"bob@example.org: wrote to maildir with id=1","command":null},' + end,
        b'{"type":"TransientFailure",' + begin + b'"response":{"code":400,"enhanced_code":null,'
        b'"content":"carol@example.org: failed to write to maildir: no","command":null},' + end,
    ]


@pytest.mark.parametrize(
    ("delivered", "failed", "types"),
    [("ok", None, ["Delivery"]), (None, "no", ["TransientFailure"]), (None, None, [])],
)
def test_an_attempt_has_a_record_for_each_outcome(
    delivered: str | None, failed: str | None, types: list[str]
) -> None:
    disposition = Disposition(
        delivered=(),
        failed=(),
        delivered_response=delivered,
        failed_response=failed,
        delivery_protocol="Maildir",
        session_id=SESSION_ID,
    )
    records = outcome_records(make_message(), disposition, "example.org", node_id=NODE_ID, now=NOW)
    assert [record.type.value for record in records] == types


def test_an_expiration_record_to_the_octet() -> None:
    record = expiration_record(make_message(body=None), "example.org", "too\r\nold", node_id=NODE_ID, now=NOW)
    assert encode_record(record) == (
        b'{"type":"Expiration","id":"d161520fe70911f189f502fc00000001","sender":"alice@example.com",'
        b'"recipient":"bob@example.org","queue":"example.org","site":"","size":0,'
        b'"response":{"code":551,"enhanced_code":{"class":5,"subject":4,"detail":7},'
        b'"content":"too old","command":null},'
        b'"peer_address":null,"timestamp":1795416478,"event_time":"2026-11-23T06:47:58.250Z",'
        + CREATED
        + b","
        b'"num_attempts":0,"bounce_classification":"Uncategorized",' + SHARED + b',"delivery_protocol":null,'
        b'"reception_protocol":"ESMTP","nodeid":"01234567-89ab-4cde-8f01-23456789abcd"}\n'
    )


@pytest.mark.parametrize(
    ("recipients", "logged"),
    [
        ([], []),
        (["bob@example.org"], "bob@example.org"),
        (["bob@example.org", "bob@example.org"], ["bob@example.org", "bob@example.org"]),
    ],
)
def test_one_recipient_is_a_string_and_others_are_an_array(recipients: list[str], logged: object) -> None:
    record = reception(recipients=[address(text) for text in recipients])
    assert decoded(record)["recipient"] == logged


def test_null_sender_and_bare_postmaster_are_printed() -> None:
    fields = decoded(reception(sender=NULL_REVERSE_PATH, recipients=[POSTMASTER]))
    assert (fields["sender"], fields["recipient"]) == ("", "Postmaster")


def test_the_size_counts_trace_fields() -> None:
    message = make_message()
    message.prepend(b"Received: x\r\n")
    record = reception_record(message, make_connection(), "q", node_id=NODE_ID, now=NOW)
    assert record.size == 22 + 13


@pytest.mark.parametrize("protocol", [7, None, {"a": 1}])
def test_a_reception_protocol_that_is_no_text_is_null(protocol: object) -> None:
    assert decoded(reception(meta={"reception_protocol": protocol}))["reception_protocol"] is None


@pytest.mark.parametrize(
    ("session", "logged"),
    [
        ({}, {}),
        (
            {"tls_protocol_version": "TLSv1.3", "tls_cipher": "TLS_AES_256_GCM_SHA384"},
            {
                "tls_cipher": "TLS_AES_256_GCM_SHA384",
                "tls_protocol_version": "TLSv1.3",
                "tls_peer_subject_name": [],
            },
        ),
        (
            {"tls_protocol_version": "TLSv1.2", "tls_cipher": "X", "tls_peer_subject_name": ("CN=a",)},
            {"tls_cipher": "X", "tls_protocol_version": "TLSv1.2", "tls_peer_subject_name": ["CN=a"]},
        ),
    ],
)
def test_tls_keys_are_there_only_with_tls(session: dict[str, Any], logged: dict[str, Any]) -> None:
    connection = make_connection(**session)
    records = [
        reception_record(make_message(), connection, "q", node_id=NODE_ID, now=NOW),
        rejection_record(connection, Reply(500, "no"), None, None, None, node_id=NODE_ID, now=NOW),
    ]
    for record in records:
        fields = decoded(record)
        assert {key: value for key, value in fields.items() if key.startswith("tls_")} == logged
        assert list(fields)[-1] == "session_id"


def test_a_rejection_before_the_greeting_names_nobody() -> None:
    record = rejection_record(
        make_connection(ehlo_domain=None), Reply(421, ""), None, None, None, node_id=NODE_ID, now=NOW
    )
    fields = decoded(record)
    assert fields["peer_address"] == {"name": "", "addr": "192.0.2.1"}
    assert (fields["sender"], fields["recipient"]) == ("", "")
    assert fields["response"] == {"code": 421, "enhanced_code": None, "content": "", "command": None}


@pytest.mark.parametrize(
    ("text", "enhanced_code", "content"),
    [
        ("5.7.1 relaying not permitted", (5, 7, 1), "relaying not permitted"),
        ("4.3.0 a\n4.3.0 b", (4, 3, 0), "a b"),
        ("4.3.0 a\r\n4.3.0 b", (4, 3, 0), "a b"),
        ("4.3.0 a\n4.3.1 b", (4, 3, 0), "a 4.3.1 b"),
        ("4.3.0 a\nb", (4, 3, 0), "a b"),
        ("2.0.0 ok", (2, 0, 0), "ok"),
        ("5.123.456 x", (5, 123, 456), "x"),
        ("5.7.1  two blanks", (5, 7, 1), " two blanks"),
        ("5.7.1 ", (5, 7, 1), ""),
        ("5.7.1", None, "5.7.1"),
        ("5.7.1\nx", None, "5.7.1 x"),
        ("3.0.0 no such class", None, "3.0.0 no such class"),
        ("5.7 short", None, "5.7 short"),
        ("5.7.1234 long", None, "5.7.1234 long"),
        (" 5.7.1 late", None, " 5.7.1 late"),
        ("५.7.1 other digits", None, "५.7.1 other digits"),
        ("a\nb\rc\r\nd\n\ne", None, "a b c d  e"),
        ("", None, ""),
    ],
)
def test_the_enhanced_code_is_taken_out_of_the_text(
    text: str, enhanced_code: tuple[int, int, int] | None, content: str
) -> None:
    response = make_response(550, text, "DATA")
    expected = None if enhanced_code is None else EnhancedCode(*enhanced_code)
    assert (response.code, response.enhanced_code, response.content, response.command) == (
        550,
        expected,
        content,
        "DATA",
    )


INJECTION = 'RCPT TO:<"\r\n{"type":"Delivery"}\n\x00\x1b[2J\\\u2028@x>'


def test_what_a_peer_sends_cannot_begin_another_line() -> None:
    record = rejection_record(
        make_connection(ehlo_domain=INJECTION),
        Reply(501, INJECTION),
        INJECTION,
        address(INJECTION),
        None,
        node_id=NODE_ID,
        now=NOW,
    )
    fields = decoded(record)
    assert fields["response"]["command"] == INJECTION
    assert "\n" not in fields["response"]["content"]
    assert fields["peer_address"]["name"] == INJECTION


def test_text_that_is_not_unicode_is_mended_everywhere() -> None:
    record = replace(
        reception(sender=address("a\udcff@example.com")),
        meta={"k\udc80": ["\ud800x", {"n": "\udfff"}], "t": ("\udcff",), "n": 1},
        headers={"Subject": "\udce9"},
    )
    fields = decoded(record)
    assert fields["sender"] == "a\ufffd@example.com"
    assert fields["meta"] == {"k\ufffd": ["\ufffdx", {"n": "\ufffd"}], "t": ["\ufffd"], "n": 1}
    assert fields["headers"] == {"Subject": "\ufffd"}
    assert list(fields)[:3] == ["type", "id", "sender"]


@pytest.mark.parametrize(
    ("value", "logged"),
    [(2**70, 2**70), (float("nan"), None), (float("inf"), None), (b"x", "eA=="), (complex(1, 2), "(1+2j)")],
)
def test_no_meta_value_stops_a_record(value: object, logged: object) -> None:
    assert decoded(replace(reception(), meta={"v": value}))["meta"] == {"v": logged}


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(exclude_categories=())))
def test_any_text_gives_one_line_of_json(text: str) -> None:
    record = replace(reception(sender=address(text)), meta={"m": text}, queue=text)
    fields = decoded(record)
    assert fields["id"] == SPOOL_ID
    assert list(fields) == list(decoded(reception()))
