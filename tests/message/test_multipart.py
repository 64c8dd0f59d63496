from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kumo.message import multipart
from kumo.message.multipart import MediaType, direct_parts, media_type, report_type

HEAD = b"Content-Type: multipart/report; boundary=b\r\n\r\n"


@pytest.mark.parametrize(
    ("value", "name", "parameters"),
    [
        (b"text/plain", "text/plain", {}),
        (
            b" Multipart/REPORT ; Report-Type=Feedback-Report",
            "multipart/report",
            {"report-type": "Feedback-Report"},
        ),
        (b"a/b;c=d;e=f;", "a/b", {"c": "d", "e": "f"}),
        (b"a/b; ; c=d", "a/b", {"c": "d"}),
        (b"a/b; c=d; C=e", "a/b", {"c": "d"}),
        (b'a/b; c="d; e=\\"f\\" \\\\ (g)"', "a/b", {"c": 'd; e="f" \\ (g)'}),
        (b'a/b; c=""', "a/b", {"c": ""}),
        (b"(x) a (y) / (z\\)) b (;q=1) ; (v) c (w) = (u) d (t)", "a/b", {"c": "d"}),
        (b"a/b;\r\n\tc=d\r\n ;e=f", "a/b", {"c": "d", "e": "f"}),
        (b"a/b; boundary=----=_Part_1:2/3?@x", "a/b", {"boundary": "----=_Part_1:2/3?@x"}),
        (b'a/b; c="\xc3\xa9"', "a/b", {"c": "é"}),
    ],
)
def test_a_content_type_is_read(value: bytes, name: str, parameters: dict[str, str]) -> None:
    section = b"Subject: x\r\ncontent-type:" + value + b"\r\nContent-Type: other/type\r\n"
    assert media_type(section) == MediaType(name, parameters)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"text",
        b"text/",
        b"/plain",
        b"text/plain x",
        b"text/plain; x",
        b"text/plain; =x",
        b"text/plain; x=",
        b'text/plain; x="y',
        b'text/plain; x="y"z',
        b"text/plain; x=y z",
        b"text/plain, x=y",
        b"te\x00xt/plain",
        b"text/plain (unclosed",
        b"t\xc3\xa9xt/plain",
        b"text/plain; x=" + b"y" * 4096,
    ],
)
def test_a_malformed_content_type_is_none(value: bytes) -> None:
    assert media_type(b"Content-Type: " + value + b"\r\n") is None


@pytest.mark.parametrize(
    ("content", "is_report"),
    [
        (HEAD, True),
        (HEAD.replace(b"multipart/report", b"MultiPart/Report"), True),
        (HEAD.replace(b"\r\n", b"\n"), True),
        (HEAD.replace(b"report", b"mixed"), False),
        (HEAD.replace(b"boundary=b", b"boundary="), False),
        (HEAD.replace(b"boundary=b", b'boundary=""'), False),
        (HEAD.replace(b"boundary=b", b"x=y"), False),
        (HEAD.replace(b"boundary=b", b"boundary=" + b"b" * 256), True),
        (HEAD.replace(b"boundary=b", b"boundary=" + b"b" * 257), False),
        (b"X: " + b"y" * 60_000 + b"\r\n" + HEAD, True),
        (b"X: " + b"y" * 66_000 + b"\r\n" + HEAD, False),
        (b"\r\n" + HEAD, False),
        (b"", False),
    ],
)
def test_only_multipart_reports_are_looked_into(content: bytes, is_report: bool) -> None:
    assert (report_type(content) is not None) is is_report


def bodies(content: bytes, boundary: str = "b") -> list[tuple[str, bytes]]:
    return [(part.name, content[part.body : part.end]) for part in direct_parts(content, boundary)]


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        (
            b"--b\r\nContent-Type: A/B\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--\r\n",
            [("a/b", b"one\r\n"), ("", b"two\r\n")],
        ),
        (b"--b\nContent-Type: a/b\n\none\n--b--", [("a/b", b"one\n")]),
        (b"preamble\r\n--b \t\r\n\r\none\r\n--b-- \r\nepilogue\r\n--b\r\n\r\nno\r\n", [("", b"one\r\n")]),
        (b"preamble --b\r\n\r\nx\r\n", []),
        (b"--b--\r\n--b\r\n\r\nx\r\n", []),
        (b"", []),
        (b"--b", [("", b"")]),
        (b"--b\r\n--b\r\n--b--", [("", b""), ("", b"")]),
        (b"--b\r\n\r\n--b--", [("", b"")]),
        (b"--b\r\nContent-Type: a/b\r\n--b--", [("a/b", b"")]),
        (b"--b\r\n\r\ntorn", [("", b"torn")]),
        (
            b"--b\r\n\r\none\r\n--bb\r\n--b-\r\n --b\r\n--b--x\r\n--b--",
            [("", b"one\r\n--bb\r\n--b-\r\n --b\r\n--b--x\r\n")],
        ),
        (b"--b\r\ngarbage\r\n\r\nx\r\n--b--", [("", b"x\r\n")]),
        (b"--b\r\n" + b"X: y\r\n" * 2000 + b"Content-Type: a/b\r\n\r\nx\r\n--b--", [("", b"")]),
    ],
)
def test_parts_end_at_delimiter_lines(body: bytes, parts: list[tuple[str, bytes]]) -> None:
    assert bodies(HEAD + body) == parts


def test_an_inner_multipart_is_one_part_and_its_parts_are_not_seen() -> None:
    inner = b"--bin\r\nContent-Type: x/y\r\n\r\ndeep\r\n--bin--\r\n"
    content = HEAD + b"--b\r\nContent-Type: multipart/mixed; boundary=bin\r\n\r\n" + inner + b"--b--\r\n"
    assert bodies(content) == [("multipart/mixed", inner)]


@pytest.mark.parametrize("boundary", ["a.b*c+(d)?", "=_é", "b b", "-" * 70])
def test_any_boundary_is_taken_literally(boundary: str) -> None:
    mark = b"--" + boundary.encode()
    content = HEAD + mark + b"\r\n\r\none\r\n" + mark + b"--\r\n"
    assert bodies(content, boundary) == [("", b"one\r\n")]


# --- bounds: what is looked at, not how long it takes --------------------------------------------


def test_ten_thousand_parts_cost_thirty_two() -> None:
    content = HEAD + b"--b\r\n\r\nx\r\n" * 10_000
    assert len(bodies(content)) == 32


def test_parts_are_found_no_further_than_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[bytes] = []
    monkeypatch.setattr(multipart, "first_field", lambda section, _name: read.append(section))
    parts = direct_parts(HEAD + b"--b\r\nA: b\r\n\r\nx\r\n" * 30, "b")
    next(parts)
    next(parts)
    assert read == [b"A: b\r\n"] * 2


def test_the_parameters_of_parts_are_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(multipart, "media_type")
    content = HEAD + b"--b\r\nContent-Type: a/b;" + b"c=d;" * 900 + b"\r\n\r\nx\r\n--b--"
    assert bodies(content) == [("a/b", b"x\r\n")]


def test_a_part_with_malformed_parameters_has_no_name() -> None:
    assert bodies(HEAD + b"--b\r\nContent-Type: a/b; c=(\r\n\r\nx\r\n--b--") == [("", b"x\r\n")]


@pytest.mark.parametrize(("lines", "found"), [(198, True), (199, False), (100_000, False)])
def test_lines_that_begin_like_a_delimiter_are_counted(lines: int, found: bool) -> None:
    content = HEAD + b"--b\r\n\r\n" + b"--bx\r\n" * lines + b"--b\r\n\r\nx\r\n--b--\r\n"
    assert len(bodies(content)) == (2 if found else 1)
    assert next(direct_parts(content, "b")).is_whole is found


@pytest.mark.parametrize(
    ("size", "is_whole"), [(1000, True), (1024 * 1024 - 200, True), (1024 * 1024, False), (3_000_000, False)]
)
def test_a_part_that_no_delimiter_ends_within_a_mebibyte_is_cut(size: int, is_whole: bool) -> None:
    content = HEAD + b"--b\r\n\r\n" + b"x" * size + b"\r\n--b--\r\n"
    (part,) = direct_parts(content, "b")
    assert part.is_whole is is_whole
    assert part.end <= 1024 * 1024


def test_only_the_beginning_of_a_part_is_searched_for_its_type(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[bytes] = []
    monkeypatch.setattr(multipart, "first_field", lambda section, _name: read.append(section))
    content = HEAD + (b"--b\r\n" + b"A: b\r\n" * 100_000) * 3
    assert [part.name for part in direct_parts(content, "b")] == [""] * len(bodies(content))
    assert sum(map(len, read)) <= 3 * 8 * 1024


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from([b"--b", b"--", b"\r\n", b"\n", b" ", b"b", b"Content-Type: a/b", b"x"]), max_size=30
    )
)
def test_parts_are_in_order_and_within_the_message(pieces: list[bytes]) -> None:
    content = HEAD + b"".join(pieces)
    parts = list(direct_parts(content, "b"))
    offsets = [offset for part in parts for offset in (part.body, part.end)]
    assert offsets == sorted(offsets)
    assert all(len(HEAD) <= offset <= len(content) for offset in offsets)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_octets_are_read_without_an_exception(octets: bytes) -> None:
    media_type(b"Content-Type: " + octets)
    report_type(octets)
    list(direct_parts(HEAD + octets, "b"))
