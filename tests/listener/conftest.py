"""A listener with fakes behind it, on an address of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.listener.bench import Bench
from tests.listener.fakes import House


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """Listeners and clients that are closed after the test; the loop must have had nothing to complain of."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
    house = House()
    yield house
    await house.close()
    assert complaints == []


@pytest.fixture
async def bench() -> Bench:
    bench = Bench()
    assert bench.connect() == "220 mx.example.com KumoMTA\r\n"
    return bench
