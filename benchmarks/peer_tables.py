"""The tables of ``peers``: what each server needs, the ratios between them, the goals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks import report
from benchmarks.report import Goal, number

Scenarios = dict[str, dict[str, dict[str, Any]]]
"""By scenario and server: ``cpu_ms`` per 1000 messages and ``rate``, messages a second, both medians."""

RATIOS = (
    ("kumod", "aiosmtpd"),
    ("kumod", "Haraka"),
    ("kumod", "Haraka, events and log"),
    ("kumod, spooled", "aiosmtpd"),
    ("kumod, flush", "Postfix"),
    ("kumod", "smtp-sink"),
)
"""Whose CPU time is divided by whose."""


def server_table(scenarios: Scenarios) -> str:
    """CPU time and rate of each server in each scenario."""
    names = list(next(iter(scenarios.values())))
    rows = []
    for scenario, servers in scenarios.items():
        cells = [f"{number(servers[name]['cpu_ms'])} ({servers[name]['rate']:.0f}/s)" for name in names]
        rows.append([scenario, *cells])
    return report.table(["CPU ms per 1000 (messages/s)", *names], rows)


def server_ratios(scenarios: Scenarios) -> str:
    """CPU time of one server by that of another, for the pairs that were measured."""
    measured = next(iter(scenarios.values()))
    pairs = [pair for pair in RATIOS if measured.keys() >= set(pair)]
    rows = [
        [scenario, *(number(ratio(scenarios, scenario, *pair) or 0) for pair in pairs)]
        for scenario in scenarios
    ]
    return report.table(["CPU", *(f"{ours} ÷ {theirs}" for ours, theirs in pairs)], rows)


def ratio(
    scenarios: Scenarios, scenario: str, name: str, rival: str, quantity: str = "cpu_ms"
) -> float | None:
    """What one server needs, or manages, by what another does; None when one of them was not measured."""
    servers = scenarios.get(scenario, {})
    if name not in servers or rival not in servers or not servers[rival][quantity]:
        return None
    return float(servers[name][quantity]) / float(servers[rival][quantity])


def server_goals(scenarios: Scenarios) -> Iterator[Goal]:
    """What a message may cost in comparison with other servers."""
    bounds = {"2k": 0.20, "2k-new": 0.22, "100k": 0.05, "1m": 0.04}
    for scenario, bound in bounds.items():
        measured = ratio(scenarios, scenario, "kumod", "aiosmtpd")
        yield Goal(f"{scenario}: CPU ÷ aiosmtpd", measured, bound, at_most=True)
    for scenario, bound in {"2k": 0.30, "100k": 0.25, "1m": 0.25}.items():
        measured = ratio(scenarios, scenario, "kumod, spooled", "aiosmtpd")
        yield Goal(f"{scenario}, spooled: CPU ÷ aiosmtpd", measured, bound, at_most=True)
    for scenario, bound in {"2k-new": 4.0, "2k": 4.0, "100k": 8.0}.items():
        # As kumod's it is the work of a policy with its events and a log; and bare, which ours is never.
        measured = ratio(scenarios, scenario, "Haraka, events and log", "kumod")
        yield Goal(f"{scenario}: CPU of Haraka, events and log, ÷ ours", measured, bound)
        measured = ratio(scenarios, scenario, "Haraka", "kumod")
        yield Goal(f"{scenario}: CPU of Haraka ÷ ours", measured, bound)


def durable_goals(scenarios: Scenarios) -> Iterator[Goal]:
    """What is to be stored in a second, synced before the 250."""
    for scenario, bound in {"2k": 5.0, "100k": 2.0}.items():
        measured = ratio(scenarios, scenario, "kumod, flush", "Postfix", "rate")
        yield Goal(f"{scenario}, durable: messages/s ÷ Postfix", measured, bound)


def delivered_goals(scenarios: Scenarios) -> Iterator[Goal]:
    """What a core is to receive, store and deliver."""
    servers = scenarios.get("100k", {})
    cpu = servers["kumod, delivered"]["cpu_ms"] if servers else 0
    yield Goal("100k, received, spooled, delivered: messages a CPU second", 1e6 / cpu if cpu else None, 115)


def event_goals(scenarios: Scenarios) -> Iterator[Goal]:
    """What Lua may cost."""
    for scenario in scenarios:
        plain = ratio(scenarios, scenario, "kumod, one event", "kumod")
        share = None if plain is None else 1 - plain
        yield Goal(f"{scenario}: share of three more Lua events in the CPU", share, 0.20, at_most=True)


_SECONDS = ("2 workers", "2 workers, by chance", "2 daemons")


def worker_table(scenarios: Scenarios) -> str:
    """What a second process brings, as a worker, and as a daemon that shares nothing but the machine."""
    pairs = tuple((f"kumod, {seconds}", "kumod, 1 worker") for seconds in _SECONDS)
    rows = []
    for scenario in scenarios:
        rates = [ratio(scenarios, scenario, *pair, "rate") for pair in pairs]
        costs = [ratio(scenarios, scenario, rival, name) for name, rival in pairs]
        cells = [*rates, *(None if cost is None else 2 * cost for cost in costs)]
        rows.append([scenario, *("-" if cell is None else number(cell) for cell in cells)])
    heads = [f"{seconds} ÷ 1" for seconds in _SECONDS]
    first, *others = heads
    heads = [f"messages/s: {first}", *others, f"by CPU a message: {first}", *others]
    return report.table(["", *heads], rows)


def worker_goals(scenarios: Scenarios) -> Iterator[Goal]:
    """What a second process is to bring."""
    for scenario in scenarios:
        measured = ratio(scenarios, scenario, "kumod, 2 workers", "kumod, 1 worker", "rate")
        yield Goal(f"{scenario}: messages/s of two workers ÷ one", measured, 1.7)
        # Clients have their part of the processors; this is what these would do without them.
        cpu = ratio(scenarios, scenario, "kumod, 1 worker", "kumod, 2 workers")
        capacity = None if cpu is None else 2 * cpu
        yield Goal(f"{scenario}: the same by CPU a message, twice one ÷ two", capacity, 1.7)


_GOALS = {
    "servers": server_goals,
    "durable": durable_goals,
    "delivered": delivered_goals,
    "events": event_goals,
    "workers": worker_goals,
}


def sections(results: dict[str, dict[str, Any]]) -> dict[str, str]:
    """The README's sections, one for each comparison that was made."""
    return {f"peers {name}": _section(name, kept) for name, kept in results.items()}


def _section(name: str, kept: dict[str, Any]) -> str:
    scenarios: Scenarios = kept["scenarios"]
    if not scenarios:
        return "No scenario was measured."
    comparison = name.partition(" ")[0]
    place = "on any processor" if kept["is_spread"] else "on one processor"
    parts = [f"{kept['machine']}; client and servers {place}; {kept['rounds']} rounds, medians."]
    parts.append(server_table(scenarios))
    if comparison == "servers":
        parts.append(server_ratios(scenarios))
    if comparison == "workers":
        parts.append(worker_table(scenarios))
    parts.append(report.goal_table(_GOALS[comparison](scenarios)))
    return "\n\n".join(parts)
