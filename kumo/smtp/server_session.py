"""The server's side of one SMTP connection, without socket, loop or clock.

Octets and time go in by ``receive_data``, facts come out of ``next_event``, octets out of ``data_to_send``.
Policy, relay rights, storage and logs are the shell's, which answers events with ``accept``, ``refuse`` or
``fail``. Used by ``kumo.listener``::

    session.receive_data(octets, now)
    while (event := session.next_event()).__class__ is not Wait:
        ...                              # answer it now, or later: the session is paused until then
    transport.write(session.data_to_send())
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Final

from kumo.errors import DisconnectMode, LocalProtocolError, Rejection
from kumo.smtp import replies
from kumo.smtp.content_reader import ContentReader
from kumo.smtp.dialogue import CONTENT_COMMAND, Dialogue
from kumo.smtp.events import (
    ClientAddressReceived,
    CommandEvent,
    ConnectionOpened,
    Event,
    ReplyPending,
    TlsStarting,
    VerdictEvent,
)
from kumo.smtp.limits import MAX_HELD_OCTETS
from kumo.smtp.line_reader import DeafReader, LineReader, NoLine
from kumo.smtp.reply import Reply
from kumo.smtp.reply_queue import ReplyQueue
from kumo.smtp.states import State
from kumo_core.line import copy_octets

if TYPE_CHECKING:
    from kumo.smtp.content_reader import Octets
    from kumo.smtp.session_parameters import SessionParameters

# Bound once: reading a member off its class is slow, and these are needed for every command.
_FORCE_DISCONNECT = DisconnectMode.FORCE_DISCONNECT
_OPENING = State.OPENING
_CONTENT = State.CONTENT
_CREDENTIALS = State.CREDENTIALS
_HANDSHAKE = State.HANDSHAKE
_CONTENT_STATES = (State.CONTENT, State.ANSWERING)
# What brought the session here must have gone out as it was, or commands follow.
_INVITING_STATES = frozenset({State.CONTENT, State.CREDENTIALS, State.HANDSHAKE})
_INCOMPLETE: Final = NoLine.INCOMPLETE
_PEER_CLOSED = "the peer closed the connection"


class Wait(enum.Enum):
    """Why ``next_event`` has nothing to tell."""

    NEED_DATA = enum.auto()
    """All input is used up."""
    PAUSED = enum.auto()
    """A verdict is due, or the session has ended."""


_NEED_DATA: Final = Wait.NEED_DATA
_PAUSED: Final = Wait.PAUSED


class ServerSession:
    """One session.

    Never raises on what a peer sent and never keeps a reference to the caller's buffer. Commands that
    the peer pipelines are answered in order: while an event waits for its verdict none is looked at.

    Args:
        parameters: the listener's.
        now: monotonic time in seconds.

    Raises:
        LocalProtocolError: from any method, when it is called where it has no meaning: our own bug.

    Source: RFC 5321 §3, §4; RFC 2920.
    """

    __slots__ = (
        "_awaiting",
        "_content",
        "_dialogue",
        "_eof",
        "_lines",
        "_out",
        "_parameters",
        "_progress",
        "_stopping",
    )

    def __init__(self, parameters: SessionParameters, now: float) -> None:
        self._parameters = parameters
        self._progress = now
        self._lines = LineReader(parameters.line_length_hard_limit)
        self._content = ContentReader(parameters.max_message_size, parameters.line_length_hard_limit)
        self._out = ReplyQueue(parameters.hostname, rewrites=parameters.rewrites_replies)
        self._dialogue = Dialogue(parameters, self._out)
        self._awaiting: VerdictEvent | TlsStarting | None = None
        self._eof = False
        self._stopping = False

    # --- what the shell may ask -------------------------------------------------------------------

    @property
    def greeting(self) -> str | None:
        """Domain or literal of the last EHLO or HELO that was accepted."""
        return self._dialogue.greeting

    @property
    def tls_is_active(self) -> bool:
        """Whether the session runs inside TLS."""
        return self._dialogue.tls_is_active

    @property
    def is_authenticated(self) -> bool:
        """Whether AUTH succeeded."""
        return self._dialogue.is_authenticated

    @property
    def is_reading(self) -> bool:
        """Whether more input is wanted; when not, the shell is to stop reading from its socket.

        Not wanted between ``TlsStarting`` and ``tls_started``: what comes then anyway is dropped unread.
        """
        return not (self._awaiting is not None or self._eof or self._out.ended)

    def is_receiving_content(self) -> bool:
        """Whether what comes next is content, for which large reads are worth while."""
        return self._dialogue.state is _CONTENT and not self._out.ended

    @property
    def ended(self) -> bool:
        """Whether the session is over; the shell closes once it has written ``data_to_send``."""
        return self._out.ended

    def has_data_to_send(self) -> bool:
        """Whether ``data_to_send`` would give any octets."""
        return self._out.has_octets()

    @property
    def deadline(self) -> float | None:
        """Monotonic time at which ``handle_timeout`` is due; None while it is not the peer's turn."""
        if self._awaiting is not None or self._out.ended:
            return None
        return self._progress + self._parameters.client_timeout

    # --- input ------------------------------------------------------------------------------------

    def receive_data(self, data: Octets, now: float, start: int = 0, end: int = -1) -> None:
        """Take octets from the peer; ``next_event`` tells what came of them.

        Args:
            data: octets; what is needed of them is copied.
            now: monotonic time in seconds.
            start: first octet of ``data`` that counts.
            end: octet after the last one that counts; -1: the buffer's end.

        Raises:
            LocalProtocolError: after ``receive_eof``, or again and again without a look at ``next_event`` or
                while ``is_reading`` is False.
        """
        if self._eof:
            raise LocalProtocolError("octets came after end of file")
        if self._out.ended:
            return
        self._progress = now
        if end < 0:
            end = len(data)
        lines = self._lines
        if self._dialogue.state is _CONTENT and not (self._content.is_complete or self._out.waiting):
            start += self._content.receive(data, start, end)
            if start == end:
                return
        # A sum could be more than a machine word holds.
        if lines.held_octets() - lines.limit > MAX_HELD_OCTETS:
            raise LocalProtocolError("the shell goes on reading while the session is paused")
        lines.feed(copy_octets(data, start, end))

    def receive_eof(self, now: float) -> None:
        """The peer sends no more. What it sent is still answered, then the session ends. Idempotent."""
        if not self._eof:
            self._eof = True
            self._progress = now
            if self._shakes_hands():
                self._out.end(_PEER_CLOSED)

    def handle_timeout(self, now: float) -> None:
        """End the session with 421 if ``deadline`` has passed; a call too early does nothing."""
        deadline = self.deadline
        if deadline is not None and now >= deadline:
            self._end_with(replies.idle(self._parameters.hostname))

    def shut_down(self) -> None:
        """The daemon stops: end with 421 as soon as no complete command and no verdict waits.

        The shell calls ``next_event`` afterwards, as after input.
        """
        self._stopping = True

    def refuse_connection(self, text: str) -> None:
        """Send ``421 4.3.2 {hostname} {text}`` in place of the banner and end the session."""
        if self._dialogue.state is not _OPENING or self._out.ended or self._out.waiting:
            raise LocalProtocolError("the connection was answered already")
        self._awaiting = None
        self._end_with(replies.unavailable(self._parameters.hostname, text))

    def tls_started(self, *, now: float | None = None) -> None:
        """The handshake that ``TlsStarting`` asked for is done; octets from here on came inside TLS.

        Args:
            now: monotonic time in seconds; the peer's time limit starts anew. Without it, it runs from the
                last input in the clear.
        """
        if not isinstance(self._awaiting, TlsStarting) or self._out.ended:
            raise LocalProtocolError("no handshake was asked for")
        self._awaiting = None
        if now is not None:
            self._progress = now
        self._lines = LineReader(self._parameters.line_length_hard_limit)
        self._dialogue.end_handshake()

    def set_parameters(self, parameters: SessionParameters) -> None:
        """Go by other parameters from here on; what was counted so far stays counted.

        Legal before the banner, and while ``ClientAddressReceived`` waits for its verdict: the answer to
        either is made of the new ones.
        """
        may_change = self._dialogue.state is _OPENING or isinstance(self._awaiting, ClientAddressReceived)
        if not may_change or self._out.ended or self._out.waiting:
            raise LocalProtocolError("parameters change before the banner or while an address is judged")
        self._parameters = parameters
        self._lines.limit = parameters.line_length_hard_limit
        self._content = ContentReader(parameters.max_message_size, parameters.line_length_hard_limit)
        self._out.reconfigure(parameters.hostname, rewrites=parameters.rewrites_replies)
        self._dialogue.reconfigure(parameters)

    # --- output -----------------------------------------------------------------------------------

    def next_event(self) -> Event | Wait:
        """The next thing to tell, working off input as far as needed.

        Returns:
            An event; ``Wait.NEED_DATA`` when all input is used up; ``Wait.PAUSED`` while a verdict
            or a handshake is due and for ever once the session has ended.
        """
        out = self._out
        while True:
            if out.facts:
                return out.facts.pop(0)
            if self._awaiting is not None:
                return _PAUSED
            if out.ended:
                self._release()
                return _PAUSED
            event = out.pending() if out.waiting else self._advance()
            if event is _NEED_DATA or event is _PAUSED:
                return event
            if event is not None:
                self._awaiting = event
                return event

    def data_to_send(self) -> bytes:
        """The replies that were not taken yet, to be written as they are."""
        return self._out.take_octets()

    # --- verdicts ---------------------------------------------------------------------------------

    def accept(self, answer: Reply | tuple[str, ...] | bool | None = None, now: float | None = None) -> None:
        """Let the event that paused the session take its course.

        Args:
            answer: for content the reply and for credentials whether they are right (both required), for
                EHLO the keyword lines, for a pending reply its replacement; None for all others.
            now: monotonic time in seconds when the verdict took time: the peer's time limit
                starts anew. Without it, it runs from the last input.
        """
        event = self._take_awaited(now)
        if type(event) is ReplyPending:
            self._rewrite(answer)
        else:
            self._dialogue.accept(event, answer)
        self._awaiting = None

    def refuse(self, rejection: Rejection, *, now: float | None = None) -> None:
        """Answer the event that paused the session with a refusal; ``now`` is as for ``accept``."""
        self._dialogue.refuse(self._take_awaited(now), rejection)
        self._awaiting = None

    def fail(self, cause: str | None = None) -> None:
        """End the session with 421 4.3.0 because something of ours went wrong.

        While a handshake is due it ends without a word: the client would take it for part of TLS.
        May be called at any time; after the end it does nothing.

        Args:
            cause: for the log of rejections, never for the peer.
        """
        if self._out.ended:
            return
        if self._shakes_hands():
            self._out.end("technical difficulties")
            return
        event = self._awaiting
        self._awaiting = None
        dialogue = self._dialogue
        if cause is not None:
            command: str | None = f"Error in SmtpServerSession: {cause}"
        elif isinstance(event, CommandEvent):
            command = event.command
        else:
            command = CONTENT_COMMAND if dialogue.state in _CONTENT_STATES else None
        reply = replies.technical_difficulties(self._parameters.hostname)
        if isinstance(event, ReplyPending):
            self._out.send_and_end(reply, command, dialogue.transaction)
        else:
            self._out.send(reply, command, _FORCE_DISCONNECT, dialogue.transaction)

    # --- within -----------------------------------------------------------------------------------

    def _advance(self) -> VerdictEvent | TlsStarting | Wait | None:
        """One step through the input; None when it needs no verdict."""
        state = self._dialogue.state
        if state is _CONTENT:
            return self._advance_content()
        if state is _OPENING or state is _CREDENTIALS or state is _HANDSHAKE:
            return self._advance_otherwise(state)
        line = self._lines.next_line()
        if line is _INCOMPLETE:
            return self._starve()
        if isinstance(line, bytes):
            return self._dialogue.interpret(line)
        self._dialogue.refuse_long_line()
        return None

    def _advance_otherwise(self, state: State) -> VerdictEvent | TlsStarting | Wait | None:
        if state is _OPENING:
            return ConnectionOpened()
        if state is _HANDSHAKE:
            # Nothing that came in the clear behind STARTTLS may ever be read: it would run inside TLS.
            self._lines = DeafReader(0)
            return self._starve() if self._eof else self._dialogue.start_handshake()
        line = self._lines.next_line()
        if line is _INCOMPLETE:
            return self._starve()
        return self._dialogue.read_response(line if isinstance(line, bytes) else None)

    def _shakes_hands(self) -> bool:
        """Whether the 220 to STARTTLS is on its way: until TLS is up the client takes no reply."""
        return self._dialogue.state is _HANDSHAKE and not (self._out.waiting or self._out.ended)

    def _advance_content(self) -> VerdictEvent | Wait | None:
        content = self._content
        if not content.is_complete:
            rest = self._lines.take_rest()
            if rest:
                consumed = content.receive(rest, 0, len(rest))
                self._lines.feed(rest[consumed:])
            if not content.is_complete:
                return self._starve()
        if content.is_too_big:
            content.discard()
            self._dialogue.refuse_large_content()
            return None
        octets, report = content.take()
        return self._dialogue.end_content(octets, report)

    def _starve(self) -> Wait | None:
        """Input is used up; None when the session ends for it."""
        if self._eof:
            self._out.end(_PEER_CLOSED)
            return None
        if self._stopping:
            self._end_with(replies.shutting_down(self._parameters.hostname))
            return None
        return _NEED_DATA

    def _take_awaited(self, now: float | None) -> VerdictEvent | TlsStarting:
        event = self._awaiting
        if event is None:
            raise LocalProtocolError("a verdict, but no event asked for one")
        if now is not None:
            self._progress = now
        return event

    def _rewrite(self, answer: Any) -> None:
        if answer is not None and not isinstance(answer, Reply):
            raise LocalProtocolError("a pending reply is replaced by a Reply")
        sent = self._out.rewrite(answer)
        if sent.is_refusal and self._dialogue.state in _INVITING_STATES:
            self._dialogue.withdraw()

    def _end_with(self, reply: Reply) -> None:
        dialogue = self._dialogue
        command = CONTENT_COMMAND if dialogue.state in _CONTENT_STATES else None
        self._out.send(reply, command, _FORCE_DISCONNECT, dialogue.transaction)

    def _release(self) -> None:
        self._lines.take_rest()
        self._content.discard()
