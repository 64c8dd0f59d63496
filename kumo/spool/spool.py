"""The spool as the other rooms see it: one engine behind one writer.

Reception and the queues store, remove and load through it; the composition root opens it, reads
``entries`` once and closes it. Nothing here blocks the loop but ``open``, which belongs before it or
in a thread.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack
from typing import ParamSpec

from kumo.config import Spool as SpoolConfig
from kumo.errors import CorruptEntry, SpoolError, SpoolFull
from kumo.message import Message
from kumo.spool.engine import Engine
from kumo.spool.file_operations import FileOperations, spool_error
from kumo.spool.health import SpoolHealth
from kumo.spool.opening import open_engine
from kumo.spool.requests import Entry, RemoveRequest, StoreRequest
from kumo.spool.writer import Job, Writer

_P = ParamSpec("_P")

_READ_AT_ONCE = 128
"""Metas read by one trip to a thread while the spool is enumerated."""


class Spool:
    """Keeps messages on disk; made by ``open``.

    With ``flush`` a stored message survives power loss, without it kill -9. All coroutines and futures
    belong to one event loop.
    """

    __slots__ = ("_engine", "_fresh", "_health", "_held", "_is_closed", "_on_full", "_writer")

    def __init__(self, engine: Engine, held: ExitStack, on_full: Callable[[], None] | None) -> None:
        self._engine = engine
        self._held = held
        self._on_full = on_full
        self._fresh: set[str] | None = set()
        """Ids stored in this run, for as long as the enumeration might come across them."""
        self._is_closed = False
        self._health = SpoolHealth(engine.try_out)
        self._writer = Writer(engine, self._health, self._note_error)

    @classmethod
    def open(
        cls,
        data: SpoolConfig,
        meta: SpoolConfig,
        *,
        files: FileOperations | None = None,
        on_full: Callable[[], None] | None = None,
    ) -> Spool:
        """Lock both stores, finish what a crash cut short, and start the writer.

        Args:
            data: the store named ``data``.
            meta: the store named ``meta``.
            files: performs the calls; a test's own may fail.
            on_full: called on the loop whenever a message finds no room.

        Raises:
            SpoolLocked: another process has one of them.
            SpoolError: a path that cannot be used; the text names it.
        """
        files = files or FileOperations()
        held = ExitStack()
        try:
            return cls(open_engine(data, meta, files, held), held, on_full)
        except BaseException as error:
            held.close()
            if isinstance(error, OSError):
                raise spool_error(f"recover the spool at {meta.path}", error) from error
            raise

    @property
    def unhealthy_reason(self) -> str | None:
        """Why nothing can be stored just now, for reasons other than room; None when it can.

        It is found by a message that could not be stored, and unsaid by one that could or by a probe.
        """
        return self._health.reason

    def store(self, messages: Sequence[Message]) -> Awaitable[None]:
        """Keep all messages or none; their state now is what is kept.

        A message that is stored already is replaced; one whose content is on the spool only keeps it.
        When the awaiting task is cancelled the messages are stored all the same: ``remove`` them.

        Args:
            messages: those of one transaction; ``is_stored`` is set once they are.

        Returns:
            A future that is done when they are as durable as the stores promise.

        Raises:
            SpoolFull: no room; nothing of them is left.
            SpoolUnhealthy: the disk failed otherwise, likewise.
            SpoolError: any other failure, likewise.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not messages:
            future.set_result(None)
            return future
        request = StoreRequest([Entry.of(message) for message in messages])
        if self._fresh is not None:
            self._fresh.update([message.id for message in messages])
        self._submit(Job(future, tuple(messages), request=request))
        return future

    def remove(self, messages: Sequence[Message]) -> Awaitable[None]:
        """Forget messages for good; those that are not there are no error.

        Raises:
            SpoolError: one of them could not be removed and may come back after a restart.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        removal = RemoveRequest([message.id for message in messages])
        self._submit(Job(future, tuple(messages), removal=removal))
        return future

    async def load_content(self, message: Message) -> None:
        """Make a stored message's content resident; nothing happens to one that is.

        Raises:
            CorruptEntry: the spool does not have it.
            SpoolError: it cannot be read.
        """
        if message.is_resident:
            return
        loop = asyncio.get_running_loop()
        try:
            message.load(await loop.run_in_executor(None, self._engine.read_content, message.id))
        except FileNotFoundError:
            raise CorruptEntry(f"message {message.id} has no content on the spool") from None
        except OSError as error:
            raise spool_error(f"read message {message.id}", error) from error

    async def entries(self) -> AsyncIterator[Message]:
        """Every message that was on the spool when it was opened, oldest first, not resident.

        To be read once, to its end; mail may come in meanwhile and is not among them. What cannot be
        understood (torn or foreign files, metas without content, contents without meta) is moved to
        ``quarantine/`` and logged.
        """
        loop = asyncio.get_running_loop()
        engine = self._engine
        found = await loop.run_in_executor(None, engine.list_entries)
        await self._as_chore(engine.clear_entries, found)
        for start in range(0, len(found.ids), _READ_AT_ONCE):
            ids = [
                spool_id
                for spool_id in found.ids[start : start + _READ_AT_ONCE]
                if not self._is_fresh(spool_id)
            ]
            for entry in await loop.run_in_executor(None, engine.read_entries, ids):
                if isinstance(entry, Message):
                    yield entry
                else:
                    await self._as_chore(engine.set_aside, entry)
        contents = await loop.run_in_executor(None, engine.list_contents)
        await self._as_chore(engine.clear_contents, contents, frozenset(found.ids))
        self._fresh = None

    async def close(self) -> None:
        """Finish what was asked for, end the writer and release the locks; a second time does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        self._writer.stop()
        # Cancelled here, the locks stay: the writer still writes.
        await asyncio.get_running_loop().run_in_executor(None, self._writer.join)
        self._held.close()

    def _is_fresh(self, spool_id: str) -> bool:
        return self._fresh is not None and spool_id in self._fresh

    async def _as_chore(self, change: Callable[_P, None], *args: _P.args, **kwargs: _P.kwargs) -> None:
        """Change something on disk in the writer's thread, which alone may."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._submit(Job(future, chore=functools.partial(change, *args, **kwargs)))
        await future

    def _submit(self, job: Job) -> None:
        if self._is_closed:
            raise SpoolError("the spool is closed")
        self._writer.submit(job)

    def _note_error(self, error: SpoolError) -> None:
        if self._on_full is not None and isinstance(error, SpoolFull):
            self._on_full()
