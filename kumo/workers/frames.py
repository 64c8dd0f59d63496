"""What parent and worker say to each other: small frames, each with its length ahead of it.

They go over a pair of Unix sockets that only the two have, so that either sees at once when the other is
gone. No frame is longer than ``LARGEST_FRAME``; what may be longer is said in several.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import TypeAlias

import msgspec

from kumo.metrics import Family
from kumo.workers.assignment import Assignment

LARGEST_FRAME = 4 << 20
"""Octets of a frame, without its length: far beyond ``SAMPLES_A_FRAME`` with the longest queue names."""

SAMPLES_A_FRAME = 500
"""As many as are rendered in one go: sessions want their turn meanwhile."""

_LENGTH = struct.Struct("!I")


class Drain(msgspec.Struct, frozen=True, tag=True):
    """Parent to worker: end gracefully."""


class Hurry(msgspec.Struct, frozen=True, tag=True):
    """Parent to worker: end without further patience."""


class Scrape(msgspec.Struct, frozen=True, tag=True):
    """Parent to worker: tell all metrics; the answer is ``Counts`` and ``Gauges``.

    Args:
        number: repeated in the answer.
    """

    number: int


class Ready(msgspec.Struct, frozen=True, tag=True):
    """Worker to parent: it serves."""


class Leaving(msgspec.Struct, frozen=True, tag=True):
    """Worker to parent: it takes no connection any more, and ends when its sessions have."""


class Status(msgspec.Struct, frozen=True, tag=True):
    """Worker to parent, again and again: a sign of life.

    Args:
        sessions: that are open.
        fault: what a health probe is to be told; None: all is well.
    """

    sessions: int
    fault: str | None


class Counts(msgspec.Struct, frozen=True, tag=True):
    """Worker to parent, again and again, for a scrape and at the end: a part of what it has counted so far.

    Args:
        families: some of those that never go down; one with many samples comes in several parts.
        is_last: whether this is all. Frames of other counts never come between.
    """

    families: list[Family]
    is_last: bool


class Gauges(msgspec.Struct, frozen=True, tag=True):
    """Worker to parent: a part of its other metrics.

    Args:
        scrape: number of the request.
        families: as those of ``Counts``.
        is_last: whether this is all.
    """

    scrape: int
    families: list[Family]
    is_last: bool


FromParent: TypeAlias = Drain | Hurry | Scrape
FromWorker: TypeAlias = Ready | Leaving | Status | Counts | Gauges
Frame: TypeAlias = Assignment | FromParent | FromWorker

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Frame)


class BrokenFrame(Exception):  # noqa: N818 - named as what it is
    """The other side said what it cannot have said: a bug, or memory gone bad."""


class Link:
    """One end of the pair, on the event loop.

    Args:
        reader: what comes.
        writer: what goes.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, connected: socket.socket) -> Link:
        """Take over an end of the pair."""
        connected.setblocking(False)
        return cls(*await asyncio.open_unix_connection(sock=connected))

    @property
    def is_heard(self) -> bool:
        """Whether the other side has taken all that was sent."""
        return self._writer.transport.get_write_buffer_size() == 0

    def send(self, frame: Frame) -> None:
        """Send a frame; what is sent to somebody who is gone is lost.

        Raises:
            ValueError: it is longer than frames may be.
        """
        if not self._writer.is_closing():
            self._writer.write(encode(frame))

    async def sent(self) -> None:
        """Wait until the other side has taken most of what was sent, or is gone."""
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    async def receive(self) -> Frame | None:
        """The next frame; None when the other side is gone.

        Raises:
            BrokenFrame: that was none.
        """
        try:
            (length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
            _check_length(length)
            return decode(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    def close(self) -> None:
        """Close this end; what was sent still goes. Idempotent."""
        self._writer.close()


def encode(frame: Frame) -> bytes:
    """A frame with its length ahead.

    Raises:
        ValueError: it is longer than frames may be.
    """
    octets = _encoder.encode(frame)
    if len(octets) > LARGEST_FRAME:
        raise ValueError(f"a frame of {len(octets)} octets")
    return _LENGTH.pack(len(octets)) + octets


def decode(octets: bytes) -> Frame:
    """Read a frame.

    Args:
        octets: without the length.

    Raises:
        BrokenFrame: it is none.
    """
    try:
        return _decoder.decode(octets)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BrokenFrame(str(error)) from error


def receive_blocking(connected: socket.socket) -> Frame | None:
    """The next frame, for a process that has no event loop yet; None when the other side is gone.

    Raises:
        BrokenFrame: that was none.
    """
    header = _read_exactly(connected, _LENGTH.size)
    if header is None:
        return None
    (length,) = _LENGTH.unpack(header)
    _check_length(length)
    octets = _read_exactly(connected, length)
    return None if octets is None else decode(octets)


def _read_exactly(connected: socket.socket, count: int) -> bytes | None:
    octets = b""
    while len(octets) < count:
        more = connected.recv(count - len(octets))
        if not more:
            return None
        octets += more
    return octets


def _check_length(length: int) -> None:
    if length > LARGEST_FRAME:
        raise BrokenFrame(f"a frame of {length} octets")
