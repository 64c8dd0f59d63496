"""The states of a server session and what each command means in each of them.

All rules of sequence live in these tables; how an action is done is ``dialogue``'s. A verb that has no row is
a command that this server does not know. Tables are data: a reader can check them against RFC 5321 §4.1.4.
"""

from __future__ import annotations

import enum
from typing import Final

from kumo.smtp import replies
from kumo.smtp.reply import Reply


class State(enum.Enum):
    """Where a session stands between two commands."""

    # Members are unique, and Enum's own hash is a Python call on every look-up in a table.
    __hash__ = object.__hash__

    OPENING = enum.auto()
    """The banner is not sent yet."""
    READY = enum.auto()
    """No transaction is open."""
    SENDER = enum.auto()
    """MAIL was accepted, no recipient yet."""
    RECIPIENTS = enum.auto()
    """At least one recipient was accepted."""
    CONTENT = enum.auto()
    """354 was sent; what comes is content, not commands."""
    ANSWERING = enum.auto()
    """End-of-data was read and its verdict is due; what comes are commands again."""
    CREDENTIALS = enum.auto()
    """334 was sent; the next line is the response to it, not a command."""
    HANDSHAKE = enum.auto()
    """220 was sent to STARTTLS; what comes is no SMTP until the handshake is done."""


class Action(enum.Enum):
    """What is done with a command that is in sequence."""

    GREET = enum.auto()
    OPEN_TRANSACTION = enum.auto()
    ADD_RECIPIENT = enum.auto()
    START_CONTENT = enum.auto()
    RESET = enum.auto()
    DO_NOTHING = enum.auto()
    START_TLS = enum.auto()
    AUTHENTICATE = enum.auto()
    CHANGE_ADDRESS = enum.auto()
    QUIT = enum.auto()


_EVERYWHERE: Final[dict[str, Action | Reply]] = {
    "EHLO": Action.GREET,
    "HELO": Action.GREET,
    "RSET": Action.RESET,
    "NOOP": Action.DO_NOTHING,
    "QUIT": Action.QUIT,
    "STARTTLS": Action.START_TLS,
    # What these two are refused for comes in an order of its own, in which the transaction is not the first.
    "AUTH": Action.AUTHENTICATE,
    "XCLIENT": Action.CHANGE_ADDRESS,
    "LHLO": replies.UNIMPLEMENTED,
    "HELP": replies.UNIMPLEMENTED,
    "VRFY": replies.UNIMPLEMENTED,
    "EXPN": replies.UNIMPLEMENTED,
}

COMMANDS: Final[dict[State, dict[str, Action | Reply]]] = {
    # A greeting is not demanded first: clients without one are served, as KumoMTA serves them.
    State.READY: {
        **_EVERYWHERE,
        "MAIL": Action.OPEN_TRANSACTION,
        "RCPT": replies.MAIL_FIRST,
        "DATA": replies.MAIL_FIRST,
    },
    State.SENDER: {
        **_EVERYWHERE,
        "MAIL": replies.NESTED_MAIL,
        "RCPT": Action.ADD_RECIPIENT,
        "DATA": replies.RECIPIENT_FIRST,
    },
    State.RECIPIENTS: {
        **_EVERYWHERE,
        "MAIL": replies.NESTED_MAIL,
        "RCPT": Action.ADD_RECIPIENT,
        "DATA": Action.START_CONTENT,
    },
}
"""State and verb to what is done, or to the reply that refuses it. Source: RFC 5321 §4.1.4."""

UNKNOWN_COMMAND: Final = replies.UNIMPLEMENTED
"""What a verb without a row is told, in every state. Source: RFC 5321 §4.2.4."""
