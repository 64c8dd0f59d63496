from __future__ import annotations

from pathlib import Path

import pytest

from kumo.errors import SpoolError
from kumo.message import SpoolIdSource
from kumo.spool import list_spool
from tests.spool.samples import EXAMPLE_ID, Stores, entry_files, make_message, meta_file, put


def test_messages_are_listed_oldest_first_with_their_queues(tmp_path: Path) -> None:
    stores = Stores(tmp_path)
    ids = SpoolIdSource()
    later = make_message(
        spool_id=ids.new_id(1_700_000_060.0),
        meta={"tenant": "t", "campaign": "c", "routing_domain": "r.example"},
        recipients=("b@example.org", "c@example.net"),
    )
    ids = SpoolIdSource()
    earlier = make_message(spool_id=ids.new_id(1_700_000_000.0), meta={}, sender="")
    stores.store([later], [earlier])
    try:
        listed = list(list_spool(tmp_path / "meta"))  # the daemon runs on
    finally:
        stores.close()
    recipients = "<b@example.org>,<c@example.net>"
    assert [str(entry) for entry in listed] == [
        f"{earlier.id} 2023-11-14T22:13:20Z example.org <> <b@example.org>",
        f"{later.id} 2023-11-14T22:14:20Z c:t@example.org!r.example <a@example.com> {recipients}",
    ]
    first, second = listed
    assert first.created == pytest.approx(1_700_000_000.0)
    assert (first.queue, second.queue) == ("example.org", "c:t@example.org!r.example")
    assert second.recipients == tuple(later.recipients)
    assert first.sender is not None
    assert first.sender.is_null


def test_listing_changes_nothing_and_tells_what_is_unreadable(tmp_path: Path) -> None:
    put(meta_file(tmp_path, EXAMPLE_ID), b'{"sender":')
    put(tmp_path / "meta" / "data" / "README", b"foreign")
    put(tmp_path / "meta" / "new" / "x", b"half-written")
    before = entry_files(tmp_path)
    (entry,) = list_spool(tmp_path / "meta")
    assert entry.sender is None
    problem = f"meta of message {EXAMPLE_ID} is unreadable"
    assert str(entry).startswith(f"{EXAMPLE_ID} 2023-09-27T20:53:00Z - {problem}")
    assert entry_files(tmp_path) == before
    assert not (tmp_path / "meta" / "lock").exists()


def test_a_message_without_a_queue_name_is_listed_with_the_reason(tmp_path: Path) -> None:
    stores = Stores(tmp_path)
    stores.store([make_message(meta={"queue": 7})])
    stores.close()
    (entry,) = list_spool(str(tmp_path / "meta"))
    assert entry.queue is None
    assert str(entry).endswith(" - <a@example.com> <b@example.org> meta `queue` must be a string, not int")


def test_the_folder_above_both_stores_is_no_spool_and_the_right_one_is_named(tmp_path: Path) -> None:
    stores = Stores(tmp_path)
    stores.store([make_message()])
    stores.close()
    with pytest.raises(SpoolError, match=f"{tmp_path} is no spool.*; the store to list is {tmp_path}/meta$"):
        list_spool(tmp_path)


def test_a_folder_that_is_no_spool_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpoolError, match=f"{tmp_path} is no spool"):
        list_spool(tmp_path)
    with pytest.raises(SpoolError, match=f"unable to list the spool at {tmp_path}/absent"):
        list_spool(tmp_path / "absent")
