"""Handshakes over loopback: what is agreed on, who is refused, and how failures are told."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from kumo.config import KeyFile
from kumo.errors import TlsError
from kumo.tls import ServerContext, TlsContexts, describe_session
from kumo.tls.contexts import CONTEXT_LIFETIME
from kumo.tls.suites import CIPHER_NAMES
from tests.tls.certificates import EC_KEY, ED25519_KEY, RSA_KEY, Issued, issue
from tests.tls.fakes import (
    CONFIGURED,
    PATIENCE,
    Clock,
    Material,
    handshake,
    identity,
    make_context,
    plain_start,
    settled,
    start_tls_server,
    trusting,
)

RSA, EC, ED25519 = issue(key=RSA_KEY), issue(key=EC_KEY), issue(key=ED25519_KEY)


async def context_for(issued: Issued, client_ca: bytes | None = None) -> ServerContext:
    material = Material(certificate=issued.pem, key=issued.key_pem, bundle=client_ca or b"")
    sources = identity(
        certificate=KeyFile("certificate"),
        private_key=KeyFile("key"),
        client_ca=None if client_ca is None else KeyFile("bundle"),
    )
    return await make_context(material, sources)


def limited_to(version: ssl.TLSVersion, ciphers: str | None = None) -> ssl.SSLContext:
    context = trusting()
    context.minimum_version = context.maximum_version = version
    if ciphers is not None:
        context.set_ciphers(ciphers)
    return context


TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3

SUITE_ROWS = [
    (RSA, "ECDHE-RSA-AES256-GCM-SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    (RSA, "ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    (RSA, "ECDHE-RSA-CHACHA20-POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
    (EC, "ECDHE-ECDSA-AES256-GCM-SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    (EC, "ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    (EC, "ECDHE-ECDSA-CHACHA20-POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
    (RSA, "DHE-RSA-AES128-SHA:ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    (
        EC,
        "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    ),
]


@pytest.mark.parametrize(("issued", "offered", "agreed"), SUITE_ROWS)
async def test_suites_of_tls_1_2(issued: Issued, offered: str, agreed: str) -> None:
    async with start_tls_server(await context_for(issued)) as server:
        seen = await asyncio.to_thread(handshake, server.port, limited_to(TLS12, offered))
        session = await server.session()
    assert (seen.version, seen.echo) == ("TLSv1.2", b"ABC")
    assert (session.protocol_version, session.cipher) == ("TLSv1_2", agreed)
    assert session.peer_subject_name == ()


@pytest.mark.parametrize("issued", [RSA, EC, ED25519])
async def test_tls_1_3_is_preferred(issued: Issued) -> None:
    async with start_tls_server(await context_for(issued)) as server:
        seen = await asyncio.to_thread(handshake, server.port, trusting())
        session = await server.session()
    assert (seen.version, seen.echo) == ("TLSv1.3", b"ABC")
    assert (session.protocol_version, session.cipher) == ("TLSv1_3", "TLS13_AES_256_GCM_SHA384")


async def test_only_the_nine_suites_are_served() -> None:
    context = await context_for(EC)
    assert {cipher["name"] for cipher in context.get_ciphers()} == set(CIPHER_NAMES)
    assert len(CIPHER_NAMES) == 9


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
async def test_old_versions_are_refused(version: ssl.TLSVersion) -> None:
    context = trusting()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.deprecated_call():
        context.minimum_version = version
    with pytest.deprecated_call():
        context.maximum_version = version
    async with start_tls_server(await context_for(RSA)) as server:
        with pytest.raises(ssl.SSLError, match="alert protocol version"):
            await asyncio.to_thread(handshake, server.port, context)
        assert await server.failure() == "TLS handshake failed: unsupported protocol"


@pytest.mark.parametrize("offered", ["AES128-SHA", "ECDHE-RSA-AES128-SHA256", "DHE-RSA-AES128-GCM-SHA256"])
async def test_other_suites_are_refused(offered: str) -> None:
    async with start_tls_server(await context_for(RSA)) as server:
        with pytest.raises(ssl.SSLError, match="handshake failure"):
            await asyncio.to_thread(handshake, server.port, limited_to(TLS12, offered))
        assert await server.failure() == "TLS handshake failed: no shared cipher"


async def test_the_whole_chain_is_shown() -> None:
    root = issue("Root", is_authority=True)
    middle = issue("Middle", by=root, is_authority=True)
    leaf = issue(by=middle)
    whole = Material(certificate=leaf.pem + middle.pem, key=leaf.key_pem)
    async with start_tls_server(await make_context(whole, CONFIGURED)) as server:
        client = trusting(root.pem)
        client.check_hostname = False
        seen = await asyncio.to_thread(handshake, server.port, client)
        await server.session()
    assert seen.certificate == leaf.certificate.public_bytes(Encoding.DER)


async def test_a_self_signed_certificate_is_verified_by_who_pinned_it() -> None:
    contexts = TlsContexts(Material().load)
    context = contexts.server_context(identity("mx.example.com"))
    assert not isinstance(context, ssl.SSLContext)
    async with start_tls_server(await context) as server:
        first = await asyncio.to_thread(handshake, server.port, trusting())
        pinned = trusting(ssl.DER_cert_to_PEM_cert(first.certificate).encode())
        second = await asyncio.to_thread(handshake, server.port, pinned)
    assert second.certificate == first.certificate
    await contexts.close()


@pytest.mark.parametrize("version", [TLS12, TLS13])
@pytest.mark.parametrize("asks_clients", [False, True])
async def test_sessions_are_resumed_across_a_refresh(version: ssl.TLSVersion, asks_clients: bool) -> None:
    clock = Clock()
    material = Material(certificate=EC.pem, key=EC.key_pem)
    contexts = TlsContexts(material.load, now=clock)
    sources = identity(
        certificate=KeyFile("certificate"),
        private_key=KeyFile("key"),
        client_ca=KeyFile("certificate") if asks_clients else None,
    )
    context = contexts.server_context(sources)
    assert not isinstance(context, ssl.SSLContext)
    client = limited_to(version)
    async with start_tls_server(await context) as server:
        first = await asyncio.to_thread(handshake, server.port, client)
        clock.advance(CONTEXT_LIFETIME)
        contexts.server_context(sources)
        await settled(contexts)
        renewed = contexts.server_context(sources)
        assert isinstance(renewed, ssl.SSLContext)
        server.context = renewed
        second = await asyncio.to_thread(handshake, server.port, client, first.session)
    assert first.session is not None
    assert first.session.has_ticket
    assert (first.was_resumed, second.was_resumed) == (False, True)
    await contexts.close()


async def test_alpn_is_not_spoken() -> None:
    client = trusting()
    client.set_alpn_protocols(["http/1.1"])
    async with start_tls_server(await context_for(EC)) as server:
        assert (await asyncio.to_thread(handshake, server.port, client)).echo == b"ABC"


CLIENT_CA = trustme.CA()
OTHER_CA = trustme.CA()
INTERMEDIATE_CA = CLIENT_CA.create_child_ca()


def client_with(certificate: trustme.LeafCert | None, version: ssl.TLSVersion) -> ssl.SSLContext:
    context = limited_to(version)
    if certificate is not None:
        certificate.configure_cert(context)
    return context


def issued_client(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert(common_name="client.example.com", organization_name="Example")


def without_intermediate(folder: Path) -> Callable[[ssl.SSLContext], None]:
    leaf = issued_client(INTERMEDIATE_CA)
    path = folder / "leaf.pem"
    path.write_bytes(leaf.private_key_pem.bytes() + leaf.cert_chain_pems[0].bytes())
    return lambda context: context.load_cert_chain(path)


GOOD_CLIENT_ROWS = [
    pytest.param(None, (), id="no certificate"),
    pytest.param(
        issued_client(CLIENT_CA), ("O=Example", "OU=", "CN=client.example.com"), id="of the authority"
    ),
    pytest.param(
        issued_client(INTERMEDIATE_CA), ("O=Example", "OU=", "CN=client.example.com"), id="with intermediate"
    ),
]


@pytest.mark.parametrize("version", [TLS12, TLS13])
@pytest.mark.parametrize(("certificate", "subject"), GOOD_CLIENT_ROWS)
async def test_clients_that_are_taken(
    certificate: trustme.LeafCert | None, subject: tuple[str, ...], version: ssl.TLSVersion
) -> None:
    context = await context_for(EC, CLIENT_CA.cert_pem.bytes())
    async with start_tls_server(context) as server:
        client = client_with(certificate, version)
        first = await asyncio.to_thread(handshake, server.port, client)
        found = (await server.session()).peer_subject_name
        # A resumed session knows who the client was.
        second = await asyncio.to_thread(handshake, server.port, client, first.session)
        assert second.was_resumed
        assert (await server.session()).peer_subject_name == found
    assert [entry.startswith(part) for entry, part in zip(found, subject, strict=True)] == [True] * len(
        subject
    )


@pytest.mark.parametrize("version", [TLS12, TLS13])
@pytest.mark.parametrize("kind", ["untrusted", "missing intermediate"])
async def test_clients_that_are_refused(kind: str, version: ssl.TLSVersion, tmp_path: Path) -> None:
    client = limited_to(version)
    if kind == "untrusted":
        issued_client(OTHER_CA).configure_cert(client)
    else:
        without_intermediate(tmp_path)(client)
    context = await context_for(EC, CLIENT_CA.cert_pem.bytes())
    async with start_tls_server(context) as server:
        with pytest.raises(ssl.SSLError, match="alert unknown ca"):
            await asyncio.to_thread(handshake, server.port, client)
        text = await server.failure()
    assert text == "TLS handshake failed: unable to get local issuer certificate"


async def test_a_certificate_that_is_not_asked_for_is_not_seen() -> None:
    async with start_tls_server(await context_for(EC)) as server:
        await asyncio.to_thread(handshake, server.port, client_with(issued_client(CLIENT_CA), TLS13))
        assert (await server.session()).peer_subject_name == ()


@pytest.mark.parametrize("bundle", ["intermediate", "the very certificate"])
async def test_a_bundle_without_root_is_trusted_as_it_is(bundle: str) -> None:
    leaf = issued_client(INTERMEDIATE_CA)
    trusted = INTERMEDIATE_CA.cert_pem if bundle == "intermediate" else leaf.cert_chain_pems[0]
    async with start_tls_server(await context_for(EC, trusted.bytes())) as server:
        await asyncio.to_thread(handshake, server.port, client_with(leaf, TLS13))
        assert (await server.session()).peer_subject_name != ()


async def test_every_entry_of_a_subject_is_told_in_order(tmp_path: Path) -> None:
    def entry(oid: x509.ObjectIdentifier, value: str) -> x509.NameAttribute[str]:
        return x509.NameAttribute(oid, value)

    subject = x509.Name(
        [
            x509.RelativeDistinguishedName([entry(NameOID.COUNTRY_NAME, "DE")]),
            x509.RelativeDistinguishedName([entry(NameOID.STATE_OR_PROVINCE_NAME, "Bayern")]),
            x509.RelativeDistinguishedName([entry(NameOID.LOCALITY_NAME, "München")]),
            x509.RelativeDistinguishedName([entry(NameOID.ORGANIZATION_NAME, "A, B = C")]),
            x509.RelativeDistinguishedName(
                [entry(NameOID.COMMON_NAME, "client"), entry(NameOID.USER_ID, "u1")]
            ),
            x509.RelativeDistinguishedName([entry(NameOID.COMMON_NAME, "second")]),
            x509.RelativeDistinguishedName([entry(NameOID.EMAIL_ADDRESS, "a@example.com")]),
            x509.RelativeDistinguishedName([entry(x509.ObjectIdentifier("1.2.3.4.5"), "unknown")]),
        ]
    )
    client_certificate = issue(subject)
    path = tmp_path / "client.pem"
    path.write_bytes(client_certificate.both)
    client = trusting()
    client.load_cert_chain(path)
    async with start_tls_server(await context_for(EC, client_certificate.pem)) as server:
        await asyncio.to_thread(handshake, server.port, client)
        found = (await server.session()).peer_subject_name
    assert found[:4] == ("C=DE", "ST=Bayern", "L=München", "O=A, B = C")
    # One relative name's entries form a set, which DER sorts.
    assert sorted(found[4:6]) == ["CN=client", "UID=u1"]
    assert found[6:] == ("CN=second", "emailAddress=a@example.com", "1.2.3.4.5=unknown")


def send_and_wait(port: int, octets: bytes) -> bytes:
    """What comes back until the server closes; blocks."""
    answer = b""
    with plain_start(port) as connection:
        connection.sendall(octets)
        with contextlib.suppress(ConnectionResetError):
            while received := connection.recv(4096):
                answer += received
    return answer


ALERT = 0x15

GARBAGE_ROWS = [
    pytest.param(b"EHLO again.example.com\r\n", "wrong version number", id="command"),
    pytest.param(b"GET / HTTP/1.1\r\n\r\n", "http request", id="HTTP"),
    pytest.param(bytes(64), "wrong version number", id="zeros"),
    pytest.param(b"\x16\x03\x01\x00\x05hello", "unexpected message", id="no ClientHello"),
    pytest.param(b"\x16\x03\x01\xff\xff" + bytes(70000), "packet length too long", id="long record"),
]


@pytest.mark.parametrize(("octets", "why"), GARBAGE_ROWS)
async def test_garbage_ends_the_connection(octets: bytes, why: str) -> None:
    async with start_tls_server(await context_for(EC)) as server:
        answer = await asyncio.to_thread(send_and_wait, server.port, octets)
        assert await server.failure() == f"TLS handshake failed: {why}"
    # What is no TLS at all gets no alert; nothing gets anything in the clear.
    assert answer[:1] in {b"", bytes([ALERT])}


@pytest.mark.parametrize("octets", [b"", b"\x16\x03\x01\x02\x00\x01"], ids=["silent", "half a ClientHello"])
async def test_a_peer_that_does_not_go_on_is_given_up(octets: bytes) -> None:
    async with start_tls_server(await context_for(EC), handshake_timeout=0.1) as server:
        assert await asyncio.to_thread(send_and_wait, server.port, octets) == b""
        assert await server.failure() == "TLS handshake failed: not done within 0.1 seconds"


async def test_no_time_at_all_is_a_very_short_time() -> None:
    async with start_tls_server(await context_for(EC), handshake_timeout=0.0) as server:
        await asyncio.to_thread(send_and_wait, server.port, b"")
        assert await server.failure() == "TLS handshake failed: not done within 0.001 seconds"


@pytest.mark.parametrize("is_reset", [False, True])
async def test_a_peer_that_goes_away(is_reset: bool) -> None:
    def go_away(port: int) -> None:
        with plain_start(port) as connection:
            if is_reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")

    async with start_tls_server(await context_for(EC)) as server:
        await asyncio.to_thread(go_away, server.port)
        text = await server.failure()
    assert text.startswith("TLS handshake failed: ")


async def test_renegotiation_is_refused() -> None:
    def renegotiate(port: int) -> str:
        with subprocess.Popen(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-starttls", "smtp", "-tls1_2"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as client:
            assert client.stdin is not None
            # The input stays open: s_client leaves at its end, before it has heard of the refusal.
            client.stdin.write(b"R\n")
            client.stdin.flush()
            assert client.stdout is not None
            return client.stdout.read().decode(errors="replace")

    async with start_tls_server(await context_for(EC)) as server:
        output = await asyncio.wait_for(asyncio.to_thread(renegotiate, server.port), PATIENCE)
        await server.session()
    assert "RENEGOTIATING" in output
    assert "no renegotiation" in output


async def test_a_plain_connection_has_no_session() -> None:
    async with start_tls_server(await context_for(EC)) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        with pytest.raises(TlsError, match="the connection has no TLS"):
            describe_session(writer.transport)
        writer.close()
        await writer.wait_closed()
