"""SMTP without sockets, loops or clocks: octets and time go in, events and octets come out."""

from kumo.smtp.events import (
    NO_RECIPIENT_PARAMETERS,
    NOTHING_DECLARED,
    ClientAddressReceived,
    ConnectionOpened,
    ContentReceived,
    CredentialsReceived,
    DeclaredParameters,
    Event,
    GreetingReceived,
    MailReceived,
    RecipientParameters,
    RecipientReceived,
    ReplyPending,
    ReplyRefused,
    SessionEnded,
    TlsRequested,
    TlsStarting,
    VerdictEvent,
)
from kumo.smtp.path import (
    NULL_REVERSE_PATH,
    POSTMASTER,
    EnvelopeAddress,
    envelope_address,
    normalise_domain,
    parse_envelope_address,
)
from kumo.smtp.reply import Reply
from kumo.smtp.server_session import ServerSession, Wait
from kumo.smtp.session_parameters import SessionParameters

__all__ = [
    "NOTHING_DECLARED",
    "NO_RECIPIENT_PARAMETERS",
    "NULL_REVERSE_PATH",
    "POSTMASTER",
    "ClientAddressReceived",
    "ConnectionOpened",
    "ContentReceived",
    "CredentialsReceived",
    "DeclaredParameters",
    "EnvelopeAddress",
    "Event",
    "GreetingReceived",
    "MailReceived",
    "RecipientParameters",
    "RecipientReceived",
    "Reply",
    "ReplyPending",
    "ReplyRefused",
    "ServerSession",
    "SessionEnded",
    "SessionParameters",
    "TlsRequested",
    "TlsStarting",
    "VerdictEvent",
    "Wait",
    "envelope_address",
    "normalise_domain",
    "parse_envelope_address",
]
