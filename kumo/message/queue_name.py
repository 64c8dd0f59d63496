"""Names of scheduled queues: made from a message's meta and first recipient, and read back.

Reception, policy, logs and the queues call it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from kumo.smtp import EnvelopeAddress

NULL_QUEUE = "null"
"""The queue whose messages are logged and dropped."""

DEFERRED_INJECTION_QUEUE = "deferred_smtp_inject.kumomta.internal"
"""The queue of messages that policy has not seen yet; no policy configures it."""


class QueueName(NamedTuple):
    """The parts of a queue name; None: unset.

    ``campaign:tenant@domain!routing_domain``; an empty tenant is not the same as none.
    """

    domain: str
    tenant: str | None = None
    campaign: str | None = None
    routing_domain: str | None = None

    @classmethod
    def parse(cls, text: str) -> QueueName:
        """Take a name apart, at the first ``@``, ``:`` before it and ``!`` after it; never fails."""
        prefix, at, rest = text.partition("@")
        tenant: str | None = None
        campaign: str | None = None
        if not at:
            rest = text
        else:
            first, colon, second = prefix.partition(":")
            campaign, tenant = (first, second) if colon else (None, first)
        domain, mark, routing_domain = rest.partition("!")
        return cls(domain, tenant, campaign, routing_domain if mark else None)

    def compose(self) -> str:
        """The name as text."""
        return _composed(self.domain, self.tenant, self.campaign, self.routing_domain)


def queue_name(meta: Mapping[str, Any], recipients: Sequence[EnvelopeAddress]) -> str:
    """Name the scheduled queue that a message belongs to.

    Args:
        meta: the message's meta; ``queue`` is the name as it is, else ``tenant``, ``campaign`` and
            ``routing_domain`` are parts of it.
        recipients: the first one gives the domain.

    Raises:
        ValueError: a key that is looked at holds no text, or there is neither ``queue`` nor a recipient.

    Source: KumoMTA manual, queues.
    """
    queue = _text(meta, "queue")
    if queue is not None:
        return queue
    # No NamedTuple and no loop: each message asks twice, which took 3 % of a spooled one.
    tenant = _text(meta, "tenant")
    campaign = _text(meta, "campaign")
    routing_domain = _text(meta, "routing_domain")
    return _composed(_domain(recipients), tenant, campaign, routing_domain)


def _composed(domain: str, tenant: str | None, campaign: str | None, routing_domain: str | None) -> str:
    name = domain
    if campaign is not None:
        name = f"{campaign}:{tenant or ''}@{name}"
    elif tenant is not None:
        name = f"{tenant}@{name}"
    return name if routing_domain is None else f"{name}!{routing_domain}"


def _text(meta: Mapping[str, Any], key: str) -> str | None:
    value = meta.get(key)
    if value is None or isinstance(value, str):
        return value
    raise ValueError(f"meta `{key}` must be a string, not {type(value).__name__}")


def _domain(recipients: Sequence[EnvelopeAddress]) -> str:
    if not recipients:
        raise ValueError("a message without recipients has no queue name")
    return recipients[0].domain.lower()
