"""The events of messages and queues, in the form that reception, spool, logs and queues ask for."""

from __future__ import annotations

from typing import Any

from lupa.lua54 import lua_type

from kumo.config import QueueConfig
from kumo.errors import PolicyError
from kumo.maybe_awaitable import MaybeAwaitable
from kumo.message import Connection, Message
from kumo.policy.api import QUEUE_CONFIG
from kumo.policy.engine import PolicyEngine
from kumo.policy.handler import Handler, ignored, then
from kumo.policy.octets import octets_of, text_of
from kumo.smtp import EnvelopeAddress, parse_envelope_address

_SPLIT = "smtp_server_split_transaction"
_ENUMERATED = "spool_message_enumerated"
_DEFAULT_QUEUE = QueueConfig()


class ReceptionEvents:
    """Fires the events of a message that came in (``ReceptionPolicy`` of ``kumo.reception``).

    Args:
        engine: the policy.
    """

    __slots__ = ("_handlers",)

    def __init__(self, engine: PolicyEngine) -> None:
        self._handlers = engine.handlers

    def on_data(self, message: Message, connection: Connection) -> MaybeAwaitable[None]:
        """Fire ``smtp_server_data(message, conn_meta)``.

        Raises:
            Rejection: the handler refused.
            PolicyError: it failed.
        """
        handler = self._handlers.get("smtp_server_data")
        if handler is None:
            return None
        result = handler.run(message, connection)
        return None if result is None else ignored(result)

    def on_split_transaction(
        self, message: Message, connection: Connection
    ) -> MaybeAwaitable[list[list[EnvelopeAddress]] | None]:
        """Fire ``smtp_server_split_transaction(message, conn_meta)``.

        Returns:
            The batches as the handler gave them; None: no handler, or it returned nil.

        Raises:
            Rejection: the handler refused.
            PolicyError: it failed, or returned something else than an array of arrays of addresses.
        """
        handler = self._handlers.get(_SPLIT)
        if handler is None:
            return None
        # The message's own addresses are kept as the client wrote them, not parsed again.
        known = {address.email: address for address in message.recipients}
        return then(handler.run(message, connection), lambda result: _batches(result, known))

    def on_message_received(self, message: Message, connection: Connection) -> MaybeAwaitable[None]:
        """Fire ``smtp_server_message_received(message, conn_meta)``.

        Raises:
            Rejection: the handler refused.
            PolicyError: it failed.
        """
        handler = self._handlers.get("smtp_server_message_received")
        if handler is None:
            return None
        result = handler.run(message, connection)
        return None if result is None else ignored(result)


class QueueEvents:
    """Asks policy about queues (``QueuePolicy`` of ``kumo.queue``).

    Args:
        engine: the policy.
    """

    __slots__ = ("_handlers",)

    def __init__(self, engine: PolicyEngine) -> None:
        self._handlers = engine.handlers

    def get_queue_config(
        self, domain: str, tenant: str | None, campaign: str | None, routing_domain: str | None
    ) -> MaybeAwaitable[QueueConfig]:
        """Fire ``get_queue_config(domain, tenant, campaign, routing_domain)``.

        Returns:
            What the first handler that did not return nil gave; the default when none did.

        Raises:
            Rejection: a handler refused.
            PolicyError: a handler failed, or returned something else than a queue configuration.
        """
        handler = self._handlers.get("get_queue_config")
        if handler is None:
            return _DEFAULT_QUEUE
        names = (domain, tenant, campaign, routing_domain)
        octets = [None if name is None else octets_of(name) for name in names]
        return then(handler.run(None, None, *octets), lambda result: _queue_config(handler, result))

    def on_message_deferred_inject(self, message: Message, connection: Connection) -> MaybeAwaitable[None]:
        """Fire ``smtp_server_message_deferred_inject(message, conn_meta)``.

        Args:
            message: out of the queue of deferred injection, content resident.
            connection: made of the message's meta; what the handler sets in it is forgotten.

        Raises:
            Rejection: the handler refused.
            PolicyError: it failed.
        """
        handler = self._handlers.get("smtp_server_message_deferred_inject")
        if handler is None:
            return None
        result = handler.run(message, connection)
        return None if result is None else ignored(result)


class StorageEvents:
    """Fires the events about messages that are stored or logged; for the server's start and ``kumo.logs``.

    Args:
        engine: the policy.
    """

    __slots__ = ("_engine", "_handlers")

    def __init__(self, engine: PolicyEngine) -> None:
        self._engine = engine
        self._handlers = engine.handlers

    def on_spool_message_enumerated(self, message: Message) -> MaybeAwaitable[None]:
        """Fire ``spool_message_enumerated(message)``.

        The client has been told long ago that the message is taken: whoever calls this queues it however
        the handler ends.

        Raises:
            Rejection: the handler refused.
            PolicyError: it failed.
        """
        handler = self._handlers.get(_ENUMERATED)
        if handler is None:
            return None
        result = handler.run(message, None)
        return None if result is None else ignored(result)

    def should_log(self, event: str, message: Message) -> MaybeAwaitable[bool]:
        """Ask a logger's ``filter_event`` whether to log a record about ``message``.

        Returns:
            False when the handler returned false or nil; True when there is no such handler.

        Raises:
            Rejection: the handler refused.
            PolicyError: it failed.
        """
        handler = self._engine.handler_as(event, _ENUMERATED)
        if handler is None:
            self._engine.warn_once(
                f"filter {event}", f"filter_event `{event}` has no handler: everything is logged"
            )
            return True
        return then(handler.run(message, None), _is_true)


def _is_true(result: Any) -> bool:
    return result is not None and result is not False


def _batches(result: Any, known: dict[str, EnvelopeAddress]) -> list[list[EnvelopeAddress]] | None:
    if result is None:
        return None
    return [[_address(text_of(email), known) for email in batch.values()] for batch in result.values()]


def _address(email: str, known: dict[str, EnvelopeAddress]) -> EnvelopeAddress:
    address = known.get(email)
    if address is not None:
        return address
    try:
        return parse_envelope_address(email)
    except ValueError as error:
        raise PolicyError(f"{_SPLIT} returned {email!r}, which is no address: {error}") from None


def _queue_config(handler: Handler, result: Any) -> QueueConfig:
    if result is None:
        return _DEFAULT_QUEUE
    value = handler.state.object_value(QUEUE_CONFIG, result)
    if isinstance(value, QueueConfig):
        return value
    kind = lua_type(result) or type(result).__name__
    raise PolicyError(f"get_queue_config must return nil or an object made by {QUEUE_CONFIG}, not a {kind}")
