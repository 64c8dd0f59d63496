"""Time limits for Lua: how long a handler may run without waiting, and a word in the log when it is long.

The Lua side looks at the clock every few thousand instructions and asks ``overdue``. A single long call
inside Lua's C library cannot be stopped this way. Also: how soon a state may be replaced once more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

_log = logging.getLogger("kumod.policy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What Lua may use.

    Args:
        handler_seconds: of a handler between two waits.
        load_seconds: of the script itself, ``pre_init`` and ``init``, before any mail comes in.
        reload_seconds: of the script when it is evaluated anew: every session waits for that.
        slow_seconds: of a handler between two waits, after which it is named in the log.
        memory: octets of one Lua state.
    """

    handler_seconds: float = 1.0
    load_seconds: float = 30.0
    reload_seconds: float = 2.0
    slow_seconds: float = 0.05
    memory: int = 512 * 1024 * 1024


class Watchdog:
    """Knows what runs and since when; one for each Lua state, which runs one thing at a time.

    Args:
        limits: how long may be run.
        clock: gives seconds.
        is_reload: the state takes the place of one that is in use.
    """

    __slots__ = (
        "_clock",
        "_handler_seconds",
        "_load_seconds",
        "_next_word",
        "_slow",
        "current",
        "is_startup",
        "started",
    )

    _QUIET_SECONDS = 10.0

    def __init__(
        self, limits: Limits, clock: Callable[[], float] = monotonic, *, is_reload: bool = False
    ) -> None:
        self._clock = clock
        self._handler_seconds = limits.handler_seconds
        self._load_seconds = limits.reload_seconds if is_reload else limits.load_seconds
        self._slow = limits.slow_seconds
        self._next_word: dict[str, float] = {}
        self.current: str | None = None
        """Event being dispatched; None: the script itself."""
        self.is_startup = True
        self.started = 0.0

    def begin(self, event: str | None, is_startup: bool) -> float:
        """Note that Lua is entered now.

        Args:
            event: what is dispatched; None: the script itself.
            is_startup: it gets the time of the script.

        Returns:
            The time, for ``end``.
        """
        self.current = event
        self.is_startup = is_startup
        self.started = now = self._clock()
        return now

    def end(self, began: float) -> float:
        """Note that Lua was left; names the event in the log if that took long.

        Returns:
            Seconds since ``begin`` gave that time.
        """
        seconds = self._clock() - began
        if seconds > self._slow:
            self._name_slow(seconds)
        return seconds

    def overdue(self) -> str | None:
        """What is wrong when the time is over, None before."""
        seconds = self._clock() - self.started
        limit = self._load_seconds if self.is_startup else self._handler_seconds
        if seconds <= limit:
            return None
        return f"{self.current or 'the script'} was stopped: it ran for more than {limit:g} s without waiting"

    def seconds_since(self, began: float) -> float:
        """Seconds since ``begin`` gave that time."""
        return self._clock() - began

    def _name_slow(self, seconds: float) -> None:
        event = self.current
        if event is None or self.is_startup:
            return
        # One handler that is always slow must not fill the disk with saying so.
        if self.started < self._next_word.get(event, 0.0):
            return
        self._next_word[event] = self.started + self._QUIET_SECONDS
        _log.warning("%s kept all sessions waiting for %.0f ms", event, seconds * 1000)


class Backoff:
    """Says how long to wait before something is done that holds everybody up, longer from time to time.

    Once it was not asked for a while it starts over.
    """

    __slots__ = ("_earliest", "_pause")

    _FIRST_PAUSE = 1.0
    _LONGEST_PAUSE = 60.0

    def __init__(self) -> None:
        self._earliest = 0.0
        self._pause = self._FIRST_PAUSE

    def seconds_to_wait(self, now: float) -> float:
        """How long to wait this time; it counts as done then.

        Args:
            now: seconds of a clock that begins at zero or later.
        """
        if now >= self._earliest + self._LONGEST_PAUSE:
            self._pause = self._FIRST_PAUSE
        due = max(now, self._earliest)
        self._earliest = due + self._pause
        self._pause = min(2 * self._pause, self._LONGEST_PAUSE)
        return due - now
