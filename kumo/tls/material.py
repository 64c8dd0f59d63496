"""Reads certificates and keys out of PEM text and says what is wrong with them.

OpenSSL would say ``no certificate assigned`` of a key that is another certificate's, and ask on the
terminal for the password of an encrypted one; so nothing comes to OpenSSL that was not looked at here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from kumo.errors import TlsError

PrivateKey: TypeAlias = (
    rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
)

_BEGIN_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_END_CERTIFICATE = b"-----END CERTIFICATE-----"

_BEGIN_KEY = re.compile(rb"-----BEGIN ((?:RSA |EC |ENCRYPTED )?PRIVATE KEY)-----")
"""PKCS#1, SEC1, encrypted PKCS#8, PKCS#8."""


@dataclass(frozen=True, slots=True)
class CertifiedKey:
    """A private key and its certificate.

    Args:
        chain: certificates, leaf first, in PEM.
        private_key: the leaf's key, one block of PEM.
        expires: end of the leaf's validity.
    """

    chain: bytes
    private_key: bytes
    expires: datetime

    def __repr__(self) -> str:
        """Without the key."""
        return f"CertifiedKey(expires={self.expires:%Y-%m-%d})"


def read_certificates(octets: bytes, source: str) -> list[x509.Certificate]:
    """All CERTIFICATE blocks of a text; what stands between them is passed over.

    Args:
        octets: PEM.
        source: names it in messages.

    Raises:
        TlsError: there is none, or one is malformed.
    """
    certificates = []
    for number, block in enumerate(octets.split(_BEGIN_CERTIFICATE)[1:], 1):
        body, end, _ = block.partition(_END_CERTIFICATE)
        try:
            certificate = x509.load_pem_x509_certificate(_BEGIN_CERTIFICATE + body + end)
            certificate.public_key()
        except UnsupportedAlgorithm as error:
            raise TlsError(f"{source}: certificate {number} has a key of a kind that is not known") from error
        except ValueError as error:
            raise TlsError(f"{source}: certificate {number} is malformed") from error
        certificates.append(certificate)
    if not certificates:
        raise TlsError(f"{source}: there is no certificate in it")
    return certificates


def read_client_ca(octets: bytes, source: str) -> list[x509.Certificate]:
    """The authorities of a bundle.

    Raises:
        TlsError: there is none, or one is malformed; in KumoMTA's words.
    """
    try:
        return read_certificates(octets, source)
    except TlsError as error:
        raise TlsError(f"failed to parse certs: {error}") from error


def read_private_key(octets: bytes, source: str) -> tuple[bytes, PrivateKey]:
    """The first private key of a text, as its PEM block and read.

    Args:
        octets: PEM; certificates and parameters before the key are passed over.
        source: names it in messages, which never quote it.

    Raises:
        TlsError: there is none, or it is encrypted, malformed or of a kind that signs no handshake.
    """
    begin = _BEGIN_KEY.search(octets)
    if begin is None:
        raise TlsError(f"{source}: there is no private key in it")
    end_marker = b"-----END %b-----" % begin.group(1)
    end = octets.find(end_marker, begin.end())
    if end < 0:
        raise TlsError(f"{source}: the private key is malformed")
    block = octets[begin.start() : end + len(end_marker)] + b"\n"
    try:
        # Validating an RSA key of 4096 bits holds the interpreter, and all sessions, for 260 ms;
        # that it is the certificate's key is compared below.
        key = load_pem_private_key(block, None, unsafe_skip_rsa_key_validation=True)
    except TypeError as error:
        raise TlsError(
            f"{source}: the private key is encrypted; a key without a password is needed"
        ) from error
    except UnsupportedAlgorithm as error:
        raise TlsError(f"{source}: the private key is of a kind that is not known") from error
    except ValueError as error:
        raise TlsError(f"{source}: the private key is malformed") from error
    if not isinstance(key, PrivateKey):
        raise TlsError(f"{source}: the private key is neither RSA nor EC nor Ed25519")
    return block, key


def pair_problems(
    chain: list[x509.Certificate], key: PrivateKey, *, certificate: str, private_key: str, at: datetime
) -> list[str]:
    """What keeps a key and a chain from being used together.

    Args:
        chain: leaf first. Only the leaf's dates count: bundles carry roots that expired long ago.
        key: the private key.
        certificate: names the chain's source.
        private_key: names the key's source.
        at: the time that must lie within the leaf's validity.
    """
    problems = []
    leaf = chain[0]
    public_key = _octets_of(key.public_key())
    if _octets_of(leaf.public_key()) != public_key:
        problem = f"{private_key}: the private key does not match the certificate in {certificate}"
        for number, other in enumerate(chain[1:], 2):
            if _octets_of(other.public_key()) == public_key:
                problem += f", but its certificate {number}, which must come first"
        problems.append(problem)
    if at > leaf.not_valid_after_utc:
        problems.append(f"{certificate}: the certificate expired on {print_time(leaf.not_valid_after_utc)}")
    if at < leaf.not_valid_before_utc:
        problems.append(
            f"{certificate}: the certificate is not valid before {print_time(leaf.not_valid_before_utc)}"
        )
    return problems


def _octets_of(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def print_time(time: datetime) -> str:
    """A certificate's date, for messages."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
