"""What peers and probes are told, and which reason comes first."""

from __future__ import annotations

from typing import Any

import pytest

from kumo.health import Admission, DiskMonitor, MemoryLimits, MemoryMonitor, MemorySample

FAULT = "the spool is not accepting writes"


def gate(*trouble: str) -> Admission:
    """An admission with all the trouble named."""
    disk = DiskMonitor([])
    if "disk" in trouble:
        disk.mark_full()
    usage = 100 if "memory" in trouble else 0
    memory = MemoryMonitor(lambda: MemorySample(usage, MemoryLimits(200, 100, 80)), release=lambda: None)
    memory.look()
    admission = Admission(disk, memory)
    admission.is_shutting_down = "ending" in trouble
    admission.is_spool_ready = "starting" not in trouble
    if "spool" in trouble:
        admission.spool_fault = lambda: FAULT
    return admission


REFUSALS: list[tuple[str, str, str]] = [
    ("ending", "shutting down", "shutting down"),
    ("memory", "load shedding. Try later", "load shedding"),
    ("disk", "disk is too full. Try later", "storage is too full"),
    ("starting", "waiting for spool startup. Try again soon!", "waiting for spool startup"),
    ("spool", "the spool is not accepting writes. Try later", "the spool is not accepting writes"),
]
LIVENESS_ORDER = ["ending", "memory", "starting", "spool", "disk"]
WORDS: dict[str, Any] = {trouble: words for trouble, *words in REFUSALS}


@pytest.mark.parametrize(("trouble", "refusal", "liveness"), REFUSALS)
def test_each_trouble_has_its_words(trouble: str, refusal: str, liveness: str) -> None:
    admission = gate(trouble)
    assert admission.refusal() == refusal
    assert admission.liveness() == liveness


@pytest.mark.parametrize("first", range(len(REFUSALS)))
def test_peers_are_told_the_first_of_all_reasons(first: int) -> None:
    assert gate(*(trouble for trouble, *_ in REFUSALS[first:])).refusal() == REFUSALS[first][1]


@pytest.mark.parametrize("first", range(len(LIVENESS_ORDER)))
def test_probes_are_told_the_first_of_all_reasons(first: int) -> None:
    assert gate(*LIVENESS_ORDER[first:]).liveness() == WORDS[LIVENESS_ORDER[first]][1]


def test_all_is_well() -> None:
    assert gate().refusal() is None
    assert gate().liveness() is None


def test_nothing_is_taken_before_the_spool_is_ready() -> None:
    assert Admission(DiskMonitor([])).refusal() == "waiting for spool startup. Try again soon!"


def test_memory_that_nobody_watches_is_enough() -> None:
    admission = Admission(DiskMonitor([]))
    admission.is_spool_ready = True
    assert admission.refusal() is None
