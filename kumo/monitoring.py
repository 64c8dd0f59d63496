"""What is watched of a daemon's surroundings, and the gauges that show it.

Part of the composition root: it knows several rooms and holds no rule of its own.
"""

from __future__ import annotations

import os
from typing import Any

import psutil

from kumo.config import AcctLog, LocalLogs, Spool
from kumo.health import DiskMonitor, MemoryMonitor, MonitoredPath, memory_overrides, sample_memory
from kumo.metrics import Metrics
from kumo.policy import Declarations
from kumo.queue import ScheduledQueues


def monitored_paths(declarations: Declarations) -> list[MonitoredPath]:
    """Spool and log folders, by the names that KumoMTA's metrics give them."""
    folders: list[tuple[str, str, Spool | LocalLogs | AcctLog]] = [
        (f"{spool.name} spool", spool.path, spool) for spool in declarations.spools
    ]
    for logs in declarations.local_logs:
        directories = {logs.log_dir, *(of.log_dir or logs.log_dir for of in logs.per_record.values())}
        folders += [(f"log dir {directory}", directory, logs) for directory in sorted(directories)]
    if declarations.acct_log is not None:
        folders.append(
            (f"log dir {declarations.acct_log.log_dir}", declarations.acct_log.log_dir, declarations.acct_log)
        )
    return [
        MonitoredPath(
            name=name, path=path, min_free_space=of.min_free_space, min_free_inodes=of.min_free_inodes
        )
        for name, path, of in folders
    ]


def memory_monitor(knobs: dict[str, Any], processes: int = 1) -> MemoryMonitor:
    """A monitor with the limits that environment and policy set.

    Args:
        knobs: ``Declarations.knobs``; looked at each time.
        processes: of the daemon.
    """
    # They may be set at any time, by a handler too.
    return MemoryMonitor(
        lambda: sample_memory(
            memory_overrides(
                os.environ,
                hard=knobs.get("set_memory_hard_limit"),
                soft=knobs.get("set_memory_soft_limit"),
                low=knobs.get("set_memory_low_thresh"),
            ),
            processes,
        )
    )


def watch_queues(metrics: Metrics, queues: ScheduledQueues) -> None:
    """Have the metrics show how many messages wait."""
    metrics.message_count.watch(lambda: sum(queues.counts().values()))
    metrics.scheduled_count.watch(queues.counts)
    metrics.scheduled_count_total.watch(lambda: sum(queues.counts().values()))
    metrics.scheduled_queue_count.watch(lambda: len(queues.counts()))


def watch_disk(metrics: Metrics, disk: DiskMonitor) -> None:
    """Have the metrics show how full the monitored paths are."""
    metrics.disk_free_bytes.watch(lambda: {s.name: s.free_bytes for s in disk.samples})
    metrics.disk_free_percent.watch(lambda: {s.name: s.free_percent for s in disk.samples})
    metrics.disk_free_inodes.watch(lambda: {s.name: s.free_inodes for s in disk.samples})
    metrics.disk_free_inodes_percent.watch(lambda: {s.name: s.free_inodes_percent for s in disk.samples})


def watch_memory(metrics: Metrics, memory: MemoryMonitor) -> None:
    """Have the metrics show usage and limits of memory."""

    def limit(name: str) -> int:
        return 0 if memory.last is None else int(getattr(memory.last.limits, name))

    watch_own_memory(metrics)
    metrics.memory_limit.watch(lambda: limit("soft"))
    metrics.memory_low_thresh.watch(lambda: limit("low"))
    metrics.memory_over_limit_count.watch(lambda: memory.over_limit_count)


def watch_own_memory(metrics: Metrics) -> None:
    """Have the metrics show what this process uses, now; a sample is older, and of a whole control group."""
    process = psutil.Process()
    metrics.memory_usage.watch(lambda: process.memory_info().rss)
