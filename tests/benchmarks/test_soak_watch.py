"""What the soak sees of a daemon: each of its processes answers, and kept files are told from others."""

from __future__ import annotations

import os
import subprocess
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.servers import Server
from benchmarks.soak_watch import Watched, is_kept, watched

SCRIPT = """
import asyncio, subprocess, sys
class Held: pass
Held.__module__ = "kumo.room"
async def main():
    held = [Held() for _ in range(3)]
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
script = sys.argv[1]
child = subprocess.Popen([sys.executable, "-c", script, ""]) if script else None
asyncio.run(main())
if child: child.wait()
"""


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Watched]:
    kind = watched(["-c", SCRIPT, SCRIPT], {"KUMO_VAR": str(tmp_path)})
    with subprocess.Popen(
        kind.command,
        env=os.environ | kind.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["ready\n", "ready\n"]
        yield Watched(Server("pair", process, 0, tmp_path, deque()), 0)
        process.communicate()


def test_every_process_of_a_daemon_tells_what_it_holds(processes: Watched) -> None:
    assert processes.types()["kumo.room.Held"] == 6
    assert processes.types()["kumo.room.Held"] == 6


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/x/spool/meta/journal/00000007", True),
        ("/x/spool/meta/workers/2/journal/00000007", True),
        ("/x/spool/meta/journal/00000007 (deleted)", False),
        ("/x/spool/meta/journal", False),
        ("/x/spool/data/journal/00000007", False),
        ("/x/spool/data/000013.sst", True),
        ("/x/spool/meta/workers/12/000013.sst", True),
        ("/x/spool/meta/000013.sst (deleted)", False),
        ("/x/spool/meta/000013.log", False),
        ("/x/maildir/a/new/000013.sst", False),
    ],
)
def test_only_segments_and_tables_that_have_a_name_are_kept(target: str, expected: bool) -> None:
    assert is_kept(target) is expected
