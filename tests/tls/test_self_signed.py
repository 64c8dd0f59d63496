"""Servers without a certificate make their own."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtensionOID, NameOID

from kumo.errors import TlsError
from kumo.tls import TlsContexts, check_identity
from kumo.tls.self_signed import make_self_signed
from tests.tls.fakes import Material, identity, make_context

NAME_ROWS: list[tuple[str, x509.GeneralName]] = [
    ("mx.example.com", x509.DNSName("mx.example.com")),
    ("localhost", x509.DNSName("localhost")),
    ("under_score.example.com", x509.DNSName("under_score.example.com")),
    ("192.0.2.1", x509.IPAddress(ipaddress.ip_address("192.0.2.1"))),
    ("2001:db8::1", x509.IPAddress(ipaddress.ip_address("2001:db8::1"))),
    ("bücher.example", x509.DNSName("xn--bcher-kva.example")),
    ("BÜCHER.example", x509.DNSName("xn--bcher-kva.example")),
    (f"{'a' * 60}.{'b' * 60}.example.com", x509.DNSName(f"{'a' * 60}.{'b' * 60}.example.com")),
]


@pytest.mark.parametrize(("hostname", "alternative"), NAME_ROWS)
async def test_it_is_made_out_to_the_hostname(hostname: str, alternative: x509.GeneralName) -> None:
    certificate = x509.load_pem_x509_certificate(make_self_signed(hostname).chain)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert list(names.value) == [alternative]
    assert await check_identity(Material().load, identity(hostname)) == []
    await make_context(Material(), identity(hostname))


def test_what_stands_in_it() -> None:
    certificate = x509.load_pem_x509_certificate(make_self_signed("mx.example.com").chain)
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"
    assert certificate.signature_hash_algorithm is not None
    assert certificate.signature_hash_algorithm.name == "sha256"
    assert certificate.issuer == certificate.subject
    (subject,) = certificate.subject
    assert (subject.oid, subject.value) == (NameOID.COMMON_NAME, "kumo self signed cert")
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.value.ca is False
    assert {extension.oid for extension in certificate.extensions} == {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    }
    assert certificate.not_valid_before_utc == datetime(1975, 1, 1, tzinfo=UTC)
    assert certificate.not_valid_after_utc == datetime(4096, 1, 1, tzinfo=UTC)


async def test_a_name_that_nothing_can_be_made_out_to() -> None:
    problems = ["no certificate can be made out to the hostname `ü..example`"]
    assert await check_identity(Material().load, identity("ü..example")) == problems
    with pytest.raises(TlsError):
        await make_context(Material(), identity("ü..example"))


def test_it_is_made_once_a_hostname() -> None:
    contexts = TlsContexts(Material().load)
    first = contexts._self_signed_for("mx.example.com")
    assert contexts._self_signed_for("mx.example.com") is first
    assert contexts._self_signed_for("mx.example.net") is not first
