"""Makes certificates for servers that were given none."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime

import idna
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from kumo.errors import TlsError
from kumo.tls.material import CertifiedKey

_SUBJECT = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kumo self signed cert")])
_NOT_BEFORE = datetime(1975, 1, 1, tzinfo=UTC)
_NOT_AFTER = datetime(4096, 1, 1, tzinfo=UTC)


def make_self_signed(hostname: str) -> CertifiedKey:
    """A new EC P-256 key and its own certificate; takes about 2 ms.

    Args:
        hostname: becomes the one subject alternative name: an IP when it is one, else a DNS name, with
            what is not ASCII as A-labels.

    Raises:
        TlsError: no certificate can be made out to such a name.

    Source: KumoMTA manual, tls_certificate.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_SUBJECT)
        .issuer_name(_SUBJECT)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_NOT_BEFORE)
        .not_valid_after(_NOT_AFTER)
        .add_extension(x509.SubjectAlternativeName([_alternative_name(hostname)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return CertifiedKey(
        chain=certificate.public_bytes(Encoding.PEM),
        private_key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        expires=_NOT_AFTER,
    )


def _alternative_name(hostname: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(hostname))
    except ValueError:
        pass
    try:
        # ASCII stays as it is: hosts have underscores in their names, which IDNA knows nothing of.
        name = hostname if hostname.isascii() else idna.encode(hostname, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise TlsError(f"no certificate can be made out to the hostname `{hostname}`") from error
    return x509.DNSName(name)
