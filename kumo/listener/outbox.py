"""What a turn of the loop has to send, sent at its end.

A reply that is written wakes whoever reads it, and where processors are scarce that process runs at once,
in the midst of the turn: what the processor had learnt of the daemon's code and data is gone before the next
connection gets its share. Written together at the end of the turn, 2 KB messages take 9 % less of the
processor on a connection that is used again and 16 % less on a connection each, the latter together with
``Acceptor.A_TURN``; past the loop's transports and by one system call where that helps, another 13 % and
7 %. See docs/decisions/0005-compiled-session.md. One for each listener, in its ``ListenerContext``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from kumo.listener.sending import involuntary_switches, send_each, send_together

if TYPE_CHECKING:
    import asyncio

MOST_WAITING: Final = 64
"""Connections that wait for the end of a turn; with more, all are sent what they are due at once."""

TURNS_TOGETHER: Final = 128
"""Turns that are sent by one system call after one that was not, in which a reader ran in our midst. Such a
call takes half a microsecond more for each reply, and saves three for each reader that would run."""

TURNS_APART: Final = 8
"""Turns that are sent by a call for each reply after one in which nothing else ran; then one is looked at."""


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
        switches: how often something else ran on this thread's processor so far.
    """

    __slots__ = ("_loop", "_switches", "_turns_apart", "_turns_together", "_waiting", "is_attended")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, switches: Callable[[], int] = involuntary_switches
    ) -> None:
        self._loop = loop
        self._switches = switches
        self._turns_together = 0
        self._turns_apart = 0
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
            rests = self._send(descriptors, contents)
            for sender, rest in zip(together, rests, strict=True):
                sender.sent(rest)

    def _send(self, descriptors: list[int], contents: list[bytes]) -> list[bytes]:
        """Send to sockets, in the way that the last turns have shown to be the cheaper one."""
        if len(descriptors) == 1:
            return send_each(descriptors, contents)
        if self._turns_together > 0:
            self._turns_together -= 1
            return send_together(descriptors, contents)
        if self._turns_apart > 0:
            self._turns_apart -= 1
            return send_each(descriptors, contents)
        before = self._switches()
        rests = send_each(descriptors, contents)
        if self._switches() > before:
            self._turns_together = TURNS_TOGETHER
        else:
            self._turns_apart = TURNS_APART
        return rests
