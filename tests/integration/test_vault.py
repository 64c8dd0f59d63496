"""Keys and certificates out of Vault: a real server, a real daemon, real clients.

``pytest -rP tests/integration/test_vault.py -k diagnostics`` shows what the daemon has to say.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from cryptography import x509

from kumo.config import KeyVault
from kumo.keys import KeySources
from kumo.maybe_awaitable import is_awaitable
from kumo.tls import ServerContext, ServerIdentity, TlsContexts
from tests.keys.fakes import Clock, no_event
from tests.listener.fakes import until
from tests.openbao import Openbao
from tests.tls.certificates import DAY, NOW, Issued, issue

from .clients import s_client, swaks
from .daemon import Kumod, run_kumod
from .wire import Peer, credulous_context, stuffed

BAD_TOKEN = "s.a-token-that-no-server-knows"  # noqa: S105 - nor does any
TROUBLE = "421 4.3.0 mx.test technical difficulties"

HEAD = """
local function secret(path, more)
  local source = { vault_mount = 'secret', vault_path = path }
  for key, value in pairs(more or {}) do source[key] = value end
  return source
end
local function listener(path, more)
  more = more or {}
  more.vault_key = 'certificate'
  local certificate = secret(path, more)
  more.vault_key = nil
  kumo.start_esmtp_listener {
    listen = '127.0.0.1:0', hostname = 'mx.test',
    tls_certificate = certificate, tls_private_key = secret(path, more),
  }
end
maildir()
"""


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Openbao]:
    with Openbao(tmp_path_factory.mktemp("openbao")) as bao:
        yield bao


def store(bao: Openbao, path: str, certificate: Issued, key: Issued | None = None) -> None:
    """Keep a certificate and a key where ``listener(path)`` looks for them."""
    fields = {"certificate": certificate.pem.decode(), "key": (key or certificate).key_pem.decode()}
    bao.write(path, fields)


def show(lines: Iterable[str]) -> None:
    """Tell whoever runs the tests what the daemon said."""
    sys.stdout.writelines(lines)


def nobody() -> str:
    """The address of a server that is not there."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return "http://127.0.0.1:{1}".format(*taken.getsockname())


def assert_no_secret(folder: Path, *secrets: str) -> None:
    """Of all that the daemon wrote; the policy was ours."""
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix not in {".lua", ".pem"}:
            octets = path.read_bytes()
            for secret in secrets:
                assert secret.encode() not in octets, path


def test_a_listener_serves_what_vault_holds(bao: Openbao, tmp_path: Path) -> None:
    root = issue("Testing Root", is_authority=True)
    authority = tmp_path / "root.pem"
    authority.write_bytes(root.pem)
    store(bao, "mx", issue("mx.test", by=root))
    policy = f"""
    kumo.on('init', function()
      spools(false)
      listener('mx')
      listener('mx', {{ vault_address = '{bao.address}', vault_token = '{bao.token}' }})
    end)
    """
    misleading = {"VAULT_ADDR": nobody(), "VAULT_TOKEN": BAD_TOKEN}
    for listener, environment in enumerate((bao.environment, misleading)):
        folder = tmp_path / str(listener)
        folder.mkdir()
        with Kumod(folder, HEAD + policy, environment=environment) as daemon:
            port = daemon.ports[listener]
            trust = ("--tls", "--tls-verify", "--tls-ca-path", str(authority))
            assert "<~  250 OK ids=" in swaks(port, *trust)
            told = s_client(port, "-CAfile", str(authority), "-verify_return_error", says="NOOP\n")
            assert "Verify return code: 0 (ok)" in told
            assert "\n250 the goggles do nothing\n" in told
            assert daemon.stop() == 0
            assert_no_secret(folder, bao.token, BAD_TOKEN, "PRIVATE KEY")


FAILURES = [
    ("'mx', {{ vault_token = '{bad}' }}", "vault at {at} denied access to secret/mx: its token is bad, has"),
    ("'absent'", "vault at {at} has no secret `absent` in mount `secret`"),
    ("'mx', {{ vault_mount = 'nowhere' }}", "vault at {at} has no secret nowhere/mx: there is no mount"),
    ("'half'", "vault secret at half does not contain key 'key'"),
    ("'mx', {{ vault_address = '{nobody}' }}", "vault at {nobody} cannot be reached: Connection refused"),
    (
        "'mismatched'",
        "vault secret/mismatched field key: the private key does not match the certificate in vault secret/",
    ),
    ("'expired'", "vault secret/expired field certificate: the certificate expired on "),
    ("'nonsense'", "vault secret/nonsense field certificate: "),
]


class Misfortune:
    """A daemon whose every listener has something wrong in Vault, and what it is to say of each."""

    def __init__(self, bao: Openbao, folder: Path) -> None:
        known = issue("mx.test")
        store(bao, "mx", known)
        bao.write("half", {"certificate": known.pem.decode()})
        store(bao, "mismatched", known, issue("mx.test"))
        store(bao, "expired", issue("mx.test", not_before=NOW - 9 * DAY, not_after=NOW - DAY))
        bao.write("nonsense", {"certificate": "nonsense", "key": "nonsense"})
        words = {"at": bao.address, "bad": BAD_TOKEN, "nobody": nobody()}
        self.texts = [text.format(**words) for _, text in FAILURES]
        listeners = "\n".join(f"listener({arguments.format(**words)})" for arguments, _ in FAILURES)
        policy = f"kumo.on('init', function() spools(false) {listeners} end)"
        self.daemon = Kumod(folder, HEAD + policy, environment=bao.environment)


@pytest.fixture(scope="module")
def misfortune(bao: Openbao, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Misfortune]:
    misfortune = Misfortune(bao, tmp_path_factory.mktemp("misfortune"))
    with misfortune.daemon:
        yield misfortune


@pytest.mark.parametrize("number", range(len(FAILURES)), ids=[row[0] for row in FAILURES])
def test_diagnostics_name_what_is_wrong_and_plain_mail_is_served(
    misfortune: Misfortune, bao: Openbao, number: int
) -> None:
    daemon = misfortune.daemon
    port = daemon.ports[number]
    told = f"smtp listener on 127.0.0.1:{port} cannot do TLS: {misfortune.texts[number]}"
    daemon.wait_until(lambda: daemon.has_logged(told))
    assert daemon.has_logged(told)
    with Peer(port) as peer:
        peer.greet()
        peer.begin(b"a@example.com", b"b@plain.example")
        peer.send(stuffed(b"Subject: x\r\n\r\nbody\r\n"))
        assert peer.reply().code == 250
        assert str(peer.ask(b"STARTTLS")[0]) == TROUBLE
        assert peer.rest() == b""
    assert_no_secret(daemon.folder, bao.token, BAD_TOKEN, "PRIVATE KEY", "BEGIN CERTIFICATE")
    show(line for line in daemon.errors.read_text().splitlines(keepends=True) if told in line)


def test_validate_names_all_of_it_at_once(misfortune: Misfortune, bao: Openbao) -> None:
    daemon = misfortune.daemon
    done = run_kumod(
        "--validate", "--policy", str(daemon.script), cwd=daemon.folder, environment=bao.environment
    )
    assert done.returncode == 1
    output = done.stdout + done.stderr
    assert [text for text in misfortune.texts if text not in output] == []
    assert BAD_TOKEN not in output


def test_diagnostics_of_a_vault_that_dies(tmp_path: Path) -> None:
    """Who has a certificate keeps it; who starts afterwards serves in the clear."""
    policy = "kumo.on('init', function() spools(false) listener('mx') end)"
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    with Openbao(tmp_path) as mortal:
        store(mortal, "mx", issue("mx.test"))
        with Kumod(first, HEAD + policy, environment=mortal.environment) as daemon:
            for _ in range(2):
                with Peer(daemon.port) as peer:
                    peer.greet()
                    peer.start_tls()
                    assert peer.ask(b"NOOP")[0].code == 250
                mortal.stop()
            with Kumod(second, HEAD + policy, environment=mortal.environment) as latecomer:
                with Peer(latecomer.port) as peer:
                    peer.greet()
                    assert str(peer.ask(b"STARTTLS")[0]) == TROUBLE
                told = f"vault at {mortal.address} cannot be reached: Connection refused"
                assert latecomer.has_logged(told)
                assert latecomer.stop() == 0
                show(latecomer.lines)
            assert daemon.stop() == 0
            show(daemon.lines)
        assert_no_secret(tmp_path / "first", mortal.token)
        assert_no_secret(tmp_path / "second", mortal.token)


# --- rotation: five minutes pass on a clock of ours ----------------------------------------------------


def shown_by(context: ServerContext) -> x509.Certificate:
    """The certificate that a client sees."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(to_server, to_client, server_side=True)
    client = credulous_context().wrap_bio(to_client, to_server)
    for _ in range(4):
        for end in (client, server):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    octets = client.getpeercert(binary_form=True)
    assert octets is not None
    return x509.load_der_x509_certificate(octets)


def shown(contexts: TlsContexts, identity: ServerIdentity) -> x509.Certificate:
    """What the next client sees; a context was made before."""
    context = contexts.server_context(identity)
    assert not is_awaitable(context)
    return shown_by(context)


async def refreshed(contexts: TlsContexts, identity: ServerIdentity, clock: Clock, old: Issued) -> None:
    """Have five minutes pass; whatever is found in the end, the old certificate is shown all the time."""

    def is_done() -> bool:
        assert shown(contexts, identity) == old.certificate
        return not any(task.get_name() == "kumod-tls-context" for task in asyncio.all_tasks())

    clock.advance(300)
    assert not is_done()
    await until(is_done)


async def test_diagnostics_of_a_rotation(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A new version is served without a restart; a Vault that is wrong or away leaves the old one."""
    clock = Clock()
    first, second, third = (issue("mx.test") for _ in range(3))
    identity = ServerIdentity(
        "mx.test",
        certificate=KeyVault(vault_mount="secret", vault_path="mx", vault_key="certificate"),
        private_key=KeyVault(vault_mount="secret", vault_path="mx"),
        client_ca=None,
    )
    with Openbao(tmp_path) as mortal:
        keys = KeySources(no_event, environment=mortal.environment, now=clock)
        contexts = TlsContexts(keys.load, now=clock)
        store(mortal, "mx", first)
        made = contexts.server_context(identity)
        assert is_awaitable(made)
        assert shown_by(await made) == first.certificate
        store(mortal, "mx", second)
        clock.advance(299)
        assert shown(contexts, identity) == first.certificate
        clock.advance(1)
        await until(lambda: shown(contexts, identity) == second.certificate)
        # Half a rotation: the key of one, the certificate of the other.
        store(mortal, "mx", third, second)
        await refreshed(contexts, identity, clock, second)
        told = "the old certificate stays in use: vault secret/mx field key: the private key does not match"
        assert told in caplog.text
        mortal.write("mx", {"certificate": third.pem.decode()})
        await refreshed(contexts, identity, clock, second)
        assert "vault secret at mx does not contain key 'key'" in caplog.text
        store(mortal, "mx", third)
        clock.advance(300)
        await until(lambda: shown(contexts, identity) == third.certificate)
    await refreshed(contexts, identity, clock, third)
    told = f"vault at {mortal.address} cannot be reached: Connection refused; what vault secret secret/mx"
    assert told in caplog.text
    assert mortal.token not in caplog.text
    await contexts.close()
    await keys.close()
