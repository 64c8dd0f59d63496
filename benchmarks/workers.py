"""What a second process is worth: ``kumod`` and ``kumod --workers 2`` beside each other, used in turn.

``python -m benchmarks.workers``; needs Postfix's smtp-source. Two numbers are printed. The first is the ratio
of messages a second as they are; a client on the same processors takes its part of them. The second leaves
the client out: what two processors full of workers do, by the CPU time that a message costs them, over what
one processor full of the single process does.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import time
from typing import NamedTuple

from benchmarks.loopback import Server, started

ROUNDS = 9
MESSAGES = 8000
SESSIONS = 10
CLIENTS = 2
"""Processes of smtp-source: one alone would be busier than two workers."""

KUMOD = [sys.executable, "-m", "kumo", "--policy", "policy/sink.lua"]


class Sample(NamedTuple):
    """One round of one server."""

    rate: float
    """Messages a second."""
    cost: float
    """CPU seconds of its processes for a message."""


def sample(smtp_source: str, server: Server, messages: int = MESSAGES) -> Sample:
    """Send messages over connections that are reused, from several processes at a time."""
    command = [smtp_source, "-d", "-s", str(SESSIONS), "-m", str(messages // CLIENTS), "-l", "2000"]
    command += ["-f", "sender@example.com", "-t", "recipient@example.org", f"127.0.0.1:{server.port}"]
    cpu, begin = server.cpu_seconds(), time.perf_counter()
    clients = [subprocess.Popen(command) for _ in range(CLIENTS)]
    if any([client.wait() for client in clients]):  # noqa: C419 - all are waited for
        raise RuntimeError(f"smtp-source failed against {server.name}")
    seconds = time.perf_counter() - begin
    return Sample(messages / seconds, (server.cpu_seconds() - cpu) / messages)


def main() -> None:
    """Print medians of both, and the ratios."""
    smtp_source = shutil.which("smtp-source")
    if smtp_source is None:
        raise SystemExit("smtp-source is missing (Debian: apt install postfix)")
    taken: dict[str, list[Sample]] = {}
    with started("one process", KUMOD) as one, started("two workers", [*KUMOD, "--workers", "2"]) as two:
        for server in (one, two):
            sample(smtp_source, server, 1000)
        for _ in range(ROUNDS):
            for server in (one, two):
                taken.setdefault(server.name, []).append(sample(smtp_source, server))
    rates = {name: statistics.median(one.rate for one in samples) for name, samples in taken.items()}
    costs = {name: statistics.median(one.cost for one in samples) for name, samples in taken.items()}
    for name in taken:
        print(f"{name}: {rates[name]:.0f} messages/s, {costs[name] * 1e6:.0f} µs of CPU each")
    print(f"as it is: {rates['two workers'] / rates['one process']:.2f} times")
    print(f"without the client: {2 * costs['one process'] / costs['two workers']:.2f} times")


if __name__ == "__main__":
    main()
