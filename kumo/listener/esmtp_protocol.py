"""One SMTP connection: the shell between a transport and a ``ServerSession``.

Octets go into the session, its events go to policy, reception and logs, their verdicts back into it, its
replies out to the transport. No rule of SMTP is here. ``EsmtpServer`` makes one for each connection it
accepts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, cast

from kumo.errors import KumoError, Rejection, SpoolUnhealthy
from kumo.listener.authentication import AuthenticationAttempt
from kumo.listener.changing_connection import ChangingConnection
from kumo.listener.client_identity import note_tls
from kumo.listener.cohorts import CONTENT, stage_of
from kumo.listener.flow_control import FlowControl
from kumo.listener.proxy_header import ProxyHeader
from kumo.listener.read_buffer import COMMAND_OCTETS
from kumo.listener.starting_tls import SecuredTransport, TlsStart
from kumo.listener.timed_connection import LINGER
from kumo.maybe_awaitable import MaybeAwaitable, is_awaitable
from kumo.metrics import ESMTP_LISTENER, TOTAL
from kumo.smtp import (
    ClientAddressReceived,
    ConnectionOpened,
    ContentReceived,
    CredentialsReceived,
    GreetingReceived,
    MailReceived,
    RecipientReceived,
    ReplyPending,
    ReplyRefused,
    ServerSession,
    SessionEnded,
    TlsRequested,
    TlsStarting,
)
from kumo_core.line import octet_at

if TYPE_CHECKING:
    from kumo.listener.context import ListenerContext
    from kumo.message import Connection

_logger = logging.getLogger("kumod.listener")

_LF: Final = 10

_SHORT: Final = 4096
"""Octets of commands that may wait for their turn; more of them are worked off at once, for what is read of
all connections in a turn is kept until then."""


class EsmtpConnection(ChangingConnection):
    """One connection.

    Args:
        context: what it shares with the listener's other connections.
        peer: address and port of the client, as the kernel gives them.
        local: those of our end.
    """

    __slots__ = (
        "_content_since",
        "_has_ended",
        "_has_new_greeting",
        "_has_written",
        "_is_due",
        "_is_storing",
        "_processing_since",
        "_transaction_since",
    )

    def __init__(self, context: ListenerContext, peer: tuple[str, int], local: tuple[str, int]) -> None:
        super().__init__(context, peer, local)
        # Whether the outbox has it; whether the transport was given something that it may still hold.
        self._is_due = False
        self._has_written = False
        # The session so far.
        self._is_storing = False
        self._has_ended = False
        self._has_new_greeting = False
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
        self._transport = stream = cast("asyncio.Transport", transport)
        now = context.now()
        # The loop would report a fault, and leave the client without a word for ever.
        try:
            self._open_session(stream, now)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client is not to wait
            self._report(error)
            self.abort()
        else:
            self.go_on(now)

    def _open_session(self, transport: asyncio.Transport, now: float) -> None:
        context, settings = self._context, self._settings
        self._flow = FlowControl(transport, settings.client_timeout)
        parameters = settings.session_parameters(rewrites_replies=context.policy.rewrites_replies)
        self._session = ServerSession(parameters, now)
        self._timer = context.loop.call_later(settings.client_timeout, self._on_timer)

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read."""
        session = self._session
        if session is None or self._is_closing:
            return
        now = self._context.now()
        if self._verdict is not None:
            self._take_early(session, nbytes, now)
            return
        is_content = session.is_receiving_content()
        session.receive_data(self._view, now, 0, nbytes)
        # Read from again before its turn came, or much at once: no more of it is to gather. And octets that
        # end no line are no reason for others to wait.
        is_short = nbytes <= (COMMAND_OCTETS if is_content else _SHORT)
        may_wait = is_short and octet_at(self._view, nbytes - 1) == _LF
        if may_wait and not (self._has_input or self._is_alone()):
            self._has_input = True
            self._context.cohorts.add(self, CONTENT if is_content else stage_of(octet_at(self._view, 0)))
            return
        self._pump(now)
        if (nbytes > COMMAND_OCTETS or self._has_input) and not session.is_reading:
            # Commands may stand behind the content, or in two reads: enough to keep, even without another.
            self._hold_back()

    def eof_received(self) -> bool:
        """Answer what came before the peer's end-of-file; only then close."""
        self._send()
        self._has_eof = True
        session = self._session
        if session is None or self._is_closing:
            return False
        if self._header is not None:
            self._drop("it closed before its PROXY header was complete")
            return False
        if self._shakes_hands:
            return False
        now = self._context.now()
        session.receive_eof(now)
        if self._verdict is None:
            self._pump(now)
        # With TLS there is no half-closed connection.
        return self._connection.tls_protocol_version is None

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the loop's signature
        """Let go of everything, except for a message that is being stored. Idempotent."""
        context = self._context
        if self._transport is not None:
            context.metrics.connection_count[ESMTP_LISTENER] -= 1
        if self._timer is not None:
            self._timer.cancel()
        self._transport = self._flow = self._timer = self._session = self._header = None
        verdict = self._verdict
        if verdict is None:
            context.forget(self)
        elif not (self._is_storing or self._shakes_hands):
            # A handshake ends by itself when its connection does.
            verdict.cancel()

    # --- called by cohorts and outbox -------------------------------------------------------------

    def go_on(self, now: float) -> None:
        """Work off what was read in an earlier turn of the loop; drop the connection if that goes wrong.

        Args:
            now: the loop's time in seconds.
        """
        self._has_input = False
        if self._is_closing:
            return
        try:
            self._pump(now)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - whatever it is, the others go on
            self._report(error)
            self.abort()

    def send_due(self) -> None:
        """Write what the session had to send in this turn of the loop."""
        self._is_due = False
        self._send()

    def take_due(self) -> bytes:
        """Give that, if nothing that the transport holds has to go first and it is not about to close."""
        session, transport = self._session, self._transport
        if session is None or transport is None or self.descriptor < 0:
            return b""
        try:
            if self._has_written:
                self._has_written = transport.get_write_buffer_size() > 0
            # When a connection breaks down the loop tells its transport first, and us in its next turn.
            if self._has_written or transport.is_closing():
                return b""
            self._is_due = False
            return session.data_to_send()
        except Exception as error:  # noqa: BLE001 - what the others were given to send is not to be lost
            self._report(error)
            self.abort()
            return b""

    def sent(self, rest: bytes) -> None:
        """Have the transport send what the socket did not take, and close if the session is over."""
        if rest or self._has_ended:
            self._write(rest)

    # --- called by the server ---------------------------------------------------------------------

    def shut_down(self) -> None:
        """Tell the client with 421 that the daemon stops, at the first moment that allows it."""
        session, flow = self._session, self._flow
        if session is None or flow is None:
            return
        if self._header is not None or self._shakes_hands:
            # Nothing can be told to a client that is not spoken with in SMTP.
            self._drop("shutting down")
            return
        now = self._context.now()
        # A peer that does not read must not keep the daemon from ending.
        flow.lose_patience(now, LINGER)
        self._look_again_after(LINGER)
        if not self._is_closing:
            session.shut_down()
            if self._verdict is None:
                self._pump(now)

    # --- events of the session --------------------------------------------------------------------

    def _pump(self, now: float) -> None:
        """Work off what the session has to tell and to send, until it needs input or a verdict."""
        session = self._session
        if session is None or self._transport is None:
            return
        while True:
            event = session.next_event()
            kind = type(event)
            act = _ACTIONS.get(kind)
            if act is None:
                break
            if self._has_new_greeting and kind is not ReplyPending:
                self._note_greeting(session)
            act(self, session, event)
        if self._has_ended:
            self._send_soon()
            return
        if session.has_data_to_send():
            self._send_soon()
        if session.is_receiving_content():
            if self._content_since is None:
                self._content_since = now
                self._view = self._settings.content_view
        else:
            self._content_since = None
            self._view = self._context.command_view

    def _send_soon(self) -> None:
        if self._is_due or self._has_input or self._is_alone():
            # Read from again before its turn came: from a peer that does not read its replies are not to
            # gather here.
            self._send()
        else:
            self._is_due = True
            self._context.outbox.add(self)

    def _is_alone(self) -> bool:
        """Whether it shares the turns of the loop with nobody, so that there is no one to wait for."""
        return len(self._context.sessions) == 1

    def _send(self) -> None:
        """Write the replies that the session has, and close if it is over."""
        self._write(b"")

    def _write(self, rest: bytes) -> None:
        """Write what is left of earlier replies, then those that the session has, and close if it is over."""
        session, transport = self._session, self._transport
        if session is None or transport is None or self._is_closing:
            return
        try:
            octets = rest + session.data_to_send()
            if octets:
                self._has_written = True
                transport.write(octets)
            if self._has_ended:
                self._close(self._context.now())
        except Exception as error:  # noqa: BLE001 - whatever goes wrong here, the others are still to send
            self._report(error)
            self.abort()

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
        if self._settings.listener.require_proxy_protocol:
            self._header = header = ProxyHeader(context.loop)
            self._ask(session, self._begin_behind_proxy, header)
        elif policy.has_dynamic_parameters:
            self._ask(session, self._begin, None)
        else:
            self._ask(session, lambda connection, _: policy.on_connection_accepted(connection), None)

    def _greeted(self, session: ServerSession, event: GreetingReceived) -> None:
        self._has_new_greeting = True
        on_ehlo = self._context.policy.on_ehlo
        self._ask(session, lambda connection, e: on_ehlo(connection, e.verb, e.domain, e.keywords), event)

    def _mail(self, session: ServerSession, event: MailReceived) -> None:
        self._transaction_since = self._context.now()
        self._ask(session, self._context.policy.on_mail_from, event.sender)

    def _recipient(self, session: ServerSession, event: RecipientReceived) -> None:
        context = self._context
        if not self._may_relay:
            relay = context.relay_check
            self._may_relay = relay.is_free(self._connection)
            if not self._may_relay:
                self._ask(session, relay.judge, event)
                return
        if event.over_limit:
            session.accept()
        else:
            self._ask(session, context.policy.on_rcpt_to, event.recipient)

    def _content(self, session: ServerSession, event: ContentReceived) -> None:
        context = self._context
        received = context.messages_received
        received[ESMTP_LISTENER] += 1
        received[self._service] += 1
        since = self._content_since
        self._content_since = None
        seconds = 0.0 if since is None else context.now() - since
        context.read_data_duration.observe(seconds)
        self._processing_since = perf_counter()
        self._is_storing = True
        self._ask(session, context.receiver.receive, event)
        if self._verdict is None:
            self._processed()

    def _client_address(self, session: ServerSession, event: ClientAddressReceived) -> None:
        self._ask(session, self._change_client, event)

    def _credentials(self, session: ServerSession, event: CredentialsReceived) -> None:
        context = self._context
        attempt = AuthenticationAttempt(self._connection, event)
        self._ask(session, lambda _, credentials: attempt.decide(context.policy, credentials), event)
        # The reply goes first: at the end of this turn of the loop, or when the verdict is there.
        if self._verdict is None:
            self._send_soon()
            context.loop.call_soon(attempt.record, context.accounting_log)
        else:
            self._verdict.add_done_callback(
                lambda _: context.loop.call_soon(attempt.record, context.accounting_log)
            )

    def _tls_requested(self, session: ServerSession, _event: TlsRequested) -> None:
        self._tls = start = TlsStart(self._settings.client_timeout)
        contexts, identity = self._context.tls, self._settings.tls_identity
        self._ask(session, lambda *_: start.prepare(contexts, identity), None)

    def _tls_starting(self, session: ServerSession, _event: TlsStarting) -> None:
        transport, flow, start = self._transport, self._flow, self._tls
        if transport is None or flow is None or start is None:
            return
        if self._context.is_shutting_down:
            # A client that keeps silent now would keep the daemon up.
            self._drop("shutting down")
            return
        # From now on nothing may pass by the transport.
        self.descriptor = -1
        # In this order: a ClientHello that comes while we still read would be taken for a command.
        flow.stop_reading()
        transport.write(session.data_to_send())
        if flow.is_writing_paused:
            # asyncio's TLS layer has to see a transport's writing pause from its beginning.
            self._drop("it starts TLS without reading the replies before")
            return
        self._verdict = handshake = self._context.loop.create_task(
            start.shake_hands(transport, cast("asyncio.BaseProtocol", self)), name="handshake"
        )
        handshake.add_done_callback(self._tls_started)

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
        rejections[self._service.removeprefix(f"{ESMTP_LISTENER}:")] += 1
        self._context.rejection_log.log_rejection(
            self._connection, reply, event.command, event.sender, event.recipient
        )

    def _ended(self, _session: ServerSession, event: SessionEnded) -> None:
        self._has_ended = True
        if _logger.isEnabledFor(logging.DEBUG):
            _logger.debug("%s: session ended: %s", self._connection.peer, event.reason)

    def _note_greeting(self, session: ServerSession) -> None:
        self._has_new_greeting = False
        domain = session.greeting
        if domain is not None:
            self._connection.ehlo_domain = domain
            self._connection.meta["ehlo_domain"] = domain

    def _processed(self) -> None:
        self._is_storing = False
        context = self._context
        context.process_data_duration.observe(perf_counter() - self._processing_since)
        context.transaction_duration.observe(context.now() - self._transaction_since)

    # --- TLS --------------------------------------------------------------------------------------

    def _tls_started(self, handshake: asyncio.Task[SecuredTransport]) -> None:
        """Go on inside TLS, or end the connection."""
        self._verdict = None
        session, start, carrier = self._session, self._tls, self._transport
        error = asyncio.CancelledError() if handshake.cancelled() else handshake.exception()
        if isinstance(error, KumoError):
            _logger.info("%s: %s", self._connection.peer, error)
        elif error is not None and not isinstance(error, asyncio.CancelledError):
            self._report(error)
        has_ended = error is not None or self._is_closing or self._has_eof
        if session is None or start is None or carrier is None or has_ended:
            self.abort()
            # A TLS layer that is still shaking hands tells nobody that its connection was lost.
            self.connection_lost(None)
            return
        now = self._context.now()
        self._transport, tls = handshake.result()
        note_tls(self._connection, tls)
        self._flow = FlowControl(self._transport, self._settings.client_timeout, carrier)
        self._is_held_back = self._has_new_greeting = self._may_relay = False
        self._tls = None
        session.tls_started(now=now)
        if start.early:
            session.receive_data(start.early, now)
        self._pump(now)
        if start.early and not session.is_reading:
            # That may be more than one read, and a session keeps but one while it waits.
            self._hold_back()

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
                # Nearly always it is one already; ``ensure_future`` takes five calls to find that out.
                verdict = answer if isinstance(answer, asyncio.Future) else asyncio.ensure_future(answer)
                self._verdict = verdict
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
                session.accept(verdict.result(), now)
            except Exception as failure:  # noqa: BLE001 - a session that nobody answers would wait for ever
                error = failure
        if error is not None:
            self._deny(session, error, now)
        self._pump(now)
        self._let_go_on()

    def _deny(self, session: ServerSession, error: BaseException, now: float | None) -> None:
        if isinstance(error, Rejection):
            session.refuse(error, now=now)
            return
        self._report(error)
        if isinstance(error, SpoolUnhealthy):
            text = f"4.3.2 {self._settings.hostname} the spool is not accepting writes. Try later"
            session.refuse(Rejection(421, text), now=now)
        else:
            session.fail(_reason(error))

    def _report(self, error: BaseException) -> None:
        # A KumoError says all there is; of anything else the traceback is wanted.
        trace = None if isinstance(error, KumoError) else error
        _logger.error("%s: session fails: %s", self._connection.peer, _reason(error), exc_info=trace)


class EsmtpProtocol(EsmtpConnection, asyncio.BufferedProtocol):
    """What the loop is given: it asks for a ``BufferedProtocol``, which no compiled class can be."""

    __slots__ = ()


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__


_ACTIONS: Final[dict[type, Callable[[EsmtpConnection, ServerSession, Any], None]]] = {
    ConnectionOpened: EsmtpConnection._opened,  # noqa: SLF001 - the class's own table
    GreetingReceived: EsmtpConnection._greeted,  # noqa: SLF001
    MailReceived: EsmtpConnection._mail,  # noqa: SLF001
    RecipientReceived: EsmtpConnection._recipient,  # noqa: SLF001
    ContentReceived: EsmtpConnection._content,  # noqa: SLF001
    ClientAddressReceived: EsmtpConnection._client_address,  # noqa: SLF001
    CredentialsReceived: EsmtpConnection._credentials,  # noqa: SLF001
    TlsRequested: EsmtpConnection._tls_requested,  # noqa: SLF001
    TlsStarting: EsmtpConnection._tls_starting,  # noqa: SLF001
    ReplyPending: EsmtpConnection._pending,  # noqa: SLF001
    ReplyRefused: EsmtpConnection._refused,  # noqa: SLF001
    SessionEnded: EsmtpConnection._ended,  # noqa: SLF001
}
