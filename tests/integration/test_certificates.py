"""Whose certificates listeners show, whose they ask for, and those that cannot be used."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from cryptography import x509

from tests.tls.certificates import DAY, NOW, SHORT_RSA_KEY, Issued, issue

from .clients import TLS_HEAD, mail_to, s_client, swaks
from .daemon import Kumod
from .wire import Peer, stuffed

SELF_SIGNED = (
    TLS_HEAD
    + """
kumo.on('init', function()
  spools(false)
  listener {}
  listener { hostname = '192.0.2.25' }
  listener { peer = { ['127.0.0.1'] = { hostname = 'peer.test' } } }
  listener { hostname = 'bücher.test' }
end)
"""
)
USUAL, LITERAL, PEER_BLOCK, UMLAUT = range(4)

TROUBLE = "421 4.3.0 mx.test technical difficulties"
CONTENT = b"Subject: x\r\n\r\nbody\r\n"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kumod]:
    with Kumod(tmp_path_factory.mktemp("certificates"), SELF_SIGNED) as daemon:
        yield daemon


# --- the server's --------------------------------------------------------------------------------------


def test_strict_clients_trust_a_chain_from_files(tmp_path: Path) -> None:
    """The certificate is issued by an intermediate authority; clients know the root only."""
    root = trustme.CA()
    server = root.create_child_ca().issue_cert("mx.test", "127.0.0.1")
    (tmp_path / "chain.pem").write_bytes(b"".join(pem.bytes() for pem in server.cert_chain_pems))
    (tmp_path / "key.pem").write_bytes(server.private_key_pem.bytes())
    authority = tmp_path / "root.pem"
    root.cert_pem.write_to_path(str(authority))
    policy = """
    kumo.on('init', function()
      spools(false)
      listener { tls_certificate = pem 'chain', tls_private_key = pem 'key' }
    end)
    """
    with Kumod(tmp_path, TLS_HEAD + policy) as daemon:
        with daemon.client() as client:
            client.starttls(context=ssl.create_default_context(cafile=str(authority)))
            client.sendmail("a@example.com", ["b@example.org"], CONTENT)
        told = s_client(
            daemon.port, "-CAfile", str(authority), "-verify_hostname", "mx.test", "-verify_return_error",
            says=mail_to("b@example.org"),
        )  # fmt: skip
        assert "\n250 OK ids=" in told
        trust = ("--tls", "--tls-verify", "--tls-ca-path", str(authority))
        assert "<~  250 OK ids=" in swaks(daemon.port, *trust)
        # The client that trusts nobody shows that the others looked.
        with daemon.client() as client, pytest.raises(ssl.SSLCertVerificationError):
            client.starttls(context=ssl.create_default_context())


@pytest.mark.parametrize(
    ("port", "names"),
    [
        (USUAL, [x509.DNSName("mx.test")]),
        (LITERAL, [x509.IPAddress(ipaddress.ip_address("192.0.2.25"))]),
        (PEER_BLOCK, [x509.DNSName("peer.test")]),
        (UMLAUT, [x509.DNSName("xn--bcher-kva.test")]),
    ],
)
def test_without_a_certificate_one_is_made_for_the_hostname(
    daemon: Kumod, port: int, names: list[x509.GeneralName]
) -> None:
    shown = []
    for _ in range(2):
        with Peer(daemon.ports[port]) as peer:
            peer.greet()
            shown.append(peer.start_tls().getpeercert(binary_form=True))
    assert shown[0] is not None
    certificate = x509.load_der_x509_certificate(shown[0])
    assert list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value) == names
    assert shown[1] == shown[0]


# --- client certificates ------------------------------------------------------------------------------

NOT_TRUSTED = "alert unknown ca"
NAMED = ["CN=Testing Common Name"]


def test_clients_are_verified_when_an_authority_is_named(tmp_path: Path) -> None:
    root = issue("Testing Root", is_authority=True)
    between = issue("Testing Between", by=root, is_authority=True)
    stranger = issue("Unknown Root", is_authority=True)
    issued: dict[str, Issued] = {
        "direct": issue("Testing Common Name", by=root),
        "below": issue("Testing Common Name", by=between),
        "foreign": issue("Testing Common Name", by=stranger),
        "own": issue("Testing Common Name"),
        "expired": issue("Testing Common Name", by=root, not_before=NOW - 2 * DAY, not_after=NOW - DAY),
    }
    for name, one in (issued | {"server": issue("mx.test"), "root": root, "between": between}).items():
        (tmp_path / f"{name}.pem").write_bytes(one.both if name in issued or name == "server" else one.pem)

    def with_certificate(name: str) -> tuple[str, ...]:
        return "-cert", str(tmp_path / f"{name}.pem"), "-key", str(tmp_path / f"{name}.pem")

    asking, indifferent = 0, 1
    chain = ("-cert_chain", str(tmp_path / "between.pem"))
    rows: list[tuple[int, tuple[str, ...], str, list[str]]] = [
        (asking, (), "", []),
        (asking, with_certificate("direct"), "", NAMED),
        (asking, with_certificate("below") + chain, "", NAMED),
        (asking, with_certificate("below"), NOT_TRUSTED, []),
        (asking, with_certificate("foreign"), NOT_TRUSTED, []),
        (asking, with_certificate("own"), NOT_TRUSTED, []),
        (asking, with_certificate("expired"), "alert certificate expired", []),
        (indifferent, (), "", []),
        (indifferent, with_certificate("foreign"), "", []),
    ]
    policy = """
    kumo.on('init', function()
      spools(false)
      logs_with_meta()
      local own = { tls_certificate = pem 'server', tls_private_key = pem 'server' }
      listener(own)
      own.tls_required_client_ca = pem 'root'
      listener(own)
    end)
    """
    with Kumod(tmp_path, TLS_HEAD + policy) as daemon:
        # Started second, to show that what asks for certificates asks at its own listener only.
        ports = daemon.ports[::-1]
        for number, (listener, arguments, refusal, _) in enumerate(rows):
            for version in ("-tls1_2", "-tls1_3"):
                told = s_client(
                    ports[listener], version, *arguments, says=mail_to(f"{number}{version}@c.example")
                )
                assert ("\n250 OK ids=" in told) is not bool(refusal), (arguments, told)
                assert refusal in told
        assert daemon.stop() == 0
        receptions = {r["recipient"]: r for r in daemon.records() if r["type"] == "Reception"}
        expected = {}
        for number, (_, _, refusal, subject) in enumerate(rows):
            for version in ("-tls1_2", "-tls1_3"):
                if not refusal:
                    expected[f"{number}{version}@c.example"] = subject
        assert {to: r["tls_peer_subject_name"] for to, r in receptions.items()} == expected
        for to, record in receptions.items():
            assert record["meta"].get("tls_peer_subject_name", []) == expected[to]
        assert {r["type"] for r in daemon.records()} <= {"Reception", "Delivery"}


# --- certificates that cannot be used -----------------------------------------------------------------

BROKEN = [
    (
        "absent",
        "absent",
        "KeySource failed to load data from file `{}/absent.pem`: No such file or directory",
    ),
    ("own", "other", "{0}/other.pem: the private key does not match the certificate in {0}/own.pem"),
    ("expired", "expired", "{}/expired.pem: the certificate expired on "),
    ("future", "future", "{}/future.pem: the certificate is not valid before "),
    ("garbage", "own", "{}/garbage.pem: "),
    ("own", "garbage", "{}/garbage.pem: there is no private key in it"),
    ("short", "short", "{}/short.pem: OpenSSL refuses the certificate: ee key too small"),
    ("own", "nil", "tls_certificate ({}/own.pem) is given without tls_private_key"),
    ("nil", "own", "tls_private_key ({}/own.pem) is given without tls_certificate"),
    ("own", "own", "failed to parse certs: {}/garbage.pem: "),
]


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kumod]:
    folder = tmp_path_factory.mktemp("broken")
    files = {
        "own": issue("mx.test").both,
        "other": issue("mx.test").both,
        "expired": issue("mx.test", not_before=NOW - 9 * DAY, not_after=NOW - DAY).both,
        "future": issue("mx.test", not_before=NOW + DAY).both,
        "short": issue("mx.test", key=SHORT_RSA_KEY).both,
        "garbage": b"-----BEGIN NONSENSE-----\n",
    }
    for name, octets in files.items():
        (folder / f"{name}.pem").write_bytes(octets)
    listeners = "\n".join(
        f"listener {{ tls_certificate = file '{certificate}', tls_private_key = file '{key}' }}"
        for certificate, key, _ in BROKEN[:-1]
    )
    policy = f"""
    local function file(name) return name ~= 'nil' and pem(name) or nil end
    kumo.on('init', function()
      spools(false)
      {listeners}
      listener {{
        tls_certificate = pem 'own', tls_private_key = pem 'own', tls_required_client_ca = pem 'garbage',
      }}
    end)
    """
    with Kumod(folder, TLS_HEAD + policy) as daemon:
        yield daemon


@pytest.mark.parametrize("number", range(len(BROKEN)), ids=[f"{row[0]}-{row[1]}" for row in BROKEN])
def test_a_certificate_that_cannot_be_used_is_told_at_start_and_plain_mail_served(
    broken: Kumod, number: int
) -> None:
    port = broken.ports[number]
    told = f"smtp listener on 127.0.0.1:{port} cannot do TLS: {BROKEN[number][2].format(broken.folder)}"
    broken.wait_until(lambda: broken.has_logged(told))
    assert broken.has_logged(told)
    with Peer(port) as peer:
        assert "STARTTLS" in peer.greet().lines
        peer.begin(b"a@example.com", b"b@plain.example")
        peer.send(stuffed(CONTENT))
        assert peer.reply().code == 250
        assert str(peer.ask(b"STARTTLS")[0]) == TROUBLE
        assert peer.rest() == b""
