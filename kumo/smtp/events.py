"""What a ``ServerSession`` tells its shell: one frozen class a fact.

The first group asks for a verdict: the session stays paused until the shell calls ``accept``,
``refuse`` or ``fail``. The second group only informs. Tell them apart by type. Those that come with every
session have no slots and are compiled: an interpreted frozen dataclass costs eight times as much to make.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kumo.smtp.path import EnvelopeAddress
from kumo.smtp.reply import Reply
from kumo_core.data_scanner import ScanReport


@dataclass(frozen=True, slots=True)
class DeclaredParameters:
    """What the client declared with MAIL; None and False: not declared.

    Args:
        size: octets of the content, an estimate; may be 0.
        body: ``7BIT`` or ``8BITMIME``.
        smtputf8: whether addresses or header fields hold UTF-8.
        ret: ``FULL`` or ``HDRS``.
        envid: xtext as the client sent it, not decoded.

    Source: RFC 1870, RFC 6152, RFC 6531, RFC 3461.
    """

    size: int | None = None
    body: str | None = None
    smtputf8: bool = False
    ret: str | None = None
    envid: str | None = None


@dataclass(frozen=True, slots=True)
class RecipientParameters:
    """What the client declared with RCPT; None: not declared.

    Args:
        notify: ``NEVER``, or ``SUCCESS``, ``FAILURE``, ``DELAY`` joined by commas; upper case.
        orcpt: ``type;xtext`` as the client sent it, not decoded.

    Source: RFC 3461.
    """

    notify: str | None = None
    orcpt: str | None = None


NOTHING_DECLARED = DeclaredParameters()
NO_RECIPIENT_PARAMETERS = RecipientParameters()


# --- events that ask for a verdict -----------------------------------------------------------


@dataclass(frozen=True)
class ConnectionOpened:
    """The banner is due. ``accept()`` sends 220; a refusal is sent and closes, whatever its code."""


@dataclass(frozen=True)
class GreetingReceived:
    """EHLO or HELO. ``accept(keywords)`` replaces the keyword lines (EHLO only); ``accept()`` keeps them.

    Args:
        verb: ``EHLO`` or ``HELO``.
        domain: normalised, or an address literal with its brackets.
        keywords: the lines that would be sent; none for HELO.
        command: the command line as typed.
    """

    verb: str
    domain: str
    keywords: tuple[str, ...]
    command: str


@dataclass(frozen=True)
class MailReceived:
    """MAIL, after syntax, sequence, count and SIZE. ``accept()`` opens the transaction."""

    sender: EnvelopeAddress
    declared: DeclaredParameters
    command: str


@dataclass(frozen=True)
class RecipientReceived:
    """RCPT, after syntax and sequence.

    The shell checks relay rights first, then, unless ``over_limit``, asks policy. ``accept()`` adds
    the recipient; with ``over_limit`` it answers 452 and adds nothing.
    """

    sender: EnvelopeAddress
    recipient: EnvelopeAddress
    declared: RecipientParameters
    over_limit: bool
    command: str


@dataclass(frozen=True)
class ContentReceived:
    """End-of-data of an acceptable size. ``accept(Reply)`` answers it; the transaction is over.

    ``content`` is unstuffed, belongs to the receiver and is not changed by anyone any more. ``report``
    tells of its line endings and lengths; judging them is ``kumo.reception``'s, whose reply is the answer.
    """

    sender: EnvelopeAddress
    recipients: tuple[EnvelopeAddress, ...]
    declared: DeclaredParameters
    recipients_declared: tuple[RecipientParameters, ...]
    content: bytes
    report: ScanReport


@dataclass(frozen=True, slots=True)
class TlsRequested:
    """STARTTLS. ``accept()`` sends 220, after which ``TlsStarting`` comes.

    The shell answers once it knows that it can do the handshake: after the 220 it is too late to say no.
    """

    command: str


@dataclass(frozen=True, slots=True)
class CredentialsReceived:
    """AUTH PLAIN inside TLS, decoded. ``accept(True)`` answers 235, ``accept(False)`` 535.

    Args:
        authz_id: whom the client wants to act as; ``authn_id`` where it did not say.
        authn_id: who it says it is.
        password: never to be logged.
        command: the command line with what it carried masked.

    Source: RFC 4616, RFC 4954.
    """

    authz_id: str
    authn_id: str
    password: str = field(repr=False)
    command: str


@dataclass(frozen=True, slots=True)
class ClientAddressReceived:
    """XCLIENT of a client that may; ``accept()`` answers with the banner.

    Before that the shell has replaced the addresses and called ``set_parameters``. A refusal is the only
    reply. None: as before.

    Args:
        peer_ip: without brackets; IPv4-mapped addresses as they came.
        peer_port: of the peer.
        local_ip: our own end.
        local_port: likewise.
        command: the command line as typed.

    Source: Postfix XCLIENT_README.
    """

    peer_ip: str | None
    peer_port: int | None
    local_ip: str | None
    local_port: int | None
    command: str


@dataclass(frozen=True)
class ReplyPending:
    """Only with ``rewrites_replies``: ``accept(Reply)`` sends that one, ``accept()`` the given one.

    ``command`` is the command line that is refused, ``DATA`` for every reply to content, None for
    greetings and successes.
    """

    reply: Reply
    command: str | None


# --- events that inform ----------------------------------------------------------------------


@dataclass(frozen=True)
class ReplyRefused:
    """A 4xx or 5xx reply was sent (after rewriting); the shell logs a Rejection unless it is a 421 4.3.2.

    ``sender`` is that of the transaction, ``recipient`` the last one accepted in it. ``command`` is as in
    ``ReplyPending``; what AUTH carries is masked in it.
    """

    reply: Reply
    command: str | None
    sender: EnvelopeAddress | None
    recipient: EnvelopeAddress | None


@dataclass(frozen=True, slots=True)
class TlsStarting:
    """The 220 to STARTTLS is in ``data_to_send``; the next octets from the peer are a TLS handshake.

    The shell stops reading before it writes, does the handshake, and calls ``tls_started``; if it fails, it
    closes without a word. Whatever the peer had sent behind STARTTLS is gone.

    Source: RFC 3207 §4.
    """


@dataclass(frozen=True)
class SessionEnded:
    """Nothing more is read; the shell closes once ``data_to_send`` is written. Comes once, and last.

    ``reason`` is for diagnostics: the reply that ended the session, or that the peer closed it.
    """

    reason: str = ""


CommandEvent = (
    GreetingReceived
    | MailReceived
    | RecipientReceived
    | TlsRequested
    | CredentialsReceived
    | ClientAddressReceived
)
"""What a command line asks for; each has it as ``command``."""

VerdictEvent = ConnectionOpened | CommandEvent | ContentReceived | ReplyPending
"""What pauses a session."""

Event = VerdictEvent | ReplyRefused | TlsStarting | SessionEnded
"""All that ``ServerSession.next_event`` may tell."""
