"""Makes a server's ``ssl.SSLContext`` from material that was looked at before."""

from __future__ import annotations

import os
import ssl
from collections.abc import Sequence
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from kumo.errors import TlsError
from kumo.tls.alerts import AlertingContext
from kumo.tls.material import CertifiedKey
from kumo.tls.suites import TLS12_CIPHERS

ServerContext: TypeAlias = ssl.SSLContext


def make_server_context(
    certified: CertifiedKey, client_ca: Sequence[x509.Certificate] | None, *, source: str
) -> ServerContext:
    """A context for TLS 1.2 and 1.3 with session tickets and without ALPN.

    Args:
        certified: what the server shows.
        client_ca: authorities or single certificates that a client's certificate must lead to, where it
            has one; None: clients are not asked.
        source: names the certificate in messages.

    Raises:
        TlsError: OpenSSL refuses the material, for example because the key is too short.

    Source: RFC 8996, RFC 9325.
    """
    context = AlertingContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(TLS12_CIPHERS)
    context.options |= (
        # A peer may otherwise ask for one handshake after the other within a session.
        ssl.OP_NO_RENEGOTIATION
        # CRIME
        | ssl.OP_NO_COMPRESSION
        | ssl.OP_CIPHER_SERVER_PREFERENCE
        | ssl.OP_SINGLE_ECDH_USE
    )
    try:
        _load_certified_key(context, certified)
    except ssl.SSLError as error:
        raise TlsError(f"{source}: OpenSSL refuses the certificate: {reason_of(error)}") from error
    if client_ca is not None:
        _ask_clients(context, client_ca)
    return context


def reason_of(error: ssl.SSLError) -> str:
    """OpenSSL's reason in plain words, for example ``ee key too small``."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return (error.reason or type(error).__name__).replace("_", " ").lower()


def _load_certified_key(context: ssl.SSLContext, certified: CertifiedKey) -> None:
    # OpenSSL's interface in Python takes paths only; a file in memory keeps the key off every disk.
    descriptor = os.memfd_create("kumod-certificate")
    with os.fdopen(descriptor, "wb") as file:
        file.write(certified.chain)
        file.write(b"\n")
        file.write(certified.private_key)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")


def _ask_clients(context: ssl.SSLContext, client_ca: Sequence[x509.Certificate]) -> None:
    context.load_verify_locations(
        cadata=b"".join(certificate.public_bytes(Encoding.DER) for certificate in client_ca)
    )
    # Whatever the bundle holds is trusted, be it no root.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_mode = ssl.CERT_OPTIONAL
