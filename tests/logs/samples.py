"""Sessions, messages, a clock and a disk for the tests of the logs, and readers of segments."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from kumo.logs import FileCalls
from kumo.message import Connection, Message
from kumo.smtp import EnvelopeAddress

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdDecompressor
else:
    from backports.zstd import ZstdDecompressor

NODE_ID = "01234567-89ab-4cde-8f01-23456789abcd"
SESSION_ID = "11111111-2222-4333-8444-555555555555"
SPOOL_ID = "d161520fe70911f189f502fc00000001"
"""Made at 2026-11-23T06:47:57.873409500Z."""

NOW = 1_795_416_478_250_000_000
"""2026-11-23T06:47:58.250Z."""


PATIENCE = 20.0
"""Seconds after which something that ought to happen counts as not happening."""


class Clock:
    """Both clocks of the logs; they move when a test says so."""

    def __init__(self) -> None:
        self.nanoseconds = NOW
        self.seconds = 1000.0

    def wall(self) -> int:
        return self.nanoseconds

    def monotonic(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        self.seconds += seconds
        self.nanoseconds += int(seconds * 10**9)


class Disk:
    """A disk that can be filled: at ``room`` octets writes become short, then ENOSPC."""

    def __init__(self) -> None:
        self.room: int | None = None
        self.refused = 0
        self.opened = 0
        self.error = errno.ENOSPC

    def open(self, path: str, flags: int, mode: int) -> int:
        self.opened += 1
        return os.open(path, flags, mode)

    def write(self, descriptor: int, octets: bytes) -> int:
        if self.room is None:
            return os.write(descriptor, octets)
        if self.room == 0:
            self.refused += 1
            raise OSError(self.error, os.strerror(self.error))
        count = os.write(descriptor, octets[: self.room])
        self.room -= count
        return count

    @property
    def calls(self) -> FileCalls:
        return FileCalls(open=self.open, write=self.write)


def address(text: str) -> EnvelopeAddress:
    local, _, domain = text.partition("@")
    return EnvelopeAddress(local, domain)


def make_message(**changes: Any) -> Message:
    values: dict[str, Any] = {
        "id": SPOOL_ID,
        "sender": address("alice@example.com"),
        "recipients": [address("bob@example.org")],
        "meta": {"reception_protocol": "ESMTP"},
        "body": b"Subject: hi\r\n\r\nHello\r\n",
    }
    return Message(**values | changes)


def make_connection(**changes: Any) -> Connection:
    values: dict[str, Any] = {
        "peer_ip": "192.0.2.1",
        "peer_port": 40001,
        "local_ip": "127.0.0.1",
        "local_port": 2025,
        "session_id": SESSION_ID,
        "hostname": "mx.example.org",
        "ehlo_domain": "client.example.com",
    }
    return Connection(**values | changes)


async def until(condition: Callable[[], object]) -> None:
    """Wait until another thread has done something."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - the thread sets no asyncio.Event
            await asyncio.sleep(0.002)


def segments(directory: Path, pattern: str = "*") -> list[Path]:
    return sorted(directory.glob(pattern))


def is_read_only(path: Path) -> bool:
    return path.stat().st_mode & 0o222 == 0


def read_lines(path: Path) -> list[bytes]:
    """The lines of one segment, finished or not."""
    decompressor = ZstdDecompressor()
    octets = decompressor.decompress(path.read_bytes())
    assert not decompressor.unused_data, "more than one zstd frame"
    return octets.splitlines(keepends=True)


def read_all(directory: Path, pattern: str = "*") -> list[bytes]:
    return [line for path in segments(directory, pattern) for line in read_lines(path)]


def read_records(directory: Path, pattern: str = "*") -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in read_all(directory, pattern)]
