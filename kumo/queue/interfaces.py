"""What the queues ask of policy, spool, logs, egress and time; ``server.py`` hands the real ones over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Protocol

from kumo.config import MaildirProtocol, QueueConfig
from kumo.egress import Disposition
from kumo.maybe_awaitable import MaybeAwaitable
from kumo.message import Connection, Message


class QueuePolicy(Protocol):
    """Policy's say on queues and on what waits for it in one of them."""

    def get_queue_config(
        self, domain: str, tenant: str | None, campaign: str | None, routing_domain: str | None
    ) -> MaybeAwaitable[QueueConfig]:
        """``get_queue_config``; the default configuration when no handler answers.

        Raises:
            PolicyError: a handler failed or returned something else than a queue config.
            Rejection: a handler called ``kumo.reject``.
        """

    def on_message_deferred_inject(self, message: Message, connection: Connection) -> MaybeAwaitable[None]:
        """``smtp_server_message_deferred_inject``.

        Args:
            message: resident, its meta without ``queue``; what the handler changes is the message's new
                state if it succeeds.
            connection: the session, made up from the message's meta.

        Raises:
            Rejection: the handler's verdict on the message.
            PolicyError: it failed.
        """


class QueueStore(Protocol):
    """The spool as the queues need it."""

    def store(self, messages: Sequence[Message]) -> Awaitable[None]:
        """Keep messages that were accepted with ``deferred_spool``, or whose recipients changed.

        One whose content is on the spool only keeps it. ``is_stored`` is set once they are kept.

        Raises:
            SpoolError: nothing was changed.
        """

    def remove(self, messages: Sequence[Message]) -> Awaitable[None]:
        """Forget messages that are finished; a missing one is no error."""

    def load_content(self, message: Message) -> Awaitable[None]:
        """Make the message's content resident.

        Raises:
            CorruptEntry: it is not there any more.
        """


class QueueLog(Protocol):
    """Where outcomes are recorded."""

    def log_disposition(self, message: Message, disposition: Disposition, queue: str) -> Awaitable[None]:
        """Write the records of one delivery attempt; returns once they have reached the log file."""

    def log_expiration(self, message: Message, queue: str, text: str) -> Awaitable[None]:
        """Write an Expiration record (551 5.4.7); returns once it has reached the log file."""

    def log_bounce(
        self, message: Message, queue: str, code: int, text: str, *, delivery_protocol: str | None = None
    ) -> Awaitable[None]:
        """Write a Bounce record; returns once it has reached the log file."""

    def log_transient_failure(
        self, message: Message, queue: str, code: int, text: str, *, delivery_protocol: str | None = None
    ) -> Awaitable[None]:
        """Write a TransientFailure record; returns once it has reached the log file."""

    def log_deferred_injection_rebind(self, message: Message, queue: str) -> Awaitable[None]:
        """Write a DeferredInjectionRebind record (250); returns once it has reached the log file.

        Args:
            message: as policy left it.
            queue: the name of its real queue.
        """


class Deliverer(Protocol):
    """Delivers messages; ``kumo.egress`` implements it for maildirs."""

    def deliver(self, message: Message, protocol: MaildirProtocol, queue: str) -> Awaitable[Disposition]:
        """One attempt at a resident message. Never raises for what the destination did."""

    def stop(self) -> None:
        """Begin with no further recipient: deliveries in flight return with what they have done by then."""


class QueueMetrics(Protocol):
    """Counters by ``service``; ``kumo.metrics`` has them."""

    @property
    def total_messages_delivered(self) -> MutableMapping[str, float]:
        """Messages delivered, if only to some of their recipients."""

    @property
    def total_messages_transfail(self) -> MutableMapping[str, float]:
        """Attempts that failed for now."""

    @property
    def total_messages_fail(self) -> MutableMapping[str, float]:
        """Messages that expired or bounced."""


class TimerHandle(Protocol):
    """A call that was asked for."""

    def cancel(self) -> None:
        """Take it back."""


class Clock(Protocol):
    """Time. Waiting goes by the monotonic clock, so that setting the wall clock does not disturb it."""

    def unix(self) -> float:
        """The wall clock, in seconds since 1970."""

    def monotonic(self) -> float:
        """Seconds since some moment."""

    def call_at(self, when: float, callback: Callable[[], None]) -> TimerHandle:
        """Call back once ``monotonic()`` has reached ``when``."""
