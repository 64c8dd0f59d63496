"""A connection whose parameters, and whose ends, may change while it lives.

The start of a session behind a proxy, policy's own parameters, and XCLIENT. What is asked and answered in
SMTP is ``esmtp_protocol``'s, which builds on this.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kumo.listener.client_identity import assume_addresses
from kumo.listener.proxy_header import ProxyHeader, ProxyHeaderError
from kumo.listener.starting_tls import TlsStart
from kumo.listener.timed_connection import TimedConnection
from kumo.maybe_awaitable import MaybeAwaitable, is_awaitable
from kumo.message import AuthInfo

if TYPE_CHECKING:
    from kumo.listener.context import ListenerContext
    from kumo.listener.session_settings import SessionSettings
    from kumo.message import Connection
    from kumo.smtp import ClientAddressReceived, ServerSession


class ChangingConnection(TimedConnection):
    """One connection, as far as it is not fixed by its socket.

    Args:
        context: what it shares with the listener's other connections.
        peer: address and port of the client, as the kernel gives them.
        local: those of our end.
    """

    __slots__ = ("_header", "_may_relay", "_service", "_tls")

    def __init__(self, context: ListenerContext, peer: tuple[str, int], local: tuple[str, int]) -> None:
        super().__init__(context, peer, local)
        self._service = context.service_of(self._connection.meta["received_via"])
        self._may_relay = False
        # What comes before or instead of octets for the session.
        self._header: ProxyHeader | None = None
        self._tls: TlsStart | None = None

    @property
    def _shakes_hands(self) -> bool:
        """Whether what comes and goes is a TLS handshake, hence no SMTP."""
        return self._tls is not None and self._tls.is_shaking_hands

    def _take_early(self, session: ServerSession, nbytes: int, now: float) -> None:
        """Take octets that come while something is waited for: a PROXY header, or commands ahead of time."""
        start = 0
        if self._tls is not None and self._tls.is_shaking_hands:
            # The TLS layer hands out what it has before it tells that the handshake is done. What came
            # before there was such a layer is clear text, and must never get inside: RFC 3207 §4.2.
            protocol: object = None if self._transport is None else self._transport.get_protocol()
            if protocol is not None and protocol is not self:
                self._tls.early += self._view[:nbytes]
            return
        if self._header is not None:
            try:
                start = self._header.receive(bytes(self._view[:nbytes]))
            except ProxyHeaderError as error:
                self._drop(str(error))
                return
            if self._header.is_complete:
                self._header = None
        if start < nbytes:
            session.receive_data(self._view, now, start, nbytes)
            # One read more than the session can use now is kept, no second one.
            self._hold_back()

    # --- the start of a session -------------------------------------------------------------------

    async def _begin_behind_proxy(self, connection: Connection, header: ProxyHeader) -> None:
        try:
            async with asyncio.timeout(self._settings.client_timeout):
                addresses = await header.addresses
        except TimeoutError:
            self._drop("its PROXY header did not come in time")
            return
        if addresses is not None:
            # The address that the client is authorised by stays the socket's, as in KumoMTA.
            connection.auth_info = AuthInfo(connection.peer_ip)
            assume_addresses(connection, addresses.peer, addresses.local)
        self._adopt(self._context.settings_for(connection))
        if self._context.policy.has_dynamic_parameters:
            await self._ask_parameters()
        await self._begin(connection, None)

    async def _begin(self, connection: Connection, _subject: None) -> None:
        policy = self._context.policy
        if policy.has_dynamic_parameters:
            await self._ask_parameters()
        verdict = policy.on_connection_accepted(connection)
        if is_awaitable(verdict):
            await verdict

    # --- in its course ----------------------------------------------------------------------------

    def _change_client(self, connection: Connection, event: ClientAddressReceived) -> MaybeAwaitable[None]:
        assume_addresses(
            connection,
            (event.peer_ip or connection.peer_ip, _given(event.peer_port, connection.peer_port)),
            (event.local_ip or connection.local_ip, _given(event.local_port, connection.local_port)),
        )
        if connection.auth_info is not None:
            connection.auth_info.peer_address = connection.peer_ip
        self._adopt(self._context.settings_for(connection))
        return self._ask_parameters() if self._context.policy.has_dynamic_parameters else None

    async def _ask_parameters(self) -> None:
        """``smtp_server_get_dynamic_parameters``, on top of what holds so far."""
        context, connection = self._context, self._connection
        overrides = context.policy.get_dynamic_parameters(connection)
        if is_awaitable(overrides):
            overrides = await overrides
        self._adopt(context.settings_with(self._settings, overrides, connection))

    def _adopt(self, settings: SessionSettings) -> None:
        """Go on with other parameters, or between other addresses."""
        session, flow = self._session, self._flow
        if session is None or flow is None:
            return
        context = self._context
        self._settings = settings
        settings.describe(self._connection)
        session.set_parameters(settings.session_parameters(rewrites_replies=context.policy.rewrites_replies))
        self._may_relay = False
        self._service = context.service_of(self._connection.via)
        flow.limit_time(settings.client_timeout)
        self._look_again_after(settings.client_timeout)


def _given(port: int | None, otherwise: int) -> int:
    return otherwise if port is None else port
