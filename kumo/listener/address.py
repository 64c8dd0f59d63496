"""Addresses to listen on: their look-up and their sockets.

Called by ``esmtp_server``. It accepts nothing and knows no SMTP.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from kumo.config import parse_socket_address
from kumo.errors import TransportError

BACKLOG = 1024
"""Connections the kernel completes ahead of ``accept``."""


Claim = Callable[[int, tuple[Any, ...]], socket.socket | None]
"""Gives a listening socket that was opened elsewhere, for a family and an address of the resolver's."""


async def bind(listen: str, claim: Claim | None = None) -> socket.socket:
    """Bind and listen on the first address of ``listen`` that can be had.

    Args:
        listen: as ``parse_socket_address`` takes it; a host name goes to the system's resolver, off the
            event loop's thread.
        claim: asked for each address before any is bound; what it gives is used as it is.

    Returns:
        A listening, non-blocking TCP socket; the caller closes it.

    Raises:
        TransportError: ``failed to bind to {listen}: {why}``.
    """
    try:
        host, port = parse_socket_address(listen)
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
        )
    except socket.gaierror as error:
        why = f"failed to lookup address information: {error.strerror}"
        raise TransportError(f"failed to bind to {listen}: {why}") from error
    except (ValueError, OSError) as error:
        raise TransportError.while_binding(listen, error) from error
    if claim is not None:
        for family, _, _, _, address in found:
            if (claimed := claim(family, address)) is not None:
                return claimed
    last_error = OSError("no address was found")
    for family, _, _, _, address in found:
        try:
            return _listening_socket(family, address)
        except OSError as error:
            last_error = error
    raise TransportError.while_binding(listen, last_error) from last_error


def _listening_socket(family: int, address: tuple[object, ...]) -> socket.socket:
    # proto must be IPPROTO_TCP: asyncio switches Nagle's algorithm off only where it reads that, and with
    # it on, each message waits 40 ms for a delayed acknowledgement.
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # [::] serves IPv4 as well, whatever the host's default.
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.setblocking(False)
        made.bind(address)
        made.listen(BACKLOG)
    except BaseException:
        made.close()
        raise
    return made


def plain_ip(host: str) -> str:
    """An address as ``accept`` and ``getsockname`` give it, without zone id and IPv4 mapping.

    A client of a dual-stack socket has to count, and to be printed, as the IPv4 host it is: relay rights
    are given to ``10.0.0.0/8``, not to ``::ffff:a00:0/104``.

    Args:
        host: canonical text from the kernel.
    """
    if ":" not in host:
        return host
    host = host.partition("%")[0]
    if host.startswith("::ffff:") and "." in host:
        return host[7:]
    return host
