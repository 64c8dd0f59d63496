"""The open segments of one logger, and when each of them is written out or complete.

All of it happens on the writer's thread, except for ``submitted``, ``dropped``, and what they are
compared with, which belong to the event loop. A call that fails has taken nothing and may be made again.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from kumo.config import AcctLog, LocalLogs
from kumo.logs.segment import Destination, FileCalls, Segment

_WRITE_SIZE = 256 * 1024
"""Octets before compression that a segment holds in memory at most before it is written out."""

_FLUSH_INTERVAL = 1.0
"""Seconds after which a record can be read from its file even when nobody waits for it."""


class Channel:
    """What one logger has on its way to the files.

    Args:
        config: sizes, durations and limits.
        clock: nanoseconds since 1970, for names.
        monotonic: seconds that no clock adjustment moves, for durations.
        files: system calls.
    """

    __slots__ = (
        "_clock",
        "_dirty_since",
        "_files",
        "_level",
        "_max_duration",
        "_max_size",
        "_monotonic",
        "_opened_at",
        "_rejection_limit",
        "_room",
        "_segments",
        "directory",
        "dropped",
        "submitted",
        "taken",
    )

    def __init__(
        self,
        config: LocalLogs | AcctLog,
        clock: Callable[[], int],
        monotonic: Callable[[], float],
        files: FileCalls,
    ) -> None:
        self.directory = config.log_dir
        self.submitted = 0
        """Records that the event loop has queued; only it counts here."""
        self.taken = 0
        """Records that the thread has put into a segment; only it counts here."""
        self.dropped = 0
        """Records that found no room and could not wait; only the event loop counts here."""
        self._room: float = max(config.back_pressure, 1)
        self._rejection_limit = 2 * self._room
        self._clock = clock
        self._files = files
        self._level = config.compression_level
        self._max_duration = config.max_segment_duration
        self._max_size = config.max_file_size
        self._monotonic = monotonic
        self._segments: dict[Destination, Segment] = {}
        self._opened_at: dict[Destination, float] = {}
        self._dirty_since: float | None = None

    @property
    def is_full(self) -> bool:
        """Whether as many records wait as ``back_pressure`` allows."""
        return self.submitted - self.taken >= self._room

    @property
    def is_overfull(self) -> bool:
        """Whether so many records wait that one which cannot wait is dropped: twice ``back_pressure``."""
        return self.submitted - self.taken >= self._rejection_limit

    def lift_back_pressure(self) -> None:
        """Never be full again."""
        self._room = math.inf

    def take(self, destination: Destination, header: str | None, line: bytes) -> None:
        """Put one line into its segment, which is opened when there is none.

        Args:
            destination: folder and suffix.
            header: text that a new segment begins with.
            line: ended by LF.

        Raises:
            OSError: the line was not taken.
        """
        segment = self._segments.get(destination)
        if segment is not None and self._is_due(destination, segment):
            self._complete(destination, segment)
            segment = None
        if segment is None:
            segment = self._open(destination, header)
        elif segment.pending >= _WRITE_SIZE or segment.is_stuck:
            segment.write_out()
        segment.append(line)
        self.taken += 1
        if self._dirty_since is None:
            self._dirty_since = self._monotonic()

    def write_out(self) -> None:
        """Write all that was taken.

        Raises:
            OSError: not all is written; may be called again.
        """
        for segment in self._segments.values():
            if not segment.is_clean:
                segment.write_out()
        self._dirty_since = None

    def settle(self) -> None:
        """Complete segments that are full or old enough; write out what has waited long enough.

        Raises:
            OSError: not all is done; may be called again.
        """
        for destination, segment in list(self._segments.items()):
            if self._is_due(destination, segment):
                self._complete(destination, segment)
        if self._dirty_since is not None and self._monotonic() - self._dirty_since >= _FLUSH_INTERVAL:
            self.write_out()

    def close(self) -> None:
        """Complete all segments.

        Raises:
            OSError: not all are complete; may be called again.
        """
        for destination, segment in list(self._segments.items()):
            self._complete(destination, segment)

    def abandon(self) -> None:
        """Close all files as they are; what was not written is lost."""
        for segment in self._segments.values():
            segment.close()
        self._segments.clear()
        self._opened_at.clear()

    def deadline(self) -> float | None:
        """When ``settle`` has something to do, on the monotonic clock; None: not without a new line."""
        deadlines = []
        if self._dirty_since is not None:
            deadlines.append(self._dirty_since + _FLUSH_INTERVAL)
        if self._max_duration is not None:
            deadlines += [opened_at + self._max_duration for opened_at in self._opened_at.values()]
        return min(deadlines, default=None)

    def _is_due(self, destination: Destination, segment: Segment) -> bool:
        if segment.size >= self._max_size:
            return True
        return (
            self._max_duration is not None
            and self._monotonic() - self._opened_at[destination] >= self._max_duration
        )

    def _open(self, destination: Destination, header: str | None) -> Segment:
        segment = Segment(destination, self._level, self._clock, self._files)
        if header:
            segment.append(header.encode("utf-8", "replace"))
        self._segments[destination] = segment
        self._opened_at[destination] = self._monotonic()
        return segment

    def _complete(self, destination: Destination, segment: Segment) -> None:
        segment.complete()
        del self._segments[destination]
        del self._opened_at[destination]
