"""An HTTP listener on an address of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from kumo.config import HttpListener
from kumo.http import HttpServer
from kumo.metrics import Metrics


class HttpHouse:
    """Listeners with what they ask for, and a client."""

    def __init__(self, client: aiohttp.ClientSession) -> None:
        self.client = client
        self.metrics = Metrics()
        self.trouble: str | None = None
        self.servers: list[HttpServer] = []

    def make(self, **parameters: Any) -> HttpServer:
        parameters = {"listen": "127.0.0.1:0", **parameters}
        server = HttpServer(HttpListener(**parameters), lambda: self.trouble, self.metrics)
        self.servers.append(server)
        return server

    async def start(self, **parameters: Any) -> HttpServer:
        server = self.make(**parameters)
        await server.start()
        return server

    async def get(self, server: HttpServer, path: str, **keywords: Any) -> tuple[int, str]:
        async with self.client.get(f"http://{server.addresses[0]}{path}", **keywords) as response:
            return response.status, await response.text()


@pytest.fixture
async def http_house() -> AsyncIterator[HttpHouse]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as client:
        house = HttpHouse(client)
        yield house
        for server in house.servers:
            await server.stop()
