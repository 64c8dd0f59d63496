from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kumo.errors import CorruptEntry, SpoolError, SpoolFull
from kumo.message import Message
from kumo.spool import FileOperations, Spool
from kumo.spool.file_operations import EntryKind
from kumo.spool.journal_group import VOID
from kumo.spool.journaled_disk import JournaledDisk
from kumo.spool.local_disk import LocalDisk
from tests.spool.faults import Call, InstrumentedFiles
from tests.spool.samples import (
    Stores,
    UnsyncedFiles,
    configs,
    data_file,
    entry_files,
    files_of,
    ids_of,
    kept_ids,
    make_message,
    meta_file,
    put,
)

if TYPE_CHECKING:
    from kumo.queue.interfaces import QueueStore
    from kumo.reception.interfaces import Store

    def for_reception(spool: Spool) -> Store:
        return spool

    def for_queues(spool: Spool) -> QueueStore:
        return spool


def is_write_of(call: Call, message: Message) -> bool:
    """Whether a message, perhaps among others, is written to the journal."""
    return call.name == "write_at" and any(bytes.fromhex(message.id) in part for part in call.arguments[1])


Reopen = Callable[..., Awaitable[Spool]]


@pytest.fixture
async def reopen(tmp_path: Path) -> AsyncIterator[Reopen]:
    """Closes the spool in ``tmp_path`` if it is open, and opens it."""
    current: list[Spool] = []

    async def again(**options: Any) -> Spool:
        for spool in current:
            await spool.close()
        current[:] = [Spool.open(*configs(tmp_path), **{"files": UnsyncedFiles(), **options})]
        return current[0]

    yield again
    for spool in current:
        await spool.close()


async def test_a_stored_message_comes_back_and_its_content_is_loaded(reopen: Reopen) -> None:
    message = make_message(body=os.urandom(5000))
    spool = await reopen()
    await spool.store([message])
    assert message.is_stored
    assert message.is_resident
    (found,) = [entry async for entry in (await reopen()).entries()]
    assert (found.id, found.sender, found.recipients, found.meta) == (
        message.id,
        message.sender,
        message.recipients,
        message.meta,
    )
    spool = await reopen()
    await spool.load_content(found)
    assert found.content == message.content


async def test_a_removed_message_is_gone(reopen: Reopen, tmp_path: Path) -> None:
    spool = await reopen()
    kept, removed = make_message(), make_message()
    await spool.store([kept, removed])
    await spool.remove([removed])
    assert not removed.is_stored
    assert kept_ids(tmp_path) == [kept.id]
    await spool.remove([removed, make_message()])
    assert kept_ids(tmp_path) == [kept.id]
    # So it is for one that an earlier run stored.
    spool = await reopen()
    await spool.remove([kept])
    assert kept_ids(tmp_path) == []


async def test_what_is_stored_is_the_message_when_it_was_handed_over(reopen: Reopen) -> None:
    spool = await reopen()
    message = make_message(meta={"n": 1})
    stored = spool.store([message])
    message.meta["n"] = 2
    message.set_content(b"later")
    await stored
    spool = await reopen()
    (found,) = [entry async for entry in spool.entries()]
    await spool.load_content(found)
    assert found.meta == {"n": 1}
    assert b"Subject" in found.content


async def test_storing_nothing_is_done_at_once(reopen: Reopen) -> None:
    stored = (await reopen()).store([])
    assert isinstance(stored, asyncio.Future)
    assert stored.done()


async def test_a_failure_is_raised_to_its_caller_only_and_the_spool_goes_on(
    reopen: Reopen, tmp_path: Path
) -> None:
    full = []
    unlucky, lucky = make_message(), make_message()

    def before(call: Call, _: int) -> None:
        if is_write_of(call, unlucky):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    files = InstrumentedFiles(before)
    spool = await reopen(files=files, on_full=lambda: full.append(True))
    outcomes = await asyncio.gather(spool.store([unlucky]), spool.store([lucky]), return_exceptions=True)
    assert type(outcomes[0]) is SpoolFull
    assert outcomes[1] is None
    assert full == [True]
    assert not unlucky.is_stored
    assert kept_ids(tmp_path) == [lucky.id]
    files.before = None
    await spool.store([unlucky])
    assert kept_ids(tmp_path) == ids_of(lucky, unlucky)


async def test_other_failures_do_not_say_that_the_disk_is_full(reopen: Reopen) -> None:
    full = []

    def before(call: Call, _: int) -> None:
        if is_write_of(call, message):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    message = make_message()
    spool = await reopen(files=InstrumentedFiles(before), on_full=lambda: full.append(True))
    with pytest.raises(SpoolError, match=f"unable to store {message.id}: Input/output error"):
        await spool.store([message])
    assert full == []


async def test_a_bug_in_the_writer_leaves_nobody_waiting(
    reopen: Reopen, caplog: pytest.LogCaptureFixture
) -> None:
    def before(call: Call, _: int) -> None:
        if call.name == "write_at":
            raise ZeroDivisionError

    files = InstrumentedFiles(before)
    spool = await reopen(files=files)
    with pytest.raises(SpoolError, match="the spool's writer failed"):
        await spool.store([make_message(), make_message()])
    assert "ZeroDivisionError" in caplog.text
    files.before = None
    await spool.store([make_message()])


async def test_a_bug_costs_only_the_call_of_a_batch_that_it_befalls(
    reopen: Reopen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, released = threading.Event(), threading.Event()

    def before(call: Call, _: int) -> None:
        if is_write_of(call, first):
            reached.set()
            assert released.wait(60)
        if is_write_of(call, unlucky):
            raise ZeroDivisionError("a bug")
        if call.name == "write_at" and call.arguments[1] == (VOID,) and len(voided) == 1:
            voided.append(call)
            raise ZeroDivisionError("another bug")

    voided: list[Call] = []
    stuck, gone, first, unlucky, lucky = (make_message() for _ in range(5))
    spool = await reopen(files=InstrumentedFiles(before))
    await spool.store([stuck, gone])
    voided.append(Call("the next one fails", ()))
    stored = [spool.store([first])]
    assert await asyncio.to_thread(reached.wait, 60)
    vacate = LocalDisk.vacate

    def vacate_or_fail(disk: LocalDisk, directories: Sequence[str]) -> None:
        if disk.root == f"{tmp_path}/meta":
            raise ZeroDivisionError("a third bug")
        vacate(disk, directories)

    monkeypatch.setattr(LocalDisk, "vacate", vacate_or_fail)
    calls = [
        *stored,
        spool.store([unlucky]),
        spool.store([lucky]),
        spool.remove([stuck]),
        spool.remove([gone]),
    ]
    engine = spool._engine
    assert isinstance(engine, JournaledDisk)
    chores = [
        asyncio.ensure_future(spool._as_chore(store.vacate, [])) for store in (engine._meta, engine._data)
    ]
    await asyncio.sleep(0)  # both are submitted
    released.set()
    outcomes = await asyncio.gather(*calls, *chores, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [
        type(None),
        SpoolError,
        type(None),
        SpoolError,
        type(None),
        SpoolError,
        type(None),
    ]
    assert [message.is_stored for message in (first, unlucky, lucky, stuck, gone)] == [
        True,
        False,
        True,
        True,
        False,
    ]
    assert kept_ids(tmp_path) == ids_of(first, lucky, stuck)


async def test_a_slow_disk_holds_up_only_who_waits_for_it(reopen: Reopen, tmp_path: Path) -> None:
    reached, released = threading.Event(), threading.Event()

    def before(call: Call, _: int) -> None:
        if is_write_of(call, first):
            reached.set()
            assert released.wait(60)

    first, rest = make_message(), [make_message() for _ in range(5)]
    files = InstrumentedFiles(before)
    spool = await reopen(files=files)
    stored = [spool.store([first])]
    assert await asyncio.to_thread(reached.wait, 60)
    stored += [spool.store([message]) for message in rest]
    await asyncio.sleep(0)  # the loop turns while the writer stands
    assert not any(asyncio.ensure_future(future).done() for future in stored)
    released.set()
    await asyncio.gather(*stored)
    assert kept_ids(tmp_path) == ids_of(first, *rest)


@pytest.mark.parametrize(("largest", "syncs"), [(256, 2), (10, 2), (4, 4)])
async def test_what_waits_is_one_batch_up_to_the_largest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, largest: int, syncs: int
) -> None:
    monkeypatch.setattr("kumo.spool.writer._LARGEST_BATCH", largest)
    reached, released = threading.Event(), threading.Event()

    def before(call: Call, _: int) -> None:
        if is_write_of(call, first):
            reached.set()
            assert released.wait(60)

    first = make_message()
    files = InstrumentedFiles(before)
    spool = Spool.open(*configs(tmp_path, flush=True), files=files)
    stored = [spool.store([first])]
    assert await asyncio.to_thread(reached.wait, 60)
    files.calls.clear()
    for _ in range(5):
        stored += [spool.store([make_message()]) for _ in range(2)]
        await asyncio.sleep(0)  # these are handed over
    released.set()
    await asyncio.gather(*stored)
    assert files.names().count("sync_file") == syncs
    assert files.names().count("write_at") == syncs - 1
    await spool.close()


async def test_a_caller_that_goes_away_has_its_message_stored_and_can_take_it_back(
    reopen: Reopen, tmp_path: Path
) -> None:
    released = threading.Event()

    def before(call: Call, _: int) -> None:
        if is_write_of(call, message):
            assert released.wait(60)

    message, other = make_message(), make_message()
    spool = await reopen(files=InstrumentedFiles(before))
    waiting = asyncio.ensure_future(spool.store([message]))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    removed = spool.remove([message])
    released.set()
    await removed
    await spool.store([other])
    assert kept_ids(tmp_path) == [other.id]


async def test_a_cancelled_store_still_marks_its_message_as_stored(reopen: Reopen, tmp_path: Path) -> None:
    spool = await reopen()
    message = make_message()
    waiting = asyncio.ensure_future(spool.store([message]))
    waiting.cancel()
    await spool.store([make_message()])
    assert message.is_stored
    assert message.id in kept_ids(tmp_path)


async def test_content_that_is_gone_or_unreadable_is_told_apart(reopen: Reopen, tmp_path: Path) -> None:
    class Unreadable(FileOperations):
        def read(self, path: str) -> bytes:
            if path == str(data_file(tmp_path, broken.id)):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return super().read(path)

    gone, broken = make_message(), make_message()
    spool = await reopen()
    await spool.store([gone, broken])
    spool = await reopen(files=Unreadable())
    gone.shrink()
    broken.shrink()
    data_file(tmp_path, gone.id).unlink()
    with pytest.raises(CorruptEntry, match=f"message {gone.id} has no content on the spool"):
        await spool.load_content(gone)
    with pytest.raises(SpoolError, match=f"unable to read message {broken.id}: Input/output error"):
        await spool.load_content(broken)


async def test_content_in_memory_is_not_read_again(reopen: Reopen) -> None:
    spool = await reopen()
    message = make_message()
    await spool.load_content(message)
    assert message.is_resident


async def test_a_removal_that_fails_is_told(reopen: Reopen, tmp_path: Path) -> None:
    def before(call: Call, _: int) -> None:
        if call.name == "write_at" and call.arguments[1] == (VOID,):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    message = make_message()
    spool = await reopen(files=InstrumentedFiles(before))
    await spool.store([message])
    with pytest.raises(SpoolError, match=f"unable to remove message {message.id}"):
        await spool.remove([message])
    assert message.is_stored
    assert kept_ids(tmp_path) == [message.id]


async def test_mail_that_comes_in_during_the_enumeration_is_not_part_of_it(
    reopen: Reopen, tmp_path: Path
) -> None:
    spool = await reopen()
    old = [make_message() for _ in range(3)]
    await spool.store(old)
    spool = await reopen()
    new = make_message()
    await spool.store([new])
    found: list[Message] = []
    newer = []
    async for message in spool.entries():
        found.append(message)
        newer.append(make_message())
        await spool.store([newer[-1]])
    assert [message.id for message in found] == [message.id for message in old]
    assert kept_ids(tmp_path) == ids_of(*old, new, *newer)


async def test_a_message_that_moves_into_files_meanwhile_is_no_orphan(tmp_path: Path) -> None:
    """Its content has a name already and its envelope has none yet while the folders are listed."""
    data_named, listed = threading.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    moved: asyncio.Future[None] = loop.create_future()

    async def move() -> None:
        def tidy() -> None:
            spool._engine.tidy()

        await spool._as_chore(tidy)
        moved.set_result(None)

    class Halting(InstrumentedFiles):
        def scan(self, path: str) -> list[tuple[str, EntryKind]]:
            if path == f"{tmp_path}/data/data":
                asyncio.run_coroutine_threadsafe(move(), loop)
                assert data_named.wait(60)
            found = super().scan(path)
            if path == str(data_file(tmp_path, message.id).parent):
                listed.set()
            return found

    def before(call: Call, _: int) -> None:
        if call.name == "rename" and call.arguments[1] == str(meta_file(tmp_path, message.id)):
            data_named.set()
            assert listed.wait(60)

    message = make_message()
    stores = Stores(tmp_path)
    stores.append([message])
    stores.close()
    spool = Spool.open(*configs(tmp_path), files=Halting(before))
    assert [entry.id async for entry in spool.entries()] == [message.id]
    await moved
    await spool.close()
    assert listed.is_set()
    assert entry_files(tmp_path) == files_of(message)


async def test_close_finishes_what_was_asked_for(tmp_path: Path) -> None:
    spool = Spool.open(*configs(tmp_path))
    messages = [make_message() for _ in range(600)]
    stored = [asyncio.ensure_future(spool.store([message])) for message in messages]
    await spool.close()
    await asyncio.gather(*stored)
    assert entry_files(tmp_path) == files_of(*messages)
    await spool.close()


async def test_a_closed_spool_takes_nothing(reopen: Reopen) -> None:
    spool = await reopen()
    await spool.close()
    with pytest.raises(SpoolError, match="the spool is closed"):
        spool.store([make_message()])
    with pytest.raises(SpoolError, match="the spool is closed"):
        spool.remove([make_message()])


async def test_a_torn_manifest_from_before_does_not_hinder_the_start(reopen: Reopen, tmp_path: Path) -> None:
    put(tmp_path / "meta" / "commit" / "torn", b"new")
    spool = await reopen()
    await spool.store([make_message(), make_message()])
    assert (tmp_path / "meta" / "quarantine" / "torn.1").exists()


async def test_a_recovery_that_the_disk_refuses_names_the_spool(tmp_path: Path) -> None:
    def before(call: Call, _: int) -> None:
        if call.name == "unlink" and call.arguments[0].endswith("/left"):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    put(tmp_path / "meta" / "new" / "left", b"x")
    with pytest.raises(SpoolError, match=f"unable to recover the spool at {tmp_path}/meta"):
        Spool.open(*configs(tmp_path), files=InstrumentedFiles(before))
    await Spool.open(*configs(tmp_path)).close()


async def test_the_stores_may_differ_in_flush(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kumo.spool.opening.syncs_whole_file_system", lambda _: False)
    files = InstrumentedFiles()
    spool = Spool.open(configs(tmp_path, flush=True)[0], configs(tmp_path)[1], files=files)
    files.calls.clear()
    await spool.store([make_message(), make_message()])
    synced = [str(call.arguments[0]) for call in files.calls if call.name == "sync_directory"]
    # The journal has contents as well, and goes by the stricter one.
    assert synced == [f"{tmp_path}/meta", f"{tmp_path}/meta/journal"]
    assert files.names().count("sync_file") == 1
    files.calls.clear()
    await spool.close()
    synced = [str(call.arguments[0]) for call in files.calls if call.name == "sync_directory"]
    assert synced
    assert not [path for path in synced if "/meta" in path.removeprefix(str(tmp_path))]
