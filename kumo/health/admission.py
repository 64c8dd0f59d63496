"""Whether mail can be taken now, in the words that peers and probes are told.

It only reads what others found out. Listeners ask ``refusal`` at the start of a session, the HTTP
service asks ``liveness``; the composition root sets the flags.
"""

from __future__ import annotations

from collections.abc import Callable

from kumo.health.disk import DiskMonitor
from kumo.health.memory import MemoryMonitor


class Admission:
    """The gate for new sessions.

    Args:
        disk: watches the disks.
        memory: watches memory; None: nobody does.
    """

    __slots__ = ("_disk", "_memory", "is_shutting_down", "is_spool_ready", "spool_fault")

    def __init__(self, disk: DiskMonitor, memory: MemoryMonitor | None = None) -> None:
        self._disk = disk
        self._memory = memory
        self.is_spool_ready = False
        """Whether a message could be stored; set once the spool is open."""
        self.is_shutting_down = False
        """Whether the daemon is about to end."""
        self.spool_fault: Callable[[], str | None] = _no_fault
        """Why the spool takes nothing just now, or None; set once the spool is open."""

    def refusal(self) -> str | None:
        """Text after ``421 4.3.2 {hostname} ``, or None when a session may begin."""
        if self.is_shutting_down:
            return "shutting down"
        if self._is_memory_short():
            return "load shedding. Try later"
        if self._disk.is_full:
            return "disk is too full. Try later"
        if not self.is_spool_ready:
            return "waiting for spool startup. Try again soon!"
        fault = self.spool_fault()
        return None if fault is None else f"{fault}. Try later"

    def liveness(self) -> str | None:
        """What a health probe is told with 503, or None when all is well.

        Source: KumoMTA manual, HTTP API, check-liveness.
        """
        if self.is_shutting_down:
            return "shutting down"
        if self._is_memory_short():
            return "load shedding"
        if not self.is_spool_ready:
            return "waiting for spool startup"
        fault = self.spool_fault()
        if fault is not None:
            return fault
        return "storage is too full" if self._disk.is_full else None

    def _is_memory_short(self) -> bool:
        return self._memory is not None and self._memory.is_short


def _no_fault() -> str | None:
    return None
