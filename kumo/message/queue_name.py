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

_PARTS = ("tenant", "campaign", "routing_domain")


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
        name = self.domain
        if self.campaign is not None:
            name = f"{self.campaign}:{self.tenant or ''}@{name}"
        elif self.tenant is not None:
            name = f"{self.tenant}@{name}"
        return name if self.routing_domain is None else f"{name}!{self.routing_domain}"


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
    tenant, campaign, routing_domain = [_text(meta, key) for key in _PARTS]
    domain = _domain(recipients)
    if tenant is None and campaign is None and routing_domain is None:
        return domain
    return QueueName(domain, tenant, campaign, routing_domain).compose()


def _text(meta: Mapping[str, Any], key: str) -> str | None:
    value = meta.get(key)
    if value is None or isinstance(value, str):
        return value
    raise ValueError(f"meta `{key}` must be a string, not {type(value).__name__}")


def _domain(recipients: Sequence[EnvelopeAddress]) -> str:
    if not recipients:
        raise ValueError("a message without recipients has no queue name")
    return recipients[0].domain.lower()
