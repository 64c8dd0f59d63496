"""What follows from a command and from a verdict on it.

Knows commands, replies and transactions; no octet streams, no pausing, no time: these are
``server_session``'s, which alone uses this module. Whether a command is in sequence stands in ``states``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kumo.errors import DisconnectMode, LocalProtocolError, Rejection, RemoteProtocolError
from kumo.smtp import replies
from kumo.smtp.authentication import (
    MASK,
    RESPONSE_COMMAND,
    loggable_command,
    read_plain_response,
    read_response_line,
)
from kumo.smtp.client_address import read_client_address
from kumo.smtp.events import (
    ClientAddressReceived,
    CommandEvent,
    ConnectionOpened,
    ContentReceived,
    CredentialsReceived,
    GreetingReceived,
    MailReceived,
    RecipientReceived,
    TlsRequested,
    TlsStarting,
    VerdictEvent,
)
from kumo.smtp.extensions import ehlo_keywords
from kumo.smtp.limits import MAX_PROTOCOL_ERRORS
from kumo.smtp.parameters import read_mail_parameters, read_rcpt_parameters
from kumo.smtp.path import envelope_address, normalise_greeting
from kumo.smtp.replies import START_CONTENT, address_accepted
from kumo.smtp.reply import Reply
from kumo.smtp.states import COMMANDS, UNKNOWN_COMMAND, Action, State
from kumo.smtp.transaction import Transaction
from kumo_core.command import parse_command
from kumo_core.errors import WireSyntaxError

if TYPE_CHECKING:
    from collections.abc import Callable

    from kumo.smtp.reply_queue import ReplyQueue
    from kumo.smtp.session_parameters import SessionParameters
    from kumo_core.command import Command
    from kumo_core.data_scanner import ScanReport

    _Handler = Callable[["Dialogue", Command, bytes], "VerdictEvent | None"]

CONTENT_COMMAND = "DATA"
"""What rewriting and logs get as the command of every reply to content."""

# Bound once: reading a member off its class is slow, and these are needed for every command.
_OPENING = State.OPENING
_READY = State.READY
_SENDER = State.SENDER
_RECIPIENTS = State.RECIPIENTS
_CONTENT = State.CONTENT
_ANSWERING = State.ANSWERING
_CREDENTIALS = State.CREDENTIALS
_HANDSHAKE = State.HANDSHAKE
_IF_421 = DisconnectMode.IF_421
_FORCE_DISCONNECT = DisconnectMode.FORCE_DISCONNECT
_FOLLOW_WITH_421 = DisconnectMode.FOLLOW_WITH_421


class Dialogue:
    """The state of a session between commands.

    Args:
        parameters: the listener's.
        replies_out: takes every reply.
    """

    __slots__ = (
        "_accepted_mails",
        "_errors",
        "_out",
        "_parameters",
        "_stray_responses",
        "greeting",
        "is_authenticated",
        "state",
        "tls_is_active",
        "transaction",
    )

    def __init__(self, parameters: SessionParameters, replies_out: ReplyQueue) -> None:
        self._parameters = parameters
        self._out = replies_out
        self._errors = 0
        self._accepted_mails = 0
        # Refused lines that may still be what a client says to an AUTH that came to nothing.
        self._stray_responses = 0
        self.state = _OPENING
        self.transaction: Transaction | None = None
        self.greeting: str | None = None
        """Domain or literal of the last EHLO or HELO that was accepted."""
        self.is_authenticated = False
        """Whether AUTH succeeded."""
        self.tls_is_active = False
        """Whether the session runs inside TLS."""

    def reconfigure(self, parameters: SessionParameters) -> None:
        """Let what follows go by other parameters; what was counted so far stays counted."""
        self._parameters = parameters

    # --- input ------------------------------------------------------------------------------------

    def interpret(self, line: bytes) -> VerdictEvent | None:
        """Do what a command line (without CRLF) asks for; None when it was answered already."""
        try:
            command = parse_command(line)
        except WireSyntaxError as error:
            self.refuse_command(replies.OF_FAULT[error.fault], line)
            return None
        handlers = _HANDLERS[self.state]
        handler = handlers.get(command.verb, _handle_unknown)
        return handler(self, command, line)

    def refuse_command(self, reply: Reply, line: bytes) -> None:
        """Answer a command with its refusal, and count it if it is a fault of syntax or sequence."""
        shown = self._loggable(line)
        if reply.code in _PROTOCOL_ERROR_CODES:
            self._count_error(reply, shown)
        else:
            self._out.send(reply, shown, _IF_421, self.transaction)

    def refuse_long_line(self) -> None:
        """Answer a command line over the limit."""
        self._count_error(replies.LINE_TOO_LONG, None)

    def read_response(self, line: bytes | None) -> CredentialsReceived | None:
        """Take the line that follows the 334 (without CRLF; None: over the limit) for what it is there.

        Source: RFC 4954 §4.
        """
        self.state = _READY
        try:
            return read_response_line(line)
        except RemoteProtocolError as error:
            self._stray_responses = _MOST_RESPONSES
            self._count_error(Reply.of(error), RESPONSE_COMMAND)
            return None

    def start_handshake(self) -> TlsStarting:
        """The 220 to STARTTLS is out: forget what the client said in the clear. Source: RFC 3207 §4.2."""
        self.transaction = None
        self.greeting = None
        self.is_authenticated = False
        return TlsStarting()

    def end_handshake(self) -> None:
        """The session runs inside TLS from here on."""
        self.tls_is_active = True
        self.state = _READY

    def end_content(self, content: bytes, report: ScanReport) -> ContentReceived:
        """End-of-data of an acceptable size was read."""
        transaction = self._open_transaction()
        self.state = _ANSWERING
        return ContentReceived(
            transaction.sender,
            tuple(transaction.recipients),
            transaction.declared,
            tuple(transaction.recipients_declared),
            content,
            report,
        )

    def refuse_large_content(self) -> None:
        """End-of-data was read of a content over the limit."""
        self._answer_content(replies.MESSAGE_TOO_BIG, _IF_421)

    def abandon_transaction(self) -> None:
        """Forget the open transaction, as RSET does."""
        self.transaction = None
        self.state = _READY

    def withdraw(self) -> None:
        """What was to bring content, a response or a handshake went out as a refusal: commands follow."""
        transaction = self.transaction
        if self.state is not _HANDSHAKE:
            self.abandon_transaction()
        elif transaction is not None:
            self.state = _RECIPIENTS if transaction.recipients else _SENDER
        else:
            self.state = _READY

    # --- verdicts ---------------------------------------------------------------------------------

    def accept(self, event: VerdictEvent | TlsStarting, answer: Any) -> None:
        """Go on as the event proposed; ``answer`` is what ``ServerSession.accept`` got.

        Raises:
            LocalProtocolError: the event takes no such answer.
        """
        # These come with every message: called by name, they know the class of what they get.
        if isinstance(event, MailReceived):
            self._accept_mail(event, answer)
        elif isinstance(event, RecipientReceived):
            self._accept_recipient(event, answer)
        elif isinstance(event, ContentReceived):
            self._accept_content(event, answer)
        else:
            _ACCEPTANCES[type(event)](self, event, answer)

    def refuse(self, event: VerdictEvent | TlsStarting, rejection: Rejection) -> None:
        """Send policy's refusal of an event."""
        reply = Reply.of(rejection)
        mode = rejection.mode
        if isinstance(event, ContentReceived):
            self._answer_content(reply, mode)
        elif isinstance(event, ConnectionOpened):
            # A refused connection never gets to commands; only the farewell differs.
            self._out.send(reply, None, mode if mode is _FOLLOW_WITH_421 else _FORCE_DISCONNECT)
        elif isinstance(event, CommandEvent):
            self._out.send(reply, event.command, mode, self.transaction)
        else:
            raise LocalProtocolError("a pending reply can be replaced and a handshake done, neither refused")

    def _accept_connection(self, _event: ConnectionOpened, answer: object) -> None:
        _expect_nothing(answer)
        parameters = self._parameters
        self.state = _READY
        self._succeed(replies.banner(parameters.hostname, parameters.banner))

    def _accept_greeting(self, event: GreetingReceived, answer: tuple[str, ...] | None) -> None:
        keywords = event.keywords if answer is None else tuple(answer)
        self.abandon_transaction()
        if event.verb == "EHLO":
            self._succeed(replies.ehlo_accepted(self._parameters.hostname, event.domain, keywords))
        else:
            self._succeed(replies.helo_accepted(event.domain))
        self.greeting = event.domain

    def _accept_mail(self, event: MailReceived, answer: object) -> None:
        _expect_nothing(answer)
        self.transaction = Transaction(event.sender, event.declared)
        self.state = _SENDER
        self._accepted_mails += 1
        self._succeed(address_accepted(event.sender.email))

    def _accept_recipient(self, event: RecipientReceived, answer: object) -> None:
        _expect_nothing(answer)
        transaction = self._open_transaction()
        if event.over_limit:
            self._out.send(replies.TOO_MANY_RECIPIENTS, event.command, _IF_421, transaction)
            return
        transaction.recipients.append(event.recipient)
        transaction.recipients_declared.append(event.declared)
        self.state = _RECIPIENTS
        self._succeed(address_accepted(event.recipient.email))

    def _accept_content(self, _event: ContentReceived, answer: Reply | None) -> None:
        if not isinstance(answer, Reply):
            raise LocalProtocolError("content is answered with a Reply")
        self._answer_content(answer, _IF_421)

    def _accept_tls(self, _event: TlsRequested, answer: object) -> None:
        _expect_nothing(answer)
        self.state = _HANDSHAKE
        self._succeed(replies.START_TLS)

    def _accept_credentials(self, event: CredentialsReceived, answer: object) -> None:
        if answer is True:
            self.is_authenticated = True
            self._succeed(replies.AUTHENTICATED)
        elif answer is False:
            self._out.send(replies.AUTH_INVALID, event.command)
        else:
            raise LocalProtocolError("credentials are answered with True or False")

    def _accept_address(self, _event: ClientAddressReceived, answer: object) -> None:
        _expect_nothing(answer)
        parameters = self._parameters
        self._succeed(replies.banner(parameters.hostname, parameters.banner))

    def _accept_nothing(self, _event: TlsStarting, _answer: object) -> None:
        raise LocalProtocolError("a handshake waits for tls_started")

    # --- commands ---------------------------------------------------------------------------------

    def _greet(self, command: Command, line: bytes) -> GreetingReceived | None:
        try:
            domain = normalise_greeting(command.argument or "")
        except ValueError:
            self.refuse_command(replies.SYNTAX_ERROR, line)
            return None
        keywords: tuple[str, ...] = ()
        if command.verb == "EHLO":
            parameters = self._parameters
            keywords = ehlo_keywords(
                parameters.max_message_size,
                tls_is_active=self.tls_is_active,
                allow_xclient=parameters.allow_xclient,
            )
        return GreetingReceived(command.verb, domain, keywords, line.decode())

    def _mail(self, command: Command, line: bytes) -> MailReceived | None:
        parameters = self._parameters
        if self._accepted_mails >= parameters.max_messages_per_connection:
            self._out.send(replies.TOO_MANY_MESSAGES, line.decode())
            return None
        try:
            # The core gives MAIL and RCPT a path, or refuses them.
            sender = envelope_address(command.path)  # type: ignore[arg-type]
        except ValueError:
            self.refuse_command(replies.BAD_SENDER, line)
            return None
        try:
            declared = read_mail_parameters(command.parameters)
        except RemoteProtocolError as error:
            self.refuse_command(Reply.of(error), line)
            return None
        if declared.size is not None and declared.size > parameters.max_message_size:
            self._out.send(replies.MESSAGE_TOO_BIG, line.decode())
            return None
        return MailReceived(sender, declared, line.decode())

    def _rcpt(self, command: Command, line: bytes) -> RecipientReceived | None:
        transaction = self._open_transaction()
        try:
            recipient = envelope_address(command.path)  # type: ignore[arg-type]
        except ValueError:
            self.refuse_command(replies.BAD_RECIPIENT, line)
            return None
        try:
            declared = read_rcpt_parameters(command.parameters)
        except RemoteProtocolError as error:
            self.refuse_command(Reply.of(error), line)
            return None
        over_limit = len(transaction.recipients) >= self._parameters.max_recipients_per_message
        return RecipientReceived(transaction.sender, recipient, declared, over_limit, line.decode())

    def _data(self, _command: Command, _line: bytes) -> None:
        self.state = _CONTENT
        self._succeed(START_CONTENT)

    def _rset(self, _command: Command, _line: bytes) -> None:
        self.abandon_transaction()
        self._succeed(replies.WAS_RESET)

    def _noop(self, _command: Command, _line: bytes) -> None:
        self._succeed(replies.NOTHING_DONE)

    def _starttls(self, _command: Command, line: bytes) -> TlsRequested | None:
        if self.tls_is_active:
            self.refuse_command(replies.TLS_IS_ACTIVE, line)
            return None
        return TlsRequested(line.decode())

    def _auth(self, command: Command, line: bytes) -> CredentialsReceived | None:
        refusal = self._auth_refusal(command.argument or "")
        if refusal is None and command.parameters:
            ((_, response),) = command.parameters
            try:
                return read_plain_response((response or "").encode(), loggable_command(line))
            except RemoteProtocolError as error:
                refusal = Reply.of(error)
        if refusal is not None:
            self.refuse_command(refusal, line)
        else:
            self.state = _CREDENTIALS
            # Not yet a success: a row of errors goes on over exchanges that come to nothing.
            self._out.send(replies.START_RESPONSE)
        return None

    def _auth_refusal(self, mechanism: str) -> Reply | None:
        if self.is_authenticated:
            return replies.AUTH_TWICE
        if self.transaction is not None:
            return replies.AUTH_IN_TRANSACTION
        # RFC 4954 §4 has mechanism names in upper case; KumoMTA knows no other spelling.
        if mechanism != "PLAIN":
            return replies.mechanism_not_supported(mechanism)
        if not self.tls_is_active:
            return replies.encryption_required(mechanism)
        return None

    def _xclient(self, command: Command, line: bytes) -> ClientAddressReceived | None:
        if not self._parameters.allow_xclient:
            refusal = replies.XCLIENT_NOT_PERMITTED
        elif self.transaction is not None:
            refusal = replies.XCLIENT_IN_TRANSACTION
        else:
            try:
                return read_client_address(command, line)
            except RemoteProtocolError as error:
                refusal = Reply.of(error)
        self.refuse_command(refusal, line)
        return None

    def _quit(self, _command: Command, _line: bytes) -> None:
        self._out.send(replies.GOODBYE, None, _FORCE_DISCONNECT)

    # --- replies ----------------------------------------------------------------------------------

    def _succeed(self, reply: Reply) -> None:
        self._errors = 0
        self._out.send(reply)

    def _answer_content(self, reply: Reply, mode: DisconnectMode) -> None:
        transaction = self.transaction
        # Refused or not, it is over: a client that pipelines cannot know of one that stays open.
        self.abandon_transaction()
        self._out.send(reply, CONTENT_COMMAND, mode, transaction)

    def _loggable(self, line: bytes) -> str:
        """A refused command as logs may see it; of clients that do not wait, only the commands."""
        verb = line.split(maxsplit=1)[:1]
        name = verb[0].upper() if verb else b""
        if name == b"AUTH":
            self._stray_responses = _MOST_RESPONSES
        elif name in _VERBS:
            self._stray_responses = 0
        elif self._stray_responses:
            self._stray_responses -= 1
            return MASK
        return loggable_command(line)

    def _count_error(self, reply: Reply, command: str | None) -> None:
        self._errors += 1
        self._out.send(reply, command, _IF_421, self.transaction)
        if self._errors == MAX_PROTOCOL_ERRORS:
            farewell = replies.too_many_errors(self._parameters.hostname)
            self._out.send(farewell, None, _FORCE_DISCONNECT, self.transaction)

    def _open_transaction(self) -> Transaction:
        # The state tables let no command here, and no content end, without one.
        return self.transaction  # type: ignore[return-value]

    # --- tables -----------------------------------------------------------------------------------

    # No ClassVar: the compiler would take it for an attribute of instances.
    ACTIONS = {  # noqa: RUF012
        Action.GREET: _greet,
        Action.OPEN_TRANSACTION: _mail,
        Action.ADD_RECIPIENT: _rcpt,
        Action.START_CONTENT: _data,
        Action.RESET: _rset,
        Action.DO_NOTHING: _noop,
        Action.START_TLS: _starttls,
        Action.AUTHENTICATE: _auth,
        Action.CHANGE_ADDRESS: _xclient,
        Action.QUIT: _quit,
    }
    """How each action of the state tables is done."""

    ACCEPTANCES = {  # noqa: RUF012
        ConnectionOpened: _accept_connection,
        GreetingReceived: _accept_greeting,
        TlsRequested: _accept_tls,
        CredentialsReceived: _accept_credentials,
        ClientAddressReceived: _accept_address,
        TlsStarting: _accept_nothing,
    }
    """How each event takes its course but for those of a transaction."""


_MOST_RESPONSES = 2
"""Lines that a client has to say to AUTH LOGIN, which has the most of all mechanisms with a bare password."""

_VERBS = frozenset(verb.encode() for commands in COMMANDS.values() for verb in commands)

_PROTOCOL_ERROR_CODES = range(500, 505)
"""Codes of syntax and sequence, RFC 5321 §4.2.2."""


def _expect_nothing(answer: object) -> None:
    if answer is not None:
        raise LocalProtocolError(f"this event is accepted without an answer, not with {answer!r}")


def _refusal(reply: Reply) -> _Handler:
    def refuse(dialogue: Dialogue, _command: Command, line: bytes) -> None:
        dialogue.refuse_command(reply, line)

    return refuse


_handle_unknown = _refusal(UNKNOWN_COMMAND)

_ACCEPTANCES: Any = Dialogue.ACCEPTANCES

# One look-up a command: the tables are merged with the methods once, at import.
_HANDLERS: dict[State, dict[str, _Handler]] = {
    state: {
        verb: _refusal(entry) if isinstance(entry, Reply) else Dialogue.ACTIONS[entry]
        for verb, entry in commands.items()
    }
    for state, commands in COMMANDS.items()
}
