from __future__ import annotations

import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kumo.message import SpoolIdSource, created_at, created_ticks, is_spool_id


@given(st.integers(0, 2**36))
@settings(max_examples=100, deadline=None)
def test_an_id_is_a_version_1_uuid_that_tells_when_it_was_made(second: int) -> None:
    spool_id = SpoolIdSource(node=0x0123456789AB).new_id(second)
    as_uuid = uuid.UUID(hex=spool_id)
    assert as_uuid.version == 1
    assert as_uuid.variant == uuid.RFC_4122
    assert as_uuid.node == 0x0123456789AB
    assert is_spool_id(spool_id)
    assert created_at(spool_id) == second
    assert created_ticks(spool_id) == as_uuid.time - uuid.UUID("13814000-1dd2-11b2-8000-000000000000").time


@given(st.uuids(version=1))
def test_the_ticks_of_any_id_are_those_of_its_uuid(any_id: uuid.UUID) -> None:
    epoch = uuid.UUID("13814000-1dd2-11b2-8000-000000000000").time
    assert created_ticks(any_id.hex) == any_id.time - epoch
    assert created_at(any_id.hex) == (any_id.time - epoch) / 10**7


@pytest.mark.parametrize("text", ["", "0" * 31, "0" * 33, *(c * 32 for c in "/:@G`gA é")])
def test_what_is_no_id_has_no_ticks(text: str) -> None:
    with pytest.raises(ValueError, match="is no spool id"):
        created_ticks(text)


def test_ids_differ_when_the_clock_stands_still_or_steps_back() -> None:
    source = SpoolIdSource(node=1)
    ids = [source.new_id(now) for now in (1000.0, 1000.0, 999.0, 0.0, 1000.0)]
    assert len(set(ids)) == len(ids)
    ticks = [created_ticks(spool_id) for spool_id in ids]
    assert ticks == sorted(ticks)


def test_the_known_id_of_the_manual_is_one() -> None:
    assert is_spool_id("d7ef132b5d7711eea8c8000c29c33806")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "d7ef132b5d7711eea8c8000c29c3380",
        "D7EF132B5D7711EEA8C8000C29C33806",
        "d7ef132b5d7741eea8c8000c29c33806",
        "d7ef132b-5d77-11ee-a8c8-000c29c33806",
        "g7ef132b5d7711eea8c8000c29c33806",
        "..ef132b5d7711eea8c8000c29c33806",
    ],
)
def test_other_texts_are_no_ids(text: str) -> None:
    assert not is_spool_id(text)


@pytest.mark.parametrize("sequence", [0, 1, 2**14 - 1])
def test_a_given_clock_sequence_is_in_every_id(sequence: int) -> None:
    as_uuid = uuid.UUID(hex=SpoolIdSource(node=1, clock_sequence=sequence).new_id())
    assert as_uuid.clock_seq == sequence
    assert as_uuid.variant == uuid.RFC_4122
