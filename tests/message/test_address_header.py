from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kumo.message import AddressHeader, address_header


def _box(address: str, name: str | None = None) -> dict[str, Any]:
    return {"name": name, "address": address}


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("", []),
        ("a@b", [_box("a@b")]),
        ("<a@b>", [_box("a@b")]),
        ("J Doe <a@b>", [_box("a@b", "J Doe")]),
        ('"Doe, J" <a@b>', [_box("a@b", "Doe, J")]),
        ('"a\\"b\\\\" <a@b>', [_box("a@b", 'a"b\\')]),
        ("John Q. Public <a.b@c.d>", [_box("a.b@c.d", "John Q. Public")]),
        ("=?utf-8?q?J=C3=A9=2C?= <a@b>", [_box("a@b", "Jé,")]),
        ("Jé <jé@b>", [_box("jé@b", "Jé")]),
        ("a@b, c@d", [_box("a@b"), _box("c@d")]),
        ("a@b,,c@d,", [_box("a@b"), _box("c@d")]),
        ("J (a (nested \\) one)) <a@b> (end)", [_box("a@b", "J")]),
        ("a(x)@(y)b", [_box("a@b")]),
        ('"a b"@c', [_box('"a b"@c')]),
        ('"ab"@c', [_box("ab@c")]),
        ('"a\\"b"@c', [_box('"a\\"b"@c')]),
        ("a@[1.2.3.4]", [_box("a@[1.2.3.4]")]),
        ("a@[IPv6:::1]", [_box("a@[IPv6:::1]")]),
        ("<@x,@y:a@b>", [_box("a@b")]),
        ("g:;", [{"name": "g", "entries": []}]),
        (
            "my group: a@b, C <c@d>;, e@f",
            [{"name": "my group", "entries": [_box("a@b"), _box("c@d", "C")]}, _box("e@f")],
        ),
    ],
)
def test_address_lists(text: str, entries: list[dict[str, Any]]) -> None:
    header = AddressHeader.parse(text)
    assert header.list == entries
    assert json.loads(header.to_json()) == entries


_NO_LISTS = (
    *("a", "@b", "a@", "<>", "<a@b", "a@b>", "a@b <c@d>", "a b@c", "a@b c", "x@y@z", "J <a@b> K", "<<a@b>>"),
    *("(", "a@b (", '"', '"a@b', "[", "\\", "a@b\x00", 'a@"b"', "J, <a@b>"),
    *(";", "a@b;", ":", ":a@b;", "g: a@b", "g: h: a@b;;"),
)


@pytest.mark.parametrize("text", _NO_LISTS)
def test_what_is_no_address_list_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an address list"):
        AddressHeader.parse(text)


def test_parts_of_the_only_mailbox() -> None:
    header = AddressHeader.parse('Joe <"j d"@Example.com>')
    assert (header.user, header.domain, header.email, header.name) == (
        "j d",
        "Example.com",
        '"j d"@Example.com',
        "Joe",
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "^no addresses$"),
        ("a@b, c@d", "^is not a simple single address$"),
        ("g: a@b;", "^is not a simple address$"),
    ],
)
@pytest.mark.parametrize("part", ["user", "domain", "email", "name"])
def test_parts_need_exactly_one_mailbox(text: str, words: str, part: str) -> None:
    header = AddressHeader.parse(text)
    with pytest.raises(ValueError, match=words):
        getattr(header, part)


def test_a_display_name_brings_no_addresses_of_its_own() -> None:
    content = b"From: =?utf-8?q?boss=40example=2Ecom=2C_?= <mallory@example.net>\r\n\r\n"
    header = address_header(content, "from")
    assert header is not None
    assert header.email == "mallory@example.net"
    assert header.name == "boss@example.com, "


def test_an_absent_field_gives_none() -> None:
    assert address_header(b"To: a@b\r\n\r\nFrom: c@d\r\n", "From") is None


def test_json_carries_no_broken_text() -> None:
    assert json.loads(AddressHeader.parse("\udcff <a@b>").to_json()) == [_box("a@b", "\ufffd")]


@given(st.text('a@b.<>,:;()[]"\\ ', max_size=40))
@settings(max_examples=200, deadline=None)
def test_any_text_is_a_list_or_a_value_error(text: str) -> None:
    try:
        entries = AddressHeader.parse(text).list
    except ValueError:
        return
    assert isinstance(entries, list)


@pytest.mark.parametrize("piece", ['"', "(", "<", ",", "a ", "@", "\\", "a@b,", "<@a,", '"" '])
def test_hostile_fields_take_linear_time(piece: str) -> None:
    # Quadratic work on this much would not end within the life of a test run.
    try:
        entries = AddressHeader.parse(piece * 100_000).entries
    except ValueError:
        return
    assert len(entries) in (0, 100_000)


def test_a_field_of_more_than_64_kib_is_refused_and_none_of_it_is_read() -> None:
    address = b"a@b.example,"
    fits = b"To:" + address * (64 * 1024 // len(address)) + b"\r\n\r\n"
    header = address_header(fits, "to")
    assert header is not None
    assert len(header.entries) == 64 * 1024 // len(address)
    with pytest.raises(ValueError, match=r"^address list of 65544 octets, at most 65536 are read$"):
        address_header(b"To:" + address * (64 * 1024 // len(address) + 1) + b"\r\n\r\n", "to")
