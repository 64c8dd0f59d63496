"""The servers under test: how each is started, and what it has used.

Each runs in a process of its own with an empty folder KUMO_VAR, which is removed afterwards, and says
``smtp listener on ADDRESS:PORT`` to standard error, as ``kumod`` does; ``launchers`` does so for those
that do not.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TextIO

from benchmarks import accounting
from benchmarks.launchers.free_port import free_port

ROOT = Path(__file__).resolve().parent.parent

POLICY = ROOT / "benchmarks" / "bench.lua"

HARAKA = "3.3.4"
"""The version that is compared."""

HARAKA_FOLDER = ROOT / ".benchmarks" / "haraka"
"""Where ``install_haraka`` puts it; not in git."""

START_TIMEOUT = 30.0
"""Seconds that a server gets to take mail."""

STOP_TIMEOUT = 10.0
"""Seconds that a server gets to end."""

SETTLE_TIMEOUT = 20.0
"""Seconds that a server gets to finish what it has taken."""

_LOOK = 0.1
"""Seconds between two looks at a server that may still be at work."""

_QUIET = 0.002
"""Seconds of CPU time between two looks below which it counts as done: timers go on."""


class Kind(NamedTuple):
    """A server and how it is set up.

    Args:
        name: as printed.
        command: what starts it.
        environment: added to this process's.
        missing: tells what it needs and is not here; an empty text when it can be started.
        copies: how many are started, each for itself, and measured together.
        workers: processes of each that serve mail.
    """

    name: str
    command: list[str]
    environment: dict[str, str]
    missing: Callable[[], str] = lambda: ""
    copies: int = 1
    workers: int = 1

    def with_environment(self, environment: Mapping[str, str]) -> Kind:
        """The same with more in its environment."""
        return self._replace(environment={**self.environment, **environment})


@dataclass
class Server:
    """A server that runs.

    Args:
        name: as printed.
        process: the first of its processes.
        port: of 127.0.0.1, where it takes mail.
        folder: its KUMO_VAR.
        said: the last lines of its standard error.
        workers: processes that serve mail, with those of its copies.
        copies: others of its kind that are measured with it.
    """

    name: str
    process: subprocess.Popen[str]
    port: int
    folder: Path
    said: deque[str]
    workers: int = 1
    copies: Sequence[Server] = ()

    @property
    def ports(self) -> list[int]:
        """Where it takes mail, with its copies."""
        return [self.port, *(copy.port for copy in self.copies)]

    def cpu_seconds(self) -> float:
        """User and system time of its processes so far, with those of its copies."""
        of_copies = sum(copy.cpu_seconds() for copy in self.copies)
        return accounting.cpu_seconds(self.process.pid) + of_copies

    def settled_cpu_seconds(self) -> float:
        """The same, once what it does by itself after a reply is done."""
        deadline = time.monotonic() + SETTLE_TIMEOUT
        used = self.cpu_seconds()
        while time.monotonic() < deadline:
            time.sleep(_LOOK)
            before, used = used, self.cpu_seconds()
            if used - before < _QUIET:
                break
        return used


def launcher(name: str, *arguments: str) -> list[str]:
    """The command of one of ``launchers``."""
    return [sys.executable, "-m", f"benchmarks.launchers.{name}", *arguments]


def kumod(name: str, store: str, *arguments: str, **environment: str) -> Kind:
    """``kumod`` with ``bench.lua``.

    Args:
        name: as printed.
        store: BENCH_STORE of the policy.
        arguments: of kumod.
        environment: further variables of the policy.
    """
    command = [sys.executable, "-m", "kumo", "--policy", str(POLICY), *arguments]
    return Kind(name, command, {"BENCH_STORE": store, **environment})


def kumod_workers(count: int, *, by_chance: bool = False) -> Kind:
    """``kumod`` that serves one port with some processes.

    Args:
        count: of them.
        by_chance: whether connections are never dealt by processor.
    """
    name = f"kumod, {count} worker{'s' if count > 1 else ''}{', by chance' if by_chance else ''}"
    arguments = ["--workers", str(count)] if count > 1 else []
    if by_chance:
        arguments.append("--no-by-processor")
    # Processes that share a port must be told which.
    kind = kumod(name, "discard", *arguments, KUMO_SMTP_LISTEN=f"127.0.0.1:{free_port()}")
    return kind._replace(workers=count)


def kumod_copies(count: int) -> Kind:
    """As many daemons as ``kumod_workers`` has processes, which know nothing of each other."""
    return kumod(f"kumod, {count} daemons", "discard")._replace(copies=count)


def find_postfix_tool(name: str) -> str:
    """Path of ``smtp-source`` or ``smtp-sink``, which Debian keeps outside of most users' PATH."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        raise SystemExit(f"{name} is not installed; it comes with postfix (Debian: apt install postfix)")
    return found


def _missing_of_aiosmtpd() -> str:
    if importlib.util.find_spec("aiosmtpd") is None:
        return "aiosmtpd is not installed (make .venv/.dev)"
    return ""


def _missing_of_postfix() -> str:
    if os.geteuid() != 0:
        return "Postfix must be started by root"
    if not Path("/usr/lib/postfix/sbin/master").exists():
        return "Postfix is not installed (Debian: apt install postfix)"
    return ""


def _missing_of_haraka() -> str:
    if shutil.which("node") is None:
        return "node is not installed (Debian: apt install nodejs)"
    if not (HARAKA_FOLDER / "node_modules" / "Haraka").exists():
        return "Haraka is not installed; python -m benchmarks.peers --install-haraka does it"
    return ""


def install_haraka() -> None:
    """Install Haraka with npm, without its optional plugins, into ``HARAKA_FOLDER``."""
    npm = shutil.which("npm")
    if npm is None:
        raise SystemExit("npm is not installed (Debian: apt install npm)")
    HARAKA_FOLDER.mkdir(parents=True, exist_ok=True)
    options = ["--no-audit", "--no-fund", "--no-save", "--ignore-scripts", "--omit=optional"]
    subprocess.run(
        [npm, "install", *options, "--prefix", str(HARAKA_FOLDER), f"Haraka@{HARAKA}"],
        check=True,
        timeout=600,
    )


AIOSMTPD = Kind("aiosmtpd", launcher("aiosmtpd_sink"), {}, _missing_of_aiosmtpd)
HARAKA_SINK = Kind("Haraka", launcher("haraka", str(HARAKA_FOLDER)), {}, _missing_of_haraka)
HARAKA_EVENTS = HARAKA_SINK._replace(name="Haraka, events and log", environment={"BENCH_EVENTS": "1"})
POSTFIX = Kind("Postfix", launcher("postfix"), {}, _missing_of_postfix)


def smtp_sink() -> Kind:
    """Postfix's sink."""
    return Kind("smtp-sink", launcher("smtp_sink", find_postfix_tool("smtp-sink")), {})


@contextlib.contextmanager
def started(kind: Kind) -> Iterator[Server]:
    """Run a server, with its copies, until the body is done."""
    with contextlib.ExitStack() as stack:
        server, *copies = [stack.enter_context(_started_alone(kind)) for _ in range(kind.copies)]
        server.copies = copies
        yield server


@contextlib.contextmanager
def _started_alone(kind: Kind) -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="kumo-bench-", ignore_cleanup_errors=True) as folder:
        environment = {**os.environ, "KUMO_SMTP_LISTEN": "127.0.0.1:0", "KUMO_VAR": folder} | kind.environment
        process = subprocess.Popen(
            kind.command,
            cwd=ROOT,
            env=environment,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        try:
            said: deque[str] = deque(maxlen=1000)
            port = _port_of(kind.name, process, said)
            _wait_for_banner(kind.name, port)
            workers = kind.copies * kind.workers
            yield Server(kind.name, process, port, Path(folder), said, workers)
        finally:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _port_of(name: str, process: subprocess.Popen[str], said: deque[str]) -> int:
    stderr = process.stderr
    assert stderr is not None
    # A server that says nothing must not hold us up for ever.
    watchdog = threading.Timer(START_TIMEOUT, process.kill)
    watchdog.start()
    try:
        for line in stderr:
            said.append(line.rstrip())
            if found := re.search(r"smtp listener on \S+:(\d+)\s*$", line):
                threading.Thread(target=_drain, args=(stderr, said), daemon=True).start()
                return int(found.group(1))
    finally:
        watchdog.cancel()
    raise RuntimeError("\n".join([f"{name} did not say where it listens:", *said]))


def _drain(stderr: TextIO, said: deque[str]) -> None:
    # A full pipe would stop the server.
    with contextlib.suppress(ValueError):
        said.extend(line.rstrip() for line in stderr)


def _wait_for_banner(name: str, port: int) -> None:
    """Return once it takes mail; at the very start it may send sessions away."""
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", port), timeout=START_TIMEOUT) as client,
        ):
            if client.recv(4).startswith(b"220"):
                client.sendall(b"QUIT\r\n")
                return
        time.sleep(0.05)
    raise RuntimeError(f"{name} takes no mail")
