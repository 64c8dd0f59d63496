"""What reception asks of policy, spool, queues and logs; ``server.py`` hands the real ones over."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol

from kumo.config import ListenerDomain
from kumo.maybe_awaitable import MaybeAwaitable
from kumo.message import Connection, DeliveryStatus, FeedbackReport, Message
from kumo.smtp import EnvelopeAddress


class ReceptionPolicy(Protocol):
    """Policy's say on a message that came in. Each raises ``Rejection`` or ``PolicyError``."""

    def on_data(self, message: Message, connection: Connection) -> MaybeAwaitable[None]:
        """``smtp_server_data``: once per transaction, all recipients, content as received."""

    def on_split_transaction(
        self, message: Message, connection: Connection
    ) -> MaybeAwaitable[list[list[EnvelopeAddress]] | None]:
        """``smtp_server_split_transaction``: the batches, or None to let ``batch_handling`` decide."""

    def on_message_received(self, message: Message, connection: Connection) -> MaybeAwaitable[None]:
        """``smtp_server_message_received``: once per batch, Received already prepended."""


class RelayPolicy(Protocol):
    """Policy's say on domains. Raises ``PolicyError``; a ``Rejection`` counts as one."""

    @property
    def has_listener_domains(self) -> bool:
        """Whether ``get_listener_domain`` has a handler."""

    def get_listener_domain(
        self, connection: Connection, domain: str
    ) -> MaybeAwaitable[ListenerDomain | None]:
        """``get_listener_domain(domain, via, conn_meta)``; asked only if it has a handler."""


class Store(Protocol):
    """Where messages are kept."""

    def store(self, messages: Sequence[Message]) -> Awaitable[None]:
        """Keep all of them or none; returns once they are as durable as the spool promises.

        Raises:
            SpoolFull: no room.
            SpoolError: any other failure; nothing of them is left.
        """

    def remove(self, messages: Sequence[Message]) -> Awaitable[None]:
        """Take back what ``store`` kept."""


class Queues(Protocol):
    """Where messages go on from here."""

    def resolve(self, name: str) -> MaybeAwaitable[None]:
        """Make sure that the queue can take messages.

        Raises:
            PolicyError: ``get_queue_config`` failed.
            Rejection: as above; counts as a failure here.
        """

    def insert(self, message: Message) -> None:
        """Hand over a stored (or deferred-spool) message whose queue was resolved."""


class ReceptionLog(Protocol):
    """Where accepted messages are recorded."""

    def log_reception(
        self,
        message: Message,
        connection: Connection,
        queue: str,
        *,
        feedback: FeedbackReport | None = None,
        delivery_status: DeliveryStatus | None = None,
        is_dropped_report: bool = False,
    ) -> MaybeAwaitable[None]:
        """Write the Reception record, for queue ``null`` too; waits for back-pressure or a filter.

        Args:
            message: as it will be queued.
            connection: its session.
            queue: the queue's name.
            feedback: makes it a Feedback record.
            delivery_status: adds an OOB record for each recipient that failed.
            is_dropped_report: with ``delivery_status``: OOB records only.
        """
