"""One STARTTLS, from the wish to the end of the handshake.

The context is made before the 220, because after it no reply can say that something is wrong with it.
Called by ``esmtp_protocol``, which stops reading and writes the 220 in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import NamedTuple

from kumo.errors import LocalProtocolError
from kumo.maybe_awaitable import MaybeAwaitable, is_awaitable
from kumo.tls import (
    ServerContext,
    ServerIdentity,
    TlsContexts,
    TlsSession,
    describe_session,
    start_server_tls,
)

_HIGH_WATER = 65536
"""Octets a TLS layer may hold before reading stops; its own default is eight times as much."""


class SecuredTransport(NamedTuple):
    """What a handshake ends in."""

    transport: asyncio.Transport
    session: TlsSession


class TlsStart:
    """What a connection keeps of a STARTTLS.

    Args:
        time_limit: seconds that the handshake may take.
    """

    __slots__ = ("_context", "_time_limit", "early", "is_shaking_hands")

    def __init__(self, time_limit: float) -> None:
        self._context: ServerContext | None = None
        self._time_limit = time_limit
        self.early = bytearray()
        """What came inside TLS before ``shake_hands`` has returned; the layer beneath bounds it."""
        self.is_shaking_hands = False
        """Whether what is said on the connection is a handshake, hence no SMTP."""

    def prepare(self, contexts: TlsContexts, identity: ServerIdentity) -> MaybeAwaitable[None]:
        """Get the context.

        Raises:
            TlsError: key or certificate cannot be used.
            KeySourceError: they cannot be had.
        """
        found = contexts.server_context(identity)
        if is_awaitable(found):
            return self._wait(found)
        self._context = found
        return None

    def shake_hands(
        self, transport: asyncio.Transport, protocol: asyncio.BaseProtocol
    ) -> Coroutine[None, None, SecuredTransport]:
        """Do the handshake; from the call on, nothing may be said on the connection.

        Args:
            transport: of the connection; the 220 is written, reading is paused.
            protocol: whose connection it is; it is called for what comes inside TLS from now on.

        Returns:
            What to go on with; the first transport goes on beneath it.

        Raises:
            TlsError: there is no TLS; the connection is of no use any more.
        """
        if self._context is None:
            raise LocalProtocolError("a handshake without a context")
        self.is_shaking_hands = True
        return self._shake_hands(transport, protocol, self._context)

    async def _shake_hands(
        self, transport: asyncio.Transport, protocol: asyncio.BaseProtocol, context: ServerContext
    ) -> SecuredTransport:
        secured = await start_server_tls(transport, protocol, context, handshake_timeout=self._time_limit)
        secured.set_write_buffer_limits(high=_HIGH_WATER)
        # uvloop returns a transport even when the connection was lost; this tells.
        return SecuredTransport(secured, describe_session(secured))

    async def _wait(self, found: Awaitable[ServerContext]) -> None:
        self._context = await found
