"""The octets of a segment, cut and changed wherever they can be."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kumo.spool.journal_group import (
    HEADER_OCTETS,
    MARKER_OCTETS,
    VOID,
    Damage,
    Read,
    Record,
    decode_groups,
    decode_header,
    encode_group,
    encode_header,
    file_tag,
    find_marker,
    first_marker,
    has_marker,
)
from kumo.spool.requests import Entry
from tests.spool.samples import new_id

MARKER = b"\x00marker\xff"
OTHER = b"earlier!"
TAG = file_tag(4711)

Group = list[tuple[str, bytes, bytes]]


def reader(octets: bytes) -> Read:
    return lambda length, offset: octets[offset : offset + length]


def build(groups: list[Group], marker: bytes = MARKER) -> tuple[bytes, list[int]]:
    """A segment, and where each of its groups begins, and at last where it ends."""
    octets = encode_header(marker, 7)
    starts = [len(octets)]
    for group in groups:
        entries = [Entry(spool_id, meta, (content[:3], content[3:])) for spool_id, meta, content in group]
        parts, _, end = encode_group(marker, TAG, len(octets), entries)
        octets += b"".join(parts)
        assert len(octets) == end
        starts.append(end)
    return octets, starts


def contents(octets: bytes, marker: bytes = MARKER) -> tuple[list[Group], list[Damage]]:
    """What is found in a segment."""
    groups, damages = [], []
    for found in decode_groups(reader(octets), len(octets), marker):
        if isinstance(found, Damage):
            damages.append(found)
        else:
            groups.append([_message(octets, record) for record in found])
    return groups, damages


def _message(octets: bytes, record: Record) -> tuple[str, bytes, bytes]:
    start = record.meta_offset + record.meta_length
    return record.id, octets[record.meta_offset : start], octets[start : start + record.content_length]


IDS = [new_id() for _ in range(6)]
GROUPS: list[Group] = [
    [(IDS[0], b'{"n":0}', b"first")],
    [(IDS[1], b'{"n":1}', b""), (IDS[2], b"", b"\r\n.\r\n" * 9), (IDS[3], b'{"n":3}', MARKER[:7])],
    [(IDS[4], b'{"n":4}', b"x" * 40)],
]
SEGMENT, STARTS = build(GROUPS)


def test_all_is_found_again() -> None:
    assert contents(SEGMENT) == (GROUPS, [])
    assert decode_header(SEGMENT) == (MARKER, 7)
    assert first_marker(reader(SEGMENT)) == MARKER
    assert has_marker(reader(SEGMENT), len(SEGMENT), MARKER)
    assert not has_marker(reader(SEGMENT), len(SEGMENT), OTHER)


def test_the_layout_is_as_described() -> None:
    """Written once more by hand, from the description alone."""
    content, meta = b"content", b"{}"
    table = bytes.fromhex(IDS[0]) + (7).to_bytes(8, "little") + (2).to_bytes(4, "little")
    checked = zlib.crc32(meta + content).to_bytes(4, "little") + (32).to_bytes(8, "little")
    checked += (1).to_bytes(4, "little")
    checked += zlib.crc32((4711).to_bytes(8, "little")).to_bytes(4, "little") + table
    head = MARKER + zlib.crc32(checked).to_bytes(4, "little") + checked
    expected = b"kumod journal 1\n" + MARKER + (7).to_bytes(8, "little")
    expected += head + b"L" + meta + content + MARKER
    assert build([[(IDS[0], meta, content)]])[0] == expected


def test_a_state_is_changed_in_place() -> None:
    (record, *_) = next(iter(decode_groups(reader(SEGMENT), len(SEGMENT), MARKER)))
    assert isinstance(record, Record)
    assert record.is_live
    changed = bytearray(SEGMENT)
    changed[record.state_offset : record.state_offset + 1] = VOID
    found = list(decode_groups(reader(bytes(changed)), len(changed), MARKER))
    states = [record.is_live for group in found if not isinstance(group, Damage) for record in group]
    assert states == [False, True, True, True, True]


@pytest.mark.parametrize("rest", [b"", bytes(300), build(GROUPS, OTHER)[0]], ids=["end", "zeros", "stale"])
def test_a_segment_cut_anywhere_has_what_was_whole(rest: bytes) -> None:
    """What follows is nothing, room that was never written, or an earlier use of the file."""
    for length in range(HEADER_OCTETS, len(SEGMENT) + 1):
        groups, damages = contents(SEGMENT[:length] + rest[length:])
        # The marker behind a group is no part of what it takes to be whole.
        whole = sum(end - MARKER_OCTETS <= length for end in STARTS[1:])
        assert groups[:whole] == GROUPS[:whole]
        # Where what was written before happens to go on as the group would, it is whole.
        assert groups == GROUPS[: len(groups)]
        is_begun = length - STARTS[whole] >= MARKER_OCTETS if whole < len(GROUPS) else False
        if len(groups) == whole:
            assert bool(damages) == is_begun


def test_an_octet_changed_anywhere_costs_its_group_at_most_and_is_told() -> None:
    for position in range(HEADER_OCTETS, len(SEGMENT)):
        for bit in (0x01, 0x80):
            changed = bytearray(SEGMENT)
            changed[position] ^= bit
            groups, damages = contents(bytes(changed))
            hit = max(n for n, start in enumerate(STARTS) if start <= position)
            others = GROUPS[:hit] + GROUPS[hit + 1 :]
            if groups == GROUPS:
                # A state, or the marker behind the group: nothing is lost.
                assert damages == []
            else:
                assert groups == others
                assert [damage.start for damage in damages] == [STARTS[hit]]


def test_a_header_that_is_damaged_is_no_header() -> None:
    for position in range(16):
        changed = bytearray(SEGMENT)
        changed[position] ^= 1
        assert decode_header(bytes(changed)) is None
        assert first_marker(reader(bytes(changed))) == MARKER
    assert decode_header(SEGMENT[: HEADER_OCTETS - 1]) is None
    assert first_marker(reader(SEGMENT[: STARTS[1] - 20])) is None


@pytest.mark.parametrize("lost", range(HEADER_OCTETS, len(SEGMENT) + 1))
def test_the_marker_is_that_of_the_first_whole_group_where_the_beginning_is_lost(lost: int) -> None:
    octets = bytes(lost) + SEGMENT[lost:]
    is_found = octets[STARTS[-2] :] == SEGMENT[STARTS[-2] :]
    assert find_marker(reader(octets), len(octets), TAG) == (MARKER if is_found else None)
    assert find_marker(reader(octets), len(octets), TAG + 1) is None


def test_the_marker_is_not_that_of_an_earlier_use() -> None:
    earlier, _ = build([[(IDS[5], b"{}", b"x" * 500)], *GROUPS, *GROUPS], OTHER)
    octets = SEGMENT + earlier[len(SEGMENT) :]
    assert find_marker(reader(octets), len(octets), TAG) == MARKER
    octets = bytes(STARTS[-1]) + octets[STARTS[-1] :]
    assert find_marker(reader(octets), len(octets), TAG) == OTHER


@pytest.mark.parametrize("distance", [*range(-40, 40)])
def test_a_tag_is_found_wherever_it_is_read_in_two_parts(
    monkeypatch: pytest.MonkeyPatch, distance: int
) -> None:
    monkeypatch.setattr("kumo.spool.journal_group._READ_AT_ONCE", STARTS[1] - HEADER_OCTETS + distance)
    octets = bytes(STARTS[1]) + SEGMENT[STARTS[1] : STARTS[2]]
    assert find_marker(reader(octets), len(octets), TAG) == MARKER


def test_content_that_looks_like_a_group_is_content() -> None:
    """As a peer might send it; he cannot know the marker."""
    forged, _ = build(GROUPS, OTHER)
    octets, starts = build([[(IDS[5], b"{}", forged)]])
    assert contents(octets) == ([[(IDS[5], b"{}", forged)]], [])
    changed = bytearray(octets)
    changed[starts[0] + 20] ^= 1
    groups, damages = contents(bytes(changed))
    assert groups == []
    assert damages == [Damage(starts[0], len(octets))]


def test_content_that_looks_like_a_group_is_none_where_the_beginning_is_lost() -> None:
    """He may guess where it will be, but not the tag."""
    entries = [Entry(spool_id, meta, (content,)) for spool_id, meta, content in GROUPS[1]]
    for tag, marker in ((file_tag(1), MARKER), (TAG, OTHER)):
        _, records, _ = encode_group(MARKER, TAG, HEADER_OCTETS, [Entry(IDS[5], b"{}", (b"",))])
        place = records[0].meta_offset + records[0].meta_length
        forged, _, _ = encode_group(OTHER, tag, place, entries)
        octets, starts = build([[(IDS[5], b"{}", b"".join(forged))], GROUPS[0]])
        octets = bytes(starts[0] + 8) + octets[starts[0] + 8 :]
        assert find_marker(reader(octets), len(octets), TAG) == marker


def test_not_even_a_group_of_the_segment_itself_is_one_elsewhere() -> None:
    """As in a message that carries the segment it is written to, whose own group is damaged."""
    octets, starts = build([GROUPS[0], [(IDS[5], b"{}", SEGMENT)], GROUPS[2]])
    changed = bytearray(octets)
    changed[starts[1] + 20] ^= 1
    groups, damages = contents(bytes(changed))
    assert groups == [GROUPS[0], GROUPS[2]]
    assert damages == [Damage(starts[1], starts[2])]


@given(st.lists(st.lists(st.tuples(st.sampled_from(IDS), st.binary(max_size=30), st.binary(max_size=90)), min_size=1, max_size=4), max_size=5))  # fmt: skip  # noqa: E501
def test_any_messages_are_found_again(groups: list[Group]) -> None:
    octets, _ = build(groups)
    assert contents(octets + bytes(100)) == (groups, [])


@given(st.binary(max_size=200), st.integers(0, 300))
def test_any_octets_are_read_without_harm(rest: bytes, length: int) -> None:
    groups, _ = contents(SEGMENT[:length] + rest)
    assert groups == GROUPS[: len(groups)]
