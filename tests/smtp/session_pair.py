"""A client and a shell round a bare session: no socket, no loop, no clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

from kumo.errors import Rejection
from kumo.smtp import (
    ContentReceived,
    CredentialsReceived,
    Event,
    Reply,
    ReplyRefused,
    ServerSession,
    SessionEnded,
    SessionParameters,
    TlsStarting,
    Wait,
)
from tests.dialogues.dialogue import PARAMETERS, PASSWORD

STORED = Reply(250, "OK ids=0123456789abcdef")

Verdict = Callable[[Event], Any]


def parameters(**changes: Any) -> SessionParameters:
    return SessionParameters(**{**PARAMETERS, **changes})


def cut(octets: bytes, places: Iterable[int]) -> list[bytes]:
    """The octets in segments that end at these places; any number is one."""
    ends = [0, *sorted({place % (len(octets) + 1) for place in places}), len(octets)]
    return [octets[a:b] for a, b in pairwise(ends)]


def accept_all(_event: Event) -> None:
    return None


class SessionPair:
    """Plays the client and answers the session's events.

    Args:
        verdict: what to answer an event with: None or a value for ``accept``, a ``Rejection`` for
            ``refuse``, ``NotImplemented`` to leave the session paused.
        greet: whether to take the banner at once and forget it.
        changes: parameters other than the dialogues' defaults.
    """

    def __init__(self, verdict: Verdict = accept_all, *, greet: bool = True, **changes: Any) -> None:
        self.session = ServerSession(parameters(**changes), 0.0)
        self.verdict = verdict
        self.now = 0.0
        self.events: list[Event] = []
        self._waits = Wait.PAUSED
        if greet:
            self.pump()
            self.session.data_to_send()
            self.events.clear()

    def pump(self) -> None:
        """Take events and answer them until the session waits."""
        while not isinstance(event := self.session.next_event(), Wait):
            self.events.append(event)
            if not isinstance(event, ReplyRefused | TlsStarting | SessionEnded):
                self._answer(event, self.verdict(event))
        self._waits = event

    def _answer(self, event: Event, answer: Any) -> None:
        if isinstance(answer, Rejection):
            self.session.refuse(answer)
        elif answer is not NotImplemented:
            if answer is None and isinstance(event, ContentReceived):
                answer = STORED
            elif answer is None and isinstance(event, CredentialsReceived):
                answer = event.password == PASSWORD
            self.session.accept(answer)

    def waits_for(self) -> Wait:
        """Why the session had nothing more to tell."""
        return self._waits

    def send(self, octets: bytes) -> str:
        """Send octets in one segment; returns all that the server says to them."""
        self.session.receive_data(octets, self.now)
        self.pump()
        return self.said()

    def send_in(self, segments: Iterable[bytes]) -> str:
        """Send octets in these segments; returns all that the server says to them."""
        return "".join([self.send(segment) for segment in segments])

    def command(self, line: str) -> str:
        """Send a line; returns the replies without the last CRLF."""
        return self.send(line.encode() + b"\r\n").removesuffix("\r\n")

    def start_tls(self) -> None:
        """STARTTLS and the handshake, and the events of it forgotten."""
        self.command("STARTTLS")
        self.finish_handshake()
        self.events.clear()

    def finish_handshake(self) -> str:
        """Do the handshake that is due; returns what the server says first inside TLS."""
        assert isinstance(self.events[-1], TlsStarting)
        self.session.tls_started(now=self.now)
        self.pump()
        return self.said()

    def open_transaction(self, *, recipients: int = 1) -> None:
        """MAIL and RCPT, and the events of it forgotten."""
        self.send(b"MAIL FROM:<sender@example.com>\r\n")
        self.send(b"".join(b"RCPT TO:<r%d@example.org>\r\n" % i for i in range(recipients)))
        self.events.clear()

    def content(self, octets: bytes) -> ContentReceived:
        """A whole transaction with this content as it is on the wire; returns what the shell got."""
        self.open_transaction()
        self.command("DATA")
        self.send(octets)
        event: ContentReceived
        (event,) = self.of_type(ContentReceived)
        return event

    def of_type(self, *types: type[Any]) -> list[Any]:
        """The events of these types so far."""
        return [event for event in self.events if isinstance(event, types)]

    def said(self) -> str:
        """What the server said since the last look."""
        return self.session.data_to_send().decode()
