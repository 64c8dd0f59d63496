"""Watches how much memory is left before load has to be shed.

Sampled every few seconds in a thread; asking costs an attribute. It refuses nothing by itself:
``Admission`` does. While memory is short it gives what the allocator keeps of freed memory back to the
system: that counts as used, and a burst of large messages would turn peers away for ever. The
composition root starts it; metrics read it.

Source: KumoMTA manual, memory management.
"""

from __future__ import annotations

import ctypes
import logging
import sys
from collections.abc import Callable

from kumo.errors import ConfigError
from kumo.health.memory_limits import MemorySample
from kumo.health.periodic_look import PeriodicLook

_log = logging.getLogger("kumod.health")

SAMPLE_INTERVAL = 3.0
"""Seconds between two looks at memory."""

_MEBIBYTE = 1 << 20


def _release() -> None:
    """Have the C library return freed memory, where it can."""
    if hasattr(_LIBC, "malloc_trim"):
        _LIBC.malloc_trim(0)


class MemoryMonitor:
    """Knows how much memory may still be used.

    Args:
        sample: looks at memory once; called in a thread, may fail.
        interval: seconds between two looks.
        release: gives unused memory back; called in that thread at each look that finds none left.
    """

    __slots__ = ("_failed", "_last", "_looking", "_release", "_sample", "is_short", "over_limit_count")

    def __init__(
        self,
        sample: Callable[[], MemorySample],
        *,
        interval: float = SAMPLE_INTERVAL,
        release: Callable[[], None] = _release,
    ) -> None:
        self._sample = sample
        self._release = release
        self._last: MemorySample | None = None
        self._failed = False
        self._looking = PeriodicLook(self.look, interval, "kumod-memory-monitor")
        self.is_short = False
        """Whether the last look found no ``headroom``: a property would cost each new session a call."""
        self.over_limit_count = 0
        """How often usage rose to the soft limit."""

    @property
    def last(self) -> MemorySample | None:
        """What the last look found; None before the first."""
        return self._last

    @property
    def headroom(self) -> int:
        """Octets left below the soft limit; very many before the first look."""
        last = self._last
        return sys.maxsize if last is None else max(0, last.limits.soft - last.usage)

    def look(self) -> None:
        """Look once; may block for some milliseconds. What cannot be looked at stays as it was.

        Raises:
            ConfigError: somebody has set a limit that is none.
        """
        try:
            found = self._sample()
        except ConfigError:
            raise
        except Exception as error:  # noqa: BLE001 - psutil's are of many kinds, and the watch has to go on
            if not self._failed:
                _log.error("unable to see how much memory is used: %s", error)
            self._failed = True
            return
        self._failed = False
        was_short = self.is_short
        self._last = found
        self.is_short = is_short = self.headroom == 0
        if is_short != was_short:
            self._note_change(found, is_short=is_short)
        if is_short:
            self._release()

    async def start(self) -> None:
        """Look once, then go on looking until ``stop``."""
        await self._looking.start()

    async def stop(self) -> None:
        """Look no more."""
        await self._looking.stop()

    def _note_change(self, found: MemorySample, *, is_short: bool) -> None:
        usage, limit = found.usage / _MEBIBYTE, found.limits.soft / _MEBIBYTE
        if is_short:
            self.over_limit_count += 1
            _log.error(
                "%.0f MiB of memory are used, the limit is %.0f MiB: new sessions are refused", usage, limit
            )
        else:
            _log.info("%.0f MiB of memory are used, below the limit of %.0f MiB again", usage, limit)


_LIBC = ctypes.CDLL(None)
