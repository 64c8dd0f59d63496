"""Tells the peer why a handshake failed.

Both event loops drop OpenSSL's alert together with the connection, so that a peer that offers TLS 1.1 or an
untrusted certificate would see it closed for no reason, and its operator would have nothing to go by.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from types import TracebackType
from typing import Self


class AlertingObject(ssl.SSLObject):
    """A TLS connection whose failed handshake leaves its alert in the exception."""

    outgoing: ssl.MemoryBIO | None = None
    """What OpenSSL has for the peer."""

    def do_handshake(self) -> None:
        """A step of the handshake, as ``ssl.SSLObject`` does it."""
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            if self.outgoing is not None:
                # An attribute, as the loops pass on this very object and no other.
                error.alert = self.outgoing.read()  # type: ignore[attr-defined]
            raise


class AlertingContext(ssl.SSLContext):
    """Makes such connections; every other method is ``ssl.SSLContext``'s."""

    sslobject_class = AlertingObject

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """A connection over two buffers, as ``ssl.SSLContext`` makes it."""
        made = super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)
        if isinstance(made, AlertingObject):
            made.outgoing = outgoing
        return made


class LastWord:
    """Holds on to a connection until the loop has closed it, to send an alert after all.

    A handshake that fails has lost its transport when one hears of it; a duplicate of the descriptor
    outlives that. Without a descriptor to spare the peer goes without the alert.

    Args:
        transport: the one beneath TLS; nothing it was given may be unwritten.
    """

    __slots__ = ("_descriptor",)

    def __init__(self, transport: asyncio.BaseTransport) -> None:
        socket = transport.get_extra_info("socket")
        self._descriptor = -1
        if socket is not None:
            with contextlib.suppress(OSError):
                self._descriptor = os.dup(socket.fileno())

    def say(self, error: ssl.SSLError) -> None:
        """Send the alert that belongs to a failed handshake, where there is one."""
        octets: bytes = getattr(error, "alert", b"")
        if octets and self._descriptor >= 0:
            # The peer may be gone, and would not be waited for.
            with contextlib.suppress(OSError):
                os.write(self._descriptor, octets)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
