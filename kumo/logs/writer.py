"""The thread that writes all loggers' segments.

The event loop appends encoded lines to a queue and goes on. The thread wakes for a batch, not for a
record: it lets lines gather for a moment unless somebody waits for them, so that neither its system
calls nor its share of the interpreter are paid per message. When a disk is full, lines stay in the
queue, the thread tries again, and back-pressure makes those who log wait.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

from kumo.logs.channel import Channel
from kumo.logs.segment import Destination

_LOGGER = logging.getLogger("kumod.logs")

_GATHER = 0.05
"""Seconds for which lines gather before the thread takes them. A wake-up costs as much as hundreds of
lines; longer batches would keep the interpreter from the event loop for longer at a stretch."""

_REPORT_INTERVAL = 60.0
"""Seconds between two complaints of the same kind: a disk that cannot be written, records dropped."""

_Line = tuple[Channel, Destination, str | None, bytes]
_Waiter = asyncio.Future[None]


class SegmentWriter:
    """Writes what is submitted, in that order.

    ``submit``, ``written`` and ``close`` are called on the event loop's thread.

    Args:
        channels: all that lines will be submitted for.
        monotonic: seconds that no clock adjustment moves.
        retry_interval: seconds after which a failed write is tried again.
        droppable: what the records are called that find no room and cannot wait.
    """

    def __init__(
        self,
        channels: Iterable[Channel],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        retry_interval: float = 1.0,
        droppable: str = "rejections",
    ) -> None:
        self._channels = tuple(channels)
        self._monotonic = monotonic
        self._retry_interval = retry_interval
        self._droppable = droppable
        self._queue: deque[_Line | _Waiter] = deque()
        self._thread = threading.Thread(target=self._run, name="kumo-logs", daemon=True)
        self._wake = threading.Event()
        self._urgent = threading.Event()
        self._closing = threading.Event()
        # of the event loop
        self._submitted = 0
        self._is_closing = False
        self._is_over = False
        self._patient: set[_Waiter] = set()
        # of the thread; the event loop reads _settled
        self._taken = 0
        self._settled = 0
        self._waiters: list[_Waiter] = []
        self._is_failing = False
        self._reported_at = -_REPORT_INTERVAL
        self._dropped = 0
        self._drops_reported_at = -_REPORT_INTERVAL

    @property
    def backlog(self) -> int:
        """Lines that the thread has not taken yet."""
        return self._submitted - self._taken

    def start(self) -> None:
        """Start the thread; until then lines only gather."""
        self._thread.start()

    def submit(self, channel: Channel, destination: Destination, header: str | None, line: bytes) -> None:
        """Queue one line.

        Args:
            channel: one of those the writer was made with.
            destination: folder and suffix.
            header: text that a new segment begins with.
            line: ended by LF.

        Raises:
            RuntimeError: the writer is closed.
        """
        if self._is_closing:
            raise RuntimeError("the logs are closed")
        self._submitted += 1
        channel.submitted += 1
        self._queue.append((channel, destination, header, line))
        if not self._wake.is_set():
            self._wake.set()

    async def written(self) -> None:
        """Wait until all that was submitted so far has reached the operating system.

        Raises:
            OSError: the writer was closed while the disk could not be written; the lines are lost.
        """
        if self._settled != self._submitted:
            await self._line_up()

    async def progress(self) -> None:
        """Wait until lines were written, so that there may be room, or until ``release_waiters``.

        Raises:
            OSError: as above.
        """
        if self._settled == self._submitted:
            return
        waiter = self._line_up()
        self._patient.add(waiter)
        try:
            await waiter
        finally:
            self._patient.discard(waiter)

    def release_waiters(self) -> None:
        """Answer all who are in ``progress``, though nothing was written."""
        _answer(list(self._patient), None)

    def _line_up(self) -> _Waiter:
        """A future that is done once the thread has written all that was submitted so far."""
        if self._is_over:
            raise OSError("log records were lost")
        waiter = asyncio.get_running_loop().create_future()
        self._queue.append(waiter)
        self._urgent.set()
        self._wake.set()
        return waiter

    async def close(self) -> None:
        """Write all, complete all segments, end the thread. May be called again.

        When the disk cannot be written, what is left is counted, logged and given up.
        """
        self._is_closing = True
        self._closing.set()
        self._urgent.set()
        self._wake.set()
        if self._thread.ident is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._thread.join)
        self._is_over = True
        # Those who began to wait after the thread had looked for the last time.
        latecomers = [item for item in self._queue if not isinstance(item, tuple)]
        is_whole = self._settled == self._submitted
        _answer(latecomers, None if is_whole else OSError("log records were lost"))

    # --- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        is_last = False
        while not is_last:
            self._pause()
            is_last = self._closing.is_set()
            try:
                self._take_all()
                if is_last:
                    self._close_channels()
            except Exception as error:  # noqa: BLE001 - the thread must outlive whatever a disk does
                self._report(error)
                if is_last:
                    self._give_up(error)
            else:
                self._report_recovery()
            self._report_drops(is_last=is_last)

    def _pause(self) -> None:
        if self._is_failing:
            self._closing.wait(self._retry_interval)
        else:
            self._wake.wait(self._time_to_deadline())
            self._urgent.wait(_GATHER)
        # Cleared before the queue is read: what is appended from here on sets them again.
        self._wake.clear()
        self._urgent.clear()

    def _time_to_deadline(self) -> float | None:
        deadlines = [deadline for channel in self._channels if (deadline := channel.deadline()) is not None]
        if self._new_drops():
            deadlines.append(self._drops_reported_at + _REPORT_INTERVAL)
        return max(0.0, min(deadlines) - self._monotonic()) if deadlines else None

    def _take_all(self) -> None:
        queue = self._queue
        if self._waiters:
            self._flush()
        while queue:
            for _ in range(len(queue)):
                item = queue[0]
                if isinstance(item, tuple):
                    channel, destination, header, line = item
                    channel.take(destination, header, line)
                    self._taken += 1
                else:
                    self._waiters.append(item)
                queue.popleft()
            if self._waiters:
                self._flush()
        for channel in self._channels:
            channel.settle()

    def _flush(self) -> None:
        for channel in self._channels:
            channel.write_out()
        self._settled = self._taken
        self._answer_waiters(None)

    def _close_channels(self) -> None:
        for channel in self._channels:
            channel.close()
        self._settled = self._taken

    def _answer_waiters(self, error: Exception | None) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[_Waiter]] = {}
        for waiter in self._waiters:
            by_loop.setdefault(waiter.get_loop(), []).append(waiter)
        self._waiters.clear()
        for loop, waiters in by_loop.items():
            # A loop that was closed in the meantime has nobody left who waits.
            if not loop.is_closed():
                loop.call_soon_threadsafe(_answer, waiters, error)

    def _report(self, error: Exception) -> None:
        self._is_failing = True
        now = self._monotonic()
        if now - self._reported_at >= _REPORT_INTERVAL:
            self._reported_at = now
            # A full disk needs no traceback; anything else is a bug and does.
            _LOGGER.error(
                "cannot write log segments: %s; %d records wait",
                error,
                self.backlog,
                exc_info=None if isinstance(error, OSError) else error,
            )

    def _report_recovery(self) -> None:
        if self._is_failing:
            self._is_failing = False
            self._reported_at = -_REPORT_INTERVAL
            _LOGGER.info("log segments can be written again")

    def _new_drops(self) -> int:
        return sum(channel.dropped for channel in self._channels) - self._dropped

    def _report_drops(self, *, is_last: bool) -> None:
        count = self._new_drops()
        now = self._monotonic()
        if count and (is_last or now - self._drops_reported_at >= _REPORT_INTERVAL):
            self._dropped += count
            self._drops_reported_at = now
            _LOGGER.error("%d %s are not logged: too many records wait", count, self._droppable)

    def _give_up(self, error: Exception) -> None:
        _LOGGER.error("log records are lost: %d at least; the last error was: %s", self.backlog, error)
        self._waiters += [item for item in self._queue if not isinstance(item, tuple)]
        self._answer_waiters(error if isinstance(error, OSError) else OSError(str(error)))
        for channel in self._channels:
            channel.abandon()


def _answer(waiters: list[_Waiter], error: Exception | None) -> None:
    for waiter in waiters:
        if waiter.done():
            continue  # cancelled
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)
