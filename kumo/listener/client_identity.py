"""Who the client is, when that changes: by PROXY header, XCLIENT, AUTH or STARTTLS.

Each change is made to the ``Connection`` as a whole, meta keys included, and drops what was found out about
the client it was before. Called by ``esmtp_protocol``.
"""

from __future__ import annotations

import ipaddress

from kumo.config import unmapped
from kumo.message import Authenticated, AuthInfo, Connection
from kumo.tls import TlsSession


def assume_addresses(connection: Connection, peer: tuple[str, int], local: tuple[str, int]) -> None:
    """Have a connection go between other addresses than its socket's.

    Meta keeps the socket's own as ``orig_received_from`` and ``orig_received_via``.

    Args:
        connection: the session.
        peer: IP and port of the client; an IPv4-mapped IP counts as IPv4.
        local: those of our end.
    """
    meta = connection.meta
    meta.setdefault("orig_received_from", connection.peer)
    meta.setdefault("orig_received_via", connection.via)
    connection.peer_ip, connection.peer_port = _canonical(peer[0]), peer[1]
    connection.local_ip, connection.local_port = _canonical(local[0]), local[1]
    meta["received_from"] = connection.peer
    meta["received_via"] = connection.via
    connection.listener_domains = None


def note_authentication(connection: Connection, authenticated: Authenticated) -> None:
    """Take down who the client has proved to be."""
    connection.is_authenticated = True
    connection.meta["authz_id"] = authenticated.authz_id
    connection.meta["authn_id"] = authenticated.authn_id
    info = connection.auth_info
    if info is None:
        info = connection.auth_info = AuthInfo(connection.peer_ip)
    info.identities += [one for one in authenticated.identities if one not in info.identities]
    info.groups += [one for one in authenticated.groups if one not in info.groups]
    connection.listener_domains = None


def note_tls(connection: Connection, session: TlsSession) -> None:
    """Take down what a handshake has shown, and forget what was said in the clear.

    Source: RFC 3207 §4.2.
    """
    meta = connection.meta
    for key in ("ehlo_domain", "authz_id", "authn_id"):
        meta.pop(key, None)
    connection.ehlo_domain = None
    connection.is_authenticated = False
    if connection.auth_info is not None:
        # Not dropped as a whole: the address in it may be that of a proxy.
        connection.auth_info = AuthInfo(connection.auth_info.peer_address)
    connection.listener_domains = None
    connection.tls_protocol_version = meta["tls_protocol_version"] = session.protocol_version
    connection.tls_cipher = meta["tls_cipher"] = session.cipher
    connection.tls_peer_subject_name = session.peer_subject_name
    if session.peer_subject_name:
        meta["tls_peer_subject_name"] = list(session.peer_subject_name)


def _canonical(ip: str) -> str:
    return str(unmapped(ipaddress.ip_address(ip)))
