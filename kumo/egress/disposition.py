"""What became of one delivery attempt: a value, never an exception."""

from __future__ import annotations

from dataclasses import dataclass

from kumo.smtp import EnvelopeAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class Disposition:
    """The outcome of one attempt at a message, recipient by recipient.

    Args:
        delivered: recipients that are done.
        failed: recipients to be tried again; they stay on the message.
        delivered_response: text for the Delivery record (code 200); None when nobody was delivered.
        failed_response: text for the TransientFailure record (code 400); None when nobody failed.
        delivery_protocol: KumoMTA's word for the log, for example ``Maildir``.
        session_id: dashed UUID of the attempt.
    """

    delivered: tuple[EnvelopeAddress, ...]
    failed: tuple[EnvelopeAddress, ...]
    delivered_response: str | None
    failed_response: str | None
    delivery_protocol: str
    session_id: str
