"""The scheduled queues by name, and what policy said of each.

A name comes from the client's recipient, so everything kept by name is bounded or forgotten in time.
``scheduled_queues`` calls it; it holds no messages itself and sets no timers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, NamedTuple

from kumo.config import QueueConfig, RefreshStrategy
from kumo.errors import KumoError, PolicyError
from kumo.maybe_awaitable import MaybeAwaitable, is_awaitable
from kumo.message import DEFERRED_INJECTION_QUEUE, QueueName
from kumo.queue.interfaces import Clock, QueuePolicy
from kumo.queue.scheduled_queue import ScheduledQueue

_logger = logging.getLogger("kumod.queue")

FAILURE_TTL = 60.0
"""Seconds for which a failing ``get_queue_config`` is not called again for the same name."""

_FAILURE_LIMIT = 10_000

_DEFERRED_CONFIG = QueueConfig(retry_interval=60.0, refresh_strategy=RefreshStrategy.EPOCH)
"""KumoMTA's for the deferred queue, which policy has no say in; the rest is as everywhere."""

_OUTDATED_AT_ONCE = 500
"""Queues marked, after the policy has changed, before other work has its turn."""


class _Failure(NamedTuple):
    until: float
    error: KumoError


class QueueDirectory:
    """All scheduled queues.

    Args:
        policy: asked for the configuration of each.
        clock: time.
        on_change: called for each queue that is new, has got a new configuration or needs one.
    """

    __slots__ = (
        "_clock",
        "_failures",
        "_flights",
        "_generation",
        "_marking",
        "_on_change",
        "_policy",
        "_queues",
    )

    def __init__(
        self, policy: QueuePolicy, clock: Clock, on_change: Callable[[ScheduledQueue], None]
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._on_change = on_change
        self._queues: dict[str, ScheduledQueue] = {}
        self._failures: dict[str, _Failure] = {}
        self._flights: dict[str, asyncio.Task[KumoError | None]] = {}
        self._generation = 0
        """How often the policy has changed: an answer may come from the one before."""
        self._marking: asyncio.Task[None] | None = None

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
        return None if flight is None else self._join(flight)

    def policy_changed(self) -> None:
        """Ask for every queue's configuration again when it is next needed, and forget what failed."""
        self._generation += 1
        self._failures.clear()
        if self._marking is not None:
            self._marking.cancel()
        self._marking = asyncio.get_running_loop().create_task(self._mark_outdated(list(self)))

    async def close(self) -> None:
        """Give up the questions that policy has not answered yet."""
        tasks: list[asyncio.Task[Any]] = list(self._flights.values())
        if self._marking is not None:
            tasks.append(self._marking)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _mark_outdated(self, queues: Sequence[ScheduledQueue]) -> None:
        for start in range(0, len(queues), _OUTDATED_AT_ONCE):
            for queue in queues[start : start + _OUTDATED_AT_ONCE]:
                if self._queues.get(queue.name) is queue:
                    self._outdate(queue)
            await asyncio.sleep(0)

    def _outdate(self, queue: ScheduledQueue) -> None:
        queue.is_outdated = True
        self._on_change(queue)

    def _ask(self, name: str) -> asyncio.Task[KumoError | None] | None:
        """Call policy; a task where it does not answer at once."""
        if name == DEFERRED_INJECTION_QUEUE:
            self._settle(name, _DEFERRED_CONFIG)
            return None
        parts = QueueName.parse(name)
        try:
            answer = self._policy.get_queue_config(
                parts.domain, parts.tenant, parts.campaign, parts.routing_domain
            )
        except KumoError as error:
            self._fail(name, error, self._generation)
            raise
        if not is_awaitable(answer):
            self._settle(name, answer)
            return None
        flight = asyncio.get_running_loop().create_task(self._fly(name, answer, self._generation))
        self._flights[name] = flight
        return flight

    async def _fly(self, name: str, answer: Awaitable[QueueConfig], generation: int) -> KumoError | None:
        """Wait for policy's answer.

        Args:
            name: of the queue.
            answer: not there yet.
            generation: of the policy that was asked.

        Returns:
            Why there is none. It is not only noted under the name, from where a changed policy takes it.
        """
        try:
            self._settle(name, await answer)
        except KumoError as error:
            self._fail(name, error, generation)
            return error
        except Exception as error:
            _logger.exception("get_queue_config failed for queue %s", name)
            failure = PolicyError(f"get_queue_config failed for queue {name}: {error}")
            self._fail(name, failure, generation)
            return failure
        finally:
            del self._flights[name]
            queue = self._queues.get(name)
            if queue is not None and generation != self._generation:
                self._outdate(queue)
        return None

    async def _join(self, flight: asyncio.Task[KumoError | None]) -> None:
        # Shielded: others wait for the same answer, and a deadline of one of them must not take it away.
        failure = await asyncio.shield(flight)
        if failure is not None:
            raise failure.with_traceback(None)

    def _settle(self, name: str, config: QueueConfig) -> None:
        queue = self._queues.get(name)
        if queue is None:
            queue = self._queues[name] = ScheduledQueue(name, config, self._clock.monotonic())
        else:
            queue.configure(config)
        self._on_change(queue)

    def _fail(self, name: str, error: KumoError, generation: int) -> None:
        until = self._clock.monotonic() + FAILURE_TTL
        queue = self._queues.get(name)
        if queue is not None:
            _logger.error("queue %s keeps its configuration: %s", name, error)
            queue.retry_asking_at = until
            return
        if generation != self._generation:
            return
        if len(self._failures) >= _FAILURE_LIMIT:
            del self._failures[next(iter(self._failures))]
        self._failures[name] = _Failure(until, error)
