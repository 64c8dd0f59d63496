"""The listening sockets of all workers: one for each worker and address, kept by the parent.

The kernel deals new connections out among the sockets of an address (``SO_REUSEPORT``). One socket that
all accept from would serve a connection sooner when a worker hangs, but one worker may take nearly all:
whoever is woken first is idle again for the next. Measured with two workers, share of the busier one,
median of 20 runs: four long connections 1.00 from one socket, 0.54 from two; twenty long ones 0.68 and 0.53;
short ones 0.53 and 0.52.

Where the kernel is told a processor for each socket (``SO_INCOMING_CPU``), it deals a connection to the
worker of the processor on which it arrived; the scheduler mostly keeps it there, and then no command wakes
another processor. ``dealing`` says when it is told.

Sockets outlive their worker: what waits in the backlog is served by the next one of its number, and a port
below 1024 is bound once, by who may.
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Any

_BACKLOG = 1024

_NO_PROCESSOR = -1
"""What a socket has as SO_INCOMING_CPU that was told none."""


class Ports:
    """Sockets by worker.

    Args:
        count: of workers.
        by_processor: whether to ``deal`` by processor from the start.

    Source: socket(7), SO_INCOMING_CPU; among sockets of one address since Linux 6.2, ignored before.
    """

    def __init__(self, count: int, *, by_processor: bool = False) -> None:
        self._numbers = range(1, count + 1)
        ours = sorted(os.sched_getaffinity(0))
        self.processors = [ours[(number - 1) % len(ours)] for number in self._numbers]
        """That of each worker, from the first on."""
        self._is_by_processor = by_processor
        self._addresses: list[_Address] = []

    def add(self, first: socket.socket, *, is_ours: bool) -> None:
        """Take a listening socket, and make those of the other workers beside it.

        Args:
            first: bound without ``SO_REUSEPORT``, so that it was refused where another daemon listens;
                from now on owned here.
            is_ours: whether this process has bound it. One that the service manager bound is used by all
                workers: it stays when the daemon ends, and what waits in it.

        Raises:
            OSError: the others cannot be made.
        """
        address = _Address(first, self.processors, by_processor=self._is_by_processor)
        self._addresses.append(address)
        if is_ours:
            first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            address.take(1, first)
            for number in self._numbers[1:]:
                address.take(number, address.another())
        else:
            address.common = first

    def of(self, number: int) -> tuple[int, ...]:
        """Descriptors of a worker's sockets, in the order in which addresses were added.

        Raises:
            OSError: some had been closed and cannot be made again.
        """
        return tuple(address.of(number).fileno() for address in self._addresses)

    @property
    def has_several(self) -> bool:
        """Whether any address has a socket for each worker, among which the kernel deals."""
        return any(address.common is None for address in self._addresses)

    def deal(self, *, by_processor: bool) -> None:
        """Say how connections are dealt from now on.

        Args:
            by_processor: to the worker of the processor on which they arrive, as far as there is one; where
                several share one, and otherwise, by chance.
        """
        self._is_by_processor = by_processor
        for address in self._addresses:
            address.deal(by_processor=by_processor)

    def give_way(self, number: int) -> None:
        """Close a worker's sockets until it is started again: its part of the connections goes to the others.

        Those that wait in its backlog are reset, and come again: at 2500 a second, three for a drain.
        """
        for address in self._addresses:
            if (own := address.by_worker.pop(number, None)) is not None:
                own.close()

    def close(self) -> None:
        """Close all sockets; workers have theirs until they close them. Idempotent."""
        for address in self._addresses:
            for listening in (address.common, *address.by_worker.values()):
                if listening is not None:
                    listening.close()
        self._addresses.clear()


class _Address:
    """The sockets of one address."""

    def __init__(self, first: socket.socket, processors: list[int], *, by_processor: bool) -> None:
        self._family = first.family
        self._processors = processors
        self._is_by_processor = by_processor
        self._name: tuple[Any, ...] = first.getsockname()
        self.common: socket.socket | None = None
        self.by_worker: dict[int, socket.socket] = {}

    def of(self, number: int) -> socket.socket:
        if self.common is not None:
            return self.common
        if number not in self.by_worker:
            self.take(number, self.another())
        return self.by_worker[number]

    def take(self, number: int, listening: socket.socket) -> None:
        self.by_worker[number] = listening
        if self._is_by_processor:
            self._tell(number, listening)

    def deal(self, *, by_processor: bool) -> None:
        self._is_by_processor = by_processor
        for number, listening in self.by_worker.items():
            self._tell(number, listening)

    def _tell(self, number: int, listening: socket.socket) -> None:
        processor = self._processors[number - 1] if self._is_by_processor else _NO_PROCESSOR
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_INCOMING_CPU, processor)

    def another(self) -> socket.socket:
        # proto: asyncio switches Nagle's algorithm off only where it reads that one.
        with contextlib.ExitStack() as undo:
            made = undo.enter_context(socket.socket(self._family, socket.SOCK_STREAM, socket.IPPROTO_TCP))
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if self._family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            made.setblocking(False)
            made.bind(self._name)
            made.listen(_BACKLOG)
            undo.pop_all()
        return made
