"""Whether connections are dealt to the worker of the processor on which they arrive.

Where they arrive on all processors alike, from clients on this machine or a network card with a queue for
each, this saves waking another processor with most commands, a third of what a small message costs. Where one
processor takes all packets, one worker would get all connections. So the last few hundred of them are looked
at, and the kernel is told what suits them. The parent asks this; workers count for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping

from kumo.workers.ports import Ports

_log = logging.getLogger("kumod.workers")

INTERVAL = 1.0
"""Seconds between two looks; workers tell their counts as often."""

_ENOUGH = 16
"""Connections for each worker that a judgement takes at least."""

_MOST = 64
"""Connections for each worker beyond which older ones count for less and less."""

_EVEN = 1.4
_UNEVEN = 1.6
"""What the busiest worker may get, in fair parts: to begin with it, and for it to go on."""


class Dealing:
    """Watches where connections arrive, and has ``ports`` deal them accordingly.

    Args:
        ports: the workers' sockets, which deal by chance so far.
        arrivals: connections by processor since the daemon began, as far as workers have told.
    """

    def __init__(self, ports: Ports, arrivals: Callable[[], Mapping[int, float]]) -> None:
        self._ports = ports
        self._arrivals = arrivals
        self._workers = Counter(ports.processors)
        self._count = len(ports.processors)
        self._before: dict[int, float] = {}
        self._recent: dict[int, float] = {}
        self._is_by_processor = False

    async def run(self) -> None:
        """Look each second, until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            self.look()

    def look(self) -> None:
        """Judge by what has arrived since the last look, and before."""
        arrivals = dict(self._arrivals())
        for processor, total in arrivals.items():
            new = total - self._before.get(processor, 0)
            self._recent[processor] = self._recent.get(processor, 0) + new
        self._before = arrivals
        total = sum(self._recent.values())
        if total < _ENOUGH * self._count:
            return
        if total > _MOST * self._count:
            part = _MOST * self._count / total
            self._recent = {processor: number * part for processor, number in self._recent.items()}
        busiest = self.busiest_part()
        if busiest * self._count <= _EVEN and not self._is_by_processor:
            self._deal(True, f"no worker gets more than {busiest:.0%} of them")
        elif busiest * self._count > _UNEVEN and self._is_by_processor:
            self._deal(False, f"one worker would get {busiest:.0%} of them")

    def busiest_part(self) -> float:
        """What part of the recent connections the busiest worker gets, or would get, by processor."""
        total = sum(self._recent.values())
        # Of a processor without worker, the kernel deals to all of them.
        of_all = sum(number for cpu, number in self._recent.items() if cpu not in self._workers) / self._count
        of_one = max(self._recent.get(cpu, 0) / workers for cpu, workers in self._workers.items())
        return (of_one + of_all) / total

    def _deal(self, by_processor: bool, why: str) -> None:
        self._is_by_processor = by_processor
        self._ports.deal(by_processor=by_processor)
        _log.info("connections are dealt by %s: %s", "processor" if by_processor else "chance", why)
