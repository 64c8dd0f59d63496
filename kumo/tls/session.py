"""The handshake on a connection that exists already, and what it agreed on."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass

from kumo.errors import TlsError
from kumo.tls.alerts import LastWord
from kumo.tls.server_context import ServerContext, reason_of
from kumo.tls.suites import CIPHER_NAMES, VERSION_NAMES

_SHUTDOWN_TIMEOUT = 3.0
"""Seconds that a closed session waits for the peer's close_notify; both loops would wait for 30."""

_SHORTEST_TIMEOUT = 0.001
"""Both loops refuse 0, which means: at once."""

_SHORT_NAMES = {
    "commonName": "CN",
    "countryName": "C",
    "domainComponent": "DC",
    "givenName": "GN",
    "jurisdictionCountryName": "jurisdictionC",
    "jurisdictionLocalityName": "jurisdictionL",
    "jurisdictionStateOrProvinceName": "jurisdictionST",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
    "streetAddress": "street",
    "surname": "SN",
    "userId": "UID",
}
"""OpenSSL's short names by its long ones, where they differ."""


@dataclass(frozen=True, slots=True)
class TlsSession:
    """What a handshake agreed on, in KumoMTA's words.

    Args:
        protocol_version: ``TLSv1_2`` or ``TLSv1_3``.
        cipher: for example ``TLS13_AES_256_GCM_SHA384``.
        peer_subject_name: entries of the subject of the client's verified certificate, in order, each as
            ``CN=client``; empty without such a certificate.
    """

    protocol_version: str
    cipher: str
    peer_subject_name: tuple[str, ...]


def describe_session(transport: asyncio.BaseTransport) -> TlsSession:
    """What the handshake on a transport agreed on.

    Args:
        transport: as ``start_server_tls`` returned it.

    Raises:
        TlsError: no handshake was done on it.
    """
    tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    version = None if tls is None else tls.version()
    cipher = None if tls is None else tls.cipher()
    if tls is None or version is None or cipher is None:
        raise TlsError("the connection has no TLS")
    # Empty for a certificate that was not verified, which no handshake of ours survives.
    certificate = tls.getpeercert() or {}
    return TlsSession(
        protocol_version=VERSION_NAMES.get(version, version),
        cipher=CIPHER_NAMES.get(cipher[0], cipher[0]),
        peer_subject_name=_subject_entries(certificate.get("subject", ())),
    )


def _subject_entries(subject: object) -> tuple[str, ...]:
    """Every entry, also where several stand in one relative name; unknown types are dotted numbers."""
    entries = []
    for relative_name in subject if isinstance(subject, tuple) else ():
        for name, value in relative_name:
            entries.append(f"{_SHORT_NAMES.get(name, name)}={value}")
    return tuple(entries)


async def start_server_tls(
    transport: asyncio.Transport,
    protocol: asyncio.BaseProtocol,
    context: ServerContext,
    *,
    handshake_timeout: float,
) -> asyncio.Transport:
    """Do the server's part of a handshake.

    The transport must be paused and everything written to it must have been: the client's first octets
    belong to the handshake. The loop does not call ``connection_made`` again. When the handshake fails it
    may call ``connection_lost`` or not, which depends on the loop and on the way it failed.

    Args:
        transport: the plain one; nothing may be done with it afterwards.
        protocol: what receives the plaintext.
        context: of ``TlsContexts``.
        handshake_timeout: seconds.

    Returns:
        The transport to write plaintext to.

    Raises:
        TlsError: the handshake failed; the connection is closed, and the text says why.
    """
    if transport.is_closing():
        # A handshake would never end: neither loop tells of a loss that came before it, nor ends it in time.
        raise TlsError("TLS handshake failed: the connection was closed")
    timeout = max(handshake_timeout, _SHORTEST_TIMEOUT)
    loop = asyncio.get_running_loop()
    with LastWord(transport) as last_word:
        try:
            started = await loop.start_tls(
                transport,
                protocol,
                context,
                server_side=True,
                ssl_handshake_timeout=timeout,
                ssl_shutdown_timeout=_SHUTDOWN_TIMEOUT,
            )
        except ssl.SSLError as error:
            last_word.say(error)
            raise TlsError(f"TLS handshake failed: {reason_of(error)}") from error
        except ConnectionAbortedError as error:
            # Both loops say it of a time limit only, at length.
            raise TlsError(f"TLS handshake failed: not done within {timeout:g} seconds") from error
        except OSError as error:
            why = error.strerror or "the peer closed the connection"
            raise TlsError(f"TLS handshake failed: {why}") from error
    # A connection that was closed by our side meanwhile: asyncio returns nothing, uvloop a transport
    # that never spoke TLS.
    if started is None or started.get_extra_info("ssl_object") is None:
        raise TlsError("TLS handshake failed: the connection was closed")
    return started
