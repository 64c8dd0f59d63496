"""Moving out of the journal on a full disk: each message is there once, and moves once there is room."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kumo.message import Message
from kumo.spool import FileOperations
from kumo.spool.journal_group import LIVE
from kumo.spool.segment import Segment
from tests.spool.faults import Call, failing_at
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
from tests.spool.samples import Stores, entry_files, files_of, make_message
from tests.spool.small_disk import SmallDisk

PART = 4


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kumo.spool.journaled_disk._MOVED_AT_ONCE", PART)


def messages_for(count: int) -> list[Message]:
    return [make_message(body=b"%02d" % n * 1500) for n in range(count)]


def store_each(stores: Stores, messages: Sequence[Message]) -> None:
    store(stores, *([message] for message in messages))


def moved_without_room(disk: SmallDisk, stores: Stores, root: Path) -> list[Message]:
    """Store ten messages and try to move them into files, where there is room for six."""
    store_each(stores, messages := messages_for(10))
    disk.leave(root, 6 * 3300)
    assert not stores.engine.tidy()
    return messages


def files_beside(root: Path) -> list[str]:
    """What there is but segments."""
    return [name for name in entry_files(root) if not name.startswith("meta/journal/")]


def move_until_full(stores: Stores, root: Path, count: int) -> None:
    """Move parts until one does not fit, with room for ``count`` messages."""
    disk = stores.files
    assert isinstance(disk, SmallDisk)
    disk.leave(root, count * 3300)
    move_all(stores)


# --- one copy -----------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("flush", [False, True])
@pytest.mark.parametrize("count", range(2, 10))
def test_what_does_not_fit_into_files_is_in_the_journal_alone(
    reopen: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture, flush: bool, count: int, error: int
) -> None:
    disk = SmallDisk(error)
    stores = reopen(files=disk, flush=flush)
    messages = messages_for(10)
    store_each(stores, messages)
    (segment,) = segments(tmp_path)
    before = segment.read_bytes()
    free = disk.leave(tmp_path, count * 3300)
    move_all(stores)
    # New mail has all the room that it had before.
    assert disk.free == free
    assert files_beside(tmp_path) == []
    assert segment.read_bytes() == before
    assert f"and {(count // PART) * PART} moved before are back" in caplog.text
    assert state_in(stores) == state_of(*messages)
    stores = reopen(flush=flush)
    assert state_in(stores) == state_of(*messages)
    move_all(stores)
    stores.engine.finish()
    assert entry_files(tmp_path) == files_of(*messages)


def test_it_is_as_before_for_whoever_reads_changes_or_removes_it(reopen: Open, tmp_path: Path) -> None:
    stores = reopen(files=SmallDisk())
    messages = messages_for(10)
    store_each(stores, messages)
    move_until_full(stores, tmp_path, 6)
    stores.files.capacity = None  # type: ignore[attr-defined]
    messages[0].meta["n"] = 1
    store(stores, [messages[0]])
    messages[1].set_content(b"other")
    store(stores, [messages[1]])
    assert remove(stores, messages[2], messages[9]) is None
    kept = [message for n, message in enumerate(messages) if n not in {2, 9}]
    assert state_in(stores) == state_of(*kept)
    assert state_in(reopen()) == state_of(*kept)


def test_the_oldest_are_moved_first_again(reopen: Open, tmp_path: Path) -> None:
    stores = reopen(files=SmallDisk())
    messages = messages_for(10)
    store_each(stores, messages)
    move_until_full(stores, tmp_path, 6)
    assert stores.engine._journal.oldest(3, 1 << 20) == [message.id for message in messages[:3]]


def test_segments_that_were_emptied_stay_moved(
    reopen: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kumo.spool.journal._SEGMENT_OCTETS", PART * 3000)
    stores = reopen(files=SmallDisk())
    messages = [*messages_for(2 * PART), make_message(body=b"x" * 20_000)]
    for message in messages:
        store(stores, [message])
    assert len(segments(tmp_path)) == 3
    # The second one's files fit once the first one has gone; that of the third is too long.
    move_until_full(stores, tmp_path, PART + 1)
    assert files_beside(tmp_path) == files_of(*messages[: 2 * PART])
    assert len(segments(tmp_path)) == 1
    assert state_in(stores) == state_of(*messages)
    assert state_in(reopen()) == state_of(*messages)


def test_segments_in_reserve_go_first(reopen: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kumo.spool.journal._SEGMENT_OCTETS", 3000)
    stores = reopen(files=SmallDisk())
    removed = messages_for(5)
    for message in removed:
        store(stores, [message])
    monkeypatch.setattr("kumo.spool.journal._SEGMENT_OCTETS", 1 << 20)
    assert remove(stores, *removed) is None
    messages = messages_for(5)
    store_each(stores, messages)
    move_until_full(stores, tmp_path, 2)
    assert files_beside(tmp_path) == files_of(*messages)


@pytest.mark.parametrize("flush", [False, True])
def test_what_was_removed_or_changed_in_files_is_not_taken_back(
    reopen: Open, tmp_path: Path, flush: bool
) -> None:
    stores = reopen(files=SmallDisk(), flush=flush)
    messages = messages_for(10)
    store_each(stores, messages)
    assert not stores.engine.tidy()
    assert remove(stores, messages[0]) is None
    messages[1].meta["n"] = 1
    store(stores, [messages[1]])
    messages[2].set_content(b"shorter")
    store(stores, [messages[2]])
    move_until_full(stores, tmp_path, 2)
    assert files_beside(tmp_path) == files_of(*messages[1:3])
    assert state_in(stores) == state_of(*messages[1:])
    assert state_in(reopen(flush=flush)) == state_of(*messages[1:])


def test_what_an_earlier_use_of_a_segment_moved_is_not_taken_back(reopen: Open, tmp_path: Path) -> None:
    stores = reopen(files=SmallDisk())
    earlier = messages_for(3)
    store_each(stores, earlier)
    move_all(stores)
    store_each(stores, messages := messages_for(10))
    assert len(segments(tmp_path)) == 1
    stores.engine._not_before = 0.0
    move_until_full(stores, tmp_path, 6)
    assert files_beside(tmp_path) == files_of(*earlier)
    assert state_in(stores) == state_of(*earlier, *messages)
    assert state_in(reopen()) == state_of(*earlier, *messages)


def test_one_that_was_set_aside_is_not_taken_back(reopen: Open, tmp_path: Path) -> None:
    stores = reopen(files=SmallDisk())
    messages = messages_for(10)
    store_each(stores, messages)
    assert not stores.engine.tidy()
    Path(stores.meta.path(messages[0].id)).write_bytes(b"{")
    (problem,) = stores.engine.read_entries([messages[0].id])
    assert not isinstance(problem, Message)
    stores.engine.set_aside(problem)
    move_until_full(stores, tmp_path, 2)
    assert state_in(stores) == state_of(*messages[1:])


def test_it_is_durable_in_the_journal_before_its_files_go(reopen: Open, tmp_path: Path) -> None:
    disk = SmallDisk()
    stores = reopen(files=disk, flush=True)
    moved_without_room(disk, stores, tmp_path)
    disk.calls.clear()
    assert stores.engine.tidy()
    names = ["live" if call.arguments[1:2] == ((LIVE,),) else call.name for call in disk.calls]
    revived = names.index("live")
    assert names[revived : revived + PART + 1] == ["live"] * PART + ["sync_file"]
    gone = [call.arguments[0] for call in disk.calls[revived + PART + 1 :] if call.name == "unlink"]
    assert len(gone) == 2 * PART


@pytest.mark.usefixtures("durability")
def test_its_files_are_gone_for_good_before_it_changes(reopen: Open, tmp_path: Path, durability: str) -> None:
    """A power loss that brought them back would bring back an older state with them."""
    disk = SmallDisk()
    stores = reopen(files=disk, flush=True)
    messages = moved_without_room(disk, stores, tmp_path)
    disk.calls.clear()
    assert stores.engine.tidy()
    unlinked = {call.arguments[0]: n for n, call in enumerate(disk.calls) if call.name == "unlink"}
    for message in messages[:PART]:
        for path in (stores.meta.path(message.id), stores.data.path(message.id)):
            later = disk.calls[unlinked[path] :]
            if durability == "one sync for all":
                assert "sync_file_system" in [call.name for call in later]
            else:
                # Before the folder may be removed as well.
                folder = path.rpartition("/")[0]
                assert next(call.name for call in later if call.arguments[0] == folder) == "sync_directory"


@pytest.mark.usefixtures("durability")
def test_files_that_stayed_are_gone_for_good_before_their_message_changes(
    reopen: Open, tmp_path: Path
) -> None:
    disk = SmallDisk()
    stores = reopen(files=disk, flush=True)
    messages = moved_without_room(disk, stores, tmp_path)
    stays = stores.meta.path(messages[0].id)

    def before(call: Call, _: int) -> None:
        if call.name == "unlink" and call.arguments[0] == stays:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    disk.before = before
    assert stores.engine.tidy()
    disk.before = None
    disk.capacity = None
    disk.calls.clear()
    messages[0].set_content(b"newer")
    store(stores, [messages[0]])
    names = [call.name for call in disk.calls]
    unlinked = names.index("unlink")
    synced = disk.calls[unlinked : names.index("write_at", unlinked)]
    folder = stays.rpartition("/")[0]
    assert any(call.name == "sync_file_system" or call.arguments[0] == folder for call in synced[1:])


@pytest.mark.usefixtures("durability")
def test_a_sync_of_removals_that_fails_is_said(
    reopen: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    disk = SmallDisk()
    stores = reopen(files=disk, flush=True)
    messages = moved_without_room(disk, stores, tmp_path)
    gone: list[str] = []

    def before(call: Call, _: int) -> None:
        if call.name == "unlink" and call.arguments[0] == stores.data.path(messages[PART - 1].id):
            gone.append(call.arguments[0])
        if gone and call.name.startswith("sync_"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    disk.before = before
    assert stores.engine.tidy()
    assert f"older state of {PART} messages" in caplog.text
    assert state_in(stores) == state_of(*messages)


def test_a_segment_that_other_hands_took_away_takes_nothing_back(reopen: Open, tmp_path: Path) -> None:
    stores = reopen(files=SmallDisk())
    messages = messages_for(10)
    store_each(stores, messages)
    assert not stores.engine.tidy()
    segments(tmp_path)[0].unlink()
    move_until_full(stores, tmp_path, 2)
    assert files_beside(tmp_path) == files_of(*messages[:PART])
    assert state_in(stores) == state_of(*messages)
    assert state_in(reopen()) == state_of(*messages[:PART])


def test_a_segment_that_failed_on_the_way_back_is_not_written_anew(reopen: Open, tmp_path: Path) -> None:
    """The kernel reports a lost write once."""
    disk = SmallDisk()
    stores = reopen(files=disk, flush=True)
    messages = moved_without_room(disk, stores, tmp_path)

    def before(call: Call, _: int) -> None:
        if call.name == "sync_file":
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    disk.before = before
    assert stores.engine.tidy()
    disk.before = disk.capacity = None
    assert files_beside(tmp_path) == files_of(*messages[:PART])
    stores.engine._not_before = 0.0
    move_all(stores)
    assert segments(tmp_path) == []
    assert state_in(stores) == state_of(*messages)


def after_each_fault(tmp_path: Path, *, flush: bool) -> Iterator[tuple[Path, Stores, list[Message]]]:
    """The spool after each of the faults that taking back may meet, one at a time, and its messages."""
    number = 0
    is_over = False
    while not is_over:
        root = tmp_path / str(number)
        disk = SmallDisk()
        stores = Stores(root, files=disk, flush=flush)
        messages = moved_without_room(disk, stores, root)
        disk.calls.clear()
        disk.before = failing_at(number, errno.EIO)
        stores.engine.tidy()
        is_over = number >= len(disk.calls)
        disk.before = disk.capacity = None
        yield root, stores, messages
        number += 1
    assert number > 31


@pytest.mark.parametrize("flush", [False, True])
def test_a_fault_on_the_way_back_loses_and_doubles_nothing(tmp_path: Path, flush: bool) -> None:
    for root, stores, messages in after_each_fault(tmp_path, flush=flush):
        assert state_in(stores) == state_of(*messages)
        stores.close()
        # A kill here, and again: a removal is one, a change is one.
        reopened = Stores(root, files=SmallDisk(), flush=flush)
        assert state_in(reopened) == state_of(*messages)
        reopened.close()


@pytest.mark.parametrize("flush", [False, True])
def test_after_a_fault_on_the_way_back_removals_and_changes_last(tmp_path: Path, flush: bool) -> None:
    for root, stores, messages in after_each_fault(tmp_path, flush=flush):
        assert remove(stores, *messages[::2]) is None
        kept = messages[1::2]
        # The last one keeps the segment from being removed.
        for message in kept[:-1]:
            message.set_content(b"changed")
            message.meta["n"] = 1
        store_each(stores, kept[:-1])
        assert state_in(stores) == state_of(*kept)
        stores.close()
        reopened = Stores(root, flush=flush)
        assert state_in(reopened) == state_of(*kept)
        reopened.engine.finish()
        reopened.close()
        left = [name for name in entry_files(root) if "/quarantine/" not in name]
        assert left == files_of(*kept)


def test_files_that_stayed_beside_the_journal_are_no_matter_once_it_has_moved(
    reopen: Open, tmp_path: Path
) -> None:
    disk = SmallDisk()
    stores = reopen(files=disk)
    messages = moved_without_room(disk, stores, tmp_path)

    def before(call: Call, _: int) -> None:
        if call.name == "unlink" and call.arguments[0] == stores.meta.path(messages[0].id):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    disk.before = before
    assert stores.engine.tidy()
    disk.before = disk.capacity = None
    assert stores.engine._beside == {messages[0].id}
    stores.engine._not_before = 0.0
    move_all(stores)
    assert stores.engine._beside == set()
    assert files_beside(tmp_path) == files_of(*messages)


# --- readers meanwhile --------------------------------------------------------------------------


class Interrupted(SmallDisk):
    """Does something just before the first call of a kind, as another thread may."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[tuple[str, Callable[[], object]]] = []

    def _interrupt(self, name: str) -> None:
        if self.steps and self.steps[0][0] == name:
            self.steps.pop(0)[1]()

    def read(self, path: str) -> bytes:
        self._interrupt("read")
        return super().read(path)

    def scan(self, path: str) -> list[tuple[str, object]]:  # type: ignore[override]
        self._interrupt("scan")
        return super().scan(path)  # type: ignore[return-value]


@pytest.mark.parametrize("kind", ["content", "entry", "list"])
def test_a_reader_finds_what_is_taken_back_meanwhile(reopen: Open, tmp_path: Path, kind: str) -> None:
    disk = Interrupted()
    stores = reopen(files=disk)
    messages = messages_for(10)
    store_each(stores, messages)
    assert not stores.engine.tidy()
    first = messages[0]
    steps = {"content": "read", "entry": "read", "list": "scan"}
    disk.steps.append((steps[kind], lambda: move_until_full(stores, tmp_path, 2)))
    if kind == "content":
        assert stores.engine.read_content(first.id) == first.content
    elif kind == "entry":
        (entry,) = stores.engine.read_entries([first.id])
        assert isinstance(entry, Message)
    else:
        assert sorted(stores.engine.list_entries().ids) == sorted(message.id for message in messages)
    assert disk.steps == []
    assert files_beside(tmp_path) == []


def test_ids_are_looked_at_again_when_some_are_taken_back_meanwhile(reopen: Open, tmp_path: Path) -> None:
    stores = reopen(files=SmallDisk())
    messages = messages_for(10)
    store_each(stores, messages)
    assert not stores.engine.tidy()
    journal = stores.engine._journal

    class Interrupting(list[Segment]):
        """What was moved is asked for behind what is there."""

        is_armed = True

        def __iter__(self) -> Iterator[Segment]:
            if Interrupting.is_armed:
                Interrupting.is_armed = False
                move_until_full(stores, tmp_path, 2)
            return super().__iter__()

    journal._closed = Interrupting(journal._closed)
    assert sorted(journal.ids()) == sorted(message.id for message in messages)
    assert not Interrupting.is_armed


# --- when it is tried ---------------------------------------------------------------------------


class Measured(SmallDisk):
    """A disk that says how much room it has."""

    def __init__(self, octets: int, inodes: int) -> None:
        super().__init__()
        self.rooms = (octets, inodes)

    def room(self, _: str) -> tuple[int, int]:
        return self.rooms


OCTETS, INODES = 10 * 10 * 4096, 10 * 10
"""What ten messages need beside their own."""


@pytest.mark.parametrize(
    ("octets", "inodes"), [(OCTETS + 30_000, INODES), (OCTETS - 1, INODES), (1 << 40, INODES - 1)]
)
def test_what_does_not_fit_is_not_tried(
    reopen: Open, caplog: pytest.LogCaptureFixture, octets: int, inodes: int
) -> None:
    """The last room is for new mail."""
    disk = Measured(octets, inodes)
    stores = reopen(files=disk)
    store_each(stores, messages := messages_for(10))
    disk.calls.clear()
    for _ in range(3):
        stores.engine._not_before = 0.0
        assert stores.engine.tidy()
    assert disk.calls == []
    assert caplog.text.count("until there is more room") == 1
    # New messages still go where these are.
    store(stores, [later := make_message()])
    assert disk.names() == ["write_at"]
    assert 0 < (stores.engine.patience or 0) <= 3
    disk.rooms = (2 * OCTETS, 2 * INODES)
    assert stores.engine.tidy()
    stores.engine._not_before = 0.0
    move_all(stores)
    assert len(stores.engine._journal) == 0
    assert state_in(stores) == state_of(*messages, later)


def test_it_has_patience_only_while_something_is_put_off(reopen: Open) -> None:
    disk = Measured(0, 0)
    stores = reopen(files=disk)
    seen = [stores.engine.patience]
    store_each(stores, messages_for(3))
    seen.append(stores.engine.patience)
    assert stores.engine.tidy()
    stores.engine._not_before = 0.0
    disk.rooms = (1 << 40, 1 << 40)
    move_all(stores)
    assert [*seen, stores.engine.patience] == [None, 0.0, None]


def test_what_was_removed_from_a_long_segment_needs_no_room(reopen: Open, tmp_path: Path) -> None:
    disk = Measured(10 * 4096 + 5000, 10)
    stores = reopen(files=disk)
    store_each(stores, messages := messages_for(10))
    assert remove(stores, *messages[1:]) is None
    move_all(stores)
    assert files_beside(tmp_path) == files_of(messages[0])


def test_a_reserve_that_is_in_the_way_goes(
    reopen: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kumo.spool.journal._SEGMENT_OCTETS", 3000)

    class Growing(SmallDisk):
        def room(self, _: str) -> tuple[int, int]:
            return (0 if len(segments(tmp_path)) > 1 else 1 << 40), 1 << 40

    stores = reopen(files=Growing())
    messages = messages_for(3)
    for message in messages:
        store(stores, [message])
    assert remove(stores, *messages[:2]) is None
    move_all(stores)
    assert files_beside(tmp_path) == files_of(messages[2])


def test_a_disk_that_does_not_say_is_tried(reopen: Open, tmp_path: Path) -> None:
    class Silent(SmallDisk):
        def room(self, _: str) -> tuple[int, int]:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    stores = reopen(files=Silent())
    store_each(stores, messages := messages_for(3))
    move_all(stores)
    assert files_beside(tmp_path) == files_of(*messages)


def test_a_clean_end_tries_however_little_there_is(reopen: Open, tmp_path: Path) -> None:
    stores = reopen(files=Measured(0, 0))
    store_each(stores, messages := messages_for(10))
    assert stores.engine.tidy()
    stores.engine.finish()
    assert entry_files(tmp_path) == files_of(*messages)


def test_a_clean_end_on_a_full_disk_leaves_one_copy(reopen: Open, tmp_path: Path) -> None:
    disk = SmallDisk()
    stores = reopen(files=disk)
    store_each(stores, messages := messages_for(10))
    disk.leave(tmp_path, 6 * 3300)
    stores.engine.finish()
    assert files_beside(tmp_path) == []
    assert state_in(reopen()) == state_of(*messages)


def test_a_bug_while_it_is_moved_is_not_met_again_at_once(
    reopen: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = reopen()
    store_each(stores, messages_for(3))

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("kumo.spool.group_commit.GroupCommit.store", fail)
    with pytest.raises(ZeroDivisionError):
        stores.engine.tidy()
    assert (stores.engine.patience or 0) > 3


@pytest.mark.parametrize("path", ["data", "meta"])
def test_room_is_what_the_file_system_says(tmp_path: Path, path: str) -> None:
    (tmp_path / path).mkdir()
    octets, inodes = FileOperations().room(str(tmp_path / path))
    state = os.statvfs(tmp_path)
    assert abs(octets - state.f_bavail * state.f_frsize) < state.f_blocks * state.f_frsize / 10
    assert inodes > 0


# --- any order of anything ----------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["store", "remove", "update", "replace", "move", "move", "full", "kill", "relieve"]),
        st.integers(0, 12),
    ),
    max_size=40,
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS, st.booleans(), st.sampled_from([1, 5000, 1 << 20]))
def test_any_order_of_steps_on_a_disk_that_is_full_at_times(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]], flush: bool, segment_octets: int
) -> None:
    root = tmp_path_factory.mktemp("spool")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kumo.spool.journal._SEGMENT_OCTETS", segment_octets)
        patch.setattr("kumo.spool.journaled_disk._MOST_MESSAGES", 3)
        disk = SmallDisk()
        stores = Stores(root, files=disk, flush=flush)
        model: dict[str, Message] = {}
        for step, number in steps:
            chosen = list(model.values())[number % len(model)] if model else None
            if step == "store":
                new = make_message(body=bytes([65 + number]) * number * 300)
                store(stores, [new])
                model[new.id] = new
            elif step in {"move", "relieve", "full"}:
                stores.engine._not_before = 0.0
                if step == "full":
                    disk.leave(root, number * 700)
                stores.engine.relieve() if step == "relieve" else stores.engine.tidy()
                disk.capacity = None
            elif step == "kill":
                stores.close()
                stores = Stores(root, files=disk, flush=flush)
            elif chosen is not None:
                remove_or_change(stores, model, chosen, step, number)
            assert state_in(stores) == state_of(*model.values())
        stores.engine.finish()
        stores.close()
        assert entry_files(root) == files_of(*model.values())
