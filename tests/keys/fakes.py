"""A clock that is set by hand, threads that count, and servers that are no Vault."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any


class Clock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        self.seconds += seconds


class Threads:
    """Runs what blocks in real threads and knows how often."""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self, function: Callable[..., Any], *arguments: Any) -> Any:
        self.calls += 1
        return await asyncio.to_thread(function, *arguments)


def no_event(*_: Any) -> Awaitable[Any] | Any:
    """As a policy without handlers."""
    return None


def json_answer(status: int, body: str) -> bytes:
    """A response of HTTP as Vault would head it."""
    return (
        f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        f"Connection: close\r\n\r\n{body}"
    ).encode()


@contextlib.asynccontextmanager
async def canned_server(answer: bytes | None, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A server that answers every request alike, or never; gives ``127.0.0.1:port``."""
    silence = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            if answer is None:
                await silence.wait()
            else:
                writer.write(answer)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        silence.set()
        server.close()
        await server.wait_closed()
