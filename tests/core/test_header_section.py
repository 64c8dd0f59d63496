from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kumo_core import find_fields, find_section_end
from tests.core import reference

SECTION = b"Subject: a\r\n b\r\nTo : c\r\nsubject\t: d\nSubjects: e\nSUBJECT:\r\n\r\nSubject: body\r\n"


@pytest.mark.parametrize(
    ("content", "end"),
    [
        (b"", 0),
        (b"\r\nbody", 0),
        (b"\nbody", 0),
        (b"\r", 1),
        (b"\rbody", 5),
        (b"A: b\r\n\r\nbody", 6),
        (b"A: b\n\nbody", 5),
        (b"A: b\r\nC: d\n\nbody\r\n\r\n", 11),
        (b"A: b\r\n\n", 6),
        (b"A: b\r\n", 6),
        (b"A: b", 4),
        (b"A: b\r\r\n", 7),
        (b"A: b\r\n\r", 7),
    ],
)
def test_end_of_the_section(content: bytes, end: int) -> None:
    assert find_section_end(content, 1000) == end


@pytest.mark.parametrize(
    ("limit", "end"),
    [
        (12, 12),  # the whole content
        (11, 9),  # the empty line is cut
        (10, 9),
        (9, 0),  # whether the next line is a folded one lies beyond the limit
        (5, 0),
        (4, 0),
        (0, 0),
    ],
)
def test_beyond_the_limit_the_last_line_that_is_not_folded_on_ends_it(limit: int, end: int) -> None:
    assert find_section_end(b"A: b\n cc\nC\r\n", limit) == end


@pytest.mark.parametrize(
    ("names", "spelt"),
    [
        ((b"subject",), [b"Subject: a\r\n b\r\n", b"subject\t: d\n", b"SUBJECT:\r\n"]),
        ((b"to",), [b"To : c\r\n"]),
        ((b"subjects", b"to"), [b"To : c\r\n", b"Subjects: e\n"]),
        ((b"subj",), []),
        ((b"subject: a",), []),
        ((b"",), []),
        ((), []),
    ],
)
def test_fields_by_name(names: tuple[bytes, ...], spelt: list[bytes]) -> None:
    found = find_fields(SECTION, SECTION.index(b"\r\n\r\n") + 2, names, 10)
    assert [SECTION[start:end] for start, _, _, end in found] == spelt
    for start, name_end, colon_end, _ in found:
        assert SECTION[start:name_end].lower() in names
        assert SECTION[name_end:colon_end].strip(b" \t") == b":"


def test_letters_alone_have_a_case() -> None:
    content = b"a@[_: 1\na`{\x7f: 2\nA@[_: 3\n"
    assert [start for start, *_ in find_fields(content, len(content), (b"a@[_",), 10)] == [0, 16]


@pytest.mark.parametrize("limit", [-1, 0, 1, 2, 3])
def test_a_limit_of_fields(limit: int) -> None:
    assert len(find_fields(b"a:\n" * 2, 6, (b"a",), limit)) == min(max(limit, 0), 2)


@pytest.mark.parametrize("section_end", [-1, 4])
def test_a_section_is_within_the_content(section_end: int) -> None:
    with pytest.raises(ValueError, match="no header section ends at"):
        find_fields(b"a:\n", section_end, (b"a",), 1)
    with pytest.raises(ValueError, match="cannot be negative"):
        find_section_end(b"", -1)


@pytest.mark.parametrize("name", [None, "a", 1])
def test_a_name_is_octets(name: object) -> None:
    with pytest.raises(TypeError):
        find_fields(b"a:\n", 3, (name,), 1)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        find_section_end(None, 3)  # type: ignore[arg-type]


_PIECES = [b"A", b"a", b"AB", b"@", b":", b" ", b"\t", b"\r", b"\n", b"\r\n", b"x" * 70, b"\0", b"\xff"]
_sections = st.lists(st.sampled_from(_PIECES), max_size=40).map(b"".join)


@given(_sections, st.integers(0, 60))
@settings(max_examples=500, deadline=None)
def test_the_end_agrees_with_the_reference(content: bytes, limit: int) -> None:
    assert find_section_end(content, limit) == reference.find_section_end(content, limit)


@given(_sections, st.lists(st.sampled_from([b"a", b"ab", b"x" * 70, b"@"]), max_size=3), st.integers(0, 4))
@settings(max_examples=500, deadline=None)
def test_the_fields_agree_with_the_reference(content: bytes, names: list[bytes], limit: int) -> None:
    end = find_section_end(content, len(content))
    found = find_fields(content, end, tuple(names), limit)
    assert found == reference.find_fields(content, end, names)[:limit]
