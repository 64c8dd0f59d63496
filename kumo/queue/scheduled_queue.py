"""One scheduled queue: its messages in the order in which they are to be tried.

It holds and orders; it delivers nothing, sets no timer and asks nobody. ``scheduled_queues`` calls it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from heapq import heapify, heappop, heappush

from kumo.config import MaildirProtocol, QueueConfig, RefreshStrategy
from kumo.message import DEFERRED_INJECTION_QUEUE, Message

_SHORTEST_INTERVAL = 1.0
"""Seconds; with less, a queue that holds its messages would ask policy without a pause."""


class QueuedMessage:
    """A message in a queue.

    Args:
        message: the message.
        order: number that is higher for each one made later.
        birth: monotonic time at which the message was made; negative where the host is younger.
    """

    __slots__ = ("birth", "due", "is_recovered", "message", "octets", "order", "unsaved")

    def __init__(self, message: Message, order: int, birth: float) -> None:
        self.message = message
        self.order = order
        self.birth = birth
        self.due = 0.0
        """Monotonic time of the next attempt; in the past: at once."""
        self.octets = 0
        """What its content counts for while it waits."""
        self.unsaved = 0
        """What of that only the memory has."""
        self.is_recovered = False
        """Whether it was found in the spool: then it may have grown too old for any attempt."""


_Ordered = tuple[float, int, QueuedMessage]


class ScheduledQueue:
    """The messages of one queue name.

    While there is something to do with them, messages are ``ready`` in order of arrival or ``delayed`` by
    due time; otherwise they are ``held`` by age until they expire or a new configuration frees them. The
    deferred queue has no protocol and yet never holds: its messages are shown to policy.

    Args:
        name: the queue's name.
        config: what policy said.
        now: monotonic time at which it said so.
    """

    __slots__ = (
        "_delayed",
        "_held",
        "_ready",
        "asked_at",
        "config",
        "in_flight",
        "is_active",
        "is_announced",
        "is_deferred",
        "is_held",
        "is_outdated",
        "name",
        "retry_asking_at",
        "used_at",
        "wake_at",
    )

    def __init__(self, name: str, config: QueueConfig, now: float) -> None:
        self.name = name
        self.config = config
        self.is_deferred = name == DEFERRED_INJECTION_QUEUE
        """Whether its messages have yet to be shown to policy."""
        self.is_held = self._holds(config)
        """Whether nothing can be done with its messages but keep them."""
        self.asked_at = now
        self.used_at = now
        """When a message was last put in or taken out; idle queues are forgotten by it."""
        self.in_flight = 0
        """Messages taken out for an attempt that is not over; they still belong to the queue."""
        self.is_active = False
        """Whether the queue stands in line for a delivery slot."""
        self.is_announced = False
        """Whether the log says that its messages are only kept."""
        self.is_outdated = False
        """Whether the policy has changed since it was asked."""
        self.retry_asking_at = math.inf
        """Monotonic time at which policy is asked again after it failed, whatever the strategy."""
        self.wake_at: float | None = None
        """Monotonic time at which somebody will look at it next."""
        self._ready: deque[QueuedMessage] = deque()
        self._delayed: list[_Ordered] = []
        self._held: list[_Ordered] = []

    def __len__(self) -> int:
        return len(self._ready) + len(self._delayed) + len(self._held) + self.in_flight

    def __iter__(self) -> Iterator[QueuedMessage]:
        """The waiting messages, those in flight left out, in no order."""
        yield from self._ready
        yield from (item[2] for item in self._delayed)
        yield from (item[2] for item in self._held)

    @property
    def protocol(self) -> MaildirProtocol | None:
        """What to deliver with; None when this version cannot, or there is nothing to deliver yet."""
        protocol = self.config.protocol
        return protocol if isinstance(protocol, MaildirProtocol) else None

    @property
    def service(self) -> str:
        """The label under which attempts are counted."""
        return "defersmtpinject" if self.is_deferred else "maildir"

    def is_stale(self, now: float) -> bool:
        """Whether policy should be asked again."""
        return now >= self._stale_at()

    def mark_asked(self, now: float) -> None:
        """Note that policy is being asked; until it answers, the old configuration holds."""
        self.asked_at = now
        self.is_outdated = False
        self.retry_asking_at = math.inf

    def configure(self, config: QueueConfig) -> None:
        """Take a new configuration; messages are held or freed as it says."""
        was_held = self.is_held
        self.config = config
        self.is_held = self._holds(config)
        if self.is_held and not was_held:
            entries = list(self)
            self._ready.clear()
            self._delayed.clear()
            self._held = [(entry.birth, entry.order, entry) for entry in entries]
            heapify(self._held)
        elif was_held and not self.is_held:
            self._ready.extend(item[2] for item in sorted(self._held))
            self._held.clear()

    def put(self, entry: QueuedMessage, now: float) -> None:
        """Add a message, or bring one back after an attempt."""
        self.used_at = now
        if self.is_held:
            heappush(self._held, (entry.birth, entry.order, entry))
        elif entry.due <= now:
            self._ready.append(entry)
        else:
            heappush(self._delayed, (entry.due, entry.order, entry))

    def take(self, now: float) -> QueuedMessage | None:
        """Take out the next message whose time has come; it counts as in flight.

        In a queue that holds its messages those are the expired ones.
        """
        entry: QueuedMessage | None = None
        if self._delayed and self._delayed[0][0] <= now:
            entry = heappop(self._delayed)[2]
        elif self._ready:
            entry = self._ready.popleft()
        elif self._held and self._held[0][0] + self.config.max_age <= now:
            entry = heappop(self._held)[2]
        if entry is not None:
            self.in_flight += 1
            self.used_at = now
        return entry

    def has_work(self, now: float) -> bool:
        """Whether ``take`` would give a message."""
        if self._ready or (self._delayed and self._delayed[0][0] <= now):
            return True
        return bool(self._held) and self._held[0][0] + self.config.max_age <= now

    def next_wake(self) -> float | None:
        """Monotonic time at which something is to be done about the queue, apart from ready messages."""
        if self._delayed:
            return self._delayed[0][0]
        if self._held:
            # Nobody else asks again for a queue that no mail comes to any more.
            return min(self._held[0][0] + self.config.max_age, self._stale_at())
        return None if len(self) else self._idle_at()

    def is_idle(self, now: float) -> bool:
        """Whether an empty queue may be forgotten."""
        return now >= self._idle_at()

    def _holds(self, config: QueueConfig) -> bool:
        return not self.is_deferred and not isinstance(config.protocol, MaildirProtocol)

    def _idle_at(self) -> float:
        # Never at once: a queue is resolved before there is a message to put in.
        return self.used_at + max(self.config.reap_interval, _SHORTEST_INTERVAL)

    def _stale_at(self) -> float:
        if self.is_outdated:
            return -math.inf
        if self.config.refresh_strategy is RefreshStrategy.EPOCH:
            return self.retry_asking_at
        return self.asked_at + max(self.config.refresh_interval, _SHORTEST_INTERVAL)
