"""The grammar of ``listen``. Names are resolved by whoever binds; nothing here touches a socket."""

from __future__ import annotations

import ipaddress

_PORT_MAX = 65535


def parse_socket_address(text: str) -> tuple[str, int]:
    """Split ``IP:port``, ``[v6]:port`` or ``host:port``.

    Args:
        text: port 0 means any free one; the host ``0`` means every IPv4 address, as the resolver has it.

    Returns:
        Host without brackets, and port.

    Raises:
        ValueError: no such address.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or len(port) > len(str(_PORT_MAX)):
        raise ValueError(f"invalid socket address syntax `{text}`: expected `host:port`")
    if int(port) > _PORT_MAX:
        raise ValueError(f"invalid socket address syntax `{text}`: the port is more than {_PORT_MAX}")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        try:
            ipaddress.IPv6Address(host)
        except ValueError as error:
            raise ValueError(f"invalid socket address syntax `{text}`: {error}") from None
    elif ":" in host:
        raise ValueError(
            f"invalid socket address syntax `{text}`: an IPv6 address needs brackets, `[{host}]:{port}`"
        )
    if not host or host == "*":
        raise ValueError(f"invalid socket address syntax `{text}`: no host; `0.0.0.0` means every address")
    return host, int(port)
