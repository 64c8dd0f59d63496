"""What a turn of the loop has to send, sent at its end by one system call.

A reply that is written wakes whoever reads it, and where processors are scarce that process runs at once,
in the midst of the turn: what the processor had learnt of the daemon's code and data is gone before the next
connection gets its share. Written together at the end of the turn, 2 KB messages take 9 % less of the
processor on a connection that is used again and 16 % less on a connection each, the latter together with
``Acceptor.A_TURN``; handed to the kernel together, past the loop's transports, another 13 % and 7 %. See
docs/decisions/0005-compiled-session.md. One for each listener, in its ``ListenerContext``.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Final

from kumo.listener.sending import send_together

if TYPE_CHECKING:
    import asyncio

MOST_WAITING: Final = 64
"""Connections that wait for the end of a turn; with more, all are sent what they are due at once."""


class Sender:
    """A connection, as the outbox sees it. Its methods raise nothing."""

    __slots__ = ("descriptor",)

    def __init__(self) -> None:
        self.descriptor = -1
        """Its socket's, while octets may be sent to that as they are; negative otherwise."""

    @abstractmethod
    def take_due(self) -> bytes:
        """Give what is due and can be sent to the socket just now; ``sent`` is called next.

        Returns:
            The octets; none where ``send_due`` is to be called instead.
        """

    @abstractmethod
    def sent(self, rest: bytes) -> None:
        """Send what the socket did not take, nearly always nothing, and close if that was the last of it."""

    @abstractmethod
    def send_due(self) -> None:
        """Send what is due by way of the transport, and close if that was the last of it."""


class Outbox:
    """Connections with something to send, oldest first.

    Args:
        loop: whose turns count.
    """

    __slots__ = ("_loop", "_waiting", "is_attended")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: list[Sender] = []
        self.is_attended = False
        """Whether somebody is about to flush it anyway."""

    def add(self, sender: Sender) -> None:
        """Have a connection send at the end of this turn; it is not to be added again before."""
        waiting = self._waiting
        if not (waiting or self.is_attended):
            self._loop.call_soon(self.flush)
        waiting.append(sender)
        if len(waiting) >= MOST_WAITING:
            self.flush()

    def flush(self) -> None:
        """Have all send now."""
        waiting, self._waiting = self._waiting, []
        together: list[Sender] = []
        descriptors: list[int] = []
        contents: list[bytes] = []
        for sender in waiting:
            octets = sender.take_due()
            if octets:
                together.append(sender)
                descriptors.append(sender.descriptor)
                contents.append(octets)
            else:
                sender.send_due()
        if together:
            for sender, rest in zip(together, send_together(descriptors, contents), strict=True):
                sender.sent(rest)
