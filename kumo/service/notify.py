"""Tells the service manager that the daemon is ready, alive, about to end.

Without ``NOTIFY_SOCKET`` nothing is said and nothing is timed. The watchdog is fed by the event loop
itself, so that a loop that is stuck, with all its sessions, is noticed and the daemon restarted. Called
by the composition root.

Source: sd_notify(3), sd_watchdog_enabled(3).
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable

from sdnotify import SystemdNotifier

_log = logging.getLogger("kumod.service")

STATUS_INTERVAL = 10.0
"""Seconds between two looks at the status, at most; each sign of life brings it as well."""


class ServiceNotifier:
    """The daemon's side of the manager's notification socket.

    The variables are taken out of the environment: what the daemon may start is not to speak for it.
    """

    def __init__(self) -> None:
        address = os.environ.get("NOTIFY_SOCKET")
        self._notifier = _connect(address) if address else None
        self._watchdog_interval = _watchdog_interval()
        for variable in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
            os.environ.pop(variable, None)
        self._read_status: Callable[[], str] | None = None
        self._is_alive: Callable[[], bool] = lambda: True
        self._said = ""
        self._is_unheard = False
        self._timer: asyncio.TimerHandle | None = None

    def starting(self, status: str) -> None:
        """Say what the start is at; one line for whoever reads ``systemctl status``."""
        self._send(*self._status(status))

    def ready(self, read_status: Callable[[], str], is_alive: Callable[[], bool] = lambda: True) -> None:
        """Say that the daemon serves, and go on with signs of life on the running loop until ``close``.

        Args:
            read_status: one line on how it goes; asked now and every few seconds, must be quick.
            is_alive: whether a sign of life may be given, besides that this loop runs; likewise.
        """
        self._read_status = read_status
        self._is_alive = is_alive
        self._send("READY=1", *self._status(read_status()))
        if self._notifier is not None and self._timer is None:
            self._again()

    def stopping(self, status: str) -> None:
        """Say that the daemon ends; signs of life go on, the status stays as it is given here."""
        self._read_status = None
        self._send("STOPPING=1", *self._status(status))

    def close(self) -> None:
        """Say nothing any more. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        notifier, self._notifier = self._notifier, None
        if notifier is not None:
            notifier.socket.close()

    def _again(self) -> None:
        interval = min(STATUS_INTERVAL, self._watchdog_interval or STATUS_INTERVAL)
        self._timer = asyncio.get_running_loop().call_later(interval, self._tick)

    def _tick(self) -> None:
        alive = ("WATCHDOG=1",) if self._watchdog_interval is not None and self._is_alive() else ()
        status = () if self._read_status is None else self._status(self._read_status())
        self._send(*alive, *status)
        self._again()

    def _status(self, text: str) -> tuple[str, ...]:
        """The line to send; none when it was sent before."""
        line = " ".join(text.split())
        if line == self._said:
            return ()
        self._said = line
        return (f"STATUS={line}",)

    def _send(self, *lines: str) -> None:
        if self._notifier is None or not lines:
            return
        try:
            self._notifier.notify("\n".join(lines))
        except OSError as error:
            # The manager is slow, or gone; the next sign of life may reach it, and brings the status.
            self._said = ""
            if not self._is_unheard:
                _log.warning("unable to notify the service manager: %s", error)
            self._is_unheard = True
        else:
            self._is_unheard = False


def _connect(address: str) -> SystemdNotifier | None:
    try:
        notifier = SystemdNotifier(debug=True)
    except OSError as error:
        _log.warning("unable to reach the service manager at %s: %s", address, error)
        return None
    # A manager that reads slowly must not hold up the loop.
    notifier.socket.setblocking(False)
    return notifier


def _watchdog_interval() -> float | None:
    """Seconds between two signs of life: half of what the manager waits; None: it does not wait for any."""
    text = os.environ.get("WATCHDOG_USEC", "")
    pid = os.environ.get("WATCHDOG_PID", str(os.getpid()))
    if not (text.isascii() and text.isdigit() and int(text)) or pid != str(os.getpid()):
        return None
    return int(text) / 2_000_000
