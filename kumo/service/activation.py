"""Sockets that the service manager opened for the daemon, which then needs no right to bind them.

They are found by ``LISTEN_FDS``; each waits for the listener that is told to listen on its address. So
the policy says what is served, as ever, and the manager only who may bind. Taken by the command line
before anything else opens a file, given to listeners by the composition root.

Source: sd_listen_fds(3).
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Iterable
from typing import Any

_log = logging.getLogger("kumod.service")

_Key = tuple[int, str, int, int]
"""Family, host, port and scope."""

FIRST_DESCRIPTOR = 3
"""Where the manager begins to count, behind standard input, output and error."""

_MOST_SOCKETS = 1024


class InheritedSockets:
    """Listening sockets by address, until they are claimed.

    Args:
        sockets: each with the name that the manager gave it; from now on owned here.
    """

    def __init__(self, sockets: Iterable[tuple[str, socket.socket]] = ()) -> None:
        self._waiting: dict[_Key, tuple[str, socket.socket]] = {}
        for name, inherited in sockets:
            if not _is_usable(inherited):
                _log.warning("inherited socket %s is closed: it is no listening TCP socket", name)
                inherited.close()
                continue
            key = _key(inherited.family, inherited.getsockname())
            if key in self._waiting:
                _log.warning(
                    "inherited socket %s is closed: %s was inherited twice", name, _printed(inherited)
                )
                inherited.close()
                continue
            inherited.setblocking(False)
            self._waiting[key] = (name, inherited)

    @classmethod
    def take(cls, first: int = FIRST_DESCRIPTOR) -> InheritedSockets:
        """Take what the manager handed over to this process; nothing where it did not.

        The variables are taken out of the environment, and the descriptors from what children inherit.

        Args:
            first: number of the first descriptor.
        """
        pid = os.environ.pop("LISTEN_PID", "")
        count = os.environ.pop("LISTEN_FDS", "")
        names = os.environ.pop("LISTEN_FDNAMES", "").split(":")
        if pid != str(os.getpid()) or not (count.isascii() and count.isdigit()):
            return cls()
        sockets = []
        for offset in range(min(int(count), _MOST_SOCKETS)):
            name = names[offset] if offset < len(names) and names[offset] else "unknown"
            try:
                os.set_inheritable(first + offset, False)
                sockets.append((name, socket.socket(fileno=first + offset)))
            except OSError as error:
                _log.warning("inherited socket %s, descriptor %d, is none: %s", name, first + offset, error)
                with contextlib.suppress(OSError):
                    os.close(first + offset)
        return cls(sockets)

    def claim(self, family: int, address: tuple[Any, ...]) -> socket.socket | None:
        """The socket bound to exactly this address, once; None where there is none.

        Args:
            family: ``AF_INET`` or ``AF_INET6``.
            address: as ``getaddrinfo`` gives it.

        Returns:
            A listening, non-blocking TCP socket; the caller closes it.
        """
        name, claimed = self._waiting.pop(_key(family, address), ("", None))
        if claimed is not None:
            _log.info("inherited socket %s is used for %s", name, _printed(claimed))
        return claimed

    def close(self) -> None:
        """Close what nobody claimed, with a warning for each. Idempotent."""
        while self._waiting:
            _, (name, unclaimed) = self._waiting.popitem()
            _log.warning(
                "inherited socket %s on %s is closed: no listener of the policy listens there",
                name,
                _printed(unclaimed),
            )
            unclaimed.close()


def _is_usable(inherited: socket.socket) -> bool:
    if inherited.family not in (socket.AF_INET, socket.AF_INET6) or inherited.proto != socket.IPPROTO_TCP:
        return False
    return bool(inherited.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def _key(family: int, address: tuple[Any, ...]) -> _Key:
    host, port = address[:2]
    # The kernel names the interface of a link-local address, the resolver does not; both number it.
    scope = address[3] if len(address) > 3 else 0  # noqa: PLR2004 - host, port, flow label, scope
    return (family, host.partition("%")[0], port, scope)


def _printed(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
