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
import platform
import re
import socket
from typing import Any

from kumo.message import print_socket_address

_BACKLOG = 1024

_NO_PROCESSOR = -1
"""What a socket has as SO_INCOMING_CPU that was told none."""


def can_deal_by_processor() -> bool:
    """Whether this kernel goes by ``SO_INCOMING_CPU`` among the sockets of an address. Source: socket(7)."""
    return tuple(map(int, re.findall(r"\d+", platform.release())[:2])) >= (6, 2)


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
    def addresses(self) -> tuple[str, ...]:
        """Those with a socket for each worker, among which the kernel deals, as ``IP:port``."""
        return tuple(address.name for address in self._addresses if address.common is None)

    def deal(self, name: str, *, by_processor: bool) -> None:
        """Say how connections to an address are dealt from now on.

        Args:
            name: one of ``addresses``.
            by_processor: to the worker of the processor on which they arrive, as far as there is one;
                otherwise by chance.

        Raises:
            OSError: the kernel refused; by chance holds again.
        """
        for address in self._addresses:
            if address.name == name:
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
        self._bound: tuple[Any, ...] = first.getsockname()
        self.name = print_socket_address(*self._bound[:2])
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
        try:
            for number, listening in self.by_worker.items():
                self._tell(number, listening)
        except OSError:
            # Told to some only, it would starve the others.
            self._is_by_processor = False
            for number, listening in self.by_worker.items():
                self._tell(number, listening)
            raise

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
            made.bind(self._bound)
            made.listen(_BACKLOG)
            undo.pop_all()
        return made
