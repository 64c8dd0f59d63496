"""Whether connections are dealt to the worker of the processor on which they arrive.

Where they arrive on all processors alike, from clients on this machine or a network card with a queue for
each, this saves waking another processor with most commands, a third of what a small message costs. Where one
processor takes all packets, one worker would get all connections. So for each address it is watched where
they arrive, and the kernel is told what suits them. The parent asks this; workers count for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from kumo.workers.ports import Ports, can_deal_by_processor

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


class Arrivals:
    """Where the last connections of one address arrived, and what suits them.

    Args:
        processors: that of each worker, no two the same.
    """

    def __init__(self, processors: Sequence[int]) -> None:
        self._processors = processors
        self._before: dict[int, float] = {}
        self._recent: dict[int, float] = {}
        self.is_by_processor = False
        """How they are dealt; whoever deals says so."""

    def note(self, totals: Mapping[int, float]) -> None:
        """Take in how many have arrived on each processor since the beginning."""
        for processor, total in totals.items():
            new = total - self._before.get(processor, 0)
            self._recent[processor] = self._recent.get(processor, 0) + new
            self._before[processor] = total
        total = sum(self._recent.values())
        most = _MOST * len(self._processors)
        if total > most:
            self._recent = {processor: number * most / total for processor, number in self._recent.items()}

    def busiest_part(self) -> float:
        """What part of them the busiest worker gets, or would get, by processor; 0 before there are any."""
        total = sum(self._recent.values())
        own = [self._recent.get(processor, 0) for processor in self._processors]
        # Of a processor without worker, the kernel deals to all of them.
        return (max(own) + (total - sum(own)) / len(own)) / total if total else 0.0

    def suits_processor(self) -> bool:
        """Whether dealing by processor gives every worker its part; as it is while too few have arrived."""
        count = len(self._processors)
        if sum(self._recent.values()) < _ENOUGH * count:
            return self.is_by_processor
        return self.busiest_part() * count <= (_UNEVEN if self.is_by_processor else _EVEN)


class Dealing:
    """Watches where connections arrive, and has ``ports`` deal those of each address accordingly.

    It leaves all to chance where workers share a processor, among whom the kernel deals unevenly.

    Args:
        ports: the workers' sockets, which deal by chance so far.
        totals: connections since the daemon began, as far as workers have told, by address as
            ``Ports.addresses`` has it and by processor.
    """

    def __init__(self, ports: Ports, totals: Callable[[], Mapping[str, Mapping[int, float]]]) -> None:
        self._ports = ports
        self._totals = totals
        self._by_address: dict[str, Arrivals] = {}

    async def run(self) -> None:
        """Look each second, until cancelled; ends at once where nothing can be dealt by processor."""
        processors = self._ports.processors
        if len(set(processors)) < len(processors) or not can_deal_by_processor():
            return
        while True:
            await asyncio.sleep(INTERVAL)
            try:
                self.look()
            except Exception:  # noqa: BLE001 - whatever it is, the workers serve on
                _log.exception("how connections are dealt stays as it is")

    def look(self) -> None:
        """Judge by what has arrived since the last look, and before."""
        totals = self._totals()
        for address in self._ports.addresses:
            arrivals = self._by_address.get(address)
            if arrivals is None:
                arrivals = self._by_address[address] = Arrivals(self._ports.processors)
            arrivals.note(totals.get(address, {}))
            by_processor = arrivals.suits_processor()
            if by_processor != arrivals.is_by_processor:
                self._ports.deal(address, by_processor=by_processor)
                arrivals.is_by_processor = by_processor
                way, part = "processor" if by_processor else "chance", arrivals.busiest_part()
                _log.info(
                    "%s: connections are dealt by %s; by processor the busiest worker gets %.0f%%",
                    address,
                    way,
                    part * 100,
                )
