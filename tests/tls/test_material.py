"""What is taken for a certificate and its key, and what is said of the rest."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import PrivateFormat

from kumo.config import KeyData, KeyEvent, KeyFile, KeySource, KeyVault
from kumo.errors import TlsError
from kumo.tls import check_identity, describe_source
from kumo.tls.material import CertifiedKey
from tests.tls.certificates import (
    DAY,
    DSA_KEY,
    EC_KEY,
    EC_PARAMETERS,
    ED25519_KEY,
    NOW,
    OTHER_EC_KEY,
    RSA_KEY,
    SHORT_RSA_KEY,
    issue,
    key_pem,
)
from tests.tls.fakes import CONFIGURED, Material, identity, make_context

EC = issue(key=EC_KEY)
RSA = issue(key=RSA_KEY)
AUTHORITY = issue("Authority", is_authority=True)
OLD_AUTHORITY = issue("Old Authority", is_authority=True, not_before=NOW - 9 * DAY, not_after=NOW - DAY)
LEAF = issue(key=EC_KEY, by=AUTHORITY)
SEC1 = PrivateFormat.TraditionalOpenSSL
PKCS1 = PrivateFormat.TraditionalOpenSSL

GOOD_ROWS = [
    pytest.param(EC.pem, key_pem(EC_KEY), id="PKCS#8"),
    pytest.param(EC.pem, key_pem(EC_KEY, SEC1), id="SEC1"),
    pytest.param(EC.pem, EC_PARAMETERS + key_pem(EC_KEY, SEC1), id="SEC1 behind parameters"),
    pytest.param(RSA.pem, key_pem(RSA_KEY), id="RSA, PKCS#8"),
    pytest.param(RSA.pem, key_pem(RSA_KEY, PKCS1), id="RSA, PKCS#1"),
    pytest.param(issue(key=ED25519_KEY).pem, key_pem(ED25519_KEY), id="Ed25519"),
    pytest.param(EC.both, EC.both, id="both in one text"),
    pytest.param(EC.key_pem + EC.pem, EC.key_pem + EC.pem, id="key first"),
    pytest.param(EC.pem, key_pem(EC_KEY) + key_pem(OTHER_EC_KEY), id="first of two keys"),
    pytest.param(LEAF.pem + AUTHORITY.pem, key_pem(EC_KEY), id="chain"),
    pytest.param(LEAF.pem + OLD_AUTHORITY.pem, key_pem(EC_KEY), id="expired authority in the chain"),
    pytest.param("schlüssel\n".encode("latin-1") + EC.pem, b"\xff\n" + key_pem(EC_KEY), id="other text"),
    pytest.param(EC.pem.replace(b"\n", b"\r\n"), key_pem(EC_KEY).replace(b"\n", b"\r\n"), id="CRLF"),
    pytest.param(issue(key=EC_KEY, not_after=NOW + DAY).pem, key_pem(EC_KEY), id="about to expire"),
]


@pytest.mark.parametrize(("certificate", "key"), GOOD_ROWS)
async def test_material_that_is_taken(certificate: bytes, key: bytes) -> None:
    material = Material(certificate=certificate, key=key)
    assert await check_identity(material.load, CONFIGURED) == []
    await make_context(material, CONFIGURED)


EXPIRED = issue(key=EC_KEY, not_before=NOW - 3 * DAY, not_after=NOW - DAY)
FUTURE = issue(key=EC_KEY, not_before=NOW + DAY)
TORN_CERTIFICATE = EC.pem.replace(b"-----END", b"AAAA-----END")
EMPTY_CERTIFICATE = b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"
TORN_KEY = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"

NO_CERTIFICATE = "certificate: there is no certificate in it"
NO_KEY = "key: there is no private key in it"
MALFORMED_KEY = "key: the private key is malformed"
ENCRYPTED_KEY = "key: the private key is encrypted; a key without a password is needed"
MISMATCH = "key: the private key does not match the certificate in certificate"

BAD_ROWS = [
    pytest.param(b"", EC.key_pem, [NO_CERTIFICATE], id="empty certificate"),
    pytest.param(EC.key_pem, EC.key_pem, [NO_CERTIFICATE], id="key for a certificate"),
    pytest.param(EC.pem, b"", [NO_KEY], id="empty key"),
    pytest.param(EC.pem, EC.pem, [NO_KEY], id="certificate for a key"),
    pytest.param(b"", b"", [NO_CERTIFICATE, NO_KEY], id="both empty"),
    pytest.param(b"\0" * 9, b"\xff" * 9, [NO_CERTIFICATE, NO_KEY], id="both garbage"),
    pytest.param(
        EMPTY_CERTIFICATE, EC.key_pem, ["certificate: certificate 1 is malformed"], id="empty block"
    ),
    pytest.param(
        TORN_CERTIFICATE, EC.key_pem, ["certificate: certificate 1 is malformed"], id="torn certificate"
    ),
    pytest.param(EC.pem[:-9], EC.key_pem, ["certificate: certificate 1 is malformed"], id="no end"),
    pytest.param(
        EC.pem + TORN_CERTIFICATE, EC.key_pem, ["certificate: certificate 2 is malformed"], id="torn chain"
    ),
    pytest.param(EC.pem, TORN_KEY, [MALFORMED_KEY], id="torn key"),
    pytest.param(EC.pem, EC.key_pem[:-9], [MALFORMED_KEY], id="key without end"),
    pytest.param(EC.pem, key_pem(EC_KEY, password=b"x"), [ENCRYPTED_KEY], id="encrypted PKCS#8"),
    pytest.param(EC.pem, key_pem(EC_KEY, SEC1, password=b"x"), [ENCRYPTED_KEY], id="encrypted SEC1"),
    pytest.param(
        EC.pem,
        key_pem(DSA_KEY),
        ["key: the private key is neither RSA nor EC nor Ed25519"],
        id="DSA",
    ),
    pytest.param(EC.pem, key_pem(OTHER_EC_KEY), [MISMATCH], id="another key"),
    pytest.param(EC.pem, key_pem(RSA_KEY), [MISMATCH], id="a key of another kind"),
    pytest.param(
        AUTHORITY.pem + LEAF.pem,
        LEAF.key_pem,
        [MISMATCH + ", but its certificate 2, which must come first"],
        id="leaf last",
    ),
    pytest.param(
        EXPIRED.pem,
        EC.key_pem,
        [f"certificate: the certificate expired on {NOW - DAY:%Y-%m-%d %H:%M:%S} UTC"],
        id="expired",
    ),
    pytest.param(
        FUTURE.pem,
        EC.key_pem,
        [f"certificate: the certificate is not valid before {NOW + DAY:%Y-%m-%d %H:%M:%S} UTC"],
        id="not yet valid",
    ),
    pytest.param(
        EXPIRED.pem,
        key_pem(OTHER_EC_KEY),
        [MISMATCH, f"certificate: the certificate expired on {NOW - DAY:%Y-%m-%d %H:%M:%S} UTC"],
        id="expired, and another key",
    ),
    pytest.param(
        issue(key=SHORT_RSA_KEY).pem,
        key_pem(SHORT_RSA_KEY),
        ["certificate: OpenSSL refuses the certificate: ee key too small"],
        id="short key",
    ),
]


@pytest.mark.parametrize(("certificate", "key", "problems"), BAD_ROWS)
async def test_material_that_is_refused(certificate: bytes, key: bytes, problems: list[str]) -> None:
    material = Material(certificate=certificate, key=key)
    assert await check_identity(material.load, CONFIGURED) == problems
    with pytest.raises(TlsError) as failure:
        await make_context(material, CONFIGURED)
    assert str(failure.value) == problems[0]


CERTIFICATE, KEY = KeyFile("certificate"), KeyFile("key")

PART_ROWS: list[tuple[KeySource | None, KeySource | None, KeySource | None, list[str]]] = [
    (CERTIFICATE, None, None, ["tls_certificate (certificate) is given without tls_private_key"]),
    (None, KEY, None, ["tls_private_key (key) is given without tls_certificate"]),
    (None, CERTIFICATE, None, [NO_KEY.replace("key:", "certificate:"), "tls_private_key (certificate) is g"]),
    (KeyFile("no"), None, None, ["no cannot be loaded", "tls_certificate (no) is given without"]),
    (
        KeyFile("no"),
        KeyFile("nor"),
        KeyFile("ca"),
        [f"{name} cannot be loaded" for name in ("no", "nor", "ca")],
    ),
    (KeyFile("no"), KeyFile("torn"), None, ["no cannot be loaded", "torn: the private key is malformed"]),
    (None, None, KEY, ["failed to parse certs: key: there is no certificate in it"]),
    (CERTIFICATE, KEY, KeyFile("empty"), ["failed to parse certs: empty: there is no certificate in it"]),
    (CERTIFICATE, KEY, CERTIFICATE, []),
    (None, None, CERTIFICATE, []),
    (None, None, None, []),
]


@pytest.mark.parametrize(("certificate", "key", "client_ca", "problems"), PART_ROWS)
async def test_every_problem_is_found_at_once(
    certificate: KeySource | None, key: KeySource | None, client_ca: KeySource | None, problems: list[str]
) -> None:
    material = Material(certificate=EC.pem, key=EC.key_pem, torn=TORN_KEY, empty=b"")
    whole = identity(certificate=certificate, private_key=key, client_ca=client_ca)
    found = await check_identity(material.load, whole)
    assert len(found) == len(problems)
    assert all(text.startswith(problem) for text, problem in zip(found, problems, strict=True)), found


SOURCE_ROWS: list[tuple[KeySource, str]] = [
    (KeyFile("/etc/key.pem"), "/etc/key.pem"),
    (KeyData(b"secret"), "key_data"),
    (
        KeyVault(vault_mount="kv", vault_path="tls/mx", vault_token="secret", vault_key="crt"),  # noqa: S106 - of no server
        "vault kv/tls/mx field crt",
    ),
    (KeyEvent(event_name="load", event_args=("secret",)), "key event `load`"),
]


@pytest.mark.parametrize(("source", "text"), SOURCE_ROWS)
def test_sources_are_named_without_secrets(source: KeySource, text: str) -> None:
    assert describe_source(source) == text


def test_a_key_is_never_printed() -> None:
    assert "PRIVATE" not in repr(CertifiedKey(EC.pem, EC.key_pem, NOW))
