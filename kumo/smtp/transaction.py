"""The open mail transaction of a session: what MAIL and RCPT have built so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kumo.smtp.events import DeclaredParameters, RecipientParameters
    from kumo.smtp.path import EnvelopeAddress


class Transaction:
    """Sender and accepted recipients with what the client declared for each.

    Args:
        sender: the reverse-path that was accepted.
        declared: the parameters of its MAIL command.

    Source: RFC 5321 §3.3.
    """

    __slots__ = ("declared", "recipients", "recipients_declared", "sender")

    def __init__(self, sender: EnvelopeAddress, declared: DeclaredParameters) -> None:
        self.sender = sender
        self.declared = declared
        self.recipients: list[EnvelopeAddress] = []
        self.recipients_declared: list[RecipientParameters] = []

    @property
    def last_recipient(self) -> EnvelopeAddress | None:
        """The recipient that was accepted last."""
        return self.recipients[-1] if self.recipients else None
