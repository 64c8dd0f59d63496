from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kumo.message.report_fields import ReportFields, blocks, parse_date, parse_number, parse_typed


@pytest.mark.parametrize(
    ("block", "fields"),
    [
        (b"", {}),
        (b"A: b", {"a": ["b"]}),
        (b"A:b\n", {"a": ["b"]}),
        (b"A:\nB-c :\t d \n", {"a": [""], "b-c": ["d"]}),
        (b"A: b\nB: x\na: c", {"a": ["b", "c"], "b": ["x"]}),
        (b"A: b;\n\t  c\n d  \n\nX", None),
        (b"A: b;\n\t  c\n d  ", {"a": ["b; c d"]}),
        (b"A: b\n \nC: d", {"a": ["b"], "c": ["d"]}),
        (b"A: b\r", {"a": ["b"]}),
        (b"A: b\rC: d", {"a": ["b\rC: d"]}),
        (b"A: \xff\xc3\xa9", {"a": ["\ufffdé"]}),
        (b"A: \xed\xa0\x80", {"a": ["\ufffd" * 3]}),
        (b" A: b", None),
        (b"A: b\nno field", None),
        (b"A b: c", None),
        (b": c", None),
        (b"\xc3\xa9: c", None),
    ],
)
def test_a_block_is_fields_or_malformed(block: bytes, fields: dict[str, list[str]] | None) -> None:
    if fields is None:
        with pytest.raises(ValueError, match="a line is no field"):
            ReportFields(block, 10)
    else:
        assert ReportFields(block, 10).rest() == fields


@pytest.mark.parametrize(("count", "is_taken"), [(3, True), (4, False)])
def test_fields_are_counted(count: int, is_taken: bool) -> None:
    block = b"A: b\n" * count
    if is_taken:
        assert ReportFields(block, 3).take_all("a") == ["b"] * 3
    else:
        with pytest.raises(ValueError, match="too many fields"):
            ReportFields(block, 3)


def test_what_is_taken_is_gone() -> None:
    fields = ReportFields(b"A: 1\nB: 2\nB: 3\nC: 4\nC: 5", 10)
    assert fields.take_required("a") == "1"
    assert fields.take("a") is None
    with pytest.raises(ValueError, match="no a"):
        fields.take_required("a")
    with pytest.raises(ValueError, match="more than one c"):
        fields.take_required("c")
    assert fields.rest() == {"b": ["2", "3"]}
    assert fields.take_all("b") == ["2", "3"]
    assert fields.take_all("b") == []


@pytest.mark.parametrize(
    ("limit", "values"),
    [
        (0, ["=?utf-8?q?=C3=A9?=", "=?utf-8?q?=C3=A8?="]),
        (18, ["é", "=?utf-8?q?=C3=A8?="]),
        (36, ["é", "è"]),
    ],
)
def test_encoded_words_are_decoded_up_to_a_limit(limit: int, values: list[str]) -> None:
    assert ReportFields(b"A: =?utf-8?q?=C3=A9?=\nA: =?utf-8?q?=C3=A8?=", 10, limit).take_all("a") == values


def test_a_charset_that_yields_lone_surrogates_does_no_harm() -> None:
    (value,) = ReportFields(b"A: =?utf-7?q?+2AA-?=", 10, 100).take_all("a")
    assert value.encode() == b"?"


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        (b"", [b""]),
        (b"a\r\nb\r\n\r\nc\r\n", [b"a\nb", b"c"]),
        (b"\r\n\r\na\n\nb\n\n\n", [b"a", b"b"]),
        (b"a\n\n\nb", [b"a", b"\nb"]),
        (b"a\n\n\n\nb", [b"a", b"", b"b"]),
        (b"a\n \nb", [b"a\n \nb"]),
    ],
)
def test_blocks_are_separated_by_one_empty_line(body: bytes, parts: list[bytes]) -> None:
    assert list(blocks(body)) == parts


@pytest.mark.parametrize(
    ("value", "pair"),
    [
        ("dns; a", ("dns", "a")),
        ("dns;a;b", ("dns", "a;b")),
        ("X \t;\t y", ("X", "y")),
        ("dns;", ("dns", "")),
        ("dns", None),
        ("; a", None),
        ("", None),
    ],
)
def test_typed_values_split_at_the_first_semicolon(value: str, pair: tuple[str, str] | None) -> None:
    if pair is None:
        with pytest.raises(ValueError, match="no type"):
            parse_typed(value)
    else:
        assert parse_typed(value) == pair


@pytest.mark.parametrize("value", ["0", "7", "007", "4294967295"])
def test_numbers_are_read(value: str) -> None:
    assert parse_number(value, 2**32 - 1) == int(value)


@pytest.mark.parametrize("value", ["", "-1", "+1", "1.0", "x", "4294967296", "1" * 11, "1\n", "٣", "1_0"])
def test_other_numbers_are_refused(value: str) -> None:
    with pytest.raises(ValueError, match="no number up to 4294967295"):
        parse_number(value, 2**32 - 1)


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("Thu, 8 Mar 2005 14:00:00 EDT", "2005-03-08T18:00:00"),
        ("08 mar 2005 14:00 -0430", "2005-03-08T18:30:00"),
        ("Tue,8 Mar 2005 14:00:00 +0900 (JST)", "2005-03-08T05:00:00"),
        ("(x) Tue (\\)) , 8 Mar 2005 14 : 00 : 00 UTC", "2005-03-08T14:00:00"),
        ("8 Mar 05 14:00:00 UT", "2005-03-08T14:00:00"),
        ("8 Mar 49 14:00:00 GMT", "2049-03-08T14:00:00"),
        ("8 Mar 50 14:00:00 GMT", "1950-03-08T14:00:00"),
        ("8 Mar 105 14:00:00 -0000", "2005-03-08T14:00:00"),
        ("31 Dec 2016 23:59:60 +0000", "2016-12-31T23:59:59"),
        ("8 Mar 2005 14:00:00 Z", "2005-03-08T14:00:00"),
        ("8 Mar 2005 14:00:00 CEST", "2005-03-08T14:00:00"),
        ("8 Mar 2005 14:00:00 pst", "2005-03-08T22:00:00"),
    ],
)
def test_dates_of_rfc_5322_are_read(value: str, moment: str) -> None:
    assert parse_date(value).isoformat() == f"{moment}+00:00"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "now",
        "2005-03-08T14:00:00Z",
        "8 Mar 2005",
        "8 Mar 2005 14:00:00",
        "31 Feb 2005 14:00:00 +0000",
        "0 Mar 2005 14:00:00 +0000",
        "8 Foo 2005 14:00:00 +0000",
        "8 Mar 20055 14:00:00 +0000",
        "8 Mar 2005 24:00:00 +0000",
        "8 Mar 2005 14:60:00 +0000",
        "8 Mar 2005 14:00:61 +0000",
        "8 Mar 2005 14:00:00 +2400",
        "8 Mar 2005 14:00:00 +0060",
        "8 Mar 2005 14:00:00 +000",
        "8 Mar 2005 14:00:00 +0000 x",
        "8 Mar 2005 14:00:00 +0000 (x",
        "8 Mar 2005 14.00.00 +0000",
        "Donnerstag, 8 Mar 2005 14:00:00 +0000",
        "٨ Mar 2005 14:00:00 +0000",
        "1 Jan 0001 00:00:00 +0100",
        "31 Dec 9999 23:59:59 -0100",
        "1 Jan 0000 00:00:00 +0000",
    ],
)
def test_other_dates_are_refused(value: str) -> None:
    with pytest.raises(ValueError):
        parse_date(value)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=60), st.text(" :+-()0123456789MarJnGTE,\\", max_size=60)))
def test_any_text_is_a_date_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert parse_date(text).utcoffset() is not None
