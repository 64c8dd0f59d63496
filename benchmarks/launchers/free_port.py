"""A port for servers that cannot be asked which one they chose, and the line that says they listen."""

from __future__ import annotations

import socket
import sys
import time

PATIENCE = 15.0
"""Seconds that a server gets to listen."""


def free_port() -> int:
    """A port of 127.0.0.1 that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


def announce(port: int) -> None:
    """Wait until something listens at the port, and say so as ``kumod`` does.

    Raises:
        SystemExit: nothing does.
    """
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
        except OSError:
            time.sleep(0.02)
        else:
            print(f"smtp listener on 127.0.0.1:{port}", file=sys.stderr, flush=True)
            return
    raise SystemExit(f"nothing listens on port {port}")
