"""The scheduled queues by name, and what policy said of each.

A name comes from the client's recipient, so everything kept by name is bounded or forgotten in time.
``scheduled_queues`` calls it; it holds no messages itself and sets no timers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import NamedTuple

from kumo.config import QueueConfig
from kumo.errors import KumoError, PolicyError
from kumo.maybe_awaitable import MaybeAwaitable, is_awaitable
from kumo.message import QueueName
from kumo.queue.interfaces import Clock, QueuePolicy
from kumo.queue.scheduled_queue import ScheduledQueue

_logger = logging.getLogger("kumod.queue")

FAILURE_TTL = 60.0
"""Seconds for which a failing ``get_queue_config`` is not called again for the same name."""

_FAILURE_LIMIT = 10_000


class _Failure(NamedTuple):
    until: float
    error: KumoError


class QueueDirectory:
    """All scheduled queues.

    Args:
        policy: asked for the configuration of each.
        clock: time.
        on_configured: called for each queue that is new or has got a new configuration.
    """

    __slots__ = ("_clock", "_failures", "_flights", "_on_configured", "_policy", "_queues")

    def __init__(
        self, policy: QueuePolicy, clock: Clock, on_configured: Callable[[ScheduledQueue], None]
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._on_configured = on_configured
        self._queues: dict[str, ScheduledQueue] = {}
        self._failures: dict[str, _Failure] = {}
        self._flights: dict[str, asyncio.Task[None]] = {}

    def __len__(self) -> int:
        return len(self._queues)

    def __iter__(self) -> Iterator[ScheduledQueue]:
        return iter(self._queues.values())

    def find(self, name: str) -> ScheduledQueue | None:
        """The queue of that name, if it is there."""
        return self._queues.get(name)

    def forget(self, queue: ScheduledQueue) -> None:
        """Drop an empty queue."""
        del self._queues[queue.name]

    def resolve(self, name: str) -> MaybeAwaitable[None]:
        """Make sure that a queue is there, and ask policy again where its answer is old.

        A queue that is there never makes its caller wait or fail: until policy has answered again, the
        old answer holds.

        Raises:
            KumoError: policy failed, now or less than ``FAILURE_TTL`` ago.
        """
        now = self._clock.monotonic()
        queue = self._queues.get(name)
        if queue is not None:
            queue.used_at = now
            if queue.is_stale(now):
                # Also while an answer is still awaited: a stale queue is looked at again at once.
                queue.mark_asked(now)
                if name not in self._flights:
                    with contextlib.suppress(KumoError):  # the old answer holds
                        self._ask(name)
            return None
        failure = self._failures.get(name)
        if failure is not None:
            if now < failure.until:
                raise failure.error.with_traceback(None)
            del self._failures[name]
        flight = self._flights.get(name)
        if flight is None:
            flight = self._ask(name)
        return None if flight is None else self._join(name, flight)

    async def close(self) -> None:
        """Give up the questions that policy has not answered yet."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    def _ask(self, name: str) -> asyncio.Task[None] | None:
        """Call policy; a task where it does not answer at once."""
        parts = QueueName.parse(name)
        try:
            answer = self._policy.get_queue_config(
                parts.domain, parts.tenant, parts.campaign, parts.routing_domain
            )
        except KumoError as error:
            self._fail(name, error)
            raise
        if not is_awaitable(answer):
            self._settle(name, answer)
            return None
        flight = asyncio.get_running_loop().create_task(self._fly(name, answer))
        self._flights[name] = flight
        return flight

    async def _fly(self, name: str, answer: Awaitable[QueueConfig]) -> None:
        try:
            self._settle(name, await answer)
        except KumoError as error:
            self._fail(name, error)
        except Exception as error:
            _logger.exception("get_queue_config failed for queue %s", name)
            self._fail(name, PolicyError(f"get_queue_config failed for queue {name}: {error}"))
        finally:
            del self._flights[name]

    async def _join(self, name: str, flight: asyncio.Task[None]) -> None:
        # Shielded: others wait for the same answer, and a deadline of one of them must not take it away.
        await asyncio.shield(flight)
        failure = self._failures.get(name)
        if failure is not None:
            raise failure.error.with_traceback(None)

    def _settle(self, name: str, config: QueueConfig) -> None:
        queue = self._queues.get(name)
        if queue is None:
            queue = self._queues[name] = ScheduledQueue(name, config, self._clock.monotonic())
        else:
            queue.configure(config)
        self._on_configured(queue)

    def _fail(self, name: str, error: KumoError) -> None:
        if name in self._queues:
            _logger.error("queue %s keeps its configuration: %s", name, error)
            return
        if len(self._failures) >= _FAILURE_LIMIT:
            del self._failures[next(iter(self._failures))]
        self._failures[name] = _Failure(self._clock.monotonic() + FAILURE_TTL, error)
