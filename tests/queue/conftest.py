from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.queue.fakes import World


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    """Started queues on a fake clock."""
    world = World()
    await world.queues.start()
    yield world
    await world.queues.shutdown()
