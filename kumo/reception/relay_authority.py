"""Who may send mail through us, to whom, and what becomes of reports: the one relay rule.

It counts who the client is (its address, and through policy whatever it has proved) and which domains
policy names; neither greeting nor header fields count. Asked by the listener for each RCPT, and once
more by reception for each message, whose sender and recipients policy may have changed by then.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import NamedTuple

from kumo.config import ListenerDomain, ReportHandling
from kumo.errors import PolicyError, Rejection
from kumo.maybe_awaitable import MaybeAwaitable, is_awaitable
from kumo.message import Connection
from kumo.reception.interfaces import RelayPolicy
from kumo.smtp import EnvelopeAddress

# Bound once: reading a member off its class is slow.
_IGNORE = ReportHandling.IGNORE

_REMEMBERED = 17
"""Domains of which a session keeps what policy said: a bound on what a client can make us keep."""


class RelayDisposition(NamedTuple):
    """What may be done for one sender and recipient.

    Args:
        may_relay: take the message and pass it on.
        log_arf: what to do with a feedback report.
        log_oob: what to do with a delivery status notification.
    """

    may_relay: bool
    log_arf: ReportHandling = _IGNORE
    log_oob: ReportHandling = _IGNORE

    @property
    def logs_arf(self) -> bool:
        """Whether feedback reports are looked for."""
        return self.log_arf is not _IGNORE

    @property
    def logs_oob(self) -> bool:
        """Whether delivery status notifications are looked for."""
        return self.log_oob is not _IGNORE

    @property
    def takes_recipient(self) -> bool:
        """Whether RCPT is answered with 250: what comes may be a report."""
        return self.may_relay or self.logs_arf or self.logs_oob


RELAY = RelayDisposition(may_relay=True)
REFUSE = RelayDisposition(may_relay=False)


class RelayAuthority:
    """Applies the rule; one object serves all listeners.

    A peer of ``relay_hosts`` may relay anywhere, one of a sender domain's ``relay_from`` likewise, and mail
    for a recipient domain with ``relay_to`` is taken from anybody.

    Args:
        policy: says what it knows of a domain.

    Source: KumoMTA manual, kumo.start_esmtp_listener, relay_hosts; kumo.make_listener_domain.
    """

    __slots__ = ("_policy",)

    def __init__(self, policy: RelayPolicy) -> None:
        self._policy = policy

    def relays_all(self, connection: Connection) -> bool:
        """Whether the peer may relay anything, and no report is looked for: the common case, at a glance."""
        return not self._policy.has_listener_domains and connection.peer_ip in connection.listener.relay_hosts

    def disposition(
        self, connection: Connection, sender: EnvelopeAddress, recipient: EnvelopeAddress
    ) -> MaybeAwaitable[RelayDisposition]:
        """Apply the rule.

        With a handler both domains are looked up, whatever ``relay_hosts`` says: it also tells of reports.
        The null reverse-path and the bare Postmaster have the domain "".

        Args:
            connection: the session; what policy said of the latest domains is kept in it. One session asks
                one question at a time.
            sender: reverse-path.
            recipient: forward-path.

        Raises:
            PolicyError: the handler failed, returned something else than a listener domain, or rejected:
                there is no command of the peer's that its verdict would answer.
        """
        is_relay_host = connection.peer_ip in connection.listener.relay_hosts
        if not self._policy.has_listener_domains:
            return RELAY if is_relay_host else REFUSE
        source = self._look_up(connection, sender.domain)
        if is_awaitable(source):
            return self._when_known(connection, is_relay_host, source, recipient)
        target = self._look_up(connection, recipient.domain)
        if is_awaitable(target):
            return self._with_target(connection, is_relay_host, source, target)
        return _judge(connection, is_relay_host, source, target)

    async def _when_known(
        self,
        connection: Connection,
        is_relay_host: bool,
        source: Awaitable[ListenerDomain | None],
        recipient: EnvelopeAddress,
    ) -> RelayDisposition:
        domain = await source
        target = self._look_up(connection, recipient.domain)
        return _judge(connection, is_relay_host, domain, await target if is_awaitable(target) else target)

    async def _with_target(
        self,
        connection: Connection,
        is_relay_host: bool,
        source: ListenerDomain | None,
        target: Awaitable[ListenerDomain | None],
    ) -> RelayDisposition:
        return _judge(connection, is_relay_host, source, await target)

    def _look_up(self, connection: Connection, domain: str) -> MaybeAwaitable[ListenerDomain | None]:
        known = connection.listener_domains
        if known is not None and domain in known:
            return known[domain]
        try:
            answer = self._policy.get_listener_domain(connection, domain)
        except Rejection as error:
            raise _not_a_verdict(domain, error) from error
        if is_awaitable(answer):
            return self._learn(connection, domain, answer)
        _remember(connection, domain, answer)
        return answer

    async def _learn(
        self, connection: Connection, domain: str, pending: Awaitable[ListenerDomain | None]
    ) -> ListenerDomain | None:
        try:
            answer = await pending
        except Rejection as error:
            raise _not_a_verdict(domain, error) from error
        _remember(connection, domain, answer)
        return answer


def _judge(
    connection: Connection, is_relay_host: bool, source: ListenerDomain | None, target: ListenerDomain | None
) -> RelayDisposition:
    may_relay = (
        is_relay_host
        or (source is not None and connection.peer_ip in source.relay_from)
        or (target is not None and target.relay_to)
    )
    if target is None or (target.log_arf is _IGNORE and target.log_oob is _IGNORE):
        return RELAY if may_relay else REFUSE
    return RelayDisposition(may_relay, target.log_arf, target.log_oob)


def _remember(connection: Connection, domain: str, answer: ListenerDomain | None) -> None:
    known = connection.listener_domains
    if known is None:
        known = connection.listener_domains = {}
    elif len(known) >= _REMEMBERED:
        del known[next(iter(known))]
    known[domain] = answer


def _not_a_verdict(domain: str, error: Rejection) -> PolicyError:
    return PolicyError(f"get_listener_domain must not reject, but did for `{domain}`: {error}")
