from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kumo.message import (
    HeaderField,
    all_headers,
    all_values,
    append_field,
    field_values,
    first_field,
    first_value,
    header_fields,
    header_section_end,
    prepend_field,
    remove_named,
    remove_x,
    x_headers,
)
from kumo.message.headers import x_fields

MESSAGE = (
    b"Subject: first\r\n"
    b" line\r\n"
    b"X-Tenant: one\r\n"
    b"no field at all\r\n"
    b"To : b@example.org\r\n"
    b"x-tenant: two\r\n"
    b"X-Campaign-Id:c\r\n"
    b"\r\n"
    b"X-Tenant: in the body\r\n"
    b"\r\n"
    b"more\r\n"
)


@pytest.mark.parametrize(
    ("content", "end"),
    [
        (b"", 0),
        (b"\r\nbody", 0),
        (b"\nbody", 0),
        (b"A: b\r\n\r\nbody", 6),
        (b"A: b\n\nbody", 5),
        (b"A: b\r\nC: d\n\nbody\r\n\r\n", 11),
        (b"A: b\r\n\r\nbody\n\n", 6),
        (b"A: b\r\n\n", 6),
        (b"A: b\r\n", 6),
        (b"A: b", 4),
        (b"A: b\r\r\n", 7),
    ],
)
def test_header_section_ends_at_the_first_empty_line(content: bytes, end: int) -> None:
    assert header_section_end(content) == end


def test_fields_keep_order_case_folding_and_offsets() -> None:
    fields = header_fields(MESSAGE)
    assert [(f.name, f.raw) for f in fields] == [
        ("Subject", b" first\r\n line"),
        ("X-Tenant", b" one"),
        ("To", b" b@example.org"),
        ("x-tenant", b" two"),
        ("X-Campaign-Id", b"c"),
    ]
    assert MESSAGE[: fields[0].end] == b"Subject: first\r\n line\r\n"
    assert MESSAGE[fields[2].start : fields[2].end] == b"To : b@example.org\r\n"


@pytest.mark.parametrize(
    "content",
    [
        b" folded: first line\r\n\r\n",
        b": no name\r\n\r\n",
        b"na me: x\r\n\r\n",
        b"n\xc3\xa9: x\r\n\r\n",
        b"\r\nA: b\r\n",
    ],
)
def test_malformed_lines_are_no_fields(content: bytes) -> None:
    assert header_fields(content) == []


def test_a_list_of_fields_is_bounded() -> None:
    assert len(header_fields(b"a:\n" * 10_001)) == 10_000
    assert len(all_values(b"a:\n" * 10_001, "A")) == 10_000


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"X: plain", "plain"),
        (b"X:  padded \t", "padded"),
        (b"X: a\r\n b\r\n\tc\r\n", "a b\tc"),
        (b"X: a\n b\n", "a b"),
        (b"X:", ""),
        (b"X: caf\xc3\xa9", "café"),
        (b"X: \xff", "\udcff"),
        (b"X: =?utf-8?q?caf=C3=A9?=", "café"),
        (b"X: =?utf-8?q?caf?=\r\n =?utf-8?q?_e?=", "caf e"),
        (b"X: =?no-such-charset?q?a?=", "=?no-such-charset?q?a?="),
    ],
)
def test_values_are_unfolded_trimmed_and_decoded(raw: bytes, value: str) -> None:
    content = raw + b"\r\n\r\nbody"
    assert first_value(content, "x") == value
    assert all_headers(content) == [("X", value)]


def test_named_look_ups_ignore_case_and_the_body() -> None:
    assert first_value(MESSAGE, "X-TENANT") == "one"
    assert all_values(MESSAGE, "x-tenant") == ["one", "two"]
    assert first_value(MESSAGE, "to") == "b@example.org"
    assert first_value(MESSAGE, "more") is None
    assert all_values(MESSAGE, "Tenant") == []


@pytest.mark.parametrize("name", ["", "X-.*", "a b", "a:", "é", "\udcff", "X-Tenant\r\n"])
def test_a_name_is_no_pattern_and_an_impossible_one_finds_nothing(name: str) -> None:
    assert first_field(MESSAGE, name) is None
    assert remove_named(MESSAGE, name) is MESSAGE


@pytest.mark.parametrize(
    ("value", "octets"),
    [
        ("v", b"X: v\r\n"),
        ("", b"X: \r\n"),
        ("v\r\n", b"X: v\r\n"),
        ("v\n", b"X: v\r\n"),
        ("a\r\n b", b"X: a\r\n b\r\n"),
        ("a\n\tb", b"X: a\r\n\tb\r\n"),
        ("café", b"X: caf\xc3\xa9\r\n"),
        ("\udcff", b"X: \xff\r\n"),
        ("a" * 2000, b"X: " + b"a" * 2000 + b"\r\n"),
    ],
)
def test_prepend_writes_the_value_as_it_is(value: str, octets: bytes) -> None:
    assert prepend_field("X", value) == octets


@pytest.mark.parametrize(
    "value",
    [
        "a\r\nBcc: x",
        "a\nBcc: x",
        "a\rBcc: x",
        "a\r\n\r\nbody",
        "a\r\n \r\nb",
        "a\r\n ",
        "\r\n\r\n",
        "a\r\r\n b",
    ],
)
@pytest.mark.parametrize("encode", [False, True])
def test_prepend_refuses_what_would_start_another_field(value: str, encode: bool) -> None:
    with pytest.raises(ValueError, match="invalid header value"):
        prepend_field("X", value, encode=encode)


@pytest.mark.parametrize("name", ["", "a b", "a:", "X\r\nBcc", "é", "a\0"])
def test_prepend_refuses_what_is_no_field_name(name: str) -> None:
    with pytest.raises(ValueError, match="invalid header name"):
        prepend_field(name, "v")


@pytest.mark.parametrize(
    ("value", "octets"),
    [
        ("short", b"X: short\r\n"),
        ("", b"X: \r\n"),
        ("w" * 40 + " " + "v" * 34, b"X: " + b"w" * 40 + b" " + b"v" * 34 + b"\r\n"),
        ("w" * 40 + " " + "v" * 35, b"X: " + b"w" * 40 + b"\r\n\t" + b"v" * 35 + b"\r\n"),
        ("w" * 900, b"X: " + b"w" * 900 + b"\r\n"),
        ("w" * 901, b"X: " + b"w" * 900 + b"\r\n\tw\r\n"),
        ("é", b"X: =?utf-8?q?=C3=A9?=\r\n"),
    ],
)
def test_encoded_ascii_is_folded_and_the_rest_becomes_encoded_words(value: str, octets: bytes) -> None:
    assert prepend_field("X", value, encode=True) == octets


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\u2028\u2029"), min_size=1))
@settings(max_examples=100, deadline=None)
def test_encoded_words_are_short_and_read_back(text: str) -> None:
    text = "é" + text.strip() + "é"
    field = prepend_field("Subject", text, encode=True)
    assert max(map(len, field.split(b"\r\n"))) <= 76
    assert field.isascii()
    assert first_value(field + b"\r\n", "subject") == text


def test_append_goes_before_the_empty_line() -> None:
    assert append_field(b"A: b\r\n\r\nbody", "C", "d") == b"A: b\r\nC: d\r\n\r\nbody"
    assert append_field(b"\r\nbody", "C", "d") == b"C: d\r\n\r\nbody"
    assert append_field(b"A: b\n\nbody", "C", "d") == b"A: b\nC: d\r\n\nbody"


@pytest.mark.parametrize("content", [b"", b"A: b", b"A: b\r\n"])
def test_append_needs_an_empty_line(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"^append_header could not find the end of the header block$"):
        append_field(content, "C", "d")


def test_remove_cuts_whole_fields_and_nothing_else() -> None:
    without = MESSAGE.replace(b"X-Tenant: one\r\n", b"").replace(b"x-tenant: two\r\n", b"")
    assert remove_named(MESSAGE, "X-Tenant") == without
    assert remove_named(MESSAGE, "subject") == MESSAGE.removeprefix(b"Subject: first\r\n line\r\n")
    assert remove_named(MESSAGE, "X-Other") is MESSAGE


@pytest.mark.parametrize(
    ("names", "meta"),
    [
        (None, {"x_tenant": "two", "x_campaign_id": "c"}),
        (["x-tenant"], {"x_tenant": "two"}),
        (["Subject", "TO"], {"subject": "first line", "to": "b@example.org"}),
        (["Nope"], {}),
        ([], {}),
        ([""], {}),
    ],
)
def test_x_headers_become_meta_and_can_be_removed(names: list[str] | None, meta: dict[str, str]) -> None:
    assert x_headers(MESSAGE, names) == meta
    rest = remove_x(MESSAGE, names)
    assert x_headers(rest, names) == {}
    assert (rest is MESSAGE) == (not meta)
    assert rest.endswith(b"\r\n\r\nX-Tenant: in the body\r\n\r\nmore\r\n")


_LINES = st.lists(
    st.sampled_from([b"A: b", b"X-a: c", b" folded", b"\tf", b"junk", b"", b"A :d", b":", b"\r", b"B: \xff"]),
    max_size=12,
)


@given(_LINES, st.sampled_from([b"\r\n", b"\n"]))
@settings(max_examples=200, deadline=None)
def test_fields_lie_in_the_section_in_order_and_removal_takes_just_them(
    lines: list[bytes], ending: bytes
) -> None:
    content = ending.join(lines)
    end = header_section_end(content)
    fields = header_fields(content)
    position = 0
    for field in fields:
        assert position <= field.start < field.end <= end
        assert content[field.start : field.end].startswith(field.name.encode())
        position = field.end
    kept = bytearray(content)
    for field in reversed(fields):
        if field.name.lower() == "a":
            del kept[field.start : field.end]
    assert remove_named(content, "A") == bytes(kept)
    assert first_field(content, "a") == next((f for f in fields if f.name == "A"), None)


MEBIBYTE = 1024 * 1024


@pytest.mark.parametrize(
    "filler",
    [b"a: b\r\n", b"junk\r\n", b"a: b\r\n folded\r\n", b"a:\n", b"a: \n\t\n", b"a: b\n" + b" c\n" * 1000],
)
def test_fields_are_looked_for_in_the_first_mebibyte_only(filler: bytes) -> None:
    content = b"First: 1\r\n" + filler * (MEBIBYTE // len(filler) + 1) + b"Last: 2\r\n\r\nbody"
    end = header_section_end(content)
    assert MEBIBYTE - len(filler) - len(b"\n") <= end <= MEBIBYTE
    assert content[end : end + 1] not in (b" ", b"\t")
    assert content[:end].endswith(b"\n")
    assert first_value(content, "First") == "1"
    assert first_field(content, "Last") is None
    assert all(field.end <= end for field in header_fields(content))
    with pytest.raises(ValueError, match="could not find the end of the header block"):
        append_field(content, "C", "d")


def test_a_field_that_the_limit_cuts_is_not_seen_and_stays_whole() -> None:
    content = b"First: 1\r\nLong: " + b"x" * 500_000 + b"\r\n" + b" folded\r\n" * 100_000 + b"\r\nbody"
    assert [field.name for field in header_fields(content)] == ["First"]
    assert first_field(content, "Long") is None
    assert remove_named(content, "Long") is content
    assert remove_named(content, "First") == content.removeprefix(b"First: 1\r\n")


@pytest.mark.parametrize("length", [MEBIBYTE, 20 * MEBIBYTE])
def test_one_endless_line_has_no_fields(length: int) -> None:
    content = b"a: " + b"x" * length
    assert header_section_end(content) == 0
    assert header_fields(content) == []


def test_a_section_of_just_a_mebibyte_is_read_whole() -> None:
    fields = b"a: b\r\n" * (MEBIBYTE // 6)
    content = fields[:-6] + b"x" * (MEBIBYTE - len(fields) - 5) + b": yz\r\n\r\n\r\nbody"
    end = content.index(b"\r\n\r\n") + 2
    assert header_section_end(content) == end
    assert append_field(content, "C", "d")[end : end + 6] == b"C: d\r\n"


def test_lines_that_are_no_field_count_for_the_limit_of_a_list() -> None:
    assert header_fields(b"junk\n" * 10_000 + b"A: b\n\n") == []
    assert [field.name for field in header_fields(b"junk\n" * 9_999 + b"A: b\n\n")] == ["A"]


def test_removal_knows_no_number_of_fields() -> None:
    assert remove_named(b"a: 1\n b\n" * 20_000 + b"c: 2\n\na: body", "A") == b"c: 2\n\na: body"
    assert remove_x(b"X-a: 1\r\n" * 20_000 + b"c: 2\r\n\r\n") == b"c: 2\r\n\r\n"
    assert len(x_headers(b"".join(b"X-%d:\n" % number for number in range(10_001)))) == 10_000


_WORD = "=?utf-8?q?a?= b "
"""16 characters; ``b`` keeps it from being one run with the next."""


def test_encoded_words_are_decoded_in_the_first_64_kib_of_a_field() -> None:
    whole = 64 * 1024 // len(_WORD)
    assert first_value(f"Subject: {_WORD * whole}\r\n\r\n".encode(), "subject") == ("a b " * whole).strip()
    value = first_value(f"Subject: {_WORD * 60_000}\r\n\r\n".encode(), "subject")
    assert value is not None
    assert value.startswith("a b " * whole + "=?utf")
    assert value.count("=?") == 60_000 - whole


def test_encoded_words_of_many_fields_share_one_allowance() -> None:
    field = HeaderField("Subject", b" " + _WORD.encode() * 1000, 0, 0)
    plain = HeaderField("Subject", b" plain", 0, 0)
    values = field_values([field] * 10 + [plain])
    assert values == ["a b " * 999 + "a b"] * 4 + [(_WORD * 1000).strip()] * 6 + ["plain"]
    content = (b"Subject:" + field.raw + b"\r\n") * 10 + b"\r\n"
    assert all_values(content, "subject") == values[:-1]
    assert [value for _, value in all_headers(content)] == values[:-1]


def test_x_fields_keep_their_order_and_are_counted() -> None:
    assert [field.name for field in x_fields(MESSAGE, 10)] == ["X-Tenant", "x-tenant", "X-Campaign-Id"]
    assert [field.raw for field in x_fields(MESSAGE, 2)] == [b" one", b" two"]
