"""The open mail transaction of a session: what MAIL and RCPT have built so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from kumo.smtp.events import DeclaredParameters, RecipientParameters
    from kumo.smtp.path import EnvelopeAddress


class Transaction(Struct, gc=False):
    """Sender and accepted recipients with what the client declared for each.

    Args:
        sender: the reverse-path that was accepted.
        declared: the parameters of its MAIL command.

    Source: RFC 5321 §3.3.
    """

    sender: EnvelopeAddress
    declared: DeclaredParameters
    recipients: list[EnvelopeAddress] = []
    recipients_declared: list[RecipientParameters] = []

    @property
    def last_recipient(self) -> EnvelopeAddress | None:
        """The recipient that was accepted last."""
        return self.recipients[-1] if self.recipients else None
