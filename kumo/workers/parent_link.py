"""A worker's end of the pair: does what the parent says, tells it how it goes.

It stands where a daemon of one process has the service manager's notifier. When the parent is gone, the
worker drains and ends: no worker outlives its daemon.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from kumo.metrics import Family, Metrics
from kumo.workers.assignment import Assignment
from kumo.workers.frames import (
    SAMPLES_A_FRAME,
    BrokenFrame,
    Counts,
    Drain,
    Gauges,
    Hurry,
    Leaving,
    Link,
    Ready,
    Scrape,
    Status,
    receive_blocking,
)

_log = logging.getLogger("kumod.workers")

STATUS_INTERVAL = 1.0
"""Seconds between two signs of life, and so of work whose counts are lost with a worker that is killed: to
tell them, 340 samples, takes 0.24 ms."""


class Service(Protocol):
    """What a worker's parent rules; the server is one."""

    @property
    def metrics(self) -> Metrics:
        """What it counts."""

    @property
    def session_count(self) -> int:
        """Sessions that are open."""

    def fault(self) -> str | None:
        """What a health probe is to be told; None: all is well."""

    def drain(self) -> None:
        """End gracefully. Idempotent."""

    def hurry(self) -> None:
        """End without further patience."""


class ParentLink:
    """Serves one parent.

    Args:
        descriptor: of this end of the pair; from now on owned here.
    """

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self._connected = socket.socket(fileno=descriptor)
        self._link: Link | None = None
        self._service: Service | None = None
        self._is_leaving = False
        self._tasks: list[asyncio.Task[None]] = []

    def receive_assignment(self) -> Assignment:
        """The first frame, which says what this worker is to do; comes before anything else here.

        Raises:
            BrokenFrame: it is another one.
            ConnectionError: the parent is gone already.
        """
        frame = receive_blocking(self._connected)
        if frame is None:
            raise ConnectionError("the parent is gone")
        if not isinstance(frame, Assignment):
            raise BrokenFrame(f"{type(frame).__name__} instead of an assignment")
        return frame

    async def attend(self, service: Service) -> None:
        """Do what the parent says from now on."""
        self._service = service
        self._link = await Link.open(self._connected)
        self._tasks.append(asyncio.create_task(self._obey(self._link, service), name="parent"))

    def starting(self, status: str) -> None:
        """The parent only waits for ``ready``."""

    def ready(self, _read_status: Callable[[], str]) -> None:
        """Say that this worker serves, and give signs of life until ``close``."""
        if self._link is None or self._service is None:
            raise RuntimeError("nobody is attended")
        self._link.send(Ready())
        self._tasks.append(asyncio.create_task(self._live(self._link, self._service), name="life"))

    def stopping(self, _status: str) -> None:
        """Say that this worker drains, so that its part of the connections goes to others; once."""
        if self._link is not None and not self._is_leaving:
            self._is_leaving = True
            self._link.send(Leaving())

    def close(self) -> None:
        """Say what was counted until now, and nothing any more. Idempotent."""
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()
        if self._link is None:
            self._connected.close()
            return
        service, self._service = self._service, None
        try:
            if service is not None:
                _tell_counts(self._link, service.metrics)
        finally:
            self._link.close()

    async def _live(self, link: Link, service: Service) -> None:
        while True:
            # To a parent that does not listen nothing is piled up.
            if link.is_heard:
                _tell_counts(link, service.metrics)
                fault = service.fault()
                # It may name a path, and that may be no UTF-8.
                printable = None if fault is None else fault.encode("utf-8", "backslashreplace").decode()
                link.send(Status(service.session_count, printable))
            await asyncio.sleep(STATUS_INTERVAL)

    async def _obey(self, link: Link, service: Service) -> None:
        try:
            while (frame := await link.receive()) is not None:
                if isinstance(frame, Drain):
                    service.drain()
                elif isinstance(frame, Hurry):
                    service.hurry()
                elif isinstance(frame, Scrape):
                    await _answer(link, frame.number, service.metrics)
            _log.warning("the parent is gone")
        except BrokenFrame as error:
            _log.error("the parent cannot be understood: %s", error)
        finally:
            # Whatever ends the listening: a worker that nobody can tell to end must not serve on.
            service.drain()


async def _answer(link: Link, number: int, metrics: Metrics) -> None:
    _tell_counts(link, metrics)
    for part in _parts(metrics.gauges()):
        _tell(link, Gauges(number, part, is_last=False))
        await link.sent()
        await asyncio.sleep(0)
    link.send(Gauges(number, [], is_last=True))


def _tell_counts(link: Link, metrics: Metrics) -> None:
    # In one go: older counts that come after newer ones would have a total go down.
    for part in _parts(metrics.counts()):
        _tell(link, Counts(part, is_last=False))
    link.send(Counts([], is_last=True))


def _tell(link: Link, frame: Counts | Gauges) -> None:
    try:
        link.send(frame)
    except ValueError:
        # What cannot be told must not keep the rest from being told, nor the parent from being heard.
        names = ", ".join(family.name for family in frame.families)
        _log.exception("metrics that cannot be sent: %s", names)


def _parts(families: Iterable[Family]) -> Iterator[list[Family]]:
    """All families, in lists of some hundred samples."""
    part: list[Family] = []
    room = SAMPLES_A_FRAME
    for family in families:
        for start in range(0, len(family.samples), SAMPLES_A_FRAME):
            piece = family._replace(samples=family.samples[start : start + SAMPLES_A_FRAME])
            if len(piece.samples) > room:
                yield part
                part, room = [], SAMPLES_A_FRAME
            part.append(piece)
            room -= len(piece.samples)
    if part:
        yield part
