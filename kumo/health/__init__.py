"""Health: what keeps mail from being taken for the moment."""

from kumo.health.admission import Admission
from kumo.health.disk import SAMPLE_INTERVAL, DiskMonitor, DiskSample, MonitoredPath
from kumo.health.memory import MemoryMonitor
from kumo.health.memory_limits import (
    MemoryLimits,
    MemoryOverrides,
    MemorySample,
    memory_overrides,
    sample_memory,
)

__all__ = [
    "SAMPLE_INTERVAL",
    "Admission",
    "DiskMonitor",
    "DiskSample",
    "MemoryLimits",
    "MemoryMonitor",
    "MemoryOverrides",
    "MemorySample",
    "MonitoredPath",
    "memory_overrides",
    "sample_memory",
]
