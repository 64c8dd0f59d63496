from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from kumo.config import SpoolKind
from kumo.errors import SpoolError, SpoolLocked
from kumo.message import Message
from kumo.spool import (
    AdoptingSpool,
    ShardsLock,
    Spool,
    list_spool,
    open_shard,
    open_single,
    refuse_beside_single,
)
from kumo.spool.shards import shard_roots
from tests.spool.samples import configs, make_message

Opened = Spool | AdoptingSpool
Open = Callable[[int, int], Awaitable[Opened]]


@pytest.fixture
def kind() -> SpoolKind:
    return SpoolKind.LOCAL_DISK


@pytest.fixture
async def open_part(tmp_path: Path, kind: SpoolKind) -> AsyncIterator[Open]:
    """Opens the part of a worker among several, or all where there is one; closed in the end."""
    async with AsyncExitStack() as stack:

        async def opened(number: int, count: int) -> Opened:
            data, meta = configs(tmp_path, kind=kind)
            if count == 1:
                spool: Opened = await open_single(data, meta)
            else:
                spool = await open_shard(data, meta, number, count)
            stack.push_async_callback(spool.close)
            return spool

        yield opened


async def entries(spool: Opened) -> dict[str, Message]:
    found = [message async for message in spool.entries()]
    assert len({message.id for message in found}) == len(found)
    return {message.id: message for message in found}


async def run(open_part: Open, count: int, new: int = 0) -> list[set[str]]:
    """One run with so many processes, each of which stores so many new messages: what each had found."""
    parts = [await open_part(number, count) for number in range(1, count + 1)]
    found = [set(await entries(part)) for part in parts]
    for part in parts:
        if new:
            await part.store([make_message() for _ in range(new)])
        await part.close()
    return found


async def test_without_shards_a_spool_is_a_spool(open_part: Open, tmp_path: Path) -> None:
    assert isinstance(await open_part(1, 1), Spool)
    assert shard_roots(str(tmp_path / "meta")) == shard_roots(str(tmp_path / "data")) == []


@pytest.mark.parametrize("kind", SpoolKind)
@pytest.mark.parametrize(
    "counts", [(1, 2, 1), (1, 3, 2, 1), (3, 1), (4, 3, 2), (2, 4), (2, 2), (5, 2, 3, 1), (9, 4, 1)]
)
async def test_every_message_is_found_once_whatever_the_counts(
    open_part: Open, tmp_path: Path, counts: tuple[int, ...]
) -> None:
    total = 0
    for count in counts:
        found = await run(open_part, count, new=2)
        assert len(set.union(*found)) == sum(map(len, found)) == total
        total += 2 * count
        assert len(list(list_spool(tmp_path / "meta"))) == total


async def test_orphans_are_divided(open_part: Open) -> None:
    await run(open_part, 6, new=1)
    assert [len(found) for found in await run(open_part, 3)] == [2, 2, 2]


async def test_an_adopted_message_is_read_changed_and_removed_where_it_is(
    open_part: Open, tmp_path: Path
) -> None:
    await run(open_part, 1, new=3)
    (worker, other) = [await open_part(number, 2) for number in (1, 2)]
    adopted = list((await entries(worker)).values())
    assert len(adopted) == 3
    assert await entries(other) == {}
    await worker.load_content(adopted[0])
    assert b"Subject: x" in adopted[0].content
    adopted[0].meta["queue"] = "changed"
    fresh = make_message()
    await worker.store([adopted[0], fresh])
    await worker.remove([adopted[1]])
    await worker.remove([])
    await worker.close()
    await other.close()
    single = Spool.open(*configs(tmp_path))
    left = await entries(single)
    await single.close()
    assert set(left) == {adopted[0].id, adopted[2].id}
    assert left[adopted[0].id].meta["queue"] == "changed"
    worker = await open_part(1, 2)
    assert set(await entries(worker)) == {*left, fresh.id}
    # Of stores of both kinds at one time.
    await worker.remove([*left.values(), fresh])
    await worker.close()
    assert list(list_spool(tmp_path / "meta")) == []


async def test_a_removal_that_fails_finds_its_store_again(
    open_part: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run(open_part, 1, new=1)
    worker = await open_part(1, 2)
    (message,) = (await entries(worker)).values()

    def fail(_: object) -> Awaitable[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.set_exception(SpoolError("no"))
        return future

    with monkeypatch.context() as patch:
        patch.setattr(Spool, "remove", lambda _, messages: fail(messages))
        with pytest.raises(SpoolError, match="no"):
            await worker.remove([message])
    await asyncio.sleep(0)
    await worker.remove([message])
    await worker.close()
    assert list(list_spool(tmp_path / "meta")) == []


@pytest.mark.parametrize("of", ["data", "meta"])
async def test_shards_belong_to_one_daemon(open_part: Open, tmp_path: Path, of: str) -> None:
    await run(open_part, 2)
    data, meta = configs(tmp_path)
    lock = ShardsLock.take(data, meta)
    assert len(lock.descriptors) == 2
    with pytest.raises(SpoolLocked, match=r"workers/lock: process \d+ has it"):
        ShardsLock.take(data, meta)
    with pytest.raises(SpoolLocked, match=r"workers/lock"):
        await open_single(data, meta)
    lock.close()
    lock.close()
    single = await open_part(1, 1)
    with pytest.raises(SpoolLocked):
        ShardsLock.take(data, meta)
    await single.close()
    # What could not be opened as a whole is not held in part.
    blocked = configs(tmp_path)[0 if of == "data" else 1]
    (Path(blocked.path) / "workers" / "2" / "lock").unlink()
    (Path(blocked.path) / "workers" / "2" / "lock").mkdir()
    with pytest.raises(SpoolError, match="workers/2"):
        await open_single(data, meta)
    ShardsLock.take(data, meta).close()
    await Spool.open(data, meta).close()


async def test_a_single_daemon_is_noticed(open_part: Open, tmp_path: Path) -> None:
    data, meta = configs(tmp_path)
    refuse_beside_single(data, meta)
    single = await open_part(1, 1)
    with pytest.raises(SpoolLocked):
        refuse_beside_single(data, meta)
    await single.close()
    refuse_beside_single(data, meta)


async def test_what_is_no_shard_is_left_alone(open_part: Open, tmp_path: Path) -> None:
    await run(open_part, 2, new=1)
    for name in ("x", "01", "0", "-1", "٣"):
        (tmp_path / "meta" / "workers" / name).mkdir()
    assert len((await run(open_part, 1))[0]) == 2
    assert not (tmp_path / "meta" / "workers" / "x" / "data").exists()
