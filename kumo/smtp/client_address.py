"""XCLIENT: the addresses that a trusted client names in place of those of its connection.

Whether it may is the dialogue's to know, what follows from it the shell's.
"""

from __future__ import annotations

import ipaddress
from typing import Final

from kumo.errors import RemoteProtocolError
from kumo.smtp.events import ClientAddressReceived
from kumo_core.command import Command, decode_xtext

_NAMES: Final = frozenset({"ADDR", "PORT", "DESTADDR", "DESTPORT"})
_PORTS: Final = frozenset({"PORT", "DESTPORT"})
_MAX_PORT: Final = 65535
_MAX_PORT_DIGITS: Final = 5


def read_client_address(command: Command, line: bytes) -> ClientAddressReceived:
    """Check the attributes of XCLIENT; of those that come twice the last one counts.

    Args:
        command: the line as the core parsed it.
        line: without its CRLF.

    Raises:
        RemoteProtocolError: 501, a name that is none of ours or a value that it cannot have. The text holds
            what the client typed, xtext not decoded: printable US-ASCII.

    Source: Postfix XCLIENT_README; RFC 3461 §4 on xtext.
    """
    addresses: dict[str, str] = {}
    ports: dict[str, int] = {}
    # The core gives names in upper case; between its attributes it lets nothing stand but blanks.
    for (name, xtext), typed in zip(command.parameters, line.split()[1:], strict=True):
        if name not in _NAMES:
            unknown = typed.decode().partition("=")[0]
            raise RemoteProtocolError(501, f"parameter {unknown} is not supported")
        try:
            value = decode_xtext(xtext or "").decode("ascii")
            if name in _PORTS:
                ports[name] = _read_port(value)
            else:
                addresses[name] = _read_address(value)
        except ValueError:
            raise RemoteProtocolError(501, f"{name} {xtext} is invalid") from None
    return ClientAddressReceived(
        peer_ip=addresses.get("ADDR"),
        peer_port=ports.get("PORT"),
        local_ip=addresses.get("DESTADDR"),
        local_port=ports.get("DESTPORT"),
        command=line.decode(),
    )


def _read_address(text: str) -> str:
    """An address as Python prints it; a zone says something about the client's links, not ours."""
    if "%" in text:
        raise ValueError("an address without a zone")
    return str(ipaddress.ip_address(text))


def _read_port(text: str) -> int:
    if not (0 < len(text) <= _MAX_PORT_DIGITS and text.isdigit()) or int(text) > _MAX_PORT:
        raise ValueError("0 to 65535")
    return int(text)
