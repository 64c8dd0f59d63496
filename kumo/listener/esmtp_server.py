"""One SMTP listener: its socket, its limit of connections, its sessions from first to last.

``kumo.server`` makes one for each ``kumo.start_esmtp_listener`` of the policy.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Coroutine, Iterator
from functools import partial
from typing import Any

from kumo.config import EsmtpListener
from kumo.errors import KumoError, LocalProtocolError
from kumo.listener.accepted_socket import ListeningSocket
from kumo.listener.acceptor import Acceptor
from kumo.listener.address import Claim, bind, plain_ip
from kumo.listener.context import ListenerContext, Partners, own_hostname
from kumo.listener.esmtp_protocol import EsmtpProtocol
from kumo.listener.parameters import possible_parameters
from kumo.listener.session_settings import tls_identity
from kumo.maybe_awaitable import is_awaitable
from kumo.message import print_socket_address
from kumo.metrics import ESMTP_LISTENER
from kumo.smtp import Reply
from kumo.tls import ServerIdentity

_logger = logging.getLogger("kumod.listener")

_SESSIONS_A_TURN = 64
"""Sessions told to end before the loop may turn to others."""


class EsmtpServer:
    """One listener.

    Args:
        config: its parameters.
        partners: whom it asks and tells; the same for all listeners of a process.
        claim: gives sockets that the service manager opened for us; what it gives is not bound again.

    Source: KumoMTA manual, kumo.start_esmtp_listener.
    """

    def __init__(self, config: EsmtpListener, partners: Partners, *, claim: Claim | None = None) -> None:
        self._config = config
        self._partners = partners
        self._claim = claim
        self._context: ListenerContext | None = None
        self._acceptor: Acceptor | None = None
        self._local: tuple[str, int] | None = None
        self._too_many = b""
        self._addresses: tuple[str, ...] = ()
        self._bound = ""
        self._preloading: asyncio.Task[None] | None = None

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens, as ``1.2.3.4:25`` or ``[::]:25``, with the port that was really taken."""
        return self._addresses

    @property
    def session_count(self) -> int:
        """Sessions that are not over, counting closed ones whose message is still being stored."""
        return 0 if self._context is None else len(self._context.sessions)

    async def start(self) -> None:
        """Bind and begin to accept.

        Raises:
            TransportError: ``failed to bind to {listen}: {why}``.
        """
        if self._context is not None:
            raise LocalProtocolError("the listener was started already")
        listening = await bind(self._config.listen, self._claim)
        self._context = context = ListenerContext(self._config, self._partners)
        busy = f"4.3.2 {context.hostname} too many concurrent sessions. Try later"
        self._too_many = Reply(421, busy).encode()
        ip, port = listening.getsockname()[:2]
        # A wildcard's connections have to be asked one by one where they arrived.
        self._local = None if ip in {"0.0.0.0", "::"} else (ip, port)
        self._addresses = (print_socket_address(plain_ip(ip), port),)
        self._bound = print_socket_address(ip, port)
        self._acceptor = Acceptor(context.loop, ListeningSocket(listening), self._admit)
        for address in self._addresses:
            _logger.info("smtp listener on %s", address)
        self._preloading = context.loop.create_task(self._preload(), name="preload")

    def stop_accepting(self) -> None:
        """Close the listening socket. Sessions go on. Idempotent."""
        if self._preloading is not None:
            self._preloading.cancel()
            self._preloading = None
        if self._acceptor is not None:
            self._acceptor.close()
            self._acceptor = None

    async def shut_down(self) -> None:
        """Stop accepting, tell every session, and wait until all are over.

        A session is told at once while it waits for its client, else after the message in hand.
        """
        self.stop_accepting()
        context = self._context
        if context is None:
            return
        context.is_shutting_down = True
        for number, session in enumerate(tuple(context.sessions), 1):
            session.shut_down()
            if number % _SESSIONS_A_TURN == 0:
                await asyncio.sleep(0)
        if context.sessions:
            context.on_empty = context.on_empty or asyncio.Event()
            await context.on_empty.wait()

    def close(self) -> None:
        """Stop accepting and drop all connections at once. Idempotent."""
        self.stop_accepting()
        if self._context is not None:
            # What was decided in this turn of the loop is told: a message may have been stored in it.
            self._context.outbox.flush()
            for session in tuple(self._context.sessions):
                session.abort()

    async def _preload(self) -> None:
        """Make the contexts of every certificate in the configuration: a mistake is to show now, in the log.

        The listener serves meanwhile, and without TLS afterwards if need be.
        """
        for identity in _configured_identities(self._config, own_hostname()):
            try:
                made = self._partners.tls.server_context(identity)
                if is_awaitable(made):
                    await made
            except KumoError as error:
                _logger.error("smtp listener on %s cannot do TLS: %s", self._addresses[0], error)  # noqa: TRY400 - it says all there is

    def _admit(self, accepted: socket.socket, peer: tuple[Any, ...]) -> None:
        context = self._context
        if self._partners.counts_processors:
            self._count_processor(accepted)
        if context is None or len(context.sessions) >= self._config.max_connections:
            self._turn_away(accepted)
            return
        try:
            local = self._local or accepted.getsockname()
        except OSError:
            accepted.close()  # reset before we came to it
            return
        session = EsmtpProtocol(context, peer[:2], local[:2])
        session.descriptor = accepted.fileno()
        context.sessions.add(session)
        self._connect(session, accepted, context.loop.connect_accepted_socket(lambda: session, accepted))

    def _count_processor(self, accepted: socket.socket) -> None:
        # Those that are turned away count as well: they would not be, if others had got them.
        with contextlib.suppress(OSError):
            processor = accepted.getsockopt(socket.SOL_SOCKET, socket.SO_INCOMING_CPU)
            self._partners.metrics.connections_by_processor[f"{self._bound}/{processor}"] += 1

    def _connect(
        self,
        session: EsmtpProtocol,
        accepted: socket.socket,
        steps: Coroutine[Any, Any, Any],
        _attached: asyncio.Future[None] | None = None,
    ) -> None:
        """Go on with the steps in which the loop takes a socket; a task for one wait would cost more."""
        try:
            waiting: asyncio.Future[None] = steps.send(None)
            waiting.add_done_callback(partial(self._connect, session, accepted, steps))
        except StopIteration:
            return
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - whatever it is, the others go on
            _logger.error("cannot serve a connection: %r", error)  # noqa: TRY400 - it says all there is
            accepted.close()
            if self._context is not None:
                self._context.forget(session)

    def _turn_away(self, accepted: socket.socket) -> None:
        """Answer one connection too many, without waiting for anything."""
        self._partners.metrics.total_connections_denied[ESMTP_LISTENER] += 1
        with accepted, contextlib.suppress(OSError):
            accepted.setblocking(False)
            accepted.send(self._too_many)
            accepted.shutdown(socket.SHUT_WR)
            # What was sent ahead of the banner would turn the close into a reset.
            accepted.recv(4096)


def _configured_identities(config: EsmtpListener, own_name: str) -> Iterator[ServerIdentity]:
    """Those for which the configuration names any source, each once."""
    seen: list[ServerIdentity] = []
    for effective in possible_parameters(config):
        identity = tls_identity(effective, own_name)
        has_sources = identity.certificate or identity.private_key or identity.client_ca
        if has_sources and identity not in seen:
            seen.append(identity)
            yield identity
