"""The parent's end of one worker, from its start to its exit status.

A worker is a fresh interpreter that shares nothing with the parent but its sockets: a fork of a process
with threads and a Lua state would be of no use. ``Supervisor`` decides when there is to be one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable

from kumo.metrics import Family
from kumo.workers.assignment import Assignment
from kumo.workers.frames import (
    BrokenFrame,
    Counts,
    Drain,
    Frame,
    FromParent,
    Gauges,
    Hurry,
    Leaving,
    Link,
    Ready,
    Scrape,
    Status,
)

_log = logging.getLogger("kumod.workers")

SCRAPE_LIMIT = 2.0
"""Seconds that a worker has to tell its metrics; then what it told the last time counts."""

_EXIT_LIMIT = 30.0
"""Seconds that a worker has to end once it said nothing more."""

_MODULE = "kumo.worker"


class WorkerProcess:
    """A running worker.

    Args:
        number: from 1.
        process: itself.
        link: the way to it.
    """

    def __init__(self, number: int, process: asyncio.subprocess.Process, link: Link) -> None:
        self.number = number
        self.pid = process.pid
        self.is_ready = False
        self.is_leaving = False
        """Whether it drains."""
        self.status = Status(0, None)
        """What it last said of itself."""
        self.counts: list[Family] = []
        """What it last said that it had counted, which never goes down; at most a second old."""
        self.silence = 0
        """Seconds without a sign of life, counted by the supervisor, who has to be awake himself."""
        self._process = process
        self._link = link
        self._incoming_counts: list[Family] = []
        self._gauges: list[Family] = []
        self._incoming_gauges: list[Family] = []
        self._scrapes = 0
        self._scraped: asyncio.Future[None] | None = None

    async def attend(self, on_change: Callable[[], None]) -> int:
        """Listen to it until it has ended.

        Args:
            on_change: called when it serves, and when it takes no connection any more.

        Returns:
            Its exit status; a signal's number, negative, where that ended it.
        """
        try:
            while (frame := await self._link.receive()) is not None:
                self._note(frame, on_change)
        except BrokenFrame as error:
            _log.error("worker %d cannot be understood and is killed: %s", self.number, error)
            self.kill()
        self._link.close()
        try:
            return await asyncio.wait_for(self._process.wait(), _EXIT_LIMIT)
        except TimeoutError:
            _log.error("worker %d does not come to its end and is killed", self.number)
            self.kill()
            return await self._process.wait()

    @property
    def families(self) -> list[Family]:
        """All its metrics, as it last told them; a family may come in several parts."""
        return [*self.counts, *self._gauges]

    async def scrape(self) -> None:
        """Bring ``families`` up to date; they stay as they are when it does not answer in time."""
        if not self.is_ready:
            return
        self._scrapes += 1
        self._incoming_gauges = []
        self._scraped = asyncio.get_running_loop().create_future()
        self.tell(Scrape(self._scrapes))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._scraped, SCRAPE_LIMIT)

    def drain(self) -> None:
        """Ask it to end gracefully."""
        self.tell(Drain())

    def hurry(self) -> None:
        """Ask it to end without further patience."""
        self.tell(Hurry())

    def tell(self, frame: FromParent) -> None:
        """Send it a frame."""
        self._link.send(frame)

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def _note(self, frame: Frame, on_change: Callable[[], None]) -> None:
        self.silence = 0
        if isinstance(frame, Ready):
            self.is_ready = True
            on_change()
        elif isinstance(frame, Leaving):
            self.is_leaving = True
            on_change()
        elif isinstance(frame, Status):
            self.status = frame
        elif isinstance(frame, Counts):
            self._incoming_counts += frame.families
            if frame.is_last:
                self.counts, self._incoming_counts = self._incoming_counts, []
        elif isinstance(frame, Gauges) and frame.scrape == self._scrapes:
            self._incoming_gauges += frame.families
            if frame.is_last:
                self._gauges, self._incoming_gauges = self._incoming_gauges, []
                if self._scraped is not None and not self._scraped.done():
                    self._scraped.set_result(None)


async def start_worker(assignment: Assignment) -> WorkerProcess:
    """Start a worker.

    Args:
        assignment: what it is to do.

    Raises:
        OSError: the system cannot start a process.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            process = await asyncio.create_subprocess_exec(
                *_command(theirs.fileno()),
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), *assignment.sockets, *assignment.locks),
            )
        except BaseException:
            ours.close()
            raise
    link = await Link.open(ours)
    link.send(assignment)
    return WorkerProcess(assignment.share.number, process, link)


def describe_exit(status: int) -> str:
    """How a process ended, for the log."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"


def _command(descriptor: int) -> list[str]:
    # With -m, Python looks for modules in the current folder first, be it whose it may; unless this
    # process does so as well, it is not to.
    safe_path = [] if os.getcwd() in sys.path else ["-P"]  # noqa: PTH109 - as sys.path has it
    return [sys.executable, *safe_path, "-m", _MODULE, str(descriptor)]
