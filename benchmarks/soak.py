"""A soak: hundreds of clients for a quarter of an hour, and nothing may grow, leak or be lost.

``python -m benchmarks.soak``. A real ``kumod`` with ``soak.lua`` delivers into maildirs, which are emptied
all the time; ``soak_load`` tells what the clients do. At the end the memory of each process must be level
after the warm-up (the medians of its windows within 5 % of the middle one, and the last not 5 % above the
first), tasks, descriptors, sockets and objects back where they were before the load, the spool empty, every
message that was acknowledged delivered once, whole, and in the log once. Exit status 1 and the reasons
otherwise.
``--seconds`` shortens it; ``--workers`` and ``--spool-kind`` soak what else there is, by the same rules.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import report, soak_judgement
from benchmarks.launchers.free_port import free_port
from benchmarks.servers import ROOT, started
from benchmarks.soak_client import Ledger
from benchmarks.soak_judgement import Delivered, Sample
from benchmarks.soak_load import run_load
from benchmarks.soak_watch import Watched, watched

POLICY = ROOT / "benchmarks" / "soak.lua"

INTERVAL = 5.0
"""Seconds between two samples."""

SWEEP_INTERVAL = 1.0
"""Seconds between two looks into the maildirs."""

PATIENCE = 90.0
"""Seconds after the load in which the daemon must have come to rest."""

MIB = 1024 * 1024


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


async def _watch(daemon: Watched, samples: list[Sample]) -> None:
    """Take samples until cancelled, and show them."""
    while True:
        sample = await asyncio.to_thread(daemon.sample)
        samples.append(sample)
        if len(samples) % 6 == 1:
            show(sample)
        await asyncio.sleep(INTERVAL)


def show(sample: Sample) -> None:
    """Print a sample on one line."""
    print(
        f"{sample.seconds:6.0f} s  RSS {sample.resident / MIB:6.1f} MiB  sessions {sample.sessions:4}  "
        f"queued {sample.queued:5}  tasks {sample.tasks:4}  descriptors {sample.descriptors:4}  "
        f"kept files {sample.kept_files}  threads {sample.threads:3}  objects {sample.objects:7}  "
        f"spool files {sample.spool_files}",
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
    daemon: Watched, sweeper: Sweeper, ledger: Ledger, port: int, options: argparse.Namespace
) -> Soaked:
    """Put the load on the daemon, and let it come to rest."""
    samples: list[Sample] = []
    before = await asyncio.to_thread(daemon.sample)
    types_before = await asyncio.to_thread(daemon.types)
    show(before)
    background = [asyncio.create_task(_watch(daemon, samples)), asyncio.create_task(sweeper.run())]
    await run_load(port, options.connections, options.seconds, ledger)
    under_load = list(samples)
    deadline = time.monotonic() + PATIENCE
    while True:
        after = await asyncio.to_thread(daemon.sample)
        reasons = list(soak_judgement.judge_rest(before, after, options.spool_kind))
        if not reasons or time.monotonic() > deadline:
            break
        await asyncio.sleep(0.5)
    for task in background:
        task.cancel()
    for ended in await asyncio.gather(*background, return_exceptions=True):
        if isinstance(ended, Exception):
            raise ended
    show(after)
    types_after = await asyncio.to_thread(daemon.types)
    grown = {name: count - types_before[name] for name, count in types_after.items()}
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


def judge(soaked: Soaked, delivered: Delivered, folder: Path, options: argparse.Namespace) -> Iterable[str]:
    """All the reasons to fail."""
    yield from (f"{count} times {text}" for text, count in soaked.ledger.surprises.most_common(20))
    yield from soak_judgement.judge_memory(soaked.before, soaked.under_load, warm_up_of(options.seconds))
    yield from soak_judgement.judge_rest(soaked.before, soaked.after, options.spool_kind)
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
        f"{results['machine']}; {results['processes']}; {results['connections']} connections for "
        f"{results['seconds']:.0f} seconds, {results['sessions']} sessions, "
        f"{results['acknowledged']} messages acknowledged.\n\n{table}\n\n"
        f"MiB of RSS, medians of the windows after the warm-up: {medians}. {verdict}"
    )


def results_of(soaked: Soaked, reasons: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """What is kept."""
    table = {}
    for name in (
        "resident",
        "descriptors",
        "kept_files",
        "sockets",
        "threads",
        "tasks",
        "sessions",
        "spool_files",
    ):
        values = [getattr(sample, name) for sample in (soaked.before, *soaked.under_load, soaked.after)]
        chosen = [values[0], max(values), values[-1]]
        is_memory = name == "resident"
        table["RSS, MiB" if is_memory else name.replace("_", " ")] = [
            f"{value / MIB:.1f}" if is_memory else value for value in chosen
        ]
    return {
        "machine": report.machine(),
        "processes": _told(options),
        "connections": options.connections,
        "seconds": options.seconds,
        "sessions": soaked.ledger.sessions.total(),
        "acknowledged": len(soaked.ledger.acknowledged),
        "windows": soak_judgement.windows(soaked.under_load, warm_up_of(options.seconds)),
        "table": table,
        "reasons": reasons,
    }


def _told(options: argparse.Namespace) -> str:
    workers = f"{options.workers} workers" if options.workers > 1 else "one process"
    return f"{workers}, spool of kind {options.spool_kind}"


def warm_up_of(seconds: float) -> float:
    """Seconds at the start in which memory may grow: a fifth."""
    return seconds / 5


def soak(options: argparse.Namespace) -> dict[str, Any]:
    """Run the daemon and the load, and judge."""
    http_port = free_port()
    environment = {
        "KUMO_SMTP_LISTEN": f"127.0.0.1:{free_port()}",
        "KUMO_HTTP_LISTEN": f"127.0.0.1:{http_port}",
        "BENCH_KIND": options.spool_kind,
    }
    command = ["-m", "kumo", "--policy", str(POLICY)]
    if options.workers > 1:
        command += ["--workers", str(options.workers)]
    with started(watched(command, environment)) as server:
        server.settled_cpu_seconds()  # what it does at its start is no load
        ledger = Ledger()
        daemon, sweeper = Watched(server, http_port), Sweeper(server.folder / "maildir", ledger)
        soaked = asyncio.run(load(daemon, sweeper, ledger, server.port, options))
        server.process.send_signal(signal.SIGTERM)
        status = server.process.wait(PATIENCE)
        sweeper.sweep()
        reasons = list(judge(soaked, sweeper.delivered, server.folder, options))
        if status:
            reasons.append(f"the daemon ended with {status}")
        if reasons:
            print("what it said last:", *list(server.said)[-30:], sep="\n")
    return results_of(soaked, reasons, options)


def parsed() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description="A long load of everything, and whether anything leaks.")
    parser.add_argument("--seconds", type=float, default=900, help="of load (default: %(default)s)")
    parser.add_argument("--connections", type=int, default=500, help="at a time (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="processes that serve (default: %(default)s)")
    parser.add_argument(
        "--spool-kind", choices=["LocalDisk", "RocksDB"], default="LocalDisk", help="(default: %(default)s)"
    )
    report.add_options(parser)
    options = parser.parse_args()
    if options.write and (options.workers > 1 or options.spool_kind != "LocalDisk"):
        parser.error("the README tells of one process with LocalDisk")
    if options.spool_kind == "RocksDB" and importlib.util.find_spec("rocksdict") is None:
        parser.error("rocksdict is not installed; it comes with kumo-mta[rocksdb]")
    return options


def main() -> int:
    """Soak, and exit with 1 if anything is wrong."""
    options = parsed()
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
