"""Reading, writing, time and the end of one connection; what is said on it is ``esmtp_protocol``'s.

Back-pressure, the client's time limit and closing are here. One timer serves them all: nobody re-arms it
for a command, it looks again when it fires.
"""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Final

from kumo.listener.flow_control import CHECK_INTERVAL, FlowControl
from kumo.listener.outbox import Sender

if TYPE_CHECKING:
    from kumo.listener.context import ListenerContext
    from kumo.listener.session_settings import SessionSettings
    from kumo.message import Connection
    from kumo.smtp import ServerSession

_logger = logging.getLogger("kumod.listener")

LINGER: Final = 2.0
"""Seconds a connection that we ended stays open for reading. Closing a socket that holds unread octets
resets it, and the reset overtakes the 421 that says why."""


class TimedConnection(Sender):
    """One connection, as far as octets and time go.

    Args:
        context: what it shares with the listener's other connections.
        peer: address and port of the client, as the kernel gives them.
        local: those of our end.
    """

    # Thousands of idle connections keep one of these each, and no buffer.
    __slots__ = (
        "_connection",
        "_context",
        "_flow",
        "_has_eof",
        "_has_input",
        "_is_closing",
        "_is_held_back",
        "_linger_until",
        "_may_linger",
        "_session",
        "_settings",
        "_timer",
        "_transport",
        "_verdict",
        "_view",
        "_writable_since",
    )

    def __init__(self, context: ListenerContext, peer: tuple[str, int], local: tuple[str, int]) -> None:
        super().__init__()
        self._context = context
        self._connection: Connection = context.new_connection(peer, local)
        self._settings: SessionSettings = context.settings_for(self._connection)
        self._settings.describe(self._connection)
        # Set by connection_made, gone after connection_lost.
        self._transport: asyncio.Transport | None = None
        self._flow: FlowControl | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._session: ServerSession | None = None
        # Reading and writing; whether a cohort has it, for it to work off what was read.
        self._view = context.command_view
        self._has_input = False
        self._has_eof = False
        self._is_held_back = False
        self._is_closing = False
        self._may_linger = False
        self._linger_until = 0.0
        self._writable_since = 0.0
        # What is waited for just now: policy, reception or a handshake.
        self._verdict: asyncio.Future[Any] | None = None

    @abstractmethod
    def _pump(self, now: float) -> None:
        """Work off what the session has to tell and to send."""

    # --- called by the loop -----------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the loop's signature
        """Where the next read goes: the memory that all connections share."""
        return self._view

    def pause_writing(self) -> None:
        """Stop reading from a peer that does not read."""
        flow = self._flow
        if flow is not None:
            flow.is_writing_paused = True
            flow.watch_writing(self._context.now())
            self._hold_back()
            self._look_again_after(CHECK_INTERVAL)

    def resume_writing(self) -> None:
        """Read on: the peer has read."""
        flow = self._flow
        if flow is not None:
            flow.is_writing_paused = False
            # While we did not read, the peer could not show that it is there.
            self._writable_since = self._context.now()
            self._let_go_on()

    # --- reading ----------------------------------------------------------------------------------

    def _hold_back(self) -> None:
        flow = self._flow
        if flow is not None and not (self._has_eof or self._is_closing):
            self._is_held_back = True
            flow.stop_reading()

    def _let_go_on(self) -> None:
        flow = self._flow
        if not self._is_held_back or flow is None or flow.is_writing_paused:
            return
        if self._verdict is None and not self._has_eof:
            self._is_held_back = False
            flow.resume_reading()

    # --- the end ----------------------------------------------------------------------------------

    def _close(self, now: float) -> None:
        """Close once everything is written; first let a peer that may still be sending read why."""
        transport, flow = self._transport, self._flow
        if self._is_closing or transport is None or flow is None:
            return
        self._is_closing = True
        if not flow.is_writing_paused:
            flow.watch_writing(now)
        if not transport.can_write_eof():
            # TLS reads on by itself until the peer has said goodbye as well; that must not take for ever.
            self._linger_until = now + LINGER
            self._let_go_on()
            transport.close()
            self._look_again_after(LINGER)
        elif self._may_linger and not self._has_eof:
            self._linger_until = now + LINGER
            self._let_go_on()
            try:
                transport.write_eof()
            except OSError:
                transport.abort()  # asyncio's: reset, and we have not been told yet
            self._look_again_after(LINGER)
        else:
            transport.close()
            # The timer stays: it ends a close that waits for a peer who does not read.

    def _drop(self, reason: str) -> None:
        """End the connection at once and without a word.

        Args:
            reason: for the log.
        """
        if self._transport is not None and not self._is_closing:
            _logger.info("%s: dropped: %s", self._connection.peer, reason)
            self.abort()

    def abort(self) -> None:
        """Drop the connection at once; what was read and waits for its turn is not worked off any more."""
        if self._transport is not None:
            self._is_closing = True
            self._transport.abort()

    # --- time -------------------------------------------------------------------------------------

    def _look_again_after(self, seconds: float) -> None:
        """Bring the timer forward."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._context.loop.call_later(
            min(seconds, self._settings.client_timeout), self._on_timer
        )

    def _on_timer(self) -> None:
        """See whether a limit has passed. Nobody re-arms the timer meanwhile: a command costs no timer."""
        fired = self._timer
        seconds = self._enforce_limits(self._context.now())
        if seconds is not None and self._timer is fired:
            self._timer = self._context.loop.call_later(seconds, self._on_timer)

    def _enforce_limits(self, now: float) -> float | None:
        """End what has lasted too long.

        Returns:
            Seconds until the next look; None when the connection was ended.
        """
        session, flow, transport = self._session, self._flow, self._transport
        if session is None or flow is None or transport is None:
            return None
        if flow.is_writing_paused or (self._is_closing and flow.has_unsent):
            give_up_at = flow.give_up_at(now)
            if now < give_up_at:
                return min(give_up_at - now, CHECK_INTERVAL)
            _logger.info("%s: dropped: it does not read what we send", self._connection.peer)
            self.abort()
            return None
        if self._is_closing:
            if now < self._linger_until:
                return self._linger_until - now
            self.abort()
            return None
        deadline = session.deadline
        if deadline is None or self._has_input:
            return self._settings.client_timeout
        deadline = max(deadline, self._writable_since + self._settings.client_timeout)
        if now < deadline:
            return deadline - now
        if flow.has_unsent:
            self.abort()
            return None
        session.handle_timeout(now)
        self._pump(now)
        return LINGER
