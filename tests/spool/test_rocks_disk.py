"""Kind RocksDB, with real databases."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from rocksdict import Options, Rdict

from kumo.config import SpoolKind
from kumo.errors import CorruptEntry, SpoolError, SpoolFull, SpoolLocked, SpoolUnhealthy
from kumo.message import Message
from kumo.spool import Spool, list_spool
from kumo.spool.rocks_disk import ENVELOPES_BUFFER, RocksDisk, RocksStore
from kumo.spool.stored_envelope import encode_envelope
from tests.spool.samples import configs, ids_of, kept_ids, make_message

Reopen = Callable[..., Awaitable[Spool]]


def rocks(root: Path, *, flush: bool = False) -> Spool:
    return Spool.open(*configs(root, flush=flush, kind=SpoolKind.ROCKS_DB))


@pytest.fixture(params=[False, True], ids=["no flush", "flush"])
async def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Reopen]:
    """Closes the spool in ``tmp_path`` if it is open, and opens it."""
    current: list[Spool] = []

    async def again() -> Spool:
        for spool in current:
            await spool.close()
        current[:] = [rocks(tmp_path, flush=request.param)]
        return current[0]

    yield again
    for spool in current:
        await spool.close()


def stores_of(spool: Spool) -> tuple[RocksStore, RocksStore]:
    engine = spool._engine
    assert isinstance(engine, RocksDisk)
    return engine._data, engine._meta


def quarantine(root: Path) -> list[str]:
    return [str(path.relative_to(root)) for path in root.glob("*/quarantine/*")]


async def messages_of(spool: Spool) -> list[Message]:
    found = [message async for message in spool.entries()]
    for message in found:
        await spool.load_content(message)
    return found


async def test_messages_come_back_whole_and_oldest_first(reopen: Reopen, tmp_path: Path) -> None:
    spool = await reopen()
    messages = [make_message(meta={"n": n}, body=bytes([n]) * 5000) for n in range(200)]
    await asyncio.gather(*(spool.store(messages[n : n + 2]) for n in range(0, 200, 2)))
    assert kept_ids(tmp_path) == ids_of(*messages)
    found = await messages_of(await reopen())
    assert [message.id for message in found] == [message.id for message in messages]
    assert [message.content for message in found] == [message.content for message in messages]
    assert [message.meta for message in found] == [message.meta for message in messages]


async def test_the_values_are_those_of_kumomta(reopen: Reopen, tmp_path: Path) -> None:
    spool = await reopen()
    message = make_message()
    await spool.store([message])
    await spool.close()
    key = bytes.fromhex(message.id)
    for store, value in (("data", message.content), ("meta", encode_envelope(message))):
        database = Rdict(str(tmp_path / store), Options(raw_mode=True))
        assert dict(database.items()) == {key: value}
        database.close()


async def test_envelopes_in_memory_are_bounded(reopen: Reopen) -> None:
    spool = await reopen()
    for _ in range(96):
        await spool.store([make_message(meta={"text": "x" * 500_000})])
    _, meta = stores_of(spool)
    in_memory = int(str(meta._database.property_value("rocksdb.cur-size-all-mem-tables")))
    # One that is written to, and two that become tables: then writes have to wait.
    assert in_memory < 3 * (ENVELOPES_BUFFER + 1_000_000)
    assert len(await messages_of(await reopen())) == 96


async def test_a_removed_message_stays_away(reopen: Reopen, tmp_path: Path) -> None:
    spool = await reopen()
    kept, removed = make_message(), make_message()
    await spool.store([kept, removed])
    await spool.remove([removed, make_message()])
    assert kept_ids(tmp_path) == [kept.id]
    removed.is_stored = True
    removed.shrink()
    with pytest.raises(CorruptEntry, match="has no content on the spool"):
        await spool.load_content(removed)
    assert [message.id for message in await messages_of(await reopen())] == [kept.id]


async def test_an_update_keeps_or_replaces_the_content(reopen: Reopen) -> None:
    spool = await reopen()
    kept, replaced = make_message(), make_message()
    await spool.store([kept, replaced])
    content = kept.content
    kept.shrink()
    assert not kept.is_resident
    kept.meta["n"] = 1
    replaced.set_content(b"new")
    replaced.meta["n"] = 2
    await spool.store([kept, replaced])
    found = {message.id: message for message in await messages_of(await reopen())}
    assert (found[kept.id].content, found[kept.id].meta["n"]) == (content, 1)
    assert (found[replaced.id].content, found[replaced.id].meta["n"]) == (b"new", 2)


async def test_content_and_envelope_change_together(reopen: Reopen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing more is done after the one."""
    spool = await reopen()
    message = make_message(body=b"old")
    await spool.store([message])
    message.set_content(b"new")
    message.meta["n"] = 2
    with monkeypatch.context() as patch:
        patch.setattr(RocksStore, "put", _raising("killed"))
        with pytest.raises(SpoolError):
            await spool.store([message])
    (found,) = await messages_of(await reopen())
    assert (found.content, found.meta["n"]) == (b"new", 2)
    _, meta = stores_of(await reopen())
    assert meta.list_keys() == [bytes.fromhex(message.id)]


async def test_what_is_not_whole_is_set_aside(
    reopen: Reopen, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = await reopen()
    good, torn, no_content, no_meta = (make_message() for _ in range(4))
    await spool.store([good])
    spool = await reopen()
    data, meta = stores_of(spool)
    data.put(bytes.fromhex(torn.id), b"content")
    meta.put(bytes.fromhex(torn.id), b'{"sender":')
    meta.put(bytes.fromhex(no_content.id), encode_envelope(no_content))
    data.put(bytes.fromhex(no_meta.id), b"orphan")
    meta.put(b"foreign", b"x")
    (listed,) = [entry for entry in list_spool(tmp_path / "meta") if entry.id == torn.id]
    assert "is unreadable" in str(listed)
    assert [message.id for message in await messages_of(spool)] == [good.id]
    quarantined = {name: (tmp_path / name).read_bytes() for name in quarantine(tmp_path)}
    assert quarantined == {
        f"data/quarantine/{torn.id}.1": b"content",
        f"meta/quarantine/{torn.id}.1": b'{"sender":',
        f"meta/quarantine/{no_content.id}.1": encode_envelope(no_content),
        f"data/quarantine/{no_meta.id}.1": b"orphan",
    }
    assert f"key {b'foreign'.hex()} is not an entry" in caplog.text
    assert kept_ids(tmp_path) == [good.id]


def _raising(text: str) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC if "space" in text else errno.EIO, text)

    return fail


@pytest.mark.parametrize(("text", "kind"), [("no space", SpoolFull), ("broken", SpoolUnhealthy)])
@pytest.mark.parametrize(("step", "number"), [("put", 0), ("write", 1), ("sync", 0), ("sync", 1)])
async def test_a_failed_step_stores_nothing_and_the_spool_goes_on(
    tmp_path: Path, step: str, text: str, kind: type[SpoolError], number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = rocks(tmp_path)
    store = stores_of(spool)[number]
    unlucky, lucky = [make_message(), make_message()], make_message()
    whole = getattr(RocksStore, step)
    calls: list[object] = []

    def fail_once(this: RocksStore, *args: object, **kwargs: object) -> object:
        if this is store and not calls:
            calls.append(args)
            _raising(text)()
        return whole(this, *args, **kwargs)

    monkeypatch.setattr(RocksStore, step, fail_once)
    with pytest.raises(kind, match=f"unable to store {unlucky[0].id}, {unlucky[1].id}: {text}"):
        await spool.store(unlucky)
    assert kept_ids(tmp_path) == []
    assert not any(message.is_stored for message in unlucky)
    await spool.store([lucky])
    await spool.close()
    spool = rocks(tmp_path)
    assert [message.id for message in await messages_of(spool)] == [lucky.id]
    assert quarantine(tmp_path) == []
    await spool.close()


async def test_a_full_disk_is_told_from_a_broken_one(tmp_path: Path) -> None:
    class Full:
        def put(self, *_: object) -> None:
            raise Exception("IO error: No space left on device: While appending")  # noqa: TRY002 - as rocksdict does

    spool = rocks(tmp_path)
    data, _ = stores_of(spool)
    database, data._database = data._database, Full()  # type: ignore[assignment]
    with pytest.raises(SpoolFull):
        await spool.store([make_message()])
    assert spool.unhealthy_reason is None
    data._database = database
    await spool.close()


async def test_a_removal_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = rocks(tmp_path)
    message = make_message()
    await spool.store([message])
    with monkeypatch.context() as patch:
        patch.setattr(RocksStore, "write", _raising("broken"))
        with pytest.raises(SpoolError, match=f"unable to remove message {message.id}: broken"):
            await spool.remove([message])
    assert message.is_stored
    await spool.close()


async def test_a_database_that_stopped_is_opened_anew_by_the_probe(tmp_path: Path) -> None:
    spool = rocks(tmp_path)
    message = make_message()
    await spool.store([message])
    data, _ = stores_of(spool)
    data.close()
    with pytest.raises(SpoolUnhealthy):
        await spool.store([make_message()])
    await asyncio.to_thread(spool._engine.try_out)
    await spool.store([make_message()])
    await spool.load_content(message)
    await spool.close()
    spool = rocks(tmp_path)
    assert message.id in {found.id for found in await messages_of(spool)}
    await spool.close()


@pytest.mark.parametrize(
    "told", ["Result incomplete: Incomplete: Write stall", "Result incomplete: Write stall"]
)
async def test_a_write_that_would_have_to_wait_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    spool = rocks(tmp_path)
    stores = stores_of(spool)
    written: list[object] = []

    class Stalling:
        """Each write fails at first."""

        def put(self, *arguments: object) -> None:
            written.append(arguments[0])
            if len(written) % 2:
                raise Exception(told)  # noqa: TRY002 - as rocksdict does

        write = put

    monkeypatch.setattr("kumo.spool.rocks_disk._STALL_PAUSE", 0)
    databases = [store._database for store in stores]
    for store in stores:
        store._database = Stalling()  # type: ignore[assignment]
    message = make_message()
    await spool.store([message])
    key, again, batch, another = written
    assert key == again == bytes.fromhex(message.id)
    # The first one is used up, though nothing of it was written.
    assert batch is not another
    for store, database in zip(stores, databases, strict=True):
        store._database = database
    await spool.close()


async def test_a_database_that_is_open_refuses_another(tmp_path: Path) -> None:
    spool = rocks(tmp_path)
    with pytest.raises(SpoolLocked):
        rocks(tmp_path)
    await spool.close()
    await rocks(tmp_path).close()


def test_a_path_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(SpoolError, match=f"unable to use spool data at {tmp_path}/data"):
        rocks(tmp_path)
