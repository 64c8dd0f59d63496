"""A connection with a transport and a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from kumo.config import EsmtpListener
from kumo.listener.cohorts import Cohorts
from kumo.listener.context import ListenerContext
from kumo.listener.esmtp_protocol import EsmtpProtocol
from kumo.listener.outbox import Outbox
from tests.listener.fakes import House

LIMIT = 60.0


class Timer:
    def __init__(self, due: float, callback: Callable[[], None]) -> None:
        self.due = due
        self.callback = callback
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class Clock:
    """The part of a loop that a connection uses."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[Timer] = []
        self.soon: list[Callable[[], object]] = []

    def call_soon(self, callback: Callable[..., object], *arguments: Any) -> None:
        self.soon.append(partial(callback, *arguments))

    def end_turn(self) -> None:
        """Call what was to be called soon, in order."""
        soon, self.soon = self.soon, []
        for callback in soon:
            callback()

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(self.now + seconds, callback)
        self.timers.append(timer)
        return timer

    def create_task(self, coroutine: Coroutine[Any, Any, Any], name: str) -> asyncio.Future[Any]:
        """What would run, never runs."""
        assert name == "handshake"
        coroutine.close()
        return asyncio.get_running_loop().create_future()

    @property
    def armed(self) -> list[Timer]:
        return [timer for timer in self.timers if not timer.is_cancelled]

    def advance(self, seconds: float) -> None:
        """Let time pass, timers going off on the way."""
        end = self.now + seconds
        while due := [timer for timer in self.armed if timer.due <= end]:
            timer = min(due, key=lambda one: one.due)
            self.now = max(self.now, timer.due)
            self.timers.remove(timer)
            timer.callback()
            self.end_turn()
        self.now = end


class Transport:
    """Collects what is written; ``unsent`` is what the peer has not read yet."""

    def __init__(self) -> None:
        self.written = b""
        self.unsent = 0
        self.is_paused = False
        self.has_broken_down = False
        """Whether the loop has found the connection gone; it has told nobody yet."""
        self.was_paused = False
        """Whether nothing was read when the last octets were written."""
        self.protocol: asyncio.BaseProtocol | None = None
        self.ending = ""

    def write(self, octets: bytes) -> None:
        assert not self.ending
        self.written += octets
        self.was_paused = self.is_paused

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def get_protocol(self) -> asyncio.BaseProtocol | None:
        return self.protocol

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def is_stopped(self) -> bool:
        """Whether nothing is read."""
        return self.is_paused

    def is_closing(self) -> bool:
        return self.has_broken_down or bool(self.ending)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ending = "eof"

    def close(self) -> None:
        self.ending = "closed"

    def abort(self) -> None:
        self.ending = "aborted"

    def taken(self) -> str:
        """What was written since the last call."""
        octets, self.written = self.written, b""
        return octets.decode()


class Bench:
    """One connection on the bench."""

    def __init__(self, **parameters: Any) -> None:
        self.house = House()
        self.clock = Clock()
        self.transport = Transport()
        config = EsmtpListener(**{"hostname": "mx.example.com", "client_timeout": LIMIT, **parameters})
        self.context = ListenerContext(config, self.house.partners())
        self.context.loop = self.clock  # type: ignore[assignment]
        self.context.now = self.clock.time
        self.context.outbox = Outbox(self.clock)  # type: ignore[arg-type]
        self.context.cohorts = Cohorts(self.clock, self.context.outbox)  # type: ignore[arg-type]
        self.protocol = EsmtpProtocol(self.context, ("127.0.0.1", 40000), ("127.0.0.1", 25))
        self.neighbour = EsmtpProtocol(self.context, ("127.0.0.1", 40001), ("127.0.0.1", 25))
        """Another connection: one that is alone does not wait for the end of a turn."""
        self.context.sessions |= {self.protocol, self.neighbour}

    def connect(self) -> str:
        self.protocol.connection_made(self.transport)  # type: ignore[arg-type]
        return self.taken()

    def say(self, octets: bytes) -> str:
        """What a read of these octets makes the server write."""
        self.read(octets)
        return self.taken()

    def read(self, octets: bytes) -> None:
        """Read these octets; the turn of the loop goes on."""
        self.read_as(self.protocol, octets)

    def read_as(self, protocol: EsmtpProtocol, octets: bytes) -> None:
        """The same on one of the two connections."""
        view = protocol.get_buffer(-1)
        assert len(octets) <= len(view)
        view[: len(octets)] = octets
        protocol.buffer_updated(len(octets))

    def taken(self) -> str:
        """What was written since the last call, once the turn of the loop is over."""
        self.clock.end_turn()
        return self.transport.taken()
