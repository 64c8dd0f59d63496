"""Metrics of several processes as those of one daemon.

Counters, histograms and most gauges are sums. Where each process sees the same thing, its limits or its
disk, the one that tells of less reserve counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from kumo.metrics import Family, Sample

_Combine: TypeAlias = Callable[[float, float], float]

_SAME_FOR_ALL: dict[str, _Combine] = {
    "memory_limit": max,
    "memory_low_thresh": max,
    "disk_free_bytes": min,
    "disk_free_percent": min,
    "disk_free_inodes": min,
    "disk_free_inodes_percent": min,
}

_COUNTED_BY = {"scheduled_queue_count": "scheduled_count"}
"""A queue that several processes have is one queue: number of series of another family."""

_Key = tuple[str, tuple[tuple[str, str], ...]]


def merge(sources: Iterable[Iterable[Family]]) -> list[Family]:
    """The metrics of a daemon.

    Args:
        sources: those of each process; a family may come in several parts.

    Returns:
        Each family once, in the order in which they first came; a series that one process lacks is 0 there.
    """
    heads: dict[str, Family] = {}
    values: dict[str, dict[_Key, float]] = {}
    for families in sources:
        for family in families:
            heads.setdefault(family.name, family)
            _add(values.setdefault(family.name, {}), family)
    for name, counted in _COUNTED_BY.items():
        if values.get(name):
            values[name] = {("", ()): len(values.get(counted, ()))}
    return [
        family._replace(
            samples=[Sample(suffix, dict(labels), value) for (suffix, labels), value in all_.items()]
        )
        for family, all_ in ((heads[name], values[name]) for name in heads)
    ]


def _add(values: dict[_Key, float], family: Family) -> None:
    combine = _SAME_FOR_ALL.get(family.name)
    for suffix, labels, value in family.samples:
        key = (suffix, tuple(labels.items()))
        if key not in values:
            values[key] = value
        else:
            values[key] = values[key] + value if combine is None else combine(values[key], value)
