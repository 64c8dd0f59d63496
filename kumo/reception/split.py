"""Which recipients share a message."""

from __future__ import annotations

from collections.abc import Sequence

from kumo.config import BatchHandling
from kumo.smtp import EnvelopeAddress

# Bound once: reading a member off its class is slow, and this one is asked for with every message.
_BIFURCATE_ALWAYS = BatchHandling.BIFURCATE_ALWAYS


def batches(recipients: Sequence[EnvelopeAddress], handling: BatchHandling) -> list[list[EnvelopeAddress]]:
    """Split a transaction's recipients as ``batch_handling`` says.

    Args:
        recipients: in the order of the RCPT commands; duplicates are kept.
        handling: one message each, or one for each domain (without regard to case).

    Returns:
        The batches; recipients keep their order, domains that of their first recipient.
    """
    if handling is _BIFURCATE_ALWAYS:
        return [[recipient] for recipient in recipients]
    by_domain: dict[str, list[EnvelopeAddress]] = {}
    for recipient in recipients:
        by_domain.setdefault(recipient.domain.lower(), []).append(recipient)
    return list(by_domain.values())
