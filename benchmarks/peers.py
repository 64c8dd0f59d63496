"""Compares ``kumod`` with other mail servers, all of them driven by Postfix's ``smtp-source``.

``python -m benchmarks.peers``. The servers of a comparison run at the same time and are sent to in turn,
so that a neighbour on the machine slows all of them; what counts is the ratio of their medians. CPU time
is that of a server's whole process tree, in milliseconds per 1000 messages, with what it does after its
reply; a server that does nothing costs nothing. Client and servers share one processor, as waking another
one is charged to whoever writes, and on a virtual machine costs more than the servers do; ``--spread``
lets all run on any.

``kumod`` runs ``bench.lua``: four Lua events, trace fields, logs.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from benchmarks import peer_tables, report
from benchmarks.servers import (
    AIOSMTPD,
    HARAKA_EVENTS,
    HARAKA_SINK,
    POSTFIX,
    Kind,
    Server,
    find_postfix_tool,
    install_haraka,
    kumod,
    kumod_copies,
    kumod_workers,
    smtp_sink,
    started,
)

SEND_TIMEOUT = 300.0
"""Seconds that one run of ``smtp-source`` may take."""

WARM_UP = 2
"""Rounds before the first that counts. Code that is compiled as it runs gets better for thousands of
messages: the first 1500 take Haraka three times as long as the fifth."""


class Scenario(NamedTuple):
    """One kind of traffic.

    Args:
        name: as printed.
        size: octets of each message.
        messages: messages of one run.
        sessions: connections at a time.
        reuses: whether a connection takes more than one message.
        clients: processes that share messages and sessions; those of one server that has several ports,
            among them.
        is_apart: whether each of them has a processor of its own to run on, as far as there are enough.
        is_matched: whether a server has a client, its share of the messages and a processor for each
            of its processes, and the clients stay on those processors, one on each.
        environment: what the servers are started with besides their own.
    """

    name: str
    size: int
    messages: int
    sessions: int = 10
    reuses: bool = True
    clients: int = 1
    is_apart: bool = False
    is_matched: bool = False
    environment: Mapping[str, str] = MappingProxyType({})


SCENARIOS = (
    Scenario("2k-new", 2048, 1000, reuses=False),
    Scenario("2k", 2048, 1500),
    Scenario("100k", 102_400, 300),
    Scenario("1m", 1_048_576, 60),
)
"""No more messages than a median needs: what is spooled is removed afterwards, and to remove a file from a
disk mounted with ``discard`` took 5 ms.
"""

DURABLE = (Scenario("2k", 2048, 2000, 20), Scenario("100k", 102_400, 500, 20))


class Sample(NamedTuple):
    """What one run cost.

    Args:
        cpu_ms: CPU milliseconds per 1000 messages.
        rate: messages a second that the client saw.
    """

    cpu_ms: float
    rate: float


class Comparison(NamedTuple):
    """Servers that are compared with each other.

    Args:
        name: as chosen on the command line, and of the results that are kept.
        servers: makes them; those that are missing are left out.
        scenarios: what is sent to them.
        is_spread: whether it needs all processors, whatever the others run on.
    """

    name: str
    servers: Callable[[], list[Kind]]
    scenarios: Sequence[Scenario]
    is_spread: bool = False


COMPARISONS = (
    Comparison(
        "servers",
        lambda: [
            kumod("kumod", "discard"),
            kumod("kumod, spooled", "keep"),
            kumod("kumod, flush", "keep", BENCH_FLUSH="1"),
            smtp_sink(),
            AIOSMTPD,
            HARAKA_SINK,
            HARAKA_EVENTS,
            POSTFIX,
        ],
        SCENARIOS,
    ),
    Comparison("durable", lambda: [kumod("kumod, flush", "keep", BENCH_FLUSH="1"), POSTFIX], DURABLE),
    Comparison(
        "delivered",
        lambda: [kumod("kumod, delivered", "deliver"), POSTFIX],
        (Scenario("100k", 102_400, 300),),
    ),
    Comparison(
        "events",
        lambda: [kumod("kumod", "discard"), kumod("kumod, one event", "discard", BENCH_EVENTS="0")],
        SCENARIOS[:2],
    ),
    Comparison(
        "workers",
        lambda: [kumod_workers(1), kumod_workers(2), kumod_workers(2, by_chance=True), kumod_copies(2)],
        (
            Scenario("2k-new", 2048, 6000, 20, reuses=False, clients=2),
            Scenario("2k", 2048, 20_000, 20, clients=2),
            Scenario("2k-new, apart", 2048, 6000, 20, reuses=False, clients=2, is_apart=True),
            Scenario("2k, apart", 2048, 20_000, 20, clients=2, is_apart=True),
            Scenario("2k-new, matched", 2048, 6000, 20, reuses=False, clients=2, is_matched=True),
            Scenario("2k, matched", 2048, 20_000, 20, clients=2, is_matched=True),
            Scenario("2k, much policy", 2048, 2000, 20, clients=2, environment={"BENCH_PATTERNS": "100"}),
        ),
        is_spread=True,
    ),
)


def client_count(scenario: Scenario, server: Server) -> int:
    """How many clients send to a server in one round."""
    return min(server.workers, scenario.clients) if scenario.is_matched else scenario.clients


def send(scenario: Scenario, server: Server) -> int:
    """Send one round's messages and wait for all their replies.

    Returns:
        How many messages that were.
    """
    count = client_count(scenario, server)
    share, sessions = scenario.messages // scenario.clients, scenario.sessions // scenario.clients
    command = [find_postfix_tool("smtp-source"), "-s", str(sessions), "-m", str(share)]
    command += ["-l", str(scenario.size), *(["-d"] if scenario.reuses else [])]
    command += ["-f", "sender@example.com", "-t", "recipient@example.org"]
    is_pinned = scenario.is_apart or scenario.is_matched
    ports = itertools.islice(itertools.cycle(server.ports), count)
    processors = itertools.cycle(sorted(os.sched_getaffinity(0)))
    with contextlib.ExitStack() as stack:
        clients = []
        for port in ports:
            where = ["taskset", "--cpu-list", str(next(processors))] if is_pinned else []
            client = stack.enter_context(subprocess.Popen([*where, *command, f"127.0.0.1:{port}"]))
            clients.append(client)
            stack.callback(client.kill)
        for client in clients:
            if client.wait(SEND_TIMEOUT):
                raise subprocess.CalledProcessError(client.returncode, client.args)
    return share * count


def measure(scenario: Scenario, server: Server) -> Sample:
    """Take one sample of a server."""
    before = server.settled_cpu_seconds()
    begin = time.perf_counter()
    messages = send(scenario, server)
    seconds = time.perf_counter() - begin
    used = server.settled_cpu_seconds() - before
    return Sample(used * 1_000_000 / messages, messages / seconds)


@contextlib.contextmanager
def processors_for(kind: Kind, scenario: Scenario) -> Iterator[None]:
    """What is started inside runs on as many processors as the scenario gives to that server."""
    everything = os.sched_getaffinity(0)
    if scenario.is_matched:
        os.sched_setaffinity(0, sorted(everything)[: kind.copies * kind.workers])
    try:
        yield
    finally:
        os.sched_setaffinity(0, everything)


def start(kind: Kind, scenario: Scenario, stack: contextlib.ExitStack) -> Server:
    """Start a server, and let it get into its stride."""
    with processors_for(kind, scenario):
        server = stack.enter_context(started(kind.with_environment(scenario.environment)))
    for _ in range(WARM_UP):
        send(scenario, server)
    return server


def run(kinds: list[Kind], scenario: Scenario, rounds: int) -> dict[str, Any]:
    """Measure all servers in one scenario, by turns; they start with empty spools.

    Returns:
        The medians, by the names of the servers.
    """
    samples: dict[str, list[Sample]] = {kind.name: [] for kind in kinds}
    with contextlib.ExitStack() as stack:
        servers = [start(kind, scenario, stack) for kind in kinds]
        for number in range(rounds):
            # Whoever comes first finds the caches as the other one left them: take turns in that as well.
            for server in servers if number % 2 == 0 else servers[::-1]:
                samples[server.name].append(measure(scenario, server))
    return {
        name: {
            "cpu_ms": statistics.median(sample.cpu_ms for sample in taken),
            "rate": statistics.median(sample.rate for sample in taken),
            "samples": taken,
        }
        for name, taken in samples.items()
    }


def compare(comparison: Comparison, options: argparse.Namespace) -> dict[str, Any]:
    """Make one comparison; what it has not got is told."""
    kinds = comparison.servers()
    missing = {kind.name: kind.missing() for kind in kinds}
    for name, what in missing.items():
        if what:
            print(f"left out, {name}: {what}")
    kinds = [kind for kind in kinds if not missing[kind.name]]
    is_spread = options.spread or comparison.is_spread
    everything = os.sched_getaffinity(0)
    if not is_spread:
        os.sched_setaffinity(0, {max(everything)})  # inherited by all that is started
    scenarios = {}
    try:
        for scenario in comparison.scenarios:
            if not options.scenario or scenario.name in options.scenario:
                messages = max(int(scenario.messages * options.scale), scenario.sessions)
                scenarios[scenario.name] = run(kinds, scenario._replace(messages=messages), options.rounds)
    finally:
        os.sched_setaffinity(0, everything)
    return {
        "machine": report.machine(),
        "rounds": options.rounds,
        "is_spread": is_spread,
        "scenarios": scenarios,
    }


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    scenarios = {scenario.name: None for comparison in COMPARISONS for scenario in comparison.scenarios}
    parser = argparse.ArgumentParser(description="CPU time per message of kumod and other mail servers.")
    parser.add_argument("--rounds", type=int, default=5, help="samples of each server (default: %(default)s)")
    parser.add_argument("--scale", type=float, default=1.0, help="factor on the number of messages")
    parser.add_argument("--scenario", action="append", choices=list(scenarios), help="default: all")
    names = [comparison.name for comparison in COMPARISONS]
    parser.add_argument("--only", action="append", choices=names, help="a comparison (default: all)")
    parser.add_argument("--spread", action="store_true", help="client and servers on any processor")
    parser.add_argument("--install-haraka", action="store_true", help="install Haraka with npm, and go on")
    report.add_options(parser)
    return parser.parse_args()


def main() -> None:
    """Run the comparisons and print their tables."""
    options = parse_arguments()
    if options.install_haraka:
        install_haraka()
    results = {}
    for comparison in COMPARISONS:
        if options.only and comparison.name not in options.only:
            continue
        if options.scenario and not {one.name for one in comparison.scenarios} & set(options.scenario):
            continue
        kept_as = f"{comparison.name} spread" if options.spread else comparison.name
        if not options.saved:
            report.keep(kept_as, compare(comparison, options))
        results[kept_as] = report.saved(kept_as)
    report.publish(peer_tables.sections(results), write=options.write)


if __name__ == "__main__":
    main()
