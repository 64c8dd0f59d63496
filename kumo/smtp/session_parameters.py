"""What a listener's configuration means to its sessions."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionParameters:
    """What a listener's configuration means to its sessions; one object serves them all.

    Args:
        hostname: in banner, EHLO reply and 421 texts.
        banner: text after the hostname in the 220 line.
        client_timeout: seconds without input before the session ends.
        line_length_hard_limit: octets of a command line, and those beyond which a content line is
            reported; CRLF not counted.
        max_message_size: octets of content after unstuffing; one more is refused.
        max_recipients_per_message: accepted RCPT commands in a transaction.
        max_messages_per_connection: accepted MAIL commands in the session.
        allow_xclient: whether XCLIENT is offered and taken.
        rewrites_replies: whether each reply is shown as ``ReplyPending`` first.

    Source: KumoMTA manual, kumo.start_esmtp_listener.
    """

    hostname: str
    banner: str
    client_timeout: float
    line_length_hard_limit: int
    max_message_size: int
    max_recipients_per_message: int
    max_messages_per_connection: int
    allow_xclient: bool = False
    rewrites_replies: bool = False
