"""Watches the room on the disks that mail is written to.

Sampled every few seconds in a thread, as a statvfs of a file server that went away does not come back;
asking costs an attribute. It reads no mail and stops nothing by itself: ``Admission`` refuses new
sessions. The composition root starts it; metrics read ``samples``.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from kumo.config import MinFree
from kumo.health.periodic_look import PeriodicLook

_log = logging.getLogger("kumod.health")

SAMPLE_INTERVAL = 5.0
"""Seconds between two looks at the disks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoredPath:
    """A folder that must have room.

    Args:
        name: for metrics and log, for example ``data``.
        path: the folder.
        min_free_space: octets, or per cent of the file system.
        min_free_inodes: inodes, or per cent of them.

    Source: KumoMTA manual, kumo.define_spool and kumo.configure_local_logs.
    """

    name: str
    path: str
    min_free_space: MinFree
    min_free_inodes: MinFree


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskSample:
    """What one look at a folder's file system found.

    Args:
        name: as in ``MonitoredPath``.
        path: likewise.
        free_bytes: octets that an ordinary user may still write.
        total_bytes: octets in all.
        free_inodes: files that an ordinary user may still make.
        total_inodes: in all; 0 where the file system does not count them.
        is_full: whether a minimum is not met.
    """

    name: str
    path: str
    free_bytes: int
    total_bytes: int
    free_inodes: int
    total_inodes: int
    is_full: bool

    @property
    def free_percent(self) -> float:
        """Free octets in per cent of all."""
        return _percent(self.free_bytes, self.total_bytes)

    @property
    def free_inodes_percent(self) -> float:
        """Free inodes in per cent of all; 100 where they are not counted."""
        return _percent(self.free_inodes, self.total_inodes)


class DiskMonitor:
    """Knows whether there is room on all monitored folders.

    Args:
        paths: the folders; one without room is enough.
        read_state: ``os.statvfs``, or a test's own.
    """

    __slots__ = ("_is_full", "_looking", "_paths", "_read_state", "_samples", "_unreadable")

    def __init__(
        self, paths: Iterable[MonitoredPath], *, read_state: Callable[[str], os.statvfs_result] = os.statvfs
    ) -> None:
        self._paths = tuple(paths)
        self._read_state = read_state
        self._samples: tuple[DiskSample, ...] = ()
        self._is_full = False
        self._unreadable: frozenset[str] = frozenset()
        self._looking = PeriodicLook(self.sample, SAMPLE_INTERVAL, "kumod-disk-monitor")

    @property
    def is_full(self) -> bool:
        """Whether a folder had too little room when it was last looked at, or a write failed since."""
        return self._is_full

    @property
    def samples(self) -> tuple[DiskSample, ...]:
        """The last look, folder by folder; those that could not be read are not there."""
        return self._samples

    def mark_full(self) -> None:
        """Take a failed write's word for it, until the next look finds room everywhere."""
        if not self._is_full:
            _log.warning("the disk is full: a message found no room")
        self._is_full = True

    def sample(self) -> None:
        """Look at all folders once; may block for as long as the disk does."""
        samples = []
        unreadable = set()
        for path in self._paths:
            try:
                samples.append(_sample(path, self._read_state(path.path)))
            except OSError as error:
                unreadable.add(path.path)
                if path.path not in self._unreadable:
                    _log.error("unable to see how much room there is on %s: %s", path.path, error)
        was_full = self._is_full
        self._samples = tuple(samples)
        self._unreadable = frozenset(unreadable)
        self._is_full = any(sample.is_full for sample in samples)
        if self._is_full != was_full:
            self._log_change(samples)

    async def start(self) -> None:
        """Look once, then go on looking until ``stop``."""
        await self._looking.start()

    async def stop(self) -> None:
        """Look no more."""
        await self._looking.stop()

    def _log_change(self, samples: Iterable[DiskSample]) -> None:
        if not self._is_full:
            _log.info("there is room on all disks again")
        for sample in samples:
            if sample.is_full:
                _log.warning(
                    "the disk of %s (%s) is too full: %.1f%% of its space and %.1f%% of its inodes are free",
                    sample.name,
                    sample.path,
                    sample.free_percent,
                    sample.free_inodes_percent,
                )


def _sample(path: MonitoredPath, state: os.statvfs_result) -> DiskSample:
    free_bytes = state.f_bavail * state.f_frsize
    total_bytes = state.f_blocks * state.f_frsize
    has_room = path.min_free_space.is_met(free_bytes, total_bytes) and (
        # A file system that does not count inodes never runs out of them, whatever number is asked for.
        state.f_files == 0 or path.min_free_inodes.is_met(state.f_favail, state.f_files)
    )
    return DiskSample(
        name=path.name,
        path=path.path,
        free_bytes=free_bytes,
        total_bytes=total_bytes,
        free_inodes=state.f_favail,
        total_inodes=state.f_files,
        is_full=not has_room,
    )


def _percent(part: int, whole: int) -> float:
    return 100.0 * part / whole if whole > 0 else 100.0
