"""The way out of a session: every octet that a client is sent goes through here.

Holds the rules of rewriting, of what counts as a refusal, and of which reply ends the session.
It does not know why a reply is sent. Used by ``ServerSession`` and ``Dialogue``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kumo.errors import DisconnectMode
from kumo.smtp import replies
from kumo.smtp.events import ReplyPending, ReplyRefused, SessionEnded

if TYPE_CHECKING:
    from kumo.smtp.reply import Reply
    from kumo.smtp.transaction import Transaction

_IF_421 = DisconnectMode.IF_421
_FORCE_DISCONNECT = DisconnectMode.FORCE_DISCONNECT
_FOLLOW_WITH_421 = DisconnectMode.FOLLOW_WITH_421

_SERVICE_CLOSING = 421
_FIRST_REFUSAL = 400
_LAST_REFUSAL = 599


class WaitingReply(NamedTuple):
    """A reply with all that sending it needs."""

    reply: Reply
    command: str | None
    mode: DisconnectMode
    transaction: Transaction | None


class ReplyQueue:
    """Replies on their way to octets.

    Args:
        hostname: for the 421 that follows a rejection.
        rewrites: whether each reply waits for ``rewrite`` before it is sent.
    """

    __slots__ = ("_hostname", "_more", "_octets", "_rewrites", "ended", "facts", "waiting")

    def __init__(self, hostname: str, *, rewrites: bool) -> None:
        self._hostname = hostname
        self._rewrites = rewrites
        # Nearly always one reply is taken before the next is sent: a list would be resized twice for each.
        self._octets = b""
        self._more: list[bytes] = []
        self.waiting: list[WaitingReply] = []
        """Replies that are to be rewritten before they are sent, oldest first."""
        self.ended = False
        """Whether the session is over; nothing is sent any more."""
        self.facts: list[ReplyRefused | SessionEnded] = []
        """What the shell is to be told, oldest first; the session takes them out."""

    def reconfigure(self, hostname: str, *, rewrites: bool) -> None:
        """Let what is sent from now on follow other parameters; only while nothing is ``waiting``."""
        self._hostname = hostname
        self._rewrites = rewrites

    def has_octets(self) -> bool:
        """Whether ``take_octets`` would give any."""
        return bool(self._octets)

    def send(
        self,
        reply: Reply,
        command: str | None = None,
        mode: DisconnectMode = _IF_421,
        transaction: Transaction | None = None,
    ) -> None:
        """Send a reply, or queue it for rewriting.

        Args:
            reply: what to send.
            command: what it refuses, for rewriting and logs.
            mode: what happens to the connection afterwards.
            transaction: the one that it belongs to, for logs.
        """
        if self._rewrites:
            self.waiting.append(WaitingReply(reply, command, mode, transaction))
        elif mode is _IF_421 and reply.code < _FIRST_REFUSAL:
            self._append(reply.encode())
        else:
            self._transmit(reply, command, mode, transaction)

    def pending(self) -> ReplyPending:
        """The reply that waits for ``rewrite``; only while any is ``waiting``."""
        waiting = self.waiting[0]
        return ReplyPending(waiting.reply, waiting.command)

    def rewrite(self, replacement: Reply | None) -> Reply:
        """Send what waits, or its replacement.

        Returns:
            The reply that was sent.
        """
        reply, command, mode, transaction = self.waiting.pop(0)
        final = reply if replacement is None else replacement
        self._transmit(final, command, mode, transaction)
        return final

    def send_and_end(self, reply: Reply, command: str | None, transaction: Transaction | None) -> None:
        """Send a reply that nobody may rewrite, in place of all that wait, and end the session."""
        self.waiting.clear()
        self._transmit(reply, command, _FORCE_DISCONNECT, transaction)

    def end(self, reason: str) -> None:
        """End the session without another word."""
        self.ended = True
        self.waiting.clear()
        self.facts.append(SessionEnded(reason))

    def take_octets(self) -> bytes:
        """All octets that were not taken yet."""
        octets = self._octets
        self._octets = b""
        if self._more:
            octets = b"".join((octets, *self._more))
            self._more.clear()
        return octets

    def _append(self, octets: bytes) -> None:
        if self._octets:
            self._more.append(octets)
        else:
            self._octets = octets

    def _transmit(
        self, reply: Reply, command: str | None, mode: DisconnectMode, transaction: Transaction | None
    ) -> None:
        self._append(reply.encode())
        code = reply.code
        if code < _FIRST_REFUSAL and mode is _IF_421:
            return
        if _FIRST_REFUSAL <= code <= _LAST_REFUSAL:
            sender = transaction.sender if transaction else None
            recipient = transaction.last_recipient if transaction else None
            self.facts.append(ReplyRefused(reply, command, sender, recipient))
        if mode is _FOLLOW_WITH_421 and code != _SERVICE_CLOSING:
            # Replies that wait behind this one would come too late: the client was told that it is over.
            self.waiting.clear()
            self.send(replies.disconnecting(self._hostname), None, _FORCE_DISCONNECT, transaction)
        elif mode is not _IF_421 or code == _SERVICE_CLOSING:
            self.end(f"{code} {reply.text}")
