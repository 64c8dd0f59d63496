"""What is known of the connection a message came in on, shared by all events of its session."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from kumo.config import EsmtpListener, ListenerDomain
from kumo.message.auth_info import AuthInfo

_DEFAULTS = EsmtpListener()


@dataclass
class Connection:
    """One SMTP session as policy, reception and logs see it.

    Mutable on purpose: policy edits ``meta`` during the session, the listener fills in the greeting.
    Messages get a copy of ``meta`` at the end of DATA.

    Args:
        peer_ip: the peer's address without port and brackets; IPv4-mapped addresses as IPv4.
        peer_port: its port.
        local_ip: address of the accepted socket.
        local_port: its port.
        session_id: dashed UUID version 4, the same in all log records of the session.
        hostname: that of ``listener``, or the host's own.
        meta: JSON-able values.
        listener: the parameters that hold for this connection just now, overrides applied; ``peer``,
            ``via`` and ``meta`` in it mean nothing any more.
        auth_info: None until something differs from the peer's address alone.
        listener_domains: answers of ``get_listener_domain`` so far, by domain. Whoever changes who the
            client is (AUTH, STARTTLS, XCLIENT) empties it: an answer from before is wrong after it.
    """

    peer_ip: str
    peer_port: int
    local_ip: str
    local_port: int
    session_id: str
    hostname: str
    meta: dict[str, Any] = field(default_factory=dict)
    ehlo_domain: str | None = None
    is_authenticated: bool = False
    tls_protocol_version: str | None = None
    tls_cipher: str | None = None
    tls_peer_subject_name: tuple[str, ...] | None = None
    listener: EsmtpListener = _DEFAULTS
    auth_info: AuthInfo | None = None
    listener_domains: dict[str, ListenerDomain | None] | None = None

    @property
    def peer(self) -> str:
        """The peer as ``1.2.3.4:25`` or ``[2001:db8::1]:25``."""
        return print_socket_address(self.peer_ip, self.peer_port)

    @property
    def via(self) -> str:
        """The accepted socket's own address, printed likewise."""
        return print_socket_address(self.local_ip, self.local_port)


def print_socket_address(ip: str, port: int) -> str:
    """``ip:port``, with brackets round an IPv6 address."""
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
