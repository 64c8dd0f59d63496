"""A spool that several processes share: a shard for each, and whatever other runs left behind.

::

    {path}/                     the store of a daemon that is a single process
    {path}/workers/lock         held by a daemon of several processes, and by a single one that adopts
    {path}/workers/{number}/    the shard of worker {number}, a store like any other

A store that belongs to no process of this run is an orphan, and one process adopts it: opens it, locks it,
and serves its messages from where they are until they leave. Nothing is moved, so there is no moment at
which a killed daemon could lose a message or have it twice. New messages never go into an orphan.

Used by the composition root in place of ``Spool.open``.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from kumo.config import Spool as SpoolConfig
from kumo.message import Message
from kumo.spool.file_operations import spool_error
from kumo.spool.opening import take_lock
from kumo.spool.spool import Spool

_log = logging.getLogger("kumod.spool")

_Pair = tuple[SpoolConfig, SpoolConfig]
"""Data and meta store."""

_WORKERS = "workers"


class ShardsLock:
    """Keeps other daemons off a spool's shards, for as long as a process has one of its descriptors.

    So a daemon whose parent was killed keeps its spool until the last of its workers has ended.

    Args:
        descriptors: of the locked files.
        held: releases them.
    """

    __slots__ = ("_held", "descriptors")

    def __init__(self, descriptors: Sequence[int], held: ExitStack) -> None:
        self.descriptors = tuple(descriptors)
        self._held = held

    @classmethod
    def take(cls, data: SpoolConfig, meta: SpoolConfig) -> ShardsLock:
        """Lock the shards of both stores.

        Raises:
            SpoolLocked: another daemon has them.
            SpoolError: the path cannot be used.
        """
        with ExitStack() as held:
            descriptors = []
            for config in (data, meta):
                directory = _shards_directory(config)
                try:
                    directory.mkdir(parents=True, exist_ok=True)
                    descriptors.append(take_lock(f"{directory}/lock", held))
                except OSError as error:
                    raise spool_error(f"use spool {config.name} at {directory}", error) from error
            return cls(descriptors, held.pop_all())

    def close(self) -> None:
        """Let go of this process's descriptors. Idempotent."""
        self._held.close()


def refuse_beside_single(data: SpoolConfig, meta: SpoolConfig) -> None:
    """Make sure that no daemon of a single process has the spool.

    Only looked at: the worker that adopts these stores locks them itself.

    Raises:
        SpoolLocked: it has.
        SpoolError: the path cannot be used.
    """
    for config in (data, meta):
        path = Path(config.path).absolute() / "lock"
        try:
            if path.exists():
                with ExitStack() as held:
                    take_lock(str(path), held)
        except OSError as error:
            raise spool_error(f"use spool {config.name} at {config.path}", error) from error


class AdoptingSpool:
    """A ``Spool`` that also serves what it finds in orphans; made by ``open_single`` and ``open_shard``.

    Args:
        own: where new messages go.
        orphans: the others.
        lock: what keeps other daemons off; None: another process has it.
    """

    __slots__ = ("_homes", "_lock", "_orphans", "_own")

    def __init__(self, own: Spool, orphans: Sequence[Spool], lock: ShardsLock | None) -> None:
        self._own = own
        self._orphans = tuple(orphans)
        self._lock = lock
        self._homes: dict[str, Spool] = {}
        """The orphans that messages are in, by spool id."""

    @property
    def unhealthy_reason(self) -> str | None:
        """As ``Spool.unhealthy_reason``, of the store that new messages go to."""
        return self._own.unhealthy_reason

    def store(self, messages: Sequence[Message]) -> Awaitable[None]:
        """As ``Spool.store``; messages of different stores are kept each for itself.

        Those of one transaction are new, and all of one store.
        """
        if not self._homes:
            return self._own.store(messages)
        return _together([home.store(part) for home, part in self._by_home(messages)])

    def remove(self, messages: Sequence[Message]) -> Awaitable[None]:
        """As ``Spool.remove``."""
        if not self._homes:
            return self._own.remove(messages)
        return _together([self._remove(home, part) for home, part in self._by_home(messages)])

    def load_content(self, message: Message) -> Awaitable[None]:
        """As ``Spool.load_content``."""
        return self._homes.get(message.id, self._own).load_content(message)

    async def entries(self) -> AsyncIterator[Message]:
        """As ``Spool.entries``: this process's own messages, then those of one orphan after the other."""
        async for message in self._own.entries():
            yield message
        for orphan in self._orphans:
            async for message in orphan.entries():
                self._homes[message.id] = orphan
                yield message
        if self._homes:
            _log.info("%d messages of %d other stores were adopted", len(self._homes), len(self._orphans))

    async def close(self) -> None:
        """As ``Spool.close``, of all stores."""
        await _close((self._own, *self._orphans))
        if self._lock is not None:
            self._lock.close()

    def _by_home(self, messages: Sequence[Message]) -> list[tuple[Spool, list[Message]]]:
        parts: dict[Spool, list[Message]] = {}
        for message in messages:
            parts.setdefault(self._homes.get(message.id, self._own), []).append(message)
        return list(parts.items()) or [(self._own, [])]

    def _remove(self, home: Spool, messages: list[Message]) -> Awaitable[None]:
        removal = asyncio.ensure_future(home.remove(messages))
        if home is not self._own:
            removal.add_done_callback(lambda done: self._forget(done, messages))
        return removal

    def _forget(self, removal: asyncio.Future[None], messages: list[Message]) -> None:
        # What could not be removed is asked for again, and has to be found then.
        if not removal.cancelled() and removal.exception() is None:
            for message in messages:
                self._homes.pop(message.id, None)


async def open_single(
    data: SpoolConfig, meta: SpoolConfig, on_full: Callable[[], None] | None = None
) -> Spool | AdoptingSpool:
    """Open a spool for a daemon that is one process; the shards of runs with several are adopted.

    Args:
        data: the store named ``data``.
        meta: the store named ``meta``.
        on_full: as ``Spool.open`` takes it.

    Raises:
        SpoolLocked: another daemon has it.
        SpoolError: a path that cannot be used; the text names it.
    """
    orphans = [(_shard(data, number), _shard(meta, number)) for number in _shard_numbers(data, meta)]
    if not orphans:
        return Spool.open(data, meta, on_full=on_full)
    lock = ShardsLock.take(data, meta)
    try:
        own, *others = await _open_all([(data, meta), *orphans], on_full)
    except BaseException:
        lock.close()
        raise
    return AdoptingSpool(own, others, lock)


async def open_shard(
    data: SpoolConfig,
    meta: SpoolConfig,
    number: int,
    count: int,
    on_full: Callable[[], None] | None = None,
) -> AdoptingSpool:
    """Open the shard of one worker; orphans are divided among the workers.

    Args:
        data: the store named ``data``, as the policy says.
        meta: the store named ``meta``, likewise.
        number: of the worker, from 1.
        count: of workers. The first one adopts what runs of a single process left.
        on_full: as ``Spool.open`` takes it.

    Raises:
        SpoolLocked: another process has a store.
        SpoolError: a path that cannot be used; the text names it.
    """
    orphans = [
        (_shard(data, other), _shard(meta, other))
        for other in _shard_numbers(data, meta)
        if other > count and (other - number) % count == 0
    ]
    if number == 1:
        orphans.insert(0, (data, meta))
    own, *others = await _open_all([(_shard(data, number), _shard(meta, number)), *orphans], on_full)
    return AdoptingSpool(own, others, None)


def shard_roots(root: str) -> list[str]:
    """Folders of the shards of a store; those of all runs.

    Args:
        root: the store's own folder.
    """
    return [f"{root}/{_WORKERS}/{number}" for number in _numbers(Path(root) / _WORKERS)]


async def _open_all(pairs: Sequence[_Pair], on_full: Callable[[], None] | None) -> list[Spool]:
    opened: list[Spool] = []
    try:
        for data, meta in pairs:
            opened.append(Spool.open(data, meta, on_full=on_full))
    except BaseException:
        await _close(opened)
        raise
    return opened


async def _close(spools: Sequence[Spool]) -> None:
    for spool in spools:
        await spool.close()


def _together(calls: Sequence[Awaitable[None]]) -> Awaitable[None]:
    """All calls as one; each of them goes on whatever becomes of the others."""
    if len(calls) == 1:
        return calls[0]
    return asyncio.ensure_future(_all_done([asyncio.ensure_future(call) for call in calls]))


async def _all_done(calls: Sequence[asyncio.Future[None]]) -> None:
    errors = [error for error in await asyncio.gather(*calls, return_exceptions=True) if error is not None]
    if errors:
        raise errors[0]


def _shard(config: SpoolConfig, number: int) -> SpoolConfig:
    return dataclasses.replace(config, path=f"{_shards_directory(config)}/{number}")


def _shards_directory(config: SpoolConfig) -> Path:
    return Path(config.path).absolute() / _WORKERS


def _shard_numbers(data: SpoolConfig, meta: SpoolConfig) -> list[int]:
    return sorted({number for config in (data, meta) for number in _numbers(_shards_directory(config))})


def _numbers(directory: Path) -> list[int]:
    """Numbers of the shards in a folder; it need not exist."""
    try:
        names = os.listdir(directory)  # noqa: PTH208 - names are all that is wanted
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise spool_error(f"list {directory}", error) from error
    return sorted(int(name) for name in names if name.isascii() and name.isdigit() and name[0] != "0")
