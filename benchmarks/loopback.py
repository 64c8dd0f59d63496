"""Compares ``kumod`` with aiosmtpd: CPU time per message, both driven by Postfix's ``smtp-source``.

``python -m benchmarks.loopback``. Both servers run at the same time and are sent to in turn, so that a
neighbour on the machine slows both; what counts is the ratio of their medians. CPU time is that of the
server's whole process tree, in milliseconds per 1000 messages; a server that does nothing costs nothing.

``kumod`` runs ``policy/sink.lua`` unless ``--server-command`` says otherwise. Whatever is started must
write ``smtp listener on ADDRESS:PORT`` to standard error, as ``kumod`` does; it gets the environment
variables KUMO_SMTP_LISTEN (any free port) and KUMO_VAR (a folder that is removed afterwards).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TextIO

import psutil

ROOT = Path(__file__).resolve().parent.parent

KUMOD = [sys.executable, "-m", "kumo", "--policy", str(ROOT / "policy" / "sink.lua")]

# aiosmtpd with a handler that takes the content and forgets it; size limit and port are all it is told.
# Postfix's sink in C, without policy, trace fields or logs: the floor. It cannot be asked for its port, so
# one that was free is given to it, and a child says when it listens.
SMTP_SINK = """
import os, socket, sys, time
with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
if os.fork() == 0:
    for _ in range(250):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            time.sleep(0.02)
    print(f"smtp listener on 127.0.0.1:{port}", file=sys.stderr, flush=True)
    os._exit(0)
user = ["-u", "nobody"] if os.geteuid() == 0 else []
os.execv(sys.argv[1], [sys.argv[1], *user, f"127.0.0.1:{port}", "1024"])
"""

AIOSMTPD = """
import asyncio, sys
from aiosmtpd.smtp import SMTP

class Sink:
    async def handle_DATA(self, server, session, envelope):
        return "250 OK"

async def main():
    loop = asyncio.get_running_loop()
    made = lambda: SMTP(Sink(), hostname="localhost", data_size_limit=20971520, enable_SMTPUTF8=True)
    server = await loop.create_server(made, "127.0.0.1", 0)
    print("smtp listener on 127.0.0.1:%d" % server.sockets[0].getsockname()[1], file=sys.stderr, flush=True)
    await server.serve_forever()

asyncio.run(main())
"""

START_TIMEOUT = 30.0
"""Seconds that a server gets to say where it listens."""

STOP_TIMEOUT = 10.0
"""Seconds that a server gets to end."""

SEND_TIMEOUT = 300.0
"""Seconds that one run of ``smtp-source`` may take."""


class Scenario(NamedTuple):
    """One kind of traffic.

    Args:
        name: as printed.
        size: octets of each message.
        messages: messages of one run.
        reuses: whether a connection takes more than one message.
    """

    name: str
    size: int
    messages: int
    reuses: bool


SCENARIOS = (
    Scenario("2k-new", 2048, 2000, reuses=False),
    Scenario("2k", 2048, 3000, reuses=True),
    Scenario("100k", 102_400, 600, reuses=True),
    Scenario("1m", 1_048_576, 150, reuses=True),
)


@dataclass
class Server:
    """A server under test."""

    name: str
    process: subprocess.Popen[str]
    port: int
    samples: dict[str, list[float]] = field(default_factory=dict)

    def cpu_seconds(self) -> float:
        """User and system time of the process and its children so far."""
        parent = psutil.Process(self.process.pid)
        total = 0.0
        for process in (parent, *parent.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
        return total


@contextlib.contextmanager
def started(name: str, command: list[str]) -> Iterator[Server]:
    """Run a server until the body is done."""
    with tempfile.TemporaryDirectory(prefix="kumo-bench-") as folder:
        environment = {**os.environ, "KUMO_SMTP_LISTEN": "127.0.0.1:0", "KUMO_VAR": folder}
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
        )
        try:
            yield Server(name, process, _port_of(name, process))
        finally:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _port_of(name: str, process: subprocess.Popen[str]) -> int:
    stderr = process.stderr
    assert stderr is not None
    # A server that says nothing must not hold us up for ever.
    watchdog = threading.Timer(START_TIMEOUT, process.kill)
    watchdog.start()
    said: list[str] = []
    try:
        for line in stderr:
            said.append(line)
            if found := re.search(r"smtp listener on \S+:(\d+)\s*$", line):
                threading.Thread(target=_drain, args=(stderr,), daemon=True).start()
                return int(found.group(1))
    finally:
        watchdog.cancel()
    raise RuntimeError(f"{name} did not say where it listens:\n{''.join(said)}")


def _drain(stderr: TextIO) -> None:
    # A full pipe would stop the server.
    with contextlib.suppress(ValueError):
        for _ in stderr:
            pass


def send(smtp_source: str, scenario: Scenario, port: int, messages: int) -> None:
    """Send messages and wait for all their replies."""
    command = [smtp_source, "-s", "10", "-m", str(messages), "-l", str(scenario.size)]
    if scenario.reuses:
        command.append("-d")
    command += ["-f", "sender@example.com", "-t", "recipient@example.org", f"127.0.0.1:{port}"]
    subprocess.run(command, check=True, timeout=SEND_TIMEOUT)


def measure(smtp_source: str, scenario: Scenario, server: Server) -> None:
    """Take one sample of a server."""
    before = server.cpu_seconds()
    send(smtp_source, scenario, server.port, scenario.messages)
    seconds = server.cpu_seconds() - before
    server.samples.setdefault(scenario.name, []).append(seconds * 1_000_000 / scenario.messages)


def run(servers: list[Server], smtp_source: str, scenarios: list[Scenario], rounds: int) -> None:
    """Measure all servers in all scenarios, by turns."""
    for scenario in scenarios:
        for server in servers:
            send(smtp_source, scenario, server.port, max(scenario.messages // 10, 10))
        for number in range(rounds):
            # Whoever comes first finds the caches as the other one left them: take turns in that as well.
            for server in servers if number % 2 == 0 else servers[::-1]:
                measure(smtp_source, scenario, server)


def table(servers: list[Server], scenarios: list[Scenario]) -> Iterator[str]:
    """The results: CPU ms per 1000 messages, and ratios to the last server."""
    *_, reference = servers
    heads = [server.name for server in servers] + [f"ratio to {reference.name}"]
    yield f"{'CPU ms per 1000 messages':26}" + "".join(f"{head:>20}" for head in heads)
    for scenario in scenarios:
        medians = [statistics.median(server.samples[scenario.name]) for server in servers]
        cells = [f"{median:20.1f}" for median in medians]
        yield f"{scenario.name:26}{''.join(cells)}{medians[0] / medians[-1]:20.3f}"


def find_postfix_tool(name: str) -> str:
    """Path of ``smtp-source`` or ``smtp-sink``, which Debian keeps outside of most users' PATH."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        raise SystemExit(f"{name} is not installed; it comes with postfix (Debian: apt install postfix)")
    return found


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="CPU time per message of kumod and aiosmtpd.")
    parser.add_argument("--rounds", type=int, default=5, help="samples of each server (default: %(default)s)")
    parser.add_argument("--scale", type=float, default=1.0, help="factor on the number of messages")
    parser.add_argument(
        "--spread",
        action="store_true",
        help="let client and servers run on any processor; otherwise all share one, as waking another "
        "processor is charged to whoever writes, and on a virtual machine costs more than the server does",
    )
    parser.add_argument("--server-command", default=shlex.join(KUMOD), help="what to compare with aiosmtpd")
    parser.add_argument(
        "scenarios", nargs="*", choices=[[], *(scenario.name for scenario in SCENARIOS)], help="default: all"
    )
    return parser.parse_args()


def main() -> None:
    """Run the comparison and print its table."""
    options = parse_arguments()
    smtp_source = find_postfix_tool("smtp-source")
    if not options.spread:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # inherited by all that is started below
    scenarios = [
        scenario._replace(messages=max(int(scenario.messages * options.scale), 10))
        for scenario in SCENARIOS
        if not options.scenarios or scenario.name in options.scenarios
    ]
    sink_command = [sys.executable, "-c", SMTP_SINK, find_postfix_tool("smtp-sink")]
    with (
        started("kumod", shlex.split(options.server_command)) as kumod,
        started("smtp-sink", sink_command) as smtp_sink,
        started("aiosmtpd", [sys.executable, "-c", AIOSMTPD]) as aiosmtpd,
    ):
        servers = [kumod, smtp_sink, aiosmtpd]
        run(servers, smtp_source, scenarios, options.rounds)
        print("\n".join(table(servers, scenarios)))


if __name__ == "__main__":
    main()
