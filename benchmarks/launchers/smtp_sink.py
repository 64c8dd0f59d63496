"""Postfix's sink in C, without policy, trace fields or logs: the floor.

Run as a program that becomes ``smtp-sink``, whose path is its argument.
"""

from __future__ import annotations

import os
import sys

from benchmarks.launchers.free_port import announce, free_port


def main() -> None:
    """Announce it from a child, and become it."""
    port = free_port()
    if os.fork() == 0:
        announce(port)
        os._exit(0)
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    os.execv(sys.argv[1], [sys.argv[1], *user, f"127.0.0.1:{port}", "1024"])  # noqa: S606 - becomes it


main()
