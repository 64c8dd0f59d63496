"""Whether the spool takes writes, and how it is found out that it does so again.

A batch of which nothing could be stored, for another reason than lack of room, makes the spool
unhealthy; one that was stored, or a probe that worked, makes it well. The writer's thread reports and
probes, any thread may read ``reason``. What to refuse meanwhile is not decided here: a message that
comes is tried all the same.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from kumo.errors import SpoolError, SpoolUnhealthy

_log = logging.getLogger("kumod.spool")

PROBE_INTERVAL = 3.0
"""Seconds between two probes of a spool that takes no writes."""

REASON = "the spool is not accepting writes"
"""KumoMTA's words; peers and health probes are told."""


class SpoolHealth:
    """The state of one pair of stores.

    Args:
        probe: does to both stores what a message would; raises ``OSError`` where that fails.
        clock: monotonic seconds.
    """

    __slots__ = ("_clock", "_next_probe", "_probe", "reason")

    def __init__(self, probe: Callable[[], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._probe = probe
        self._clock = clock
        self._next_probe = 0.0
        self.reason: str | None = None
        """Why nothing can be stored just now; None: it can, as far as is known."""

    def note(self, outcomes: list[SpoolError | None]) -> None:
        """Take note of a batch.

        Args:
            outcomes: of each store its error, None where it was stored; lack of room says nothing here.
        """
        if None in outcomes:
            self._recover()
        else:
            for error in outcomes:
                if isinstance(error, SpoolUnhealthy):
                    self._fall_ill(error)
                    return

    @property
    def patience(self) -> float | None:
        """Seconds until the next probe is due, 0 when it is; None when none is wanted."""
        return None if self.reason is None else max(0.0, self._next_probe - self._clock())

    def probe_if_due(self) -> None:
        """Find out whether the spool takes writes again, if it does not and it is time to."""
        if self.patience != 0.0:
            return
        try:
            self._probe()
        except OSError as error:
            _log.debug("the spool still fails: %s", error)
            self._next_probe = self._clock() + PROBE_INTERVAL
        except Exception:  # noqa: BLE001 - the thread that stores messages must not end of it
            _log.exception("the spool cannot be probed")
            self._next_probe = self._clock() + PROBE_INTERVAL
        else:
            self._recover()

    def _fall_ill(self, error: SpoolError) -> None:
        if self.reason is None:
            _log.error("%s: %s; new sessions are refused", REASON, error)
        self.reason = REASON
        self._next_probe = self._clock() + PROBE_INTERVAL

    def _recover(self) -> None:
        if self.reason is not None:
            _log.info("the spool is accepting writes again")
        self.reason = None
