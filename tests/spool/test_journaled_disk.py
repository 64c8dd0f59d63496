"""The journal before the files: what is in it, how it moves, and what every fault leaves."""

from __future__ import annotations

import errno
import math
import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kumo.errors import SpoolError, SpoolFull, SpoolUnhealthy
from kumo.message import Message
from kumo.spool import FileOperations, journaled_disk, list_spool
from kumo.spool.group_commit import GroupCommit
from kumo.spool.journal_group import VOID
from kumo.spool.journal_replay import read_envelopes
from kumo.spool.requests import Entry, StoreRequest
from tests.spool.faults import Call, InstrumentedFiles, failing_at
from tests.spool.journaled import (
    Open,
    move_all,
    remove,
    remove_or_change,
    segments,
    state_in,
    state_of,
    store,
)
from tests.spool.samples import Stores, entry_files, files_of, ids_of, kept_ids, make_message, new_id, put

# --- what it is for -----------------------------------------------------------------------------


@pytest.mark.parametrize("flush", [False, True])
def test_a_batch_is_one_write_and_one_sync(reopen: Open, flush: bool) -> None:
    files = InstrumentedFiles()
    stores = reopen(files=files, flush=flush)
    store(stores, [make_message()])
    files.calls.clear()
    messages = [make_message() for _ in range(5)]
    store(stores, messages[:3], messages[3:])
    assert files.names() == ["write_at", "sync_file"] if flush else ["write_at"]
    files.calls.clear()
    assert remove(stores, messages[0]) is None
    assert files.names() == ["write_at"]


def test_a_content_is_written_as_it_is_not_copied(reopen: Open) -> None:
    files = InstrumentedFiles()
    stores = reopen(files=files)
    message = make_message(body=b"x" * 5000)
    store(stores, [message])
    (written,) = [call.arguments[1] for call in files.calls if call.name == "write_at"]
    assert any(part is message.segments[1] for part in written)


def test_the_folder_of_a_new_segment_is_synced_with_flush(reopen: Open, tmp_path: Path) -> None:
    files = InstrumentedFiles()
    stores = reopen(files=files, flush=True)
    files.calls.clear()
    store(stores, [make_message()])
    assert [(call.name, call.arguments[0]) for call in files.calls if "directory" in call.name] == [
        ("make_directory", f"{tmp_path}/meta/journal"),
        ("sync_directory", f"{tmp_path}/meta"),
        ("sync_directory", f"{tmp_path}/meta/journal"),
    ]
    assert files.names()[-2:] == ["write_at", "sync_file"]


@pytest.mark.parametrize("flush", [False, True])
def test_a_killed_process_left_everything_in_the_journal(reopen: Open, tmp_path: Path, flush: bool) -> None:
    stores = reopen(flush=flush)
    messages = [make_message(body=os.urandom(n * 100)) for n in range(9)]
    store(stores, messages[:4], messages[4:5], messages[5:])
    assert remove(stores, messages[2], messages[7]) is None
    kept = [message for message in messages if message not in (messages[2], messages[7])]
    for _ in range(2):
        assert state_in(stores) == state_of(*kept)
        assert kept_ids(tmp_path) == ids_of(*kept)
        stores = reopen(flush=flush)


def test_what_stays_moves_into_files_when_there_is_time(reopen: Open, tmp_path: Path) -> None:
    stores = reopen()
    messages = [make_message(body=os.urandom(n)) for n in range(100)]
    store(stores, messages)
    assert not stores.engine.tidy()
    move_all(stores)
    assert [name for name in entry_files(tmp_path) if "journal" not in name] == files_of(*messages)
    assert state_in(stores) == state_of(*messages)
    assert remove(stores, *messages[:50]) is None
    assert state_in(reopen()) == state_of(*messages[50:])


def test_at_rest_it_is_a_spool_of_kumomta(reopen: Open, tmp_path: Path) -> None:
    stores = reopen()
    messages = [make_message() for _ in range(200)]
    store(stores, *([message] for message in messages))
    stores.engine.finish()
    assert entry_files(tmp_path) == files_of(*messages)
    assert not (tmp_path / "meta" / "journal").exists()
    assert state_in(reopen()) == state_of(*messages)


def test_an_end_that_would_take_too_long_leaves_the_rest_to_the_next_start(
    reopen: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("kumo.spool.journaled_disk._LAST_SECONDS", 0.0)
    stores = reopen()
    messages = [make_message() for _ in range(200)]
    store(stores, messages)
    stores.engine.finish()
    assert f"{200 - 64} messages stay in the journal" in caplog.text
    assert kept_ids(tmp_path) == ids_of(*messages)
    assert state_in(reopen()) == state_of(*messages)


# --- updates ------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["journal", "files", "both"])
@pytest.mark.parametrize("is_resident", [True, False])
def test_an_update_is_what_comes_back(reopen: Open, where: str, is_resident: bool) -> None:
    stores = reopen()
    message, other = make_message(), make_message()
    store(stores, [message])
    if where != "journal":
        move_all(stores)
    if where == "both":
        store(stores, [other])
    content = b"new" if is_resident else message.content
    if is_resident:
        message.set_content(content)
    message.has_changed = False
    if not is_resident:
        message.shrink()
    message.meta["n"] = 1
    store(stores, [message, other])
    message.load(content)
    assert state_in(stores) == state_of(message, other)
    assert state_in(reopen()) == state_of(message, other)
    assert remove(reopen(), message, other) is None
    assert state_in(reopen()) == {}


def test_a_failed_update_leaves_the_older_state(reopen: Open) -> None:
    files = InstrumentedFiles()
    stores = reopen(files=files)
    message = make_message()
    store(stores, [message])
    before = state_of(message)
    message.meta["n"] = 1
    files.calls.clear()
    files.before = failing_at(0, errno.EIO)
    (request,) = stores.append([message])
    assert isinstance(request.error, SpoolUnhealthy)
    files.before = None
    assert state_in(stores) == before
    assert state_in(reopen()) == before


# --- faults -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "kind"), [(errno.ENOSPC, SpoolFull), (errno.EDQUOT, SpoolFull), (errno.EIO, SpoolUnhealthy)]
)
@pytest.mark.parametrize(
    ("flush", "is_first", "count"), [(False, True, 3), (True, True, 6), (True, False, 2)]
)
def test_a_fault_at_any_call_stores_nothing_and_the_spool_goes_on(
    tmp_path: Path, error: int, kind: type[SpoolError], flush: bool, is_first: bool, count: int
) -> None:
    number = 0
    while True:
        root = tmp_path / str(number)
        files = InstrumentedFiles()
        stores = Stores(root, files=files, flush=flush)
        kept = make_message()
        expected = [] if is_first else [kept]
        if not is_first:
            store(stores, [kept])
        messages = [make_message(body=b"y" * 3000), make_message()]
        files.calls.clear()
        files.before = failing_at(number, error)
        (request,) = stores.append(messages)
        is_over = number >= len(files.calls)
        files.before = None
        if is_over:
            assert request.error is None
            stores.close()
            break
        assert type(request.error) is kind
        assert state_in(stores) == state_of(*expected)
        later = make_message()
        store(stores, [later])
        stores.close()
        stores = Stores(root, flush=flush)
        assert state_in(stores) == state_of(*expected, later)
        assert not list(root.glob("*/quarantine/*"))
        stores.engine.finish()
        stores.close()
        assert entry_files(root) == files_of(*expected, later)
        number += 1
    assert number == count


def test_only_the_call_that_finds_no_room_suffers(reopen: Open) -> None:
    large = make_message(body=b"z" * 10_000)

    def before(call: Call, _: int) -> None:
        if call.name == "write_at" and any(part == large.segments[1] for part in call.arguments[1]):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    stores = reopen(files=InstrumentedFiles(before))
    small = [make_message(), make_message()]
    requests = stores.append([small[0]], [large], [small[1]])
    assert [type(request.error) for request in requests] == [type(None), SpoolFull, type(None)]
    assert state_in(reopen()) == state_of(*small)


def test_a_failed_sync_fails_the_whole_batch_for_good(reopen: Open, tmp_path: Path) -> None:
    files = InstrumentedFiles()
    stores = reopen(files=files, flush=True)
    kept, lost = make_message(), [make_message() for _ in range(3)]
    store(stores, [kept])
    (segment,) = segments(tmp_path)
    files.calls.clear()
    files.before = failing_at(1, errno.EIO)
    requests = stores.append(lost[:1], lost[1:])
    assert files.calls[1].name == "sync_file"
    assert all(isinstance(request.error, SpoolUnhealthy) for request in requests)
    files.before = None
    later = make_message()
    store(stores, [later])
    # What the kernel said of that file is not asked again.
    assert len(segments(tmp_path)) == 2
    assert state_in(reopen(flush=True)) == state_of(kept, later)
    assert segment.exists()


@pytest.mark.parametrize("is_first", [True, False])
def test_what_cannot_be_cut_off_does_not_come_back(reopen: Open, tmp_path: Path, is_first: bool) -> None:
    def before(call: Call, _: int) -> None:
        if call.name in {"sync_file", "truncate"}:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    files = InstrumentedFiles()
    stores = reopen(files=files, flush=True)
    kept = [] if is_first else [make_message()]
    if kept:
        store(stores, kept)
    files.before = before
    requests = stores.append([make_message()], [make_message(), make_message()], [make_message()])
    assert all(isinstance(request.error, SpoolUnhealthy) for request in requests)
    files.before = None
    store(stores, [later := make_message()])
    assert state_in(reopen()) == state_of(*kept, later)
    stores = reopen()
    move_all(stores)
    stores.engine.finish()
    assert entry_files(tmp_path) == files_of(*kept, later)


def test_a_removal_needs_no_room(reopen: Open) -> None:
    def before(call: Call, _: int) -> None:
        if call.name != "write_at" or call.arguments[1] != (VOID,):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    files = InstrumentedFiles()
    stores = reopen(files=files)
    kept, removed = make_message(), make_message()
    store(stores, [kept, removed])
    files.before = before
    assert remove(stores, removed) is None
    files.before = None
    assert state_in(reopen()) == state_of(kept)


def test_segments_in_reserve_go_when_there_is_no_room(
    reopen: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kumo.spool.journal._SEGMENT_OCTETS", 1000)
    files = InstrumentedFiles()
    stores = reopen(files=files)
    messages = [make_message(body=b"x" * 2000) for _ in range(4)]
    for message in messages:
        store(stores, [message])
    assert remove(stores, *messages[:3]) is None
    assert len(segments(tmp_path)) == 4

    def before(call: Call, _: int) -> None:
        if call.name == "write_at" and len(segments(tmp_path)) > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    files.before = before
    store(stores, [later := make_message()])
    files.before = None
    assert len(segments(tmp_path)) == 2
    assert state_in(reopen()) == state_of(messages[3], later)


def test_what_is_too_long_for_one_file_goes_into_several(reopen: Open) -> None:
    def before(call: Call, _: int) -> None:
        if call.name == "write_at" and call.arguments[2] + sum(map(len, call.arguments[1])) > 50_000:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))

    stores = reopen(files=InstrumentedFiles(before))
    first = make_message(body=b"x" * 20_000)
    store(stores, [first])
    second = [make_message(body=b"y" * 35_000)]
    pair = [make_message(body=b"z" * 40_000) for _ in range(2)]
    store(stores, second, pair)
    assert state_in(stores) == state_of(first, *second, *pair)
    assert state_in(reopen()) == state_of(first, *second, *pair)


@pytest.mark.parametrize("way", ["removed", "moved", "replaced"])
@pytest.mark.parametrize("is_spare", [False, True])
def test_a_journal_that_other_hands_took_away_is_written_no_more(
    reopen: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, is_spare: bool
) -> None:
    """What it holds is still at hand, and moves into files."""
    stores = reopen()
    first, second = make_message(), make_message()
    store(stores, [first])
    if is_spare:
        monkeypatch.setattr("kumo.spool.journal._SEGMENT_OCTETS", 100)
        store(stores, [second])
        assert remove(stores, first) is None
        first = second
    journal = tmp_path / "meta" / "journal"
    if way == "moved":
        journal.rename(tmp_path / "elsewhere")
    else:
        for segment in segments(tmp_path):
            segment.unlink()
            if way == "replaced":
                segment.write_bytes(b"")
    later = make_message()
    store(stores, [later])
    assert state_in(stores) == state_of(first, later)
    assert later.id in state_in(reopen())


def test_what_was_taken_away_is_saved_in_files(reopen: Open, tmp_path: Path) -> None:
    stores = reopen()
    store(stores, [first := make_message()])
    segments(tmp_path)[0].unlink()
    store(stores, [later := make_message()])
    move_all(stores)
    assert state_in(reopen()) == state_of(first, later)


@pytest.mark.parametrize("flush", [False, True])
def test_the_probe_does_to_the_journal_what_a_message_does(reopen: Open, tmp_path: Path, flush: bool) -> None:
    files = InstrumentedFiles()
    stores = reopen(files=files, flush=flush)
    store(stores, [message := make_message()])
    stores.engine.try_out()
    assert len(segments(tmp_path)) == 1
    journal = tmp_path / "meta" / "journal"
    journal.rename(tmp_path / "elsewhere")
    journal.write_text("no folder")
    with pytest.raises(NotADirectoryError):
        stores.engine.try_out()
    (request,) = stores.append([make_message()])
    assert isinstance(request.error, SpoolUnhealthy)
    journal.unlink()
    stores.engine.try_out()
    assert state_in(stores) == state_of(message)


# --- moving and its faults ----------------------------------------------------------------------


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_a_move_that_fails_at_any_call_loses_nothing(tmp_path: Path, error: int) -> None:
    number = 0
    while True:
        root = tmp_path / str(number)
        files = InstrumentedFiles()
        stores = Stores(root, files=files)
        messages = [make_message() for _ in range(3)]
        store(stores, messages)
        files.calls.clear()
        files.before = failing_at(number, error)
        stores.engine.tidy()
        is_over = number >= len(files.calls)
        files.before = None
        assert state_in(stores) == state_of(*messages)
        assert remove(stores, messages[0]) is None
        assert state_in(stores) == state_of(*messages[1:])
        stores.engine.finish()
        stores.close()
        assert entry_files(root) == files_of(*messages[1:])
        if is_over:
            break
        number += 1
    assert number > 15


def test_after_a_failed_move_there_is_a_pause(
    reopen: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    files = InstrumentedFiles()
    stores = reopen(files=files)
    store(stores, [make_message()])
    files.calls.clear()
    files.before = failing_at(0, errno.EIO)
    assert stores.engine.tidy()
    assert "1 messages cannot be moved into files; they stay in the journal" in caplog.text
    files.before = None
    files.calls.clear()
    assert stores.engine.tidy()
    assert files.calls == []
    monkeypatch.setattr("kumo.spool.journaled_disk._PAUSE", 0.0)
    stores.engine._not_before = 0.0
    assert stores.engine.tidy()
    assert "rename" in files.names()


class UnreadableFiles(InstrumentedFiles):
    """A disk on which nothing can be read that holds certain octets."""

    def __init__(self) -> None:
        super().__init__()
        self.unreadable: bytes | None = None

    def read_at(self, descriptor: int, length: int, offset: int) -> bytes:
        octets = super().read_at(descriptor, length, offset)
        if self.unreadable is not None and self.unreadable in octets:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return octets


def make_unmovable(files: UnreadableFiles, message: Message, way: str) -> None:
    """Have a message not leave the journal; any other ``way``: nothing is amiss any more."""

    def before(call: Call, _: int) -> None:
        if call.name == "write" and message.content in b"".join(call.arguments[1]):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    files.unreadable = message.content if way == "unreadable" else None
    files.before = before if way == "unwritable" else None


@pytest.mark.parametrize("way", ["unreadable", "unwritable"])
def test_a_message_that_cannot_be_moved_holds_up_no_other(
    reopen: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    files = UnreadableFiles()
    stores = reopen(files=files)
    bad = make_message(body=b"bad sector")
    messages = [make_message(body=b"%d" % n) for n in range(200)]
    store(stores, [bad], *([message] for message in messages[:99]))
    make_unmovable(files, bad, way)
    move_all(stores)
    assert [*stores.engine._journal._index] == [bad.id]
    assert "1 messages " in caplog.text
    # Those that come behind a segment with such a message have their turn as well.
    store(stores, *([message] for message in messages[99:]))
    stores.engine._not_before = 0.0
    move_all(stores)
    stores.engine.finish()
    assert [name for name in entry_files(tmp_path) if "journal" not in name] == files_of(*messages)
    assert state_in(reopen()) == state_of(bad, *messages)


@pytest.mark.parametrize("way", ["unreadable", "unwritable"])
def test_a_clean_end_tries_once_more_what_could_not_be_moved(reopen: Open, tmp_path: Path, way: str) -> None:
    files = UnreadableFiles()
    stores = reopen(files=files)
    messages = [make_message(body=b"%d" % n) for n in range(100)]
    store(stores, *([message] for message in messages))
    make_unmovable(files, messages[0], way)
    assert not stores.engine.tidy()
    make_unmovable(files, messages[0], "readable")
    stores.engine.finish()
    assert entry_files(tmp_path) == files_of(*messages)


def test_what_could_not_be_moved_makes_no_journal_old(reopen: Open) -> None:
    files = UnreadableFiles()
    stores = reopen(files=files)
    messages = [make_message(body=b"%d" % n) for n in range(70)]
    store(stores, *([message] for message in messages))
    make_unmovable(files, messages[0], "unreadable")
    assert not stores.engine.tidy()
    store(stores, [make_message()])
    assert remove(stores, *messages[64:]) is None
    (old,) = stores.engine._journal._closed
    old.begun = -math.inf
    assert stores.engine._journal.age() < math.inf


def test_a_message_that_is_passed_over_is_removed_and_replaced_as_any_other(
    reopen: Open, tmp_path: Path
) -> None:
    files = UnreadableFiles()
    stores = reopen(files=files)
    messages = [make_message(body=b"a%db" % n) for n in range(66)]
    store(stores, *([message] for message in messages))

    def before(call: Call, _: int) -> None:
        if call.name == "write" and any(m.content in b"".join(call.arguments[1]) for m in messages[:2]):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    files.before = before
    assert not stores.engine.tidy()
    files.before = None
    assert remove(stores, messages[0]) is None
    messages[1].meta["n"] = 1
    store(stores, [messages[1]])
    move_all(stores)
    assert len(stores.engine._journal) == 0
    stores.engine.finish()
    assert entry_files(tmp_path) == files_of(*messages[1:])
    assert state_in(reopen()) == state_of(*messages[1:])


def test_a_long_journal_is_shortened_with_each_batch(
    reopen: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kumo.spool.journaled_disk._MOST_MESSAGES", 10)
    stores = reopen()
    messages = []
    for _ in range(60):
        messages += [pair := make_message()]
        store(stores, [pair])
        stores.engine.relieve()
        assert len(stores.engine._journal) <= 11
    assert state_in(stores) == state_of(*messages)
    assert state_in(reopen()) == state_of(*messages)
    assert kept_ids(tmp_path) == ids_of(*messages)


def test_what_is_moved_with_a_batch_is_in_memory_in_parts(
    reopen: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kumo.spool.journaled_disk._MOST_SECONDS", -1.0)
    monkeypatch.setattr("kumo.spool.journaled_disk._MOVED_AT_ONCE", 4)
    monkeypatch.setattr("kumo.spool.journaled_disk._OCTETS_MOVED_AT_ONCE", 12_000)
    parts: list[int] = []
    plain = GroupCommit.store

    def spy(self: GroupCommit, requests: Sequence[StoreRequest]) -> None:
        parts.append(len(requests))
        plain(self, requests)

    monkeypatch.setattr(GroupCommit, "store", spy)
    stores = reopen()

    def come_in(number: int, body: bytes) -> None:
        store(stores, *([make_message(body=body)] for _ in range(number)))

    come_in(9, b"x" * 5000)
    stores.engine.relieve()
    assert parts == [3, 3, 3]
    come_in(9, b"")
    stores.engine.relieve()
    assert parts[3:] == [4, 4, 1]
    # No more than twice of what came in with the batch, whatever was moved since the one before.
    come_in(20, b"")
    stores.engine.relieve()
    come_in(30, b"")
    assert not stores.engine.tidy()
    come_in(3, b"")
    del parts[:]
    stores.engine.relieve()
    assert parts == [4, 2]
    del parts[:]
    stores.engine.relieve()
    assert parts == []


def test_octets_and_age_shorten_it_too(reopen: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("_MOST_OCTETS", "_MOST_SECONDS"):
        with monkeypatch.context() as patch:
            patch.setattr("kumo.spool.journal._SEGMENT_OCTETS", 1000)
            patch.setattr(f"kumo.spool.journaled_disk.{limit}", 0)
            stores = reopen()
            for _ in range(10):
                store(stores, [make_message(body=b"x" * 3000)])
                stores.engine.relieve()
                assert len(stores.engine._journal) <= 2


def test_a_journal_that_cannot_be_shortened_takes_no_more(
    reopen: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kumo.spool.journaled_disk._MOST_MESSAGES", 3)
    stores = reopen()
    messages = [make_message() for _ in range(7)]
    store(stores, messages)
    store(stores, [direct := make_message()])
    assert [name for name in entry_files(tmp_path) if "journal" not in name] == files_of(direct)
    messages[0].meta["n"] = 1
    store(stores, messages[:2])
    assert state_in(stores) == state_of(*messages, direct)
    assert state_in(reopen()) == state_of(*messages, direct)


def test_segments_are_used_again_and_do_not_pile_up(
    reopen: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kumo.spool.journal._SEGMENT_OCTETS", 2000)
    files = InstrumentedFiles()
    stores = reopen(files=files)
    rng = random.Random(5)  # noqa: S311 - a repeatable order
    messages: list[Message] = []
    files.calls.clear()
    for _ in range(300):
        messages.append(make_message(body=rng.randbytes(rng.randrange(900))))
        store(stores, [messages[-1]])
        while len(messages) > 8:
            assert remove(stores, messages.pop(rng.randrange(3))) is None
    assert state_in(stores) == state_of(*messages)
    assert files.names().count("create") <= 12
    stores = reopen()
    assert state_in(stores) == state_of(*messages)
    assert kept_ids(tmp_path) == ids_of(*messages)
    # What an earlier use left in a file is no damage.
    stores.engine.finish()
    assert entry_files(tmp_path) == files_of(*messages)


def test_large_segments_are_not_kept_in_reserve(
    reopen: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kumo.spool.journal._SEGMENT_OCTETS", 100)
    monkeypatch.setattr("kumo.spool.journal._SPARE_OCTETS", 5000)
    stores = reopen()
    messages = [make_message(body=b"x" * 3000) for _ in range(6)]
    for message in messages:
        store(stores, [message])
    assert remove(stores, *messages) is None
    assert len(segments(tmp_path)) == 2  # one in reserve, one that is written to


def test_what_moves_while_it_is_read_is_read_where_it_is(reopen: Open) -> None:
    class Moving(FileOperations):
        def read_at(self, descriptor: int, length: int, offset: int) -> bytes:
            octets = super().read_at(descriptor, length, offset)
            if steps:
                steps.pop()()
                return b"?" * length
            return octets

    steps: list[Callable[[], object]] = []
    stores = reopen(files=Moving())
    message = make_message()
    store(stores, [message])
    content = message.content
    message.set_content(b"other")
    steps.append(lambda: store(stores, [message]))
    assert stores.engine.read_content(message.id) == b"other"
    steps.append(stores.engine.tidy)
    assert stores.engine.read_content(message.id) == b"other"
    message.set_content(content)
    store(stores, [message])
    remove(stores, message)
    with pytest.raises(FileNotFoundError):
        stores.engine.read_content(message.id)


# --- what a start finds -------------------------------------------------------------------------


def test_a_crash_in_a_move_leaves_each_message_once(tmp_path: Path, reopen: Open) -> None:
    """In files already, in the journal still; then the files count, and a removal is one."""
    stores = reopen()
    message, half = make_message(), make_message()
    store(stores, [message, half])
    stores.store([message])
    put(Path(stores.data.path(half.id)), b"half")
    stores = reopen()
    assert state_in(stores) == state_of(message, half)
    assert kept_ids(tmp_path) == ids_of(message, half)
    stores.engine.clear_contents(stores.engine.list_contents(), frozenset())
    assert remove(stores, message) is None
    assert state_in(reopen()) == state_of(half)
    stores = reopen()
    stores.engine.finish()
    assert entry_files(tmp_path) == files_of(half)


def test_the_listing_shows_what_a_start_would_find(reopen: Open, tmp_path: Path) -> None:
    stores = reopen()
    message = make_message()
    store(stores, [message])
    message.meta["queue"] = "newer"
    message.is_stored = False
    stores.store([message])
    (entry,) = list_spool(tmp_path / "meta")
    assert entry.queue == "newer"
    assert state_in(reopen()) == state_of(message)


@pytest.mark.parametrize("is_torn", [False, True])
def test_damage_costs_its_transaction_and_is_kept_in_quarantine(
    reopen: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture, is_torn: bool
) -> None:
    stores = reopen()
    messages = [make_message(body=bytes([65 + n]) * 500) for n in range(3)]
    for message in messages:
        store(stores, [message])
    (segment,) = segments(tmp_path)
    octets = segment.read_bytes()
    place = octets.index(b"C" * 500 if is_torn else b"B" * 500) + 100
    damaged = octets[:place] if is_torn else octets[:place] + b"?" + octets[place + 1 :]
    segment.write_bytes(damaged)
    kept = messages[:2] if is_torn else [messages[0], messages[2]]
    assert kept_ids(tmp_path) == ids_of(*kept)
    stores = reopen()
    assert state_in(stores) == state_of(*kept)
    assert f"{segment}: octets" in caplog.text
    stores.engine.finish()
    (aside,) = (tmp_path / "meta" / "quarantine").iterdir()
    assert b"B" * 99 in aside.read_bytes()
    assert [name for name in entry_files(tmp_path) if "quarantine" not in name] == files_of(*kept)


def test_a_segment_without_a_readable_header_is_read_all_the_same(reopen: Open, tmp_path: Path) -> None:
    stores = reopen()
    store(stores, [message := make_message()])
    (segment,) = segments(tmp_path)
    octets = segment.read_bytes()
    for damaged in (b"X" + octets[1:], octets[:17] + b"??" + octets[19:]):
        segment.write_bytes(damaged)
        assert kept_ids(tmp_path) == [message.id]
        assert state_in(reopen()) == state_of(message)


@pytest.mark.parametrize("name", ["README", "00000009", "folder/x"])
def test_what_is_no_segment_is_set_aside(reopen: Open, tmp_path: Path, name: str) -> None:
    put(tmp_path / "meta" / "journal" / name, b"foreign")
    stores = reopen()
    assert state_in(stores) == {}
    stores.engine.finish()
    (aside,) = (tmp_path / "meta" / "quarantine").iterdir()
    assert aside.name.startswith("journal-")
    assert not (tmp_path / "meta" / "journal").exists()


def test_a_segment_that_cannot_be_read_does_not_hinder_the_start(reopen: Open, tmp_path: Path) -> None:
    class Unreadable(FileOperations):
        def read_at(self, *_: int) -> bytes:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    store(reopen(), [message := make_message()])
    put(tmp_path / "meta" / "journal" / "00000009", b"short")
    assert state_in(reopen(files=Unreadable())) == {}
    aside = [path.read_bytes() for path in (tmp_path / "meta" / "quarantine").iterdir()]
    assert sorted(bytes.fromhex(message.id) in octets for octets in aside) == [False, True]


@pytest.mark.parametrize("call", ["open", "size", "read_at"])
@pytest.mark.parametrize("error", [errno.EMFILE, errno.EACCES, errno.ESTALE])
def test_what_says_nothing_of_the_content_ends_the_start(
    reopen: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, error: int
) -> None:
    def fail(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    store(reopen(), [message := make_message()])
    (segment,) = segments(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(FileOperations, call, fail)
        with pytest.raises(SpoolError, match=f"unable to read {segment}: {os.strerror(error)}"):
            reopen()
    assert not list(tmp_path.glob("*/quarantine/*"))
    assert state_in(reopen()) == state_of(message)


class FilesWithBadSectors(FileOperations):
    """Loses the blocks of one segment that hold certain octets of it."""

    def __init__(self, start: int, end: int) -> None:
        self.bad = range(start // 4096, -(-end // 4096))
        self.failures = 0

    def read_at(self, descriptor: int, length: int, offset: int) -> bytes:
        last = min(offset + length, self.size(descriptor)) - 1
        if any(offset // 4096 <= block <= last // 4096 for block in self.bad):
            self.failures += 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().read_at(descriptor, length, offset)


@pytest.mark.parametrize(
    ("first", "last", "lost"),
    [(0, 0, {0}), (1, 1, {1}), (1, 3, {1, 2, 3}), (4, 4, {4}), (3, 5, {3, 4}), (5, 5, set[int]())],
)
def test_bad_sectors_cost_the_transactions_in_them(
    reopen: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture, first: int, last: int, lost: set[int]
) -> None:
    stores = reopen()
    messages = [make_message(body=bytes([65 + n]) * 40_000) for n in range(5)]
    store(stores, *([message] for message in messages))
    kept = [message for n, message in enumerate(messages) if n not in lost]
    (segment,) = segments(tmp_path)
    octets = segment.read_bytes()
    # The last place is what an earlier use of the file left.
    places = [octets.index(bytes.fromhex(message.id)) for message in messages] + [len(octets)]
    segment.write_bytes(octets + bytes(40_000))
    files = FilesWithBadSectors(places[first] + 4096, places[last] + 20_000)
    stores = reopen(files=files)
    assert state_in(stores) == state_of(*kept)
    assert f"{4096 * len(files.bad)} octets cannot be read" in caplog.text
    # Each is asked for once, but for the reads that found it out.
    assert files.failures <= len(files.bad) + 3
    assert ids_of(*kept) == sorted(read_envelopes(str(tmp_path / "meta" / "journal"), files))
    assert remove(stores, *kept) is None
    stores.engine.finish()
    (aside,) = (tmp_path / "meta" / "quarantine").iterdir()
    assert all(message.content in aside.read_bytes() for message in messages)


@pytest.mark.parametrize("is_written_anew", [False, True])
def test_a_bad_first_sector_costs_the_transaction_in_it(
    reopen: Open, tmp_path: Path, is_written_anew: bool
) -> None:
    stores = reopen()
    if is_written_anew:
        earlier = [make_message(body=b"x" * 50_000) for _ in range(7)]
        store(stores, *([message] for message in earlier))
        assert remove(stores, *earlier) is None
    messages = [make_message(body=bytes([65 + n]) * 40_000) for n in range(5)]
    store(stores, *([message] for message in messages))
    (segment,) = segments(tmp_path)
    assert (segment.stat().st_size > 300_000) is is_written_anew
    files = FilesWithBadSectors(0, 4096)
    stores = reopen(files=files)
    assert state_in(stores) == state_of(*messages[1:])
    assert ids_of(*messages[1:]) == sorted(read_envelopes(str(tmp_path / "meta" / "journal"), files))
    stores.engine.finish()
    (aside,) = (tmp_path / "meta" / "quarantine").iterdir()
    assert messages[0].content[-36_000:] in aside.read_bytes()


def test_an_envelope_that_is_none_is_set_aside(reopen: Open, tmp_path: Path) -> None:
    stores = reopen()
    spool_id = new_id()
    request = StoreRequest([Entry(spool_id, b'{"sender":', (b"content",))])
    stores.engine.store([request])
    assert request.error is None
    (problem,) = stores.engine.read_entries([spool_id])
    assert not isinstance(problem, Message)
    assert "is unreadable" in str(next(list_spool(tmp_path / "meta")))
    stores.engine.set_aside(problem)
    assert state_in(stores) == {}
    assert [name for name in entry_files(tmp_path) if "journal" not in name] == [
        f"data/quarantine/{spool_id}.1",
        f"meta/quarantine/{spool_id}.1",
    ]


def test_a_journal_that_is_begun_anew_while_it_is_listed_is_read_again(
    reopen: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = reopen()
    store(stores, [first := make_message()])
    later = make_message()
    read_at = FileOperations.read_at
    steps: list[Callable[[], object]] = [lambda: remove(stores, first), lambda: store(stores, [later])]

    def read(self: FileOperations, descriptor: int, length: int, offset: int) -> bytes:
        octets = read_at(self, descriptor, length, offset)
        while steps and offset:
            steps.pop(0)()
        return octets

    monkeypatch.setattr(FileOperations, "read_at", read)
    assert kept_ids(tmp_path) == [later.id]


# --- any order of anything ----------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["store", "pair", "remove", "update", "replace", "move", "kill", "relieve", "end"]),
        st.integers(0, 100),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS, st.booleans())
def test_any_order_of_steps_leaves_what_a_dictionary_would(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]], flush: bool
) -> None:
    root = tmp_path_factory.mktemp("spool")
    stores = Stores(root, flush=flush)
    model: dict[str, Message] = {}
    for step, number in steps:
        chosen = list(model.values())[number % len(model)] if model else None
        if step in {"store", "pair"}:
            new = [make_message(body=bytes([number]) * number * 7) for _ in range(2 if step == "pair" else 1)]
            store(stores, new)
            model |= {message.id: message for message in new}
        elif step == "move":
            stores.engine.tidy()
        elif step == "relieve":
            stores.engine.relieve()
        elif step in {"kill", "end"}:
            if step == "end":
                stores.engine.finish()
            stores.close()
            stores = Stores(root, flush=flush)
        elif chosen is not None:
            remove_or_change(stores, model, chosen, step, number)
        assert state_in(stores) == state_of(*model.values())
    stores.engine.finish()
    stores.close()
    assert entry_files(root) == files_of(*model.values())


def _half(call: Call) -> None:
    """What a disk that becomes full takes of a write."""
    octets = b"".join(call.arguments[1])
    os.pwrite(call.arguments[0], octets[: len(octets) // 2], call.arguments[2])
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("flush", [False, True])
@pytest.mark.parametrize("failure", [errno.EIO, errno.ENOSPC])
def test_what_was_cut_off_is_not_marked_in_what_came_after_it(
    reopen: Open, flush: bool, failure: int
) -> None:
    """The batch finds no room, its first message does alone, its second neither that nor a way back."""
    files = InstrumentedFiles()
    stores = reopen(files=files, flush=flush)
    writes = cuts = 0

    def before(call: Call, _: int) -> None:
        nonlocal writes, cuts
        if call.name == "write_at" and len(b"".join(call.arguments[1])) > 1:
            writes += 1
            if writes in {1, 3}:
                _half(call)
        if call.name == "truncate":
            cuts += 1
            if cuts == 2:
                raise OSError(failure, os.strerror(failure))

    files.before = before
    small, large = make_message(body=b"a" * 500), make_message(body=b"b" * 9000)
    taken = [request.error is None for request in stores.append([small], [large])]
    files.before = None
    assert taken == [True, False]
    assert state_in(reopen(flush=flush)) == state_of(small)


@pytest.mark.parametrize("then", ["changed", "removed"])
def test_a_refused_change_that_was_left_in_files_does_not_come_back(
    reopen: Open, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    files = InstrumentedFiles()
    stores = reopen(files=files, flush=True)
    message = make_message(body=b"first")
    store(stores, [message])
    message.meta["n"] = "refused"
    is_failing = False

    def before(call: Call, _: int) -> None:
        nonlocal is_failing
        if is_failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        is_failing = call.name == "rename" and call.arguments[1] == stores.meta.path(message.id)

    with monkeypatch.context() as beyond:
        # So that it goes by the files.
        beyond.setattr(journaled_disk, "_MOST_MESSAGES", 0)
        files.before = before
        (request,) = stores.append([message])
        files.before = None
    assert request.error is not None
    message.meta["n"] = "newer"
    if then == "changed":
        store(stores, [message])
        assert state_in(reopen(flush=True)) == state_of(message)
    else:
        assert remove(stores, message) is None
        assert state_in(reopen(flush=True)) == {}
