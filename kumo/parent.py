"""The same daemon as several processes: the parent reads the policy, binds, starts workers and keeps them.

Part of the composition root. The parent serves HTTP and no mail; each worker is a whole ``kumo.server``
with a shard of the spool.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from typing import Any

from kumo.config import KeySource
from kumo.errors import TransportError
from kumo.http import HttpServer
from kumo.keys import KeySources
from kumo.listener import bind
from kumo.message import CLOCK_SEQUENCE_BITS
from kumo.metrics import Metrics
from kumo.monitoring import watch_own_memory
from kumo.policy import Declarations, PolicyEngine
from kumo.server import read_policy, signals_call
from kumo.service import InheritedSockets, ServiceNotifier
from kumo.spool import ShardsLock, refuse_beside_single
from kumo.workers import Assignment, Dealing, Ports, Share, Supervisor, WorkerProcess, start_worker

_log = logging.getLogger("kumod")


class Parent:
    """A daemon of several processes, from its policy to its clean end.

    Args:
        policy: path of the Lua policy.
        count: of workers, at least 2.
        by_processor: whether connections are dealt to the worker of the processor on which they arrive; None:
            where it suits them.
        inherited: listening sockets that the service manager opened.
        notifier: tells the service manager how it goes.
        diag_format: form of the workers' diagnostics.
        diag_log_dir: folder for them; None: standard error.
    """

    def __init__(
        self,
        policy: str,
        count: int,
        *,
        by_processor: bool | None = None,
        inherited: InheritedSockets,
        notifier: ServiceNotifier,
        diag_format: str,
        diag_log_dir: str | None,
    ) -> None:
        self._policy = policy
        self._count = count
        self._inherited = inherited
        self._notifier = notifier
        self._diag_format = diag_format
        self._diag_log_dir = diag_log_dir
        self._metrics = Metrics()
        self._ports = Ports(count, by_processor=bool(by_processor))
        self._supervisor = Supervisor(
            count,
            self._start_worker,
            self._metrics,
            on_absence=self._ports.give_way,
            # Workers close theirs; as long as one is open, the kernel goes on taking connections.
            on_stop=self._ports.close,
        )
        self._dealing = Dealing(self._ports, self._arrivals) if by_processor is None else None
        self._is_stopping = False
        self._clock_sequence = secrets.randbits(CLOCK_SEQUENCE_BITS)
        self._clock_sequences: dict[int, int] = {}
        self._listens: tuple[str, ...] = ()
        self._locks: tuple[int, ...] = ()

    async def run(self) -> int:
        """Serve until a signal asks for the end.

        Returns:
            0 when all workers ended cleanly, else 1.

        Raises:
            KumoError: policy, spool or a port cannot be used, or the workers cannot be kept running.
        """
        with contextlib.closing(self._notifier):
            self._notifier.starting(f"reading {self._policy}")
            declarations = await _read(self._policy)
            with signals_call(self._on_signal):
                async with AsyncExitStack() as stack:
                    is_clean = await self._serve(declarations, stack)
        _log.info("stopped")
        return 0 if is_clean else 1

    async def _serve(self, declarations: Declarations, stack: AsyncExitStack) -> bool:
        self._notifier.starting("opening the spool")
        self._lock_spool(declarations, stack)
        watch_own_memory(self._metrics)
        for config in declarations.http_listeners:
            http = HttpServer(
                config, self._supervisor.liveness, self._supervisor, claim=self._inherited.claim
            )
            await http.start()
            stack.push_async_callback(http.stop)
        await self._bind(declarations, stack)
        self._inherited.close()
        supervising = asyncio.create_task(self._supervisor.run())
        ready = asyncio.create_task(self._supervisor.all_ready.wait())
        if self._dealing is not None:
            dealing = asyncio.create_task(self._dealing.run())
            stack.callback(dealing.cancel)
        try:
            await asyncio.wait({supervising, ready}, return_when=asyncio.FIRST_COMPLETED)
            if ready.done():
                _log.info("initialization complete")
                self._notifier.ready(self._status, lambda: self._supervisor.is_alive)
            return await supervising
        finally:
            ready.cancel()

    def _lock_spool(self, declarations: Declarations, stack: AsyncExitStack) -> None:
        by_name = {spool.name: spool for spool in declarations.spools}
        lock = ShardsLock.take(by_name["data"], by_name["meta"])
        stack.callback(lock.close)
        self._locks = lock.descriptors
        refuse_beside_single(by_name["data"], by_name["meta"])

    async def _bind(self, declarations: Declarations, stack: AsyncExitStack) -> None:
        stack.callback(self._ports.close)
        claimed: list[object] = []

        def claim(family: int, address: tuple[Any, ...]) -> Any:
            found = self._inherited.claim(family, address)
            claimed.append(found)
            return found

        for config in declarations.listeners:
            listening = await bind(config.listen, claim)
            try:
                self._ports.add(listening, is_ours=listening not in claimed)
            except OSError as error:
                raise TransportError.while_binding(config.listen, error) from error
        self._listens = tuple(config.listen for config in declarations.listeners)

    async def _start_worker(self, number: int) -> WorkerProcess:
        assignment = Assignment(
            share=Share(number, self._count, self._next_clock_sequence(number)),
            policy=self._policy,
            listens=self._listens,
            sockets=self._ports.of(number),
            locks=self._locks,
            diag_format=self._diag_format,
            diag_log_dir=self._diag_log_dir,
        )
        return await start_worker(assignment)

    def _next_clock_sequence(self, number: int) -> int:
        """One that no living worker has, nor the last one of this number: its clock may have been ahead."""
        taken = set(self._clock_sequences.values())
        while self._clock_sequence in taken:
            self._clock_sequence = (self._clock_sequence + 1) % (1 << CLOCK_SEQUENCE_BITS)
        self._clock_sequences[number] = self._clock_sequence
        return self._clock_sequence

    def _arrivals(self) -> dict[str, dict[int, float]]:
        totals: dict[str, dict[int, float]] = {}
        for arrival, number in self._supervisor.counted(self._metrics.connections_by_processor.name).items():
            address, _, processor = arrival.rpartition("/")
            totals.setdefault(address, {})[int(processor)] = number
        return totals

    def _status(self) -> str:
        return f"serving, {self._supervisor.session_count} sessions"

    def _on_signal(self) -> None:
        """The first signal asks for a graceful end; a second one for an end without further patience."""
        if self._is_stopping:
            self._supervisor.hurry()
            return
        self._is_stopping = True
        _log.info("shutting down")
        self._notifier.stopping("shutting down")
        self._supervisor.stop()


async def _read(policy: str) -> Declarations:
    """Read the policy as each worker will, so that a mistake in it costs an exit code and nothing else."""

    def load_key(source: KeySource) -> Awaitable[bytes]:
        return keys.load(source)

    engine = PolicyEngine(load_key=load_key)
    keys = KeySources(engine.call)
    try:
        return await read_policy(engine, policy)
    finally:
        await keys.close()
