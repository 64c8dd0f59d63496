"""What policy makes of a message that was taken before policy saw it: deferred injection.

The message leaves the deferred queue for its own only when the spool has it as policy left it. Until
then every way out, a failure, a shutdown, a crash, leaves it as it was before the attempt: the handler
never meets its own half-done work. ``attempt`` calls it with the content resident.

Source: KumoMTA manual, kumo.start_esmtp_listener, deferred_queue.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable, Mapping
from typing import Any

from kumo.config import parse_socket_address
from kumo.errors import KumoError, PolicyError, Rejection, SpoolError
from kumo.maybe_awaitable import MaybeAwaitable, is_awaitable
from kumo.message import (
    DEFERRED_INJECTION_QUEUE,
    NULL_QUEUE,
    AuthInfo,
    Connection,
    Identity,
    Message,
    queue_name,
)
from kumo.queue.custody import Custody
from kumo.queue.interfaces import QueueLog, QueuePolicy
from kumo.queue.scheduled_queue import QueuedMessage, ScheduledQueue

_logger = logging.getLogger("kumod.queue")

_PERMANENT = 500
"""Lowest code with which policy gives a message up."""

_FAULT = 450
"""Code of the TransientFailure where no verdict of policy's says otherwise."""

_PROTOCOL = "DeferredSmtpInjection"


class DeferredInjection:
    """Hands messages of the deferred queue to policy, then to their queues.

    Args:
        policy: decides.
        log: where outcomes are recorded.
        custody: of the messages.
        resolve: makes sure of a queue, see ``QueueDirectory.resolve``.
        insert: takes a message into its queue, which was resolved.
    """

    __slots__ = ("_custody", "_insert", "_log", "_policy", "_resolve")

    def __init__(
        self,
        policy: QueuePolicy,
        log: QueueLog,
        custody: Custody,
        resolve: Callable[[str], MaybeAwaitable[None]],
        insert: Callable[[Message], None],
    ) -> None:
        self._policy = policy
        self._log = log
        self._custody = custody
        self._resolve = resolve
        self._insert = insert

    async def run(self, queue: ScheduledQueue, entry: QueuedMessage) -> float | None:
        """Show a message to policy and move it to the queue that is then its own.

        Args:
            queue: the deferred queue.
            entry: the message, resident.

        Returns:
            Seconds until the next attempt; None when the message is gone from this queue.
        """
        message = entry.message
        before = _State(message)
        try:
            name = await self._inject(message)
        except Rejection as verdict:
            before.restore(message)
            return await self._fail(queue, entry, verdict.code, verdict.text)
        except KumoError as error:
            before.restore(message)
            _logger.warning("deferred injection of message %s failed: %s", message.id, error)
            return await self._fail(queue, entry, _FAULT, str(error))
        except Exception as error:
            before.restore(message)
            _logger.exception("deferred injection of message %s failed", message.id)
            return await self._fail(queue, entry, _FAULT, str(error))
        except BaseException:
            before.restore(message)
            raise
        await self._rebind(message, name)
        return None

    async def _inject(self, message: Message) -> str:
        """Up to the point where the message is its real queue's, on the spool too.

        Returns:
            That queue's name.

        Raises:
            Rejection: policy's verdict on the message.
            KumoError: policy, the configuration of the queue or the spool failed.
        """
        message.meta.pop("queue", None)
        answer = self._policy.on_message_deferred_inject(message, _connection_of(message))
        if is_awaitable(answer):
            await answer
        name = _real_queue_of(message)
        if name == NULL_QUEUE:
            return name
        try:
            pending = self._resolve(name)
            if is_awaitable(pending):
                await pending
        except Rejection as error:
            # The queue's, not the message's: its verdict is none on what the handler said yes to.
            raise PolicyError(f"queue {name} cannot be used: {error}") from error
        message.due = None
        if message.is_stored and not await self._custody.save(message):
            raise SpoolError("the message cannot be stored")
        return name

    async def _rebind(self, message: Message, name: str) -> None:
        await self._custody.record(lambda: self._log.log_deferred_injection_rebind(message, name), message)
        if name == NULL_QUEUE:
            await self._custody.forget(message)
        else:
            self._insert(message)

    async def _fail(self, queue: ScheduledQueue, entry: QueuedMessage, code: int, text: str) -> float | None:
        message = entry.message
        is_permanent = code >= _PERMANENT
        write = self._log.log_bounce if is_permanent else self._log.log_transient_failure
        await self._custody.record(
            lambda: write(message, queue.name, code, text, delivery_protocol=_PROTOCOL), message
        )
        if not is_permanent:
            return await self._custody.put_off(queue, entry)
        await self._custody.give_up(queue, message)
        return None


class _State:
    """A message as it was before an attempt."""

    __slots__ = ("_due", "_envelope", "_has_changed", "_segments")

    def __init__(self, message: Message) -> None:
        self._envelope = message.envelope()
        self._segments = message.segments
        self._due = message.due
        self._has_changed = message.has_changed

    def restore(self, message: Message) -> None:
        """Undo all that was done since."""
        message.sender, message.recipients, message.meta = self._envelope
        head, body = self._segments
        message.load(body)
        message.prepend(head)
        message.due = self._due
        message.has_changed = self._has_changed


def _real_queue_of(message: Message) -> str:
    try:
        name = queue_name(message.meta, message.recipients)
    except ValueError as error:
        raise PolicyError(f"message {message.id} has no queue: {error}") from error
    if name == DEFERRED_INJECTION_QUEUE:
        # It would be shown to policy for ever, without a pause.
        raise PolicyError(f"message {message.id} cannot be queued to {name} once more")
    return name


def _connection_of(message: Message) -> Connection:
    """The session that a message came in on, as far as its meta tells.

    Nobody is at the other end any more: the peer's address is there for checks like SPF, and not in
    ``auth_info``. What policy puts into the connection's meta goes no further.
    """
    meta = dict(message.meta)
    peer_ip, peer_port = _address(meta.get("received_from"))
    local_ip, local_port = _address(meta.get("received_via"))
    identities = [
        Identity(identity, context)
        for identity, context in (
            (_text(meta, "authz_id"), "SmtpAuthPlainAuthorization"),
            (_text(meta, "authn_id"), "SmtpAuthPlainAuthentication"),
        )
        if identity is not None
    ]
    subject_name = meta.get("tls_peer_subject_name")
    return Connection(
        peer_ip=peer_ip,
        peer_port=peer_port,
        local_ip=local_ip,
        local_port=local_port,
        session_id="",
        hostname=_text(meta, "hostname") or "",
        meta=meta,
        ehlo_domain=_text(meta, "ehlo_domain"),
        is_authenticated=bool(identities),
        tls_protocol_version=_text(meta, "tls_protocol_version"),
        tls_cipher=_text(meta, "tls_cipher"),
        tls_peer_subject_name=tuple(map(str, subject_name)) if isinstance(subject_name, list) else None,
        auth_info=AuthInfo(peer_address=None, identities=identities),
    )


def _text(meta: Mapping[str, Any], key: str) -> str | None:
    # Policy may have put anything there.
    value = meta.get(key)
    return value if isinstance(value, str) else None


def _address(value: Any) -> tuple[str, int]:
    """IP and port of a printed socket address; empty and 0 where it is none."""
    if not isinstance(value, str):
        return "", 0
    try:
        host, port = parse_socket_address(value)
        ipaddress.ip_address(host)
    except ValueError:
        return "", 0
    return host, port
