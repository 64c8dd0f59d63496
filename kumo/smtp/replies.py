"""Every text that a session sends of its own accord.

Texts and codes are KumoMTA's wherever it has that reply; clients and their operators match on them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from kumo.smtp.limits import MAX_KEPT_ADDRESS
from kumo.smtp.reply import Reply
from kumo_core.errors import Fault

_KEPT = 1024
"""Replies of a kind that are kept with their octets: many are sent again soon."""

# --- what a command line can be refused for ----------------------------------------------------

LINE_TOO_LONG: Final = Reply(500, "5.2.3 line too long")
SYNTAX_ERROR: Final = Reply(501, "Syntax error in command or arguments")
INVALID_UTF8: Final = Reply(501, "5.5.2 Invalid UTF-8 in command")
BAD_SENDER: Final = Reply(501, "5.1.7 Bad sender's mailbox address syntax")
BAD_RECIPIENT: Final = Reply(501, "5.1.3 Invalid recipient address syntax")
UNIMPLEMENTED: Final = Reply(502, "5.5.1 Command unimplemented")

OF_FAULT: Final = {
    Fault.UTF8: INVALID_UTF8,
    Fault.SENDER: BAD_SENDER,
    Fault.RECIPIENT: BAD_RECIPIENT,
    Fault.ARGUMENTS: SYNTAX_ERROR,
    Fault.UNPARSABLE: SYNTAX_ERROR,
}
"""The reply for each fault that the core's command parser reports."""

# --- commands out of sequence, over a limit, or not permitted -----------------------------------

NESTED_MAIL: Final = Reply(503, "5.5.0 MAIL FROM already issued; you must RSET first")
MAIL_FIRST: Final = Reply(503, "5.5.0 MAIL FROM must be issued first")
RECIPIENT_FIRST: Final = Reply(503, "5.5.0 RCPT TO must be issued first")
TLS_IS_ACTIVE: Final = Reply(501, "Cannot STARTTLS as TLS is already active")
AUTH_TWICE: Final = Reply(503, "5.5.1 AUTH me once, can't get authed again!")
AUTH_IN_TRANSACTION: Final = Reply(503, "5.5.1 AUTH not permitted inside a transaction")
XCLIENT_IN_TRANSACTION: Final = Reply(503, "mail transaction in progress")
XCLIENT_NOT_PERMITTED: Final = Reply(550, "insufficient authorization")
AUTH_INVALID: Final = Reply(535, "5.7.8 AUTH invalid")
TOO_MANY_MESSAGES: Final = Reply(452, "4.5.3 too many messages on this connection")
TOO_MANY_RECIPIENTS: Final = Reply(452, "4.5.3 too many recipients")
MESSAGE_TOO_BIG: Final = Reply(552, "5.3.4 message too big")

# --- successes ----------------------------------------------------------------------------------

START_TLS: Final = Reply(220, "Ready to Start TLS")
START_RESPONSE: Final = Reply(334, " ")
"""An empty challenge: clients have always seen two blanks."""
AUTHENTICATED: Final = Reply(235, "2.7.0 AUTH OK!")
START_CONTENT: Final = Reply(354, "Send body; end with CRLF.CRLF")
WAS_RESET: Final = Reply(250, "Reset state")
NOTHING_DONE: Final = Reply(250, "the goggles do nothing")
GOODBYE: Final = Reply(221, "So long, and thanks for all the fish!")


@lru_cache(maxsize=_KEPT)
def banner(hostname: str, text: str) -> Reply:
    """The greeting of a new connection, and of one whose client named another address."""
    return Reply(220, f"{hostname} {text}")


@lru_cache(maxsize=_KEPT)
def ehlo_accepted(hostname: str, domain: str, keywords: tuple[str, ...]) -> Reply:
    """The answer to EHLO, a line for each keyword."""
    return Reply(250, "\n".join((f"{hostname} Aloha {domain}", *keywords)))


@lru_cache(maxsize=_KEPT)
def helo_accepted(domain: str) -> Reply:
    """The answer to HELO."""
    return Reply(250, f"Hello {domain}!")


def address_accepted(email: str) -> Reply:
    """The answer to MAIL and RCPT; ``email`` is empty for the null reverse-path."""
    # A peer chooses how long an address is, as far as the line's limit: what is kept of it must have a bound.
    return _kept_address_accepted(email) if len(email) <= MAX_KEPT_ADDRESS else _address_accepted(email)


def _address_accepted(email: str) -> Reply:
    return Reply(250, f"OK <{email}>")


_kept_address_accepted = lru_cache(maxsize=_KEPT)(_address_accepted)


def mechanism_not_supported(mechanism: str) -> Reply:
    """AUTH with a mechanism other than PLAIN. Source: RFC 4954 §4."""
    return Reply(504, f"5.5.4 AUTH {mechanism} not supported")


def encryption_required(mechanism: str) -> Reply:
    """AUTH on a connection without TLS; 524 is KumoMTA's code, where RFC 4954 §6 has 538."""
    return Reply(524, f"5.7.11 AUTH {mechanism} requires an encrypted channel")


# --- the session's end --------------------------------------------------------------------------


def unavailable(hostname: str, text: str) -> Reply:
    """The service is not available: 421 4.3.2, which no log records as a rejection."""
    return Reply(421, f"4.3.2 {hostname} {text}")


def idle(hostname: str) -> Reply:
    """Nothing came for ``client_timeout``."""
    return unavailable(hostname, "idle too long")


def shutting_down(hostname: str) -> Reply:
    """The daemon is being stopped."""
    return unavailable(hostname, "shutting down")


def technical_difficulties(hostname: str) -> Reply:
    """A fault of ours; its cause is for our log only."""
    return Reply(421, f"4.3.0 {hostname} technical difficulties")


def too_many_errors(hostname: str) -> Reply:
    """The peer does not speak SMTP."""
    return Reply(421, f"4.7.0 {hostname} too many errors")


def disconnecting(hostname: str) -> Reply:
    """Follows a rejection in mode ``FollowWith421``."""
    return Reply(421, f"{hostname} disconnecting due to previous error")
