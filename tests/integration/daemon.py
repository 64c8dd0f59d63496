"""A real kumod in a process of its own: started with a policy, spoken to over loopback, killed for real."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import smtplib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

STARTED = "initialization complete"
PATIENCE = 30.0
"""Seconds after which a daemon that says nothing has failed; a bound, not an expectation."""

POLICY_HEAD = """
local kumo = require 'kumo'
local var = '{var}'
local function spools(flush, kind)
  for _, name in ipairs {{ 'data', 'meta' }} do
    kumo.define_spool {{
      name = name, path = var .. '/spool/' .. name, flush = flush, kind = kind or 'LocalDisk',
      min_free_space = '0%', min_free_inodes = '0%',
    }}
  end
end
local function logs()
  kumo.configure_local_logs {{ log_dir = var .. '/log', min_free_space = '0%', min_free_inodes = '0%' }}
end
local function maildir()
  kumo.on('get_queue_config', function()
    return kumo.make_queue_config {{
      protocol = {{ maildir_path = var .. '/maildir/{{{{ domain_part }}}}/{{{{ local_part }}}}' }},
    }}
  end)
end
"""


class Kumod:
    """One daemon; ``with`` starts and ends it.

    Args:
        folder: for policy, spool, logs and maildirs.
        policy: Lua after ``POLICY_HEAD``: that defines ``spools(flush, kind)``, ``logs()``, ``maildir()``.
        environment: added to this process's own.
        prefix: a command that becomes the daemon, under some restraint, as prlimit does.
        arguments: of kumod, behind ``--policy``.
        descriptors: files that it inherits, under their numbers.
    """

    def __init__(
        self,
        folder: Path,
        policy: str,
        *,
        environment: dict[str, str] | None = None,
        prefix: Sequence[str] = (),
        arguments: Sequence[str] = (),
        descriptors: Sequence[int] = (),
    ) -> None:
        self.folder = folder
        self.started = STARTED
        """What it logs when it serves."""
        self.prefix = prefix
        self.arguments = arguments
        self.descriptors = descriptors
        self.script = folder / "init.lua"
        self.script.write_text(POLICY_HEAD.format(var=folder) + policy)
        self.environment = os.environ | {"PYTHONUNBUFFERED": "1"} | (environment or {})
        self.errors = folder / "stderr"
        self.lines: list[str] = []
        self._read_octets = 0
        self.ports: list[int] = []
        self.http_port = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it and wait until it serves."""
        self.ports.clear()
        # A file and no pipe: a pipe that nobody reads would stop the daemon once it is full.
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                [*self.prefix, sys.executable, "-m", "kumo", "--policy", str(self.script), *self.arguments],
                cwd=self.folder,
                env=self.environment,
                stderr=errors,
                pass_fds=self.descriptors,
            )
        try:
            self.wait_for_line(self.started)
        except BaseException:
            self.kill()
            raise

    def wait_for_line(self, text: str) -> str:
        """The next line of standard error that contains ``text``; fails when the daemon ends first."""
        deadline = time.monotonic() + PATIENCE
        while True:
            has_ended = self.process.poll() is not None or time.monotonic() > deadline
            for line in self._new_lines():
                if text in line:
                    return line
            if has_ended:
                output = "".join(self.lines)
                raise AssertionError(f"kumod ended or fell silent before {text!r}:\n{output}")
            time.sleep(0.005)

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        """Look again and again until it is so; what follows fails if it never is."""
        deadline = time.monotonic() + PATIENCE
        while not is_so() and time.monotonic() < deadline and self.process.poll() is None:
            time.sleep(0.01)

    def open_sockets(self) -> int:
        """How many it has; its logs and the spool open and close files whenever they like."""
        count = 0
        for descriptor in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                count += str(descriptor.readlink()).startswith("socket:")
        return count

    @property
    def port(self) -> int:
        return self.ports[0]

    def client(self, port: int | None = None) -> smtplib.SMTP:
        return smtplib.SMTP(
            "127.0.0.1", port or self.port, local_hostname="client.example.com", timeout=PATIENCE
        )

    def stop(self, sig: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end; its exit status."""
        self.process.send_signal(sig)
        status = self.process.wait(timeout=PATIENCE)
        for _ in self._new_lines():
            pass
        return status

    def kill(self) -> None:
        """kill -9; nothing is asked of it any more."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=PATIENCE)

    def _new_lines(self) -> Iterator[str]:
        """Whole lines of standard error that were not seen yet."""
        with self.errors.open("rb") as errors:
            errors.seek(self._read_octets)
            for octets in errors:
                if not octets.endswith(b"\n"):
                    return
                self._read_octets += len(octets)
                line = octets.decode(errors="replace")
                self.lines.append(line)
                if match := re.search(r"(smtp|http) listener on \S+:(\d+)", line):
                    if match.group(1) == "smtp":
                        self.ports.append(int(match.group(2)))
                    else:
                        self.http_port = int(match.group(2))
                yield line

    def has_logged(self, text: str) -> bool:
        """Whether standard error has it by now."""
        return text in self.errors.read_text(errors="replace")

    def records(self, log: str = "log") -> list[dict[str, Any]]:
        """All records of the log in a folder, read back by the real zstd."""
        found = []
        zstd = shutil.which("zstd")
        assert zstd is not None
        for segment in sorted((self.folder / log).iterdir()):
            # An unfinished last frame makes zstd complain after it has written what is there.
            done = subprocess.run([zstd, "-dcf", str(segment)], capture_output=True, check=False)
            found += [json.loads(line) for line in done.stdout.splitlines()]
        return found

    def delivered(self) -> Iterator[Path]:
        """The files in every maildir's ``new``."""
        return (self.folder / "maildir").glob("*/*/new/*")


def run_kumod(
    *arguments: str, cwd: Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """kumod to its end, for what does not serve."""
    return subprocess.run(
        [sys.executable, "-m", "kumo", *arguments],
        cwd=cwd,
        env=os.environ | (environment or {}),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
