"""One SMTP connection: the shell between a transport and a ``ServerSession``.

Octets go into the session, its events go to policy, reception and logs, their verdicts back into it, its
replies out to the transport. Time limits, back-pressure and shutting down are here; no rule of SMTP is.
``EsmtpServer`` makes one for each connection it accepts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, cast

from kumo.errors import KumoError, LocalProtocolError, Rejection
from kumo.listener.flow_control import CHECK_INTERVAL, FlowControl
from kumo.listener.read_buffer import COMMAND_OCTETS
from kumo.listener.relay import relaying_denied
from kumo.maybe_awaitable import MaybeAwaitable, is_awaitable
from kumo.metrics import ESMTP_LISTENER, TOTAL
from kumo.smtp import (
    ConnectionOpened,
    ContentReceived,
    GreetingReceived,
    MailReceived,
    RecipientReceived,
    ReplyPending,
    ReplyRefused,
    ServerSession,
    SessionEnded,
)

if TYPE_CHECKING:
    from kumo.listener.context import ListenerContext
    from kumo.message import Connection

_logger = logging.getLogger("kumod.listener")

LINGER: Final = 2.0
"""Seconds a connection that we ended stays open for reading. Closing a socket that holds unread octets
resets it, and the reset overtakes the 421 that says why."""


class EsmtpProtocol(asyncio.BufferedProtocol):
    """One connection.

    Args:
        context: what it shares with the listener's other connections.
        peer: address and port of the client, as the kernel gives them.
        local: those of our end.
    """

    # Thousands of idle connections keep one of these each, and no buffer.
    __slots__ = (
        "_connection",
        "_content_since",
        "_context",
        "_flow",
        "_has_ended",
        "_has_eof",
        "_has_new_greeting",
        "_is_closing",
        "_is_held_back",
        "_is_relay_host",
        "_is_storing",
        "_linger_until",
        "_may_linger",
        "_processing_since",
        "_service",
        "_session",
        "_timer",
        "_transaction_since",
        "_transport",
        "_verdict",
        "_view",
        "_writable_since",
    )

    def __init__(self, context: ListenerContext, peer: tuple[str, int], local: tuple[str, int]) -> None:
        self._context = context
        self._connection: Connection = context.new_connection(peer, local)
        self._service = context.service_of(self._connection.meta["received_via"])
        # Set by connection_made, gone after connection_lost.
        self._transport: asyncio.Transport | None = None
        self._flow: FlowControl | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._session: ServerSession | None = None
        # Reading and writing.
        self._view = context.command_view
        self._has_eof = False
        self._is_held_back = False
        self._is_closing = False
        self._may_linger = False
        self._linger_until = 0.0
        self._writable_since = 0.0
        # What policy or reception is asked just now.
        self._verdict: asyncio.Future[Any] | None = None
        self._is_storing = False
        # The session so far.
        self._has_ended = False
        self._has_new_greeting = False
        self._is_relay_host: bool | None = None
        self._transaction_since = 0.0
        self._content_since: float | None = None
        self._processing_since = 0.0

    # --- called by the loop -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the session."""
        context = self._context
        metrics = context.metrics
        metrics.connection_count[ESMTP_LISTENER] += 1
        metrics.total_connection_count[ESMTP_LISTENER] += 1
        now = context.now()
        self._transport = stream = cast("asyncio.Transport", transport)
        self._flow = FlowControl(stream, context.client_timeout)
        self._session = ServerSession(context.session_parameters(), now)
        self._timer = context.loop.call_later(context.client_timeout, self._on_timer)
        self._pump(now)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the loop's signature
        """Where the next read goes: the memory that all connections share."""
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read."""
        session = self._session
        if session is None or self._is_closing:
            return
        now = self._context.now()
        session.receive_data(self._view, now, 0, nbytes)
        if self._verdict is not None:
            # One read more than the session can use now is kept, no second one.
            self._hold_back()
            return
        self._pump(now)
        if nbytes > COMMAND_OCTETS and not session.is_reading:
            # Commands may stand behind the content: enough to keep, even without one read more.
            self._hold_back()

    def eof_received(self) -> bool:
        """Answer what came before the peer's end-of-file; only then close."""
        self._has_eof = True
        session = self._session
        if session is None or self._is_closing:
            return False
        now = self._context.now()
        session.receive_eof(now)
        if self._verdict is None:
            self._pump(now)
        return True

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

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the loop's signature
        """Let go of everything, except for a message that is being stored."""
        context = self._context
        if self._transport is not None:
            context.metrics.connection_count[ESMTP_LISTENER] -= 1
        if self._timer is not None:
            self._timer.cancel()
        self._transport = self._flow = self._timer = self._session = None
        verdict = self._verdict
        if verdict is None:
            context.forget(self)
        elif not self._is_storing:
            verdict.cancel()

    # --- called by the server ---------------------------------------------------------------------

    def shut_down(self) -> None:
        """Tell the client with 421 that the daemon stops, at the first moment that allows it."""
        session, flow = self._session, self._flow
        if session is None or flow is None:
            return
        now = self._context.now()
        # A peer that does not read must not keep the daemon from ending.
        flow.lose_patience(now, LINGER)
        self._look_again_after(LINGER)
        if not self._is_closing:
            session.shut_down()
            if self._verdict is None:
                self._pump(now)

    def abort(self) -> None:
        """Drop the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    # --- events of the session --------------------------------------------------------------------

    def _pump(self, now: float) -> None:
        """Work off what the session has to tell and to send, until it needs input or a verdict."""
        session, transport = self._session, self._transport
        if session is None or transport is None:
            return
        next_event = session.next_event
        while True:
            event = next_event()
            kind = event.__class__
            act = _ACTIONS.get(kind)
            if act is None:
                break
            if self._has_new_greeting and kind is not ReplyPending:
                self._note_greeting(session)
            act(self, session, event)
        octets = session.data_to_send()
        if octets:
            transport.write(octets)
        if self._has_ended:
            self._close(now)
        elif session.is_receiving_content:
            if self._content_since is None:
                self._content_since = now
                self._view = self._context.content_view
        else:
            self._content_since = None
            self._view = self._context.command_view

    def _opened(self, session: ServerSession, _event: ConnectionOpened) -> None:
        context = self._context
        if context.is_shutting_down:
            session.refuse_connection("shutting down")
            return
        refusal = context.admission.refusal()
        if refusal is not None:
            context.metrics.total_connections_denied[ESMTP_LISTENER] += 1
            session.refuse_connection(refusal)
            return
        policy = context.policy
        self._ask(session, lambda connection, _: policy.on_connection_accepted(connection), None)

    def _greeted(self, session: ServerSession, event: GreetingReceived) -> None:
        self._has_new_greeting = True
        on_ehlo = self._context.policy.on_ehlo
        self._ask(session, lambda connection, e: on_ehlo(connection, e.verb, e.domain, e.keywords), event)

    def _mail(self, session: ServerSession, event: MailReceived) -> None:
        self._transaction_since = self._context.now()
        self._ask(session, self._context.policy.on_mail_from, event.sender)

    def _recipient(self, session: ServerSession, event: RecipientReceived) -> None:
        may_relay = self._is_relay_host
        if may_relay is None:
            may_relay = self._is_relay_host = self._context.relay_rule.is_relay_host(self._connection)
        if not may_relay:
            session.refuse(relaying_denied(self._connection))
        elif event.over_limit:
            session.accept()
        else:
            self._ask(session, self._context.policy.on_rcpt_to, event.recipient)

    def _content(self, session: ServerSession, event: ContentReceived) -> None:
        context = self._context
        received = context.metrics.total_messages_received
        received[ESMTP_LISTENER] += 1
        received[self._service] += 1
        since = self._content_since
        self._content_since = None
        seconds = 0.0 if since is None else context.now() - since
        context.metrics.smtpsrv_read_data_duration.observe(seconds)
        self._processing_since = perf_counter()
        self._is_storing = True
        self._ask(session, context.receiver.receive, event)
        if self._verdict is None:
            self._processed()

    def _pending(self, session: ServerSession, event: ReplyPending) -> None:
        rewrite = self._context.policy.rewrite_response
        self._ask(session, lambda connection, e: rewrite(connection, e.reply, e.command), event)

    def _refused(self, session: ServerSession, event: ReplyRefused) -> None:
        # Once we hang up on a peer, it may not have noticed and still be sending.
        self._may_linger = session.ended
        reply = event.reply
        if reply.code == 421 and reply.text.startswith("4.3.2 "):  # noqa: PLR2004 - RFC 5321 §4.2.3
            return
        rejections = self._context.metrics.smtp_server_rejections
        rejections[TOTAL] += 1
        rejections[self._connection.via] += 1
        self._context.rejection_log.log_rejection(
            self._connection, reply, event.command, event.sender, event.recipient
        )

    def _ended(self, _session: ServerSession, event: SessionEnded) -> None:
        self._has_ended = True
        _logger.debug("%s: session ended: %s", self._connection.peer, event.reason)

    def _note_greeting(self, session: ServerSession) -> None:
        self._has_new_greeting = False
        domain = session.greeting
        if domain is not None:
            self._connection.ehlo_domain = domain
            self._connection.meta["ehlo_domain"] = domain

    def _processed(self) -> None:
        self._is_storing = False
        metrics = self._context.metrics
        metrics.smtpsrv_process_data_duration.observe(perf_counter() - self._processing_since)
        metrics.smtpsrv_transaction_duration.observe(self._context.now() - self._transaction_since)

    # --- verdicts ---------------------------------------------------------------------------------

    def _ask(
        self,
        session: ServerSession,
        question: Callable[[Connection, Any], MaybeAwaitable[Any]],
        subject: object,
    ) -> None:
        """Answer the session's event with what policy or reception says of the subject, now or later."""
        try:
            answer = question(self._connection, subject)
            if answer is None:
                session.accept()
            elif is_awaitable(answer):
                self._verdict = verdict = asyncio.ensure_future(answer)
                verdict.add_done_callback(self._decided)
            else:
                session.accept(answer)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong with a verdict harms this session only
            self._deny(session, error, None)

    def _decided(self, verdict: asyncio.Future[Any]) -> None:
        """Take a verdict that took time."""
        self._verdict = None
        error = asyncio.CancelledError() if verdict.cancelled() else verdict.exception()
        if self._is_storing:
            self._processed()
        session = self._session
        if session is None:
            self._context.forget(self)
            if error is not None and not isinstance(error, Rejection | asyncio.CancelledError):
                self._report(error)
            return
        now = self._context.now()
        if error is None:
            try:
                session.accept(verdict.result(), now=now)
            except LocalProtocolError as misuse:  # a session that nobody answers would wait for ever
                error = misuse
        if error is not None:
            self._deny(session, error, now)
        self._pump(now)
        self._let_go_on()

    def _deny(self, session: ServerSession, error: BaseException, now: float | None) -> None:
        if isinstance(error, Rejection):
            session.refuse(error, now=now)
        else:
            self._report(error)
            session.fail(_reason(error))

    def _report(self, error: BaseException) -> None:
        # A KumoError says all there is; of anything else the traceback is wanted.
        trace = None if isinstance(error, KumoError) else error
        _logger.error("%s: session fails: %s", self._connection.peer, _reason(error), exc_info=trace)

    # --- reading, closing, time -------------------------------------------------------------------

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

    def _close(self, now: float) -> None:
        """Close once everything is written; first let a peer that may still be sending read why."""
        transport, flow = self._transport, self._flow
        if self._is_closing or transport is None or flow is None:
            return
        self._is_closing = True
        if not flow.is_writing_paused:
            flow.watch_writing(now)
        if self._may_linger and not self._has_eof:
            self._linger_until = now + LINGER
            self._let_go_on()
            transport.write_eof()
            self._look_again_after(LINGER)
        else:
            transport.close()
            # The timer stays: it ends a close that waits for a peer who does not read.

    def _look_again_after(self, seconds: float) -> None:
        """Bring the timer forward."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._context.loop.call_later(
            min(seconds, self._context.client_timeout), self._on_timer
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
            transport.abort()
            return None
        if self._is_closing:
            if now < self._linger_until:
                return self._linger_until - now
            transport.abort()
            return None
        deadline = session.deadline
        if deadline is None:
            return self._context.client_timeout
        deadline = max(deadline, self._writable_since + self._context.client_timeout)
        if now < deadline:
            return deadline - now
        if flow.has_unsent:
            transport.abort()
            return None
        session.handle_timeout(now)
        self._pump(now)
        return LINGER


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__


_ACTIONS: Final[dict[type, Callable[[EsmtpProtocol, ServerSession, Any], None]]] = {
    ConnectionOpened: EsmtpProtocol._opened,  # noqa: SLF001 - the class's own table
    GreetingReceived: EsmtpProtocol._greeted,  # noqa: SLF001
    MailReceived: EsmtpProtocol._mail,  # noqa: SLF001
    RecipientReceived: EsmtpProtocol._recipient,  # noqa: SLF001
    ContentReceived: EsmtpProtocol._content,  # noqa: SLF001
    ReplyPending: EsmtpProtocol._pending,  # noqa: SLF001
    ReplyRefused: EsmtpProtocol._refused,  # noqa: SLF001
    SessionEnded: EsmtpProtocol._ended,  # noqa: SLF001
}
