"""Memory: what an idle server holds, and what each idle connection adds to it.

``python -m benchmarks.memory``. ``kumod`` with ``policy/sink.lua`` and aiosmtpd, one after the other,
nothing else of them in common: memory does not depend on what the neighbours do. Connections have said
EHLO and then wait; a first lot of them, which is closed again, brings the server to its working size.
Sockets' buffers are the kernel's and not counted.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import smtplib
import sys
import time
from collections.abc import Iterator
from typing import Any

from benchmarks import accounting, report
from benchmarks.report import Goal
from benchmarks.servers import AIOSMTPD, ROOT, Kind, Server, started

MIB = 1024 * 1024

TIMEOUT = 30.0
"""Seconds that one step may take."""

SINK = Kind("kumod", [sys.executable, "-m", "kumo", "--policy", str(ROOT / "policy" / "sink.lua")], {})

SERVERS = (SINK, Kind("kumod, asyncio", SINK.command, {"KUMO_LOOP": "asyncio"}), AIOSMTPD)


@contextlib.contextmanager
def idle_connections(server: Server, count: int) -> Iterator[None]:
    """Connections that have said EHLO, until the body is done."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            client = smtplib.SMTP("127.0.0.1", server.port, "client.example.com", timeout=TIMEOUT)
            stack.callback(client.close)
            client.ehlo()
        yield


def wait_until_closed(server: Server, sockets: int) -> None:
    """Return once the server has no more sockets than that.

    Raises:
        TimeoutError: it keeps them.
    """
    deadline = time.monotonic() + TIMEOUT
    while accounting.descriptors(server.process.pid).sockets > sockets:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{server.name} keeps sockets of connections that are closed")
        time.sleep(0.05)


def measure(kind: Kind, connections: int) -> dict[str, Any]:
    """What one server holds when idle, and with idle connections."""
    with started(kind) as server:
        pid = server.process.pid
        server.settled_cpu_seconds()
        sockets = accounting.descriptors(pid).sockets
        idle = accounting.memory(pid)
        with idle_connections(server, connections):
            pass
        wait_until_closed(server, sockets)
        before = accounting.memory(pid)
        with idle_connections(server, connections):
            server.settled_cpu_seconds()
            warm = accounting.memory(pid)
        wait_until_closed(server, sockets)
        # From the first state: what the first lot left in the allocator is what the second one takes.
        grown, grown_anonymous = warm.resident - idle.resident, warm.anonymous - idle.anonymous
        return {
            "idle": idle._asdict(),
            "after": before._asdict(),
            "connected": warm._asdict(),
            "resident_per_connection": grown / connections,
            "anonymous_per_connection": grown_anonymous / connections,
        }


def section(results: dict[str, Any]) -> str:
    """The tables."""
    rows = []
    for name, found in results["servers"].items():
        cells = [f"{found['idle'][kind] / MIB:.1f}" for kind in ("resident", "proportional", "anonymous")]
        cells.append(f"{found['after']['resident'] / MIB:.1f}")
        cells += [
            f"{found[kind] / 1024:.1f}" for kind in ("resident_per_connection", "anonymous_per_connection")
        ]
        rows.append([name, *cells])
    heads = ["server", "RSS idle, MiB", "PSS", "anonymous", "RSS after the connections"]
    heads += ["KiB of RSS a connection", "anonymous KiB a connection"]
    ours = results["servers"][SINK.name]
    goals = [
        Goal("MB of RSS of an idle process", ours["idle"]["resident"] / 1e6, 60, at_most=True),
        Goal("KiB of memory an idle connection", ours["resident_per_connection"] / 1024, 8, at_most=True),
    ]
    preface = f"{results['machine']}; {results['connections']} connections that said EHLO."
    return f"{preface}\n\n{report.table(heads, rows)}\n\n{report.goal_table(goals)}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Memory of an idle server and of idle connections.")
    parser.add_argument("--connections", type=int, default=1000, help="how many (default: %(default)s)")
    report.add_options(parser)
    options = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < options.connections + 100:
        # The servers inherit it.
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(options.connections + 1000, hard), hard))
    if not options.saved:
        servers = {kind.name: measure(kind, options.connections) for kind in SERVERS}
        results = {"machine": report.machine(), "connections": options.connections, "servers": servers}
        report.keep("memory", results)
    report.publish({"memory": section(report.saved("memory"))}, write=options.write)


if __name__ == "__main__":
    main()
