from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from kumo.errors import SpoolError, SpoolFull, SpoolUnhealthy
from kumo.message import ContentNotResident, Message
from kumo.spool.requests import Entry
from tests.spool.faults import Call, InstrumentedFiles, failing_at
from tests.spool.samples import (
    Stores,
    data_file,
    entry_files,
    files_of,
    is_whole,
    make_message,
    meta_file,
    put,
)

Open = Callable[..., Stores]

MOST_CALLS = 400


def stored(stores: Stores, *messages: Message) -> None:
    (request,) = stores.store(list(messages))
    assert request.error is None
    for message in messages:
        message.is_stored = True


def batch_of_two() -> list[list[Message]]:
    return [[make_message()], [make_message(), make_message(), make_message()]]


def settled(names: Iterable[str]) -> list[str]:
    """Without manifests that wait for the next sync."""
    return [name for name in names if not name.startswith("meta/commit/")]


def test_content_is_head_and_body_and_the_body_is_not_copied(open_stores: Open, tmp_path: Path) -> None:
    files = InstrumentedFiles()
    stores = open_stores(files=files)
    message = make_message(head=b"Received: x\r\n", body=b"body")
    body = message.segments[1]
    stores.store([message])
    written = [call.arguments[1] for call in files.calls if call.name == "write"]
    assert any(segment is body for segments in written for segment in segments)
    assert data_file(tmp_path, message.id).read_bytes() == b"Received: x\r\nbody"


def test_an_empty_content_is_stored(open_stores: Open, tmp_path: Path) -> None:
    message = make_message(head=b"", body=b"")
    stored(open_stores(), message)
    assert data_file(tmp_path, message.id).read_bytes() == b""


@pytest.mark.parametrize("count", [1, 3])
def test_without_flush_nothing_is_synced(open_stores: Open, count: int) -> None:
    files = InstrumentedFiles()
    stores = open_stores(files=files)
    files.calls.clear()
    stored(stores, *[make_message() for _ in range(count)])
    assert not [name for name in files.names() if name.startswith("sync")]


def kinds(calls: Iterable[Call], root: Path) -> list[str]:
    """The calls in one word each: what is renamed to where, and the syncs."""
    words = []
    for call in calls:
        if call.name == "rename":
            words.append(str(Path(call.arguments[1]).relative_to(root)).split("/data/")[0].split("/")[-1])
            if "/commit/" in call.arguments[1]:
                words[-1] = "manifest"
        elif call.name.startswith("sync"):
            words.append("sync")
        elif call.name == "unlink":
            words.append("unlink")
    return [word for number, word in enumerate(words) if number == 0 or word != words[number - 1]]


@pytest.mark.parametrize(
    ("flush", "count", "expected"),
    [
        pytest.param(False, 1, ["data", "meta"], id="one message"),
        pytest.param(False, 3, ["data", "manifest", "meta", "unlink"], id="several messages"),
        pytest.param(True, 1, ["sync", "data", "meta", "sync"], id="one message, flush"),
        pytest.param(True, 3, ["sync", "data", "manifest", "sync", "meta"], id="several messages, flush"),
    ],
)
@pytest.mark.usefixtures("durability")
def test_order_of_names_and_syncs(
    open_stores: Open, tmp_path: Path, flush: bool, count: int, expected: list[str]
) -> None:
    files = InstrumentedFiles()
    stores = open_stores(flush=flush, files=files)
    files.calls.clear()
    stored(stores, *[make_message() for _ in range(count)])
    assert kinds(files.calls, tmp_path) == expected


def test_all_calls_of_a_batch_share_two_syncs(open_stores: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kumo.spool.opening.syncs_whole_file_system", lambda _: True)
    files = InstrumentedFiles()
    stores = open_stores(flush=True, files=files)
    files.calls.clear()
    assert all(request.error is None for request in stores.store(*[[make_message()] for _ in range(20)]))
    assert files.names().count("sync_file_system") == 2


def test_each_file_and_each_directory_on_its_way_is_synced(
    open_stores: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kumo.spool.opening.syncs_whole_file_system", lambda _: False)
    files = InstrumentedFiles()
    stores = open_stores(flush=True, files=files)
    files.calls.clear()
    message = make_message()
    stored(stores, message)
    assert files.names().count("sync_file") == 2
    directories = {call.arguments[0] for call in files.calls if call.name == "sync_directory"}
    for path in (data_file(tmp_path, message.id), meta_file(tmp_path, message.id)):
        ways = [
            str(parent) for parent in path.parents if parent.is_relative_to(tmp_path) and parent != tmp_path
        ]
        assert set(ways) <= directories
        assert str(path.parents[5] / "new") in directories


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_a_fault_at_any_call_leaves_all_or_nothing_of_each_call(
    tmp_path: Path, flush: bool, error: int
) -> None:
    for number in range(MOST_CALLS):
        root = tmp_path / str(number)
        files = InstrumentedFiles()
        stores = Stores(root, flush=flush, files=files)
        batch = batch_of_two()
        files.calls.clear()
        files.before = failing_at(number, error)
        requests = stores.store(*batch)
        files.before = None
        if len(files.calls) <= number:
            stores.close()
            assert number > 20
            return
        failed = files.calls[number].name
        survivors = []
        for request, messages in zip(requests, batch, strict=True):
            if request.error is None:
                survivors += messages
            else:
                assert type(request.error) is (SpoolFull if error == errno.ENOSPC else SpoolUnhealthy)
                assert messages[0].id in str(request.error)
        if failed not in {"sync_file_system", "sync_directory"}:
            assert len(survivors) >= 1, failed
        assert all(is_whole(root, message) for message in survivors), failed
        unremoved = [files.calls[number].arguments[0]] if failed == "unlink" else []
        found = [name for name in settled(entry_files(root)) if str(root / name) not in unremoved]
        assert found == files_of(*survivors), failed
        lost = [message for messages in batch for message in messages if message not in survivors]
        if lost:
            stored(stores, *lost)
        stores.close()
        reopened = Stores(root)
        assert entry_files(root) == files_of(*survivors, *lost), failed
        reopened.close()
    pytest.fail("more calls than expected")


def test_a_disk_that_fails_from_any_call_on_leaves_all_or_nothing_after_the_restart(
    tmp_path: Path, flush: bool
) -> None:
    for number in range(MOST_CALLS):
        root = tmp_path / str(number)
        files = InstrumentedFiles()
        stores = Stores(root, flush=flush, files=files)
        messages = [make_message() for _ in range(3)]

        def before(_: Call, current: int, number: int = number) -> None:
            if current >= number:
                raise OSError(errno.EIO, os.strerror(errno.EIO))

        files.calls.clear()
        files.before = before
        (request,) = stores.store(messages)
        stores.close()
        if request.error is None and len(files.calls) <= number:
            assert number > 20
            return
        Stores(root).close()
        kept = [message for message in messages if meta_file(root, message.id).exists()]
        assert kept in ([], messages)
        assert all(is_whole(root, message) for message in kept)
        if request.error is None:
            assert kept == messages
    pytest.fail("more calls than expected")


def test_a_death_while_a_committed_transaction_is_taken_back_leaves_all_or_nothing(
    tmp_path: Path, flush: bool
) -> None:
    """The second meta gets no name, and at each call from there on the disk is gone."""
    outcomes = set()
    for deaths in range(MOST_CALLS):
        root = tmp_path / str(deaths)
        files = InstrumentedFiles()
        stores = Stores(root, flush=flush, files=files)
        messages = [make_message() for _ in range(3)]
        second = str(meta_file(root, messages[1].id))
        survived: int | None = None

        def before(call: Call, number: int, second: str = second, deaths: int = deaths) -> None:
            nonlocal survived
            if survived is None and call.name == "rename" and call.arguments[1] == second:
                survived = number
            if survived is not None and (number == survived or number > survived + deaths):
                raise OSError(errno.EIO, os.strerror(errno.EIO))

        files.calls.clear()
        files.before = before
        (request,) = stores.store(messages)
        stores.close()
        assert type(request.error) is SpoolUnhealthy
        assert survived is not None
        is_complete = len(files.calls) <= survived + deaths
        Stores(root).close()
        kept = [message for message in messages if meta_file(root, message.id).exists()]
        assert kept in ([], messages)
        outcomes.add(len(kept))
        if is_complete:
            assert outcomes == {0, 3}
            return
    pytest.fail("more calls than expected")


def test_a_failed_update_leaves_the_message_on_the_spool(tmp_path: Path, flush: bool) -> None:
    for number in range(MOST_CALLS):
        root = tmp_path / str(number)
        files = InstrumentedFiles()
        stores = Stores(root, flush=flush, files=files)
        old, other = make_message(meta={"n": 1}), make_message()
        stored(stores, old)
        before = meta_file(root, old.id).read_bytes()
        old.meta["n"] = 2
        files.calls.clear()
        files.before = failing_at(number, errno.EIO)
        (request,) = stores.store([old, other])
        files.before = None
        stores.close()
        if request.error is None:
            assert is_whole(root, old)
            assert is_whole(root, other)
            if len(files.calls) <= number:
                return
        else:
            assert data_file(root, old.id).read_bytes() == old.content
            assert before == meta_file(root, old.id).read_bytes() or is_whole(root, old)
            assert settled(entry_files(root)) == files_of(old)
    pytest.fail("more calls than expected")


def test_a_failed_sync_fails_the_batch_and_is_not_tried_again(
    open_stores: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kumo.spool.opening.syncs_whole_file_system", lambda _: True)
    files = InstrumentedFiles()
    stores = open_stores(flush=True, files=files)
    files.calls.clear()

    def before(call: Call, _: int) -> None:
        if call.name == "sync_file_system":
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    files.before = before
    requests = stores.store([make_message()], [make_message()])
    assert [type(request.error) for request in requests] == [SpoolUnhealthy, SpoolUnhealthy]
    assert files.names().count("sync_file_system") == 1
    assert entry_files(tmp_path) == []


def test_a_stored_message_without_content_in_memory_keeps_its_content(
    open_stores: Open, tmp_path: Path
) -> None:
    stores = open_stores()
    message = make_message(meta={"n": 1})
    content = message.content
    stored(stores, message)
    message.shrink()
    message.meta["n"] = 2
    stored(stores, message)
    assert data_file(tmp_path, message.id).read_bytes() == content
    assert b'"n":2' in meta_file(tmp_path, message.id).read_bytes()


def test_a_message_without_content_anywhere_is_misuse() -> None:
    message = make_message()
    message.is_stored = True
    message.shrink()
    message.is_stored = False
    with pytest.raises(ContentNotResident):
        Entry.of(message)


@pytest.mark.usefixtures("durability")
def test_a_transactions_manifest_goes_once_its_names_are_durable(open_stores: Open, tmp_path: Path) -> None:
    stores = open_stores(flush=True)
    stored(stores, make_message(), make_message())
    assert len(list((tmp_path / "meta" / "commit").iterdir())) == 1
    stored(stores, make_message())
    assert list((tmp_path / "meta" / "commit").iterdir()) == []
    stored(stores, make_message(), make_message())
    stores.commit.finish()
    assert list((tmp_path / "meta" / "commit").iterdir()) == []


def test_a_manifest_stays_when_the_last_sync_fails(
    open_stores: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = InstrumentedFiles()
    stores = open_stores(flush=True, files=files)
    stored(stores, make_message(), make_message())
    files.calls.clear()
    files.before = failing_at(0, errno.EIO)
    stores.commit.finish()
    assert len(list((tmp_path / "meta" / "commit").iterdir())) == 1
    assert "unable to sync the spool" in caplog.text


def test_removal_takes_meta_before_content(open_stores: Open, tmp_path: Path) -> None:
    files = InstrumentedFiles()
    stores = open_stores(files=files)
    message = make_message()
    stored(stores, message)
    files.calls.clear()
    stores.commit.remove(message.id)
    stores.commit.remove(make_message().id)
    removed = [call.arguments[0] for call in files.calls if call.name == "unlink"][:2]
    assert removed == [str(meta_file(tmp_path, message.id)), str(data_file(tmp_path, message.id))]
    assert entry_files(tmp_path) == []


def test_empty_directories_go_in_quiet_moments(open_stores: Open, tmp_path: Path) -> None:
    stores = open_stores()
    messages = [make_message() for _ in range(100)]
    stored(stores, *messages)
    for message in messages:
        stores.commit.remove(message.id)
    rounds = 0
    while not stores.commit.tidy():
        rounds += 1
        assert rounds < 100
    assert rounds >= 1
    assert list((tmp_path / "data" / "data").iterdir()) == []
    assert list((tmp_path / "meta" / "data").iterdir()) == []


def test_a_file_where_a_directory_should_be_fails_that_call_only(open_stores: Open, tmp_path: Path) -> None:
    stores = open_stores()
    blocked, other = make_message(), make_message(spool_id="00" + make_message().id[2:])
    put(tmp_path / "data" / "data" / blocked.id[:2], b"a file")
    requests = stores.store([blocked], [other])
    assert [request.error is None for request in requests] == [False, True]
    assert is_whole(tmp_path, other)


def manifests(root: Path) -> list[Path]:
    return list((root / "meta" / "commit").iterdir())


def only_what_is_there_can_be_synced(call: Call, _: int) -> None:
    if call.name == "sync_directory":
        Path(call.arguments[0]).stat()


@pytest.fixture
def each_file_synced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kumo.spool.opening.syncs_whole_file_system", lambda _: False)


@pytest.mark.usefixtures("each_file_synced")
def test_a_directory_that_was_pruned_is_not_synced(open_stores: Open) -> None:
    files = InstrumentedFiles(only_what_is_there_can_be_synced)
    stores = open_stores(flush=True, files=files)
    messages = [make_message(), make_message()]
    stored(stores, *messages)
    for message in messages:
        stores.commit.remove(message.id)
    while not stores.commit.tidy():
        pass
    gone = {call.arguments[0] for call in files.calls if call.name == "remove_directory"}
    assert gone
    files.calls.clear()
    (request,) = stores.store([make_message(spool_id="ff" + make_message().id[2:])])
    assert request.error is None
    synced = {call.arguments[0] for call in files.calls if call.name == "sync_directory"}
    assert gone.isdisjoint(synced)


@pytest.mark.usefixtures("each_file_synced")
def test_a_directory_that_other_hands_removed_hinders_no_sync(open_stores: Open, tmp_path: Path) -> None:
    stores = open_stores(flush=True, files=InstrumentedFiles(only_what_is_there_can_be_synced))
    messages = [make_message(), make_message()]
    stored(stores, *messages)
    for message in messages:
        shutil.rmtree(meta_file(tmp_path, message.id).parent, ignore_errors=True)
    (request,) = stores.store([make_message(spool_id="ff" + make_message().id[2:])])
    assert request.error is None


@pytest.mark.usefixtures("each_file_synced")
def test_a_store_that_vanished_before_the_sync_fails_the_batch(open_stores: Open, tmp_path: Path) -> None:
    def before(call: Call, number: int) -> None:
        if (
            call.name == "sync_directory"
            and "/meta/data" in call.arguments[0]
            and (tmp_path / "meta").exists()
        ):
            (tmp_path / "meta").rename(tmp_path / "elsewhere")
        only_what_is_there_can_be_synced(call, number)

    files = InstrumentedFiles()
    stores = open_stores(flush=True, files=files)
    files.before = before
    (request,) = stores.store([make_message()])
    assert type(request.error) is SpoolUnhealthy


@pytest.mark.usefixtures("durability")
@pytest.mark.parametrize("which", ["contents", "names"])
def test_after_a_failed_sync_no_later_one_speaks_for_an_earlier_transaction(
    open_stores: Open, tmp_path: Path, which: str
) -> None:
    files = InstrumentedFiles()
    stores = open_stores(flush=True, files=files)
    stored(stores, make_message(), make_message())
    (manifest,) = manifests(tmp_path)
    is_placed = False

    def before(call: Call, _: int) -> None:
        nonlocal is_placed
        is_placed = is_placed or call.name == "rename"
        if call.name in {"sync_file_system", "sync_directory"} and is_placed is (which == "names"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    files.before = before
    (request,) = stores.store([make_message()])
    assert type(request.error) is SpoolUnhealthy
    files.before = None
    stored(stores, make_message())
    assert manifests(tmp_path) == [manifest]
    stored(stores, make_message(), make_message())
    stores.commit.finish()
    assert manifests(tmp_path) == [manifest]
    stores.close()
    open_stores()
    assert manifests(tmp_path) == []


@pytest.mark.usefixtures("each_file_synced")
def test_directories_whose_sync_failed_are_synced_with_the_next_batch(
    open_stores: Open, tmp_path: Path
) -> None:
    files = InstrumentedFiles()
    stores = open_stores(flush=True, files=files)
    messages = [make_message(), make_message()]
    stored(stores, *messages)

    def before(call: Call, _: int) -> None:
        if call.name == "sync_directory" and call.arguments[0].endswith("/meta"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    files.before = before
    (request,) = stores.store([make_message()])
    assert request.error is not None
    files.before = None
    files.calls.clear()
    stored(stores, make_message())
    synced = {call.arguments[0] for call in files.calls if call.name == "sync_directory"}
    assert {str(meta_file(tmp_path, message.id).parent) for message in messages} <= synced


def test_stores_that_fail_one_after_the_other_leave_no_heap_of_directories(open_stores: Open) -> None:
    files = InstrumentedFiles()
    stores = open_stores(files=files)

    def before(call: Call, _: int) -> None:
        if call.name == "rename" and "/meta/data/" in call.arguments[1]:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    files.before = before
    tail = make_message().id[8:]
    requests = stores.store(*[[make_message(spool_id=f"{number:08x}{tail}")] for number in range(1100)])
    assert all(request.error is not None for request in requests)
    assert 0 < stores.data.vacated <= 1024


@pytest.mark.parametrize("name", ["create", "write", "close", "rename", "make_directory"])
def test_a_bug_costs_only_the_message_that_it_befalls(
    open_stores: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    files = InstrumentedFiles()
    stores = open_stores(files=files)
    messages = [make_message(spool_id=f"{number:02x}" + make_message().id[2:]) for number in range(3)]
    has_failed = False

    def before(call: Call, _: int) -> None:
        nonlocal has_failed
        has_begun = any(messages[1].id in str(made.arguments[0]) for made in files.calls)
        if has_begun and not has_failed and call.name == name:
            has_failed = True
            raise ZeroDivisionError("a bug")

    files.calls.clear()
    files.before = before
    requests = stores.store(*[[message] for message in messages])
    failed = [request for request in requests if request.error is not None]
    assert len(failed) == 1
    assert type(failed[0].error) is SpoolError
    assert str(failed[0].error).endswith("the spool's writer failed: a bug")
    assert "ZeroDivisionError" in caplog.text
    kept = [message for message, request in zip(messages, requests, strict=True) if request.error is None]
    assert all(is_whole(tmp_path, message) for message in kept)
    assert not meta_file(tmp_path, failed[0].entries[0].id).exists()


def test_a_bug_in_taking_back_costs_nobody_else(open_stores: Open, tmp_path: Path) -> None:
    def before(call: Call, _: int) -> None:
        if any(unlucky.id in str(argument) for argument in call.arguments) and call.name != "write":
            raise ZeroDivisionError

    files = InstrumentedFiles()
    stores = open_stores(files=files)
    unlucky, lucky = make_message(), make_message()
    files.before = before
    requests = stores.store([unlucky], [lucky])
    assert [request.error is None for request in requests] == [False, True]
    assert is_whole(tmp_path, lucky)
