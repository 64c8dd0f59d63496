"""Memory safety of the bridge, shown in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TRANSACTIONS = 7_000
"""Three handlers each."""


def test_twenty_thousand_handlers_with_tables_errors_and_waits_corrupt_nothing(tmp_path: Path) -> None:
    program = Path(__file__).with_name("stress_program.py")
    text = program.read_text(encoding="utf-8")
    script = tmp_path / "init.lua"
    script.write_text(text.split('POLICY = """')[1].split('"""')[0], encoding="utf-8")
    root = Path(__file__).parents[3]
    finished = subprocess.run(
        [sys.executable, str(program), str(script), str(TRANSACTIONS)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "PYTHONPATH": str(root), "PYTHONMALLOC": "debug"},
    )
    assert finished.returncode == 0, finished.stderr[-2000:]
    rejected = len(range(0, TRANSACTIONS, 7))
    failed = sum(1 for number in range(TRANSACTIONS) if number % 11 == 0 and number % 7)
    assert finished.stdout.split() == [str(TRANSACTIONS - rejected - failed), str(rejected), str(failed)]
