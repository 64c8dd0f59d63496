"""Whether mail can be taken now, in the words that peers and probes are told.

It only reads what others found out. Listeners ask ``refusal`` at the start of a session, the HTTP
service asks ``liveness``; the composition root sets the two flags.
"""

from __future__ import annotations

from kumo.health.disk import DiskMonitor


class Admission:
    """The gate for new sessions.

    Args:
        disk: watches the disks.
    """

    __slots__ = ("_disk", "is_shutting_down", "is_spool_ready")

    def __init__(self, disk: DiskMonitor) -> None:
        self._disk = disk
        self.is_spool_ready = False
        """Whether a message could be stored; set once the spool is open."""
        self.is_shutting_down = False
        """Whether the daemon is about to end."""

    def refusal(self) -> str | None:
        """Text after ``421 4.3.2 {hostname} ``, or None when a session may begin."""
        if self.is_shutting_down:
            return "shutting down"
        if self._disk.is_full:
            return "disk is too full. Try later"
        if not self.is_spool_ready:
            return "waiting for spool startup. Try again soon!"
        return None

    def liveness(self) -> str | None:
        """What a health probe is told with 503, or None when all is well.

        Source: KumoMTA manual, HTTP API, check-liveness.
        """
        if self.is_shutting_down:
            return "shutting down"
        if not self.is_spool_ready:
            return "waiting for spool startup"
        return "storage is too full" if self._disk.is_full else None
