from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kumo.errors import CorruptEntry, SpoolError
from kumo.spool.stored_envelope import decode_envelope, encode_envelope
from tests.spool.samples import EXAMPLE_ID, make_message

ENCODED = [
    pytest.param(
        {"meta": {"reception_protocol": "ESMTP"}},
        '{"sender":"a@example.com","recipient":"b@example.org",'
        '"meta":{"reception_protocol":"ESMTP"},"schedule":null}',
        id="one recipient is text",
    ),
    pytest.param(
        {"meta": {}, "recipients": ("b@example.org", "c@example.net")},
        '{"sender":"a@example.com","recipient":["b@example.org","c@example.net"],"meta":{},"schedule":null}',
        id="several recipients are an array",
    ),
    pytest.param(
        {"meta": {}, "sender": ""},
        '{"sender":"","recipient":"b@example.org","meta":{},"schedule":null}',
        id="the null reverse-path is empty",
    ),
    pytest.param(
        {"meta": {}, "recipients": ("postmaster",)},
        '{"sender":"a@example.com","recipient":"Postmaster","meta":{},"schedule":null}',
        id="the bare postmaster",
    ),
    pytest.param(
        {"meta": {"z": 1, "a": {"y": [True, None], "b": 1.5}}},
        '{"sender":"a@example.com","recipient":"b@example.org",'
        '"meta":{"a":{"b":1.5,"y":[true,null]},"z":1},"schedule":null}',
        id="keys of maps are sorted at every depth",
    ),
    pytest.param(
        {"meta": {"s": 'é\u2028"\n'}, "sender": "jürgen@example.com"},
        '{"sender":"jürgen@example.com","recipient":"b@example.org",'
        '"meta":{"s":"é\u2028\\"\\n"},"schedule":null}',
        id="text beyond ASCII is UTF-8",
    ),
    pytest.param(
        {"meta": {"bad\udcff": ["\ud800", {"k": "x\udc80y"}]}},
        '{"sender":"a@example.com","recipient":"b@example.org",'
        '"meta":{"bad\ufffd":["\ufffd",{"k":"x\ufffdy"}]},"schedule":null}',
        id="octets that are no UTF-8 become U+FFFD",
    ),
]


@pytest.mark.parametrize(("fields", "expected"), ENCODED)
def test_envelope_is_written_to_the_octet(fields: dict[str, Any], expected: str) -> None:
    assert encode_envelope(make_message(**fields)) == expected.encode()


def _endless() -> list[Any]:
    endless: list[Any] = []
    endless.append(endless)
    return endless


@pytest.mark.parametrize(
    "value", [pytest.param(object(), id="object"), pytest.param({1: 2}, id="key that is no text")]
)
def test_meta_that_json_cannot_hold_is_a_spool_error_naming_the_message(value: Any) -> None:
    message = make_message(meta={"x": value})
    with pytest.raises(SpoolError, match=message.id):
        encode_envelope(message)


def test_meta_that_contains_itself_is_a_spool_error() -> None:
    with pytest.raises(SpoolError):
        encode_envelope(make_message(meta={"x": _endless()}))


DECODED = [
    pytest.param(
        '{"sender":"a@example.com","recipient":"b@example.org","meta":{"k":"v"},"schedule":null}',
        "a@example.com",
        ["b@example.org"],
        {"k": "v"},
        id="as written",
    ),
    pytest.param(
        '{ "schedule": null, "later": [1], "meta": null, "recipient": ["b@example.org"], "sender": "" }',
        "",
        ["b@example.org"],
        {},
        id="other order, unknown key, array of one, meta null",
    ),
    pytest.param('{"sender":"a@b.c","recipient":"Postmaster"}', "a@b.c", ["Postmaster"], {}, id="least"),
]


@pytest.mark.parametrize(("text", "sender", "recipients", "meta"), DECODED)
def test_envelope_is_read(text: str, sender: str, recipients: list[str], meta: dict[str, Any]) -> None:
    message = decode_envelope(text.encode(), EXAMPLE_ID)
    assert message.sender.email == sender
    assert [recipient.email for recipient in message.recipients] == recipients
    assert message.meta == meta
    assert message.id == EXAMPLE_ID
    assert message.is_stored
    assert not message.is_resident


WHOLE = b'{"sender":"a@example.com","recipient":"b@example.org","meta":{"k":"v"},"schedule":null}'


@pytest.mark.parametrize("length", range(len(WHOLE)))
def test_envelope_torn_anywhere_is_corrupt(length: int) -> None:
    with pytest.raises(CorruptEntry, match=EXAMPLE_ID):
        decode_envelope(WHOLE[:length], EXAMPLE_ID)


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(WHOLE + b"x", id="something behind it"),
        pytest.param(b"\0" * 80, id="zeros"),
        pytest.param(WHOLE.replace(b"b@", b"\xff@"), id="no UTF-8"),
        pytest.param(b'{"sender":"a@example.com","recipient":[]}', id="no recipient"),
        pytest.param(b'{"sender":"a@example.com","recipient":7}', id="recipient is a number"),
        pytest.param(b'{"sender":"a@example.com","recipient":"no address"}', id="recipient is no address"),
        pytest.param(b'{"sender":"<>","recipient":"b@example.org"}', id="sender is no address"),
        pytest.param(b'{"sender":"","recipient":"b@example.org","meta":[]}', id="meta is an array"),
        pytest.param(b"[" * 100_000, id="nested too deeply"),
    ],
)
def test_malformed_envelope_is_corrupt(octets: bytes) -> None:
    with pytest.raises(CorruptEntry):
        decode_envelope(octets, EXAMPLE_ID)


def test_a_schedule_is_not_kept_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    decode_envelope(WHOLE.replace(b"null", b'{"dow":"Mon"}'), EXAMPLE_ID)
    assert f"message {EXAMPLE_ID} has a schedule" in caplog.text


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(meta=st.dictionaries(st.text(), _VALUES, max_size=5))
def test_any_meta_comes_back_and_is_what_every_json_reader_sees(meta: dict[str, Any]) -> None:
    octets = encode_envelope(make_message(meta=meta))
    assert decode_envelope(octets, EXAMPLE_ID).meta == meta
    assert json.loads(octets)["meta"] == meta
