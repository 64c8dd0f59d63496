"""Haraka with its plugin that discards, without look-ups, one process: bare, or with what bench.lua does.

Run as a program that becomes Haraka, of which the folder that npm installed it into is its argument. It is
configured in the folder KUMO_VAR. With BENCH_EVENTS=1 a plugin does in four hooks what ``bench.lua`` does in
four events, and a file gets the log that Haraka's own configuration asks for; without, nothing below an error
is logged.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from benchmarks.launchers.free_port import announce, free_port

# Who may send to whom is asked of plugins: this one lets everybody, and keeps Haraka from asking the DNS.
ACCEPT_ALL = """
exports.hook_lookup_rdns = (next) => next(OK, 'localhost');
exports.hook_rcpt = (next) => next(OK);
"""

EVENTS = """
exports.hook_lookup_rdns = (next) => next(OK, 'localhost');
exports.hook_ehlo = (next, connection, domain) => { connection.notes.ehlo = domain; next(); };
exports.hook_mail = (next, connection, [sender]) =>
  sender.host === 'blocked.example' ? next(DENY, 'not from there') : next();
exports.hook_rcpt = (next, connection, [recipient]) =>
  recipient.user === 'nobody' ? next(DENY, 'nobody lives here') : next(OK);
exports.hook_data_post = (next, connection) => { connection.transaction.notes.tenant = 'bench'; next(); };
"""


def configure(package: Path, folder: Path, port: int, *, has_events: bool) -> None:
    """Write the configuration into an empty folder: Haraka's own, but for what is said here."""
    config, plugins = folder / "config", folder / "plugins"
    shutil.copytree(package / "config", config)
    plugins.mkdir()
    (config / "smtp.ini").write_text(f"listen=127.0.0.1:{port}\nnodes=0\n")
    (config / "plugins").write_text("accept_all\nqueue/discard\n")
    (config / "me").write_text("localhost\n")
    (config / "databytes").write_text("20971520\n")
    (plugins / "accept_all.js").write_text(EVENTS if has_events else ACCEPT_ALL)
    if not has_events:
        (config / "log.ini").write_text("[main]\nlevel=error\n")


def main() -> None:
    """Announce it from a child, and become it."""
    package = Path(sys.argv[1], "node_modules", "Haraka")
    folder, port = Path(os.environ["KUMO_VAR"]), free_port()
    has_events = os.environ.get("BENCH_EVENTS") == "1"
    configure(package, folder, port, has_events=has_events)
    node = shutil.which("node")
    if node is None:
        raise SystemExit("node is not installed (Debian package nodejs)")
    # The plugin asks for this before it throws mail away.
    os.environ["YES_REALLY_DO_DISCARD"] = "1"
    if os.fork() == 0:
        announce(port)
        os._exit(0)
    if has_events:
        log = os.open(folder / "haraka.log", os.O_WRONLY | os.O_CREAT)
        os.dup2(log, sys.stdout.fileno())
    os.execv(node, [node, str(package / "bin" / "haraka"), "-c", str(folder)])  # noqa: S606 - becomes it


main()
