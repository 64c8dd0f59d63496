"""What the writer's thread holds on to; what it does is tested by way of the facade."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from kumo.message import Message
from kumo.spool.health import SpoolHealth
from kumo.spool.requests import Entry, StoreRequest
from kumo.spool.writer import Job, Writer
from tests.spool.samples import Stores, make_message


class Probed(Message):
    """One that can be seen to go."""

    __slots__ = ("__weakref__",)


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    stores = Stores(tmp_path)
    yield stores
    stores.close()


async def test_a_batch_is_not_held_once_it_is_answered(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its contents would be in memory beside those that are moved then, and for as long as no mail comes."""
    is_reached, is_over = threading.Event(), threading.Event()

    def wait(_: object) -> None:
        is_reached.set()
        assert is_over.wait(10)

    monkeypatch.setattr(type(stores.engine), "relieve", wait)
    writer = Writer(stores.engine, SpoolHealth(stores.engine.try_out), lambda _: None)

    async def submit() -> weakref.ref[Probed]:
        sample = make_message()
        message = Probed(
            id=sample.id, sender=sample.sender, recipients=sample.recipients, meta={}, body=b"body"
        )
        future = asyncio.get_running_loop().create_future()
        writer.submit(Job(future, [message], request=StoreRequest([Entry.of(message)])))
        await future
        return weakref.ref(message)

    held = await asyncio.create_task(submit())
    await asyncio.to_thread(is_reached.wait, 10)
    gc.collect()
    try:
        assert is_reached.is_set()
        assert held() is None
    finally:
        is_over.set()
        writer.stop()
        await asyncio.to_thread(writer.join)
