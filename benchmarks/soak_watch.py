"""What the soak sees of the daemon from outside, and what its processes tell of themselves."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Sequence
from typing import Any

from benchmarks import accounting
from benchmarks.servers import ROOT, Kind, Server
from benchmarks.soak_judgement import Sample

PATIENCE = 90.0
"""Seconds that an answer may take under load."""

_WATCHING = ROOT / "benchmarks" / "launchers" / "watching"

_KEPT = re.compile(r"/spool/(meta/(workers/\d+/)?journal/\d{8}|(meta|data)/(workers/\d+/)?\d{6}\.sst)$")


def watched(command: Sequence[str], environment: dict[str, str]) -> Kind:
    """A daemon whose processes tell of themselves."""
    path = [str(_WATCHING), *filter(None, [os.environ.get("PYTHONPATH")])]
    return Kind("kumod", [sys.executable, *command], environment | {"PYTHONPATH": os.pathsep.join(path)})


def is_kept(target: str) -> bool:
    """Whether a descriptor is open on a segment of the journal or a table of RocksDB.

    Args:
        target: as the kernel calls it; what has no name any more is kept by nobody.
    """
    return _KEPT.search(target) is not None


class Watched:
    """The daemon, as its watchers see it.

    Args:
        server: one that ``watched`` describes.
        http_port: of its metrics.
    """

    def __init__(self, server: Server, http_port: int) -> None:
        self.pid = server.process.pid
        self.folder = server.folder
        self._metrics = f"http://127.0.0.1:{http_port}/metrics"
        self._begin = time.monotonic()
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def sample(self) -> Sample:
        """Look at everything."""
        # Metrics last: their connection and its task are no part of what is looked at.
        states = self._states(signal.SIGUSR1)
        memory = accounting.memory_of_each(self.pid)
        targets = accounting.targets(self.pid)
        threads = accounting.thread_count(self.pid)
        with self._opener.open(self._metrics, timeout=PATIENCE) as answer:
            text = answer.read().decode()
        kept = sum(map(is_kept, targets))
        return Sample(
            seconds=time.monotonic() - self._begin,
            residents={pid: found.resident for pid, found in memory.items()},
            descriptors=len(targets) - kept,
            kept_files=kept,
            sockets=sum(target.startswith("socket:") for target in targets),
            threads=threads,
            sessions=_gauge(text, "connection_count", '{service="esmtp_listener"}'),
            queued=_gauge(text, "scheduled_count_total", ""),
            tasks=sum(state["tasks"] for state in states),
            objects=sum(state["objects"] for state in states),
            spool_files=sum(len(files) for _, _, files in os.walk(self.folder / "spool")),
        )

    def types(self) -> Counter[str]:
        """How many objects there are of each of kumo's types, after a garbage collection."""
        found: Counter[str] = Counter()
        for state in self._states(signal.SIGUSR2):
            found.update(state["types"])
        return found

    def _states(self, number: signal.Signals) -> list[dict[str, Any]]:
        """What each of its processes tells of itself.

        Raises:
            TimeoutError: one does not.
            ProcessLookupError: one has ended.
        """
        before = {pid: len(self._lines(pid)) for pid in accounting.tree(self.pid)}
        for pid in before:
            os.kill(pid, number)
        return [self._line_after(pid, count) for pid, count in before.items()]

    def _line_after(self, pid: int, count: int) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            lines = self._lines(pid)
            if len(lines) > count:
                state: dict[str, Any] = json.loads(lines[-1])
                return state
            time.sleep(0.02)
        raise TimeoutError(f"process {pid} of the daemon does not answer a signal")

    def _lines(self, pid: int) -> list[str]:
        path = self.folder / f"state.{pid}"
        text = path.read_text() if path.exists() else ""
        return text[: text.rfind("\n") + 1].splitlines()


def _gauge(text: str, name: str, labels: str) -> int:
    found = re.search(rf"(?m)^{re.escape(name + labels)} ([\d.e+]+)$", text)
    return int(float(found.group(1))) if found else 0
