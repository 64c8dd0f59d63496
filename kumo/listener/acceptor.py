"""Accepts connections from one listening socket and survives what ``accept`` may fail with.

The loops' own servers do not: when descriptors run out, uvloop's spins or throws waiting connections
away without a word, and asyncio's reports to the loop's exception handler. This one logs, pauses, tries
again; waiting connections stay in the kernel's backlog meanwhile. Called by ``esmtp_server``.
"""

from __future__ import annotations

import asyncio
import logging
import select
import socket
from collections.abc import Callable
from typing import Any

_logger = logging.getLogger("kumod.listener")

FIRST_PAUSE = 0.1
"""Seconds without accepting after a first failure; doubled after each further one."""

LONGEST_PAUSE = 1.0
"""Seconds that the pause grows to at most."""

A_TURN = 16
"""Connections in one turn: what several clients bring together is dealt with together, while the processor
has the code for it at hand; with one a turn, a session with one message took a tenth more."""


class Acceptor:
    """Accepts on one socket from construction until ``close``.

    ``A_TURN`` connections are taken for each turn of the loop at most, so that a flood of them leaves the
    sessions their share.

    Args:
        loop: the loop to run on.
        listening: a non-blocking listening socket, from now on the acceptor's own.
        on_connection: called with each new socket and its peer's address; owns the socket.
    """

    __slots__ = ("_listening", "_loop", "_on_connection", "_pause", "_retry", "_waiting")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listening: socket.socket,
        on_connection: Callable[[socket.socket, tuple[Any, ...]], None],
    ) -> None:
        self._loop = loop
        self._listening = listening
        # Asked, because an accept in vain raises: that took 5 % of a session with one message.
        waiting = select.poll()
        waiting.register(listening, select.POLLIN)
        self._waiting = waiting.poll
        self._on_connection = on_connection
        self._pause = FIRST_PAUSE
        self._retry: asyncio.TimerHandle | None = None
        self._resume()

    def close(self) -> None:
        """Close the listening socket; connections that wait in its backlog are refused. Idempotent."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._listening.fileno() >= 0:
            self._loop.remove_reader(self._listening)
            self._listening.close()

    def _resume(self) -> None:
        self._retry = None
        self._loop.add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        for _ in range(A_TURN):
            try:
                accepted, peer = self._listening.accept()
            except BlockingIOError:
                return
            except (InterruptedError, ConnectionAbortedError):
                continue  # that client changed its mind
            except OSError as error:
                self._rest(error)
                return
            self._pause = FIRST_PAUSE
            self._on_connection(accepted, peer)
            if not self._waiting(0):
                return

    def _rest(self, error: OSError) -> None:
        self._loop.remove_reader(self._listening)
        _logger.error("cannot accept connections for the next %.1f s: %s", self._pause, error)
        self._retry = self._loop.call_later(self._pause, self._resume)
        self._pause = min(self._pause * 2, LONGEST_PAUSE)
