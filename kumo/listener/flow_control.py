"""Back-pressure of one connection: when not to read, and when a peer that does not read is given up.

A peer may send without reading our replies. Reading from it stops as soon as the transport holds more
than its high-water mark, which bounds its memory; and when nothing of what is held has gone out for the
time limit, the connection is to be dropped. Called by ``esmtp_protocol``; it knows no SMTP and sets no
timer.
"""

from __future__ import annotations

import asyncio

CHECK_INTERVAL = 1.0
"""Seconds between looks at a transport that has something to send; the most a time limit is late by."""


class FlowControl:
    """What a connection may do just now.

    Args:
        transport: the connection's transport.
        time_limit: seconds that unsent octets may stand still.
        carrier: with TLS, the transport beneath: what is encrypted already waits there.
    """

    __slots__ = ("_carrier", "_still_since", "_time_limit", "_transport", "_unsent", "is_writing_paused")

    def __init__(
        self, transport: asyncio.Transport, time_limit: float, carrier: asyncio.Transport | None = None
    ) -> None:
        self._transport = transport
        self._carrier = carrier
        self._time_limit = time_limit
        self._unsent = 0
        self._still_since = 0.0
        self.is_writing_paused = False
        """Whether the transport holds more than its high-water mark."""

    def watch_writing(self, now: float) -> None:
        """Begin to count the time in which nothing goes out.

        Args:
            now: the loop's time in seconds.
        """
        self._unsent = self._unsent_octets()
        self._still_since = now

    def limit_time(self, time_limit: float) -> None:
        """Replace the time limit, in seconds; what stands still now has stood still for as long as before."""
        self._time_limit = time_limit

    def lose_patience(self, now: float, time_limit: float) -> None:
        """Let unsent octets stand still for no longer than a shorter limit, counted from now.

        Args:
            now: the loop's time in seconds.
            time_limit: seconds; a longer one than before changes nothing.
        """
        self._time_limit = min(self._time_limit, time_limit)
        self.watch_writing(now)

    def give_up_at(self, now: float) -> float:
        """When unsent octets have stood still for too long.

        Args:
            now: the loop's time in seconds.

        Returns:
            The loop's time; the limit counts anew whenever something went out.
        """
        unsent = self._unsent_octets()
        if unsent < self._unsent:
            self._still_since = now
        self._unsent = unsent
        return self._still_since + self._time_limit

    @property
    def has_unsent(self) -> bool:
        """Whether octets wait for the peer to read."""
        return self._unsent_octets() > 0

    def stop_reading(self) -> None:
        """Take no more octets from the peer."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Take octets again."""
        self._transport.resume_reading()

    def _unsent_octets(self) -> int:
        unsent = self._transport.get_write_buffer_size()
        return unsent if self._carrier is None else unsent + self._carrier.get_write_buffer_size()
