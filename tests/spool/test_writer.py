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


async def test_what_the_engine_put_off_is_tried_again_without_a_message(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kumo.spool.writer._IDLE_SECONDS", 0.001)
    is_over = threading.Event()
    # What is left to be done; then that there is room, which nobody tells.
    outcomes = [True, True, False, True]
    tidied: list[bool] = []

    def tidy(_: object) -> bool:
        tidied.append(outcomes.pop(0))
        if not outcomes:
            is_over.set()
        return tidied[-1]

    monkeypatch.setattr(type(stores.engine), "tidy", tidy)
    monkeypatch.setattr(type(stores.engine), "patience", property(lambda _: None if not outcomes else 0.0))
    writer = Writer(stores.engine, SpoolHealth(stores.engine.try_out), lambda _: None)
    try:
        assert await asyncio.to_thread(is_over.wait, 10)
    finally:
        writer.stop()
        await asyncio.to_thread(writer.join)
    assert tidied == [True, True, False, True]


async def test_it_is_not_tried_at_once_whatever_the_engine_says(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that fails by a bug each time would have the thread go round for ever."""
    monkeypatch.setattr("kumo.spool.writer._IDLE_SECONDS", 3600.0)
    monkeypatch.setattr(type(stores.engine), "patience", property(lambda _: 0.0))
    writer = Writer(stores.engine, SpoolHealth(stores.engine.try_out), lambda _: None)
    try:
        assert writer._put_off() == 3600.0
    finally:
        writer.stop()
        await asyncio.to_thread(writer.join)
