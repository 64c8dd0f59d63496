"""A soak: hundreds of clients for a quarter of an hour, and nothing may grow, leak or be lost.

``python -m benchmarks.soak``. A real ``kumod`` with ``soak.lua`` delivers into maildirs, which are emptied
all the time; ``soak_load`` tells what the clients do. At the end memory must be level after the warm-up (the
medians of its windows within 5 % of the middle one, and the last not 5 % above the first), tasks,
descriptors, sockets and objects back where they were before the load, the spool empty, every message that
was acknowledged delivered once, whole, and in the log once. Exit status 1 and the reasons otherwise.
``--seconds`` shortens it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import accounting, report, soak_judgement
from benchmarks.launchers.free_port import free_port
from benchmarks.servers import ROOT, Kind, Server, launcher, started
from benchmarks.soak_client import Ledger
from benchmarks.soak_judgement import Delivered, Sample
from benchmarks.soak_load import run_load

POLICY = ROOT / "benchmarks" / "soak.lua"

INTERVAL = 5.0
"""Seconds between two samples."""

SWEEP_INTERVAL = 1.0
"""Seconds between two looks into the maildirs."""

PATIENCE = 90.0
"""Seconds after the load in which the daemon must have come to rest."""

MIB = 1024 * 1024


class Watched:
    """The daemon, as its watchers see it.

    Args:
        server: that runs ``launchers.watched_kumod``.
        http_port: of its metrics.
    """

    def __init__(self, server: Server, http_port: int) -> None:
        self.pid = server.process.pid
        self.folder = server.folder
        self._metrics = f"http://127.0.0.1:{http_port}/metrics"
        self._state = server.folder / "state"
        self._begin = time.monotonic()
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def sample(self) -> Sample:
        """Look at everything."""
        # Metrics last: their connection and its task are no part of what is looked at.
        state = self.state()
        memory, descriptors = accounting.memory(self.pid), accounting.descriptors(self.pid)
        with self._opener.open(self._metrics, timeout=PATIENCE) as answer:
            text = answer.read().decode()
        return Sample(
            seconds=time.monotonic() - self._begin,
            resident=memory.resident,
            anonymous=memory.anonymous,
            descriptors=descriptors.all,
            sockets=descriptors.sockets,
            threads=accounting.thread_count(self.pid),
            sessions=_gauge(text, "connection_count", '{service="esmtp_listener"}'),
            queued=_gauge(text, "scheduled_count_total", ""),
            tasks=state["tasks"],
            objects=state["objects"],
            spool_files=sum(len(files) for _, _, files in os.walk(self.folder / "spool")),
        )

    def state(self, number: signal.Signals = signal.SIGUSR1) -> dict[str, Any]:
        """What it tells of itself; with SIGUSR2 after a garbage collection.

        Raises:
            TimeoutError: it does not.
        """
        before = self._lines()
        os.kill(self.pid, number)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            lines = self._lines()
            if len(lines) > len(before):
                state: dict[str, Any] = json.loads(lines[-1])
                return state
            time.sleep(0.02)
        raise TimeoutError("the daemon does not answer SIGUSR1")

    def _lines(self) -> list[str]:
        text = self._state.read_text() if self._state.exists() else ""
        return text[: text.rfind("\n") + 1].splitlines()


def _gauge(text: str, name: str, labels: str) -> int:
    found = re.search(rf"(?m)^{re.escape(name + labels)} ([\d.e+]+)$", text)
    return int(float(found.group(1))) if found else 0


class Sweeper:
    """Takes delivered messages out of the maildirs.

    Args:
        folder: of the maildirs.
        ledger: is told how many there were.
    """

    def __init__(self, folder: Path, ledger: Ledger) -> None:
        self._folder = folder
        self._ledger = ledger
        self.delivered = Delivered(Counter(), [])

    def sweep(self) -> None:
        """Note and remove what is there now."""
        for path in self._folder.glob("*/*/new/*"):
            number = soak_judgement.number_of(path.read_bytes())
            recipient = path.parts[-3]
            if number is None:
                self.delivered.torn.append(f"{recipient}/{path.name}")
            else:
                self.delivered.copies[number, recipient] += 1
            path.unlink()
            self._ledger.copies_delivered += 1

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            await asyncio.to_thread(self.sweep)
            await asyncio.sleep(SWEEP_INTERVAL)


async def _watch(watched: Watched, samples: list[Sample]) -> None:
    """Take samples until cancelled, and show them."""
    while True:
        sample = await asyncio.to_thread(watched.sample)
        samples.append(sample)
        if len(samples) % 6 == 1:
            show(sample)
        await asyncio.sleep(INTERVAL)


def show(sample: Sample) -> None:
    """Print a sample on one line."""
    print(
        f"{sample.seconds:6.0f} s  RSS {sample.resident / MIB:6.1f} MiB  sessions {sample.sessions:4}  "
        f"queued {sample.queued:5}  tasks {sample.tasks:4}  descriptors {sample.descriptors:4}  "
        f"threads {sample.threads:3}  objects {sample.objects:7}  spool files {sample.spool_files}",
        flush=True,
    )


class Soaked(NamedTuple):
    """What came of the load.

    Args:
        ledger: of the clients.
        before: the daemon at rest before it.
        under_load: samples.
        after: at rest again.
        grown: how many more objects of each of kumo's types there are, after a garbage collection.
    """

    ledger: Ledger
    before: Sample
    under_load: Sequence[Sample]
    after: Sample
    grown: dict[str, int]


async def load(
    watched: Watched, sweeper: Sweeper, ledger: Ledger, port: int, options: argparse.Namespace
) -> Soaked:
    """Put the load on the daemon, and let it come to rest."""
    samples: list[Sample] = []
    before = await asyncio.to_thread(watched.sample)
    types_before = (await asyncio.to_thread(watched.state, signal.SIGUSR2))["types"]
    show(before)
    background = [asyncio.create_task(_watch(watched, samples)), asyncio.create_task(sweeper.run())]
    await run_load(port, options.connections, options.seconds, ledger)
    under_load = list(samples)
    deadline = time.monotonic() + PATIENCE
    while True:
        after = await asyncio.to_thread(watched.sample)
        reasons = list(soak_judgement.judge_rest(before, after))
        if not reasons or time.monotonic() > deadline:
            break
        await asyncio.sleep(0.5)
    for task in background:
        task.cancel()
    for ended in await asyncio.gather(*background, return_exceptions=True):
        if isinstance(ended, Exception):
            raise ended
    show(after)
    types_after = (await asyncio.to_thread(watched.state, signal.SIGUSR2))["types"]
    grown = {name: count - types_before.get(name, 0) for name, count in types_after.items()}
    return Soaked(ledger, before, under_load, after, grown)


def log_records(folder: Path) -> dict[str, Counter[str]]:
    """For each type of record how often it stands in the log for each id."""
    zstd = shutil.which("zstd")
    if zstd is None:
        raise SystemExit("zstd is not installed (Debian: apt install zstd)")
    records: dict[str, Counter[str]] = {}
    for segment in sorted(folder.iterdir()):
        with subprocess.Popen([zstd, "-dcq", str(segment)], stdout=subprocess.PIPE) as reader:
            assert reader.stdout is not None
            for line in reader.stdout:
                record = json.loads(line)
                records.setdefault(record["type"], Counter())[record["id"]] += 1
        if reader.returncode:
            raise RuntimeError(f"{segment} cannot be read to its end")
    return records


def spooled(folder: Path) -> list[str]:
    """What ``kumod --list-spool`` finds."""
    command = [sys.executable, "-m", "kumo", "--list-spool", str(folder / "spool" / "meta")]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return said.stdout.splitlines()


def judge(soaked: Soaked, delivered: Delivered, folder: Path, warm_up: float) -> Iterable[str]:
    """All the reasons to fail."""
    yield from (f"{count} times {text}" for text, count in soaked.ledger.surprises.most_common(20))
    yield from soak_judgement.judge_memory(soak_judgement.windows(soaked.under_load, warm_up))
    yield from soak_judgement.judge_rest(soaked.before, soaked.after)
    yield from soak_judgement.judge_objects(soaked.grown)
    yield from soak_judgement.judge_delivery(soaked.ledger.acknowledged, delivered)
    yield from soak_judgement.judge_log(soaked.ledger.acknowledged, log_records(folder / "log"))
    if left := spooled(folder):
        yield f"{len(left)} messages are left in the spool"


def section(results: dict[str, Any]) -> str:
    """The README's section."""
    rows = [[name, *map(str, values)] for name, values in results["table"].items()]
    table = report.table(["", "before", "most under load", "after"], rows)
    medians = ", ".join(f"{median / MIB:.1f}" for median in results["windows"])
    verdict = "Passed." if not results["reasons"] else "Failed: " + "; ".join(results["reasons"])
    return (
        f"{results['machine']}; {results['connections']} connections for {results['seconds']:.0f} seconds, "
        f"{results['sessions']} sessions, {results['acknowledged']} messages acknowledged.\n\n{table}\n\n"
        f"MiB of RSS, medians of the windows after the warm-up: {medians}. {verdict}"
    )


def results_of(soaked: Soaked, reasons: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """What is kept."""
    table = {}
    for name in ("resident", "descriptors", "sockets", "threads", "tasks", "sessions", "spool_files"):
        values = [getattr(sample, name) for sample in (soaked.before, *soaked.under_load, soaked.after)]
        chosen = [values[0], max(values), values[-1]]
        is_memory = name == "resident"
        table["RSS, MiB" if is_memory else name.replace("_", " ")] = [
            f"{value / MIB:.1f}" if is_memory else value for value in chosen
        ]
    return {
        "machine": report.machine(),
        "connections": options.connections,
        "seconds": options.seconds,
        "sessions": soaked.ledger.sessions.total(),
        "acknowledged": len(soaked.ledger.acknowledged),
        "windows": soak_judgement.windows(soaked.under_load, warm_up_of(options.seconds)),
        "table": table,
        "reasons": reasons,
    }


def warm_up_of(seconds: float) -> float:
    """Seconds at the start in which memory may grow: a fifth."""
    return seconds / 5


def soak(options: argparse.Namespace) -> dict[str, Any]:
    """Run the daemon and the load, and judge."""
    http_port = free_port()
    environment = {
        "KUMO_SMTP_LISTEN": f"127.0.0.1:{free_port()}",
        "KUMO_HTTP_LISTEN": f"127.0.0.1:{http_port}",
        "BENCH_KIND": options.kind,
    }
    kind = Kind("kumod", launcher("watched_kumod", "--policy", str(POLICY)), environment)
    with started(kind) as server:
        server.settled_cpu_seconds()  # what it does at its start is no load
        ledger = Ledger()
        watched, sweeper = Watched(server, http_port), Sweeper(server.folder / "maildir", ledger)
        soaked = asyncio.run(load(watched, sweeper, ledger, server.port, options))
        server.process.send_signal(signal.SIGTERM)
        status = server.process.wait(PATIENCE)
        sweeper.sweep()
        reasons = list(judge(soaked, sweeper.delivered, server.folder, warm_up_of(options.seconds)))
        if status:
            reasons.append(f"the daemon ended with {status}")
        if reasons:
            print("what it said last:", *list(server.said)[-30:], sep="\n")
    return results_of(soaked, reasons, options)


def main() -> int:
    """Soak, and exit with 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description="A long load of everything, and whether anything leaks.")
    parser.add_argument("--seconds", type=float, default=900, help="of load (default: %(default)s)")
    parser.add_argument("--connections", type=int, default=500, help="at a time (default: %(default)s)")
    parser.add_argument("--kind", default="LocalDisk", help="of the spool (default: %(default)s)")
    report.add_options(parser)
    options = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < options.connections + 100:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(options.connections + 1000, hard), hard))
    if not options.saved:
        report.keep("soak", soak(options))
    results = report.saved("soak")
    report.publish({"soak": section(results)}, write=options.write)
    for reason in results["reasons"]:
        print(f"failed: {reason}", file=sys.stderr)
    return 1 if results["reasons"] else 0


if __name__ == "__main__":
    sys.exit(main())
