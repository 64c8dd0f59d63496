"""AUTH PLAIN: who gets in, what it permits, and that no password is ever written down."""

from __future__ import annotations

import base64
import json
import shutil
import smtplib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .clients import swaks
from .daemon import Kumod
from .wire import Peer, stuffed

PASSWORD = "correct-h0rse-battery"  # noqa: S105 - of these tests
GUESS = "wr0ng-guess-of-somebody"

POLICY = """
kumo.on('init', function()
  spools(false)
  kumo.configure_local_logs {
    log_dir = var .. '/log', meta = { '*' }, min_free_space = '0%', min_free_inodes = '0%',
  }
  kumo.aaa.configure_acct_log { log_dir = var .. '/acct' }
  kumo.start_esmtp_listener { listen = '127.0.0.1:0', hostname = 'mx.test', relay_hosts = {} }
end)
kumo.on('smtp_server_auth_plain', function(authz, authc, password, conn_meta)
  if authc == 'slow' then kumo.sleep(0.05) end
  if authc == 'nothing' then return end
  if authc == 'fault' then error 'a fault' end
  if authc == 'nonsense' then return 'yes' end
  if authc == 'barred' then kumo.reject(454, '4.7.0 not now') end
  if password ~= os.getenv 'APP_PASSWORD' then return false end
  if authc == 'grouped' then
    return {
      identities = { { identity = authc, context = 'SmtpAuthPlainAuthentication' } },
      groups = { 'staff' },
    }
  end
  return true
end)
kumo.on('get_listener_domain', function(domain, listener, conn_meta)
  return kumo.make_listener_domain { relay_to = conn_meta:get_meta 'authz_id' == 'app' }
end)
maildir()
"""

OK = "235 2.7.0 AUTH OK!"
INVALID = "535 5.7.8 AUTH invalid"
NOT_BASE64 = "501 5.5.2 Invalid base64 response"
NOT_FIELDS = "501 5.5.2 Invalid decoded PLAIN response"
CHALLENGE = "334  "
IN_CLEAR = "524 5.7.11 AUTH PLAIN requires an encrypted channel"
UNKNOWN = "502 5.5.1 Command unimplemented"
SYNTAX = "501 Syntax error in command or arguments"
GOGGLES = "250 the goggles do nothing"
NOT_RELAYED = "550 5.7.1 relaying not permitted"
CONTENT = stuffed(b"Subject: x\r\n\r\nbody\r\n")


def response(*fields: str) -> bytes:
    return base64.b64encode("\0".join(fields).encode())


GOOD = response("", "app", PASSWORD)
WRONG = response("", "app", GUESS)


def running(folder: Path) -> Kumod:
    return Kumod(folder, POLICY, environment={"APP_PASSWORD": PASSWORD})


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kumod]:
    with running(tmp_path_factory.mktemp("auth")) as daemon:
        yield daemon


@pytest.fixture
def peer(daemon: Kumod) -> Iterator[Peer]:
    """Inside TLS."""
    with Peer(daemon.port) as peer:
        peer.greet()
        peer.start_tls()
        peer.ask(b"EHLO client.example.com")
        yield peer


def traces(secret: str) -> Iterator[bytes]:
    """A secret, and the middle of it in base64, wherever it begins within a response."""
    yield secret.encode()
    for shift in range(3):
        encoded = base64.b64encode(bytes(shift) + secret.encode())
        yield encoded[4 : -4 * (1 + (len(secret) + shift) // 12)]


def everything_written(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file of the daemon, logs unpacked."""
    zstd = shutil.which("zstd")
    assert zstd is not None
    for path in folder.rglob("*"):
        if path.is_file():
            yield path, path.read_bytes()
            if path.parent.name in {"log", "acct"}:
                yield path, subprocess.run([zstd, "-dcf", path], capture_output=True, check=False).stdout


def assert_no_secret(daemon: Kumod) -> None:
    for path, octets in everything_written(daemon.folder):
        for secret in (PASSWORD, GUESS):
            for trace in traces(secret):
                assert trace not in octets, (path, trace)


def test_auth_is_neither_offered_nor_done_in_the_clear(daemon: Kumod) -> None:
    with Peer(daemon.port) as peer:
        assert not [line for line in peer.greet().lines if line.startswith("AUTH")]
        texts = [str(answer) for answer in peer.ask(b"AUTH PLAIN " + GOOD, b"AUTH PLAIN", b"AUTH LOGIN")]
        assert texts == [IN_CLEAR, IN_CLEAR, "504 5.5.4 AUTH LOGIN not supported"]
        # A client that does not wait sends its response all the same.
        peer.send(b"AUTH PLAIN\r\n" + GOOD + b"\r\nNOOP\r\n")
        assert [str(peer.reply()) for _ in range(3)] == [IN_CLEAR, SYNTAX, GOGGLES]
        peer.start_tls()
        assert "AUTH PLAIN" in peer.ask(b"EHLO client.example.com")[0].lines
        assert str(peer.ask(b"AUTH PLAIN " + GOOD)[0]) == OK


EXCHANGES: list[tuple[str, bytes, list[str]]] = [
    ("initial response", b"AUTH PLAIN " + GOOD, [OK]),
    ("response", b"AUTH PLAIN\r\n" + GOOD, [CHALLENGE, OK]),
    ("authorization", b"AUTH PLAIN " + response("other", "app", PASSWORD), [OK]),
    ("slow policy", b"AUTH PLAIN " + response("", "slow", PASSWORD), [OK]),
    ("a table", b"AUTH PLAIN " + response("", "grouped", PASSWORD), [OK]),
    ("wrong", b"AUTH PLAIN " + WRONG, [INVALID]),
    ("wrong on a line", b"AUTH PLAIN\r\n" + WRONG, [CHALLENGE, INVALID]),
    ("no answer", b"AUTH PLAIN " + response("", "nothing", GUESS), [INVALID]),
    ("policy's reply", b"AUTH PLAIN " + response("", "barred", GUESS), ["454 4.7.0 not now"]),
    ("then right", b"AUTH PLAIN " + WRONG + b"\r\nAUTH PLAIN " + GOOD, [INVALID, OK]),
    ("cancelled", b"AUTH PLAIN\r\n*", [CHALLENGE, "501 5.5.0 AUTH cancelled by client"]),
    ("empty", b"AUTH PLAIN =", [NOT_BASE64]),
    ("no padding", b"AUTH PLAIN " + GOOD.rstrip(b"="), [NOT_BASE64]),
    ("blank within", b"AUTH PLAIN " + GOOD[:12] + b" " + GOOD[12:], [SYNTAX]),
    ("cut", b"AUTH PLAIN\r\n" + WRONG[:-1], [CHALLENGE, NOT_BASE64]),
    ("junk behind", b"AUTH PLAIN\r\n" + GOOD + b"!", [CHALLENGE, NOT_BASE64]),
    ("in the clear", b"AUTH PLAIN\r\n" + PASSWORD.encode(), [CHALLENGE, NOT_BASE64]),
    ("two fields", b"AUTH PLAIN " + response("app", PASSWORD), [NOT_FIELDS]),
    ("four fields", b"AUTH PLAIN " + response("", "app", PASSWORD, GUESS), [NOT_FIELDS]),
    ("NULs alone", b"AUTH PLAIN " + response("", "", ""), [INVALID]),
    ("many NULs", b"AUTH PLAIN " + base64.b64encode(bytes(300)), [NOT_FIELDS]),
    ("raw NULs", b"AUTH PLAIN\r\n\0app\0" + PASSWORD.encode(), [CHALLENGE, NOT_BASE64]),
    (
        "8 bit", b"AUTH PLAIN\r\n\xff" + GOOD,
        [CHALLENGE, "501 5.5.2 Invalid UTF-8 in authentication exchange"],
    ),
    (
        "not UTF-8", b"AUTH PLAIN " + base64.b64encode(b"\0app\0\xff" + PASSWORD.encode()),
        ["501 5.5.2 Invalid UTF8 in decoded PLAIN response"],
    ),
    ("16 KB at once", b"AUTH PLAIN " + response("", "app", PASSWORD * 600), ["500 5.2.3 line too long"]),
    (
        "16 KB", b"AUTH PLAIN\r\n" + response("", "app", PASSWORD * 600),
        [CHALLENGE, "500 5.5.6 authentication exchange line too long"],
    ),
    (
        "LOGIN", b"AUTH LOGIN\r\nYXBw\r\n" + base64.b64encode(PASSWORD.encode()),
        ["504 5.5.4 AUTH LOGIN not supported", UNKNOWN, UNKNOWN],
    ),
    ("lower case", b"AUTH plain " + GOOD, ["504 5.5.4 AUTH plain not supported"]),
    (
        "twice", b"AUTH PLAIN " + GOOD + b"\r\nAUTH PLAIN " + GOOD + b"\r\nAUTH PLAIN",
        [OK, *["503 5.5.1 AUTH me once, can't get authed again!"] * 2],
    ),
    (
        "within a transaction", b"MAIL FROM:<a@x>\r\nAUTH PLAIN " + GOOD,
        ["250 OK <a@x>", "503 5.5.1 AUTH not permitted inside a transaction"],
    ),
]  # fmt: skip
FATAL = [response("", "fault", GUESS), response("", "nonsense", GUESS)]


@pytest.mark.parametrize(
    ("octets", "texts"), [row[1:] for row in EXCHANGES], ids=[row[0] for row in EXCHANGES]
)
def test_an_exchange(peer: Peer, octets: bytes, texts: list[str]) -> None:
    """In one segment, without waiting for the 334; what follows is a command again."""
    peer.send(octets + b"\r\nNOOP\r\n")
    assert [str(peer.reply()) for _ in range(len(texts) + 1)] == [*texts, GOGGLES]


def test_no_password_is_written_down(tmp_path: Path) -> None:
    """Whatever becomes of it: in no log, no record, no spool file, unpacked or not."""
    with running(tmp_path) as daemon:
        for _, octets, texts in EXCHANGES:
            for is_secured in (True, False):
                with Peer(daemon.port) as peer:
                    peer.greet()
                    if is_secured:
                        peer.start_tls()
                    peer.send(octets + b"\r\n")
                    for _ in texts:
                        peer.reply()
                    peer.ask(b"RSET", b"QUIT")
        for fatal in FATAL:
            with Peer(daemon.port) as peer:
                peer.greet()
                peer.start_tls()
                assert str(peer.ask(b"AUTH PLAIN " + fatal)[0]) == "421 4.3.0 mx.test technical difficulties"
        with Peer(daemon.port) as peer:
            peer.greet()
            peer.start_tls()
            peer.send(b"AUTH PLAIN " + GOOD)  # and never a CRLF
        assert daemon.stop() == 0
        assert daemon.has_logged("a fault")
        assert_no_secret(daemon)
        # It would have been found: what went along with the passwords is.
        commands = {record["response"]["command"] for record in daemon.records()}
        assert "AUTH PLAIN ***" in commands
        assert any(b"AUTH PLAIN ***" in octets for _, octets in everything_written(tmp_path))


def test_attempts_are_accounted_for(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        for octets in (GOOD, response("", "grouped", PASSWORD), WRONG, b"broken"):
            with Peer(daemon.port) as peer:
                peer.greet()
                peer.start_tls()
                peer.ask(b"AUTH PLAIN " + octets)
                address = peer.socket.getsockname()[0]
        assert daemon.stop() == 0
        records = daemon.records("acct")
        rows = [
            (r["attempted_identity"]["identity"], r["success"], r["auth_info"]["groups"]) for r in records
        ]
        assert sorted(rows) == [("app", False, []), ("app", True, []), ("grouped", True, ["staff"])]
        for record in records:
            assert record["type"] == "Authentication"
            assert record["attempted_identity"]["context"] == "SmtpAuthPlainAuthentication"
            assert record["auth_info"]["peer_address"] == address
            assert bool(record["auth_info"]["identities"]) is record["success"]
        rejections = [r["response"] for r in daemon.records() if r["type"] == "Rejection"]
        assert [(r["code"], r["command"]) for r in rejections] == [
            (535, "AUTH PLAIN ***"),
            (501, "AUTH PLAIN ***"),
        ]
        assert "AUTH" in json.dumps(rejections)


def test_who_authenticated_may_relay_and_nobody_else(tmp_path: Path) -> None:
    """The answers for a domain are asked for anew once the client has authenticated."""
    rcpt = b"RCPT TO:<b@relayed.example>"
    with running(tmp_path) as daemon:
        with Peer(daemon.port) as peer, Peer(daemon.port) as other, Peer(daemon.port) as wrong:
            for one in (peer, other, wrong):
                one.greet()
                one.start_tls()
                one.ask(b"EHLO client.example.com")
                assert str(one.ask(b"MAIL FROM:<a@x>", rcpt)[1]).startswith(NOT_RELAYED)
                one.ask(b"RSET")
            assert str(wrong.ask(b"AUTH PLAIN " + response("stranger", "app", PASSWORD))[0]) == OK
            assert str(peer.ask(b"AUTH PLAIN " + GOOD)[0]) == OK
            for one in (other, wrong):
                assert str(one.ask(b"MAIL FROM:<a@x>", rcpt)[1]).startswith(NOT_RELAYED)
            peer.begin(b"a@example.com", b"b@relayed.example")
            peer.send(CONTENT)
            assert peer.reply().code == 250
        assert daemon.stop() == 0
        (record,) = (r for r in daemon.records() if r["type"] == "Reception")
        assert (record["meta"]["authz_id"], record["meta"]["authn_id"]) == ("app", "app")
        (path,) = daemon.delivered()
        assert b"\r\n  with ESMTPSA (TLSv1_3:" in path.read_bytes()


def test_smtplib_and_swaks_log_in_and_send(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        with daemon.client() as client:
            with pytest.raises(smtplib.SMTPNotSupportedError):
                client.login("app", PASSWORD)
            client.starttls()
            with pytest.raises(smtplib.SMTPAuthenticationError):
                client.login("app", GUESS)
            client.login("app", PASSWORD)
            client.sendmail("a@example.com", ["b@relayed.example"], "Subject: x\r\n\r\nbody\r\n")
        login = ("--tls", "--auth", "PLAIN", "--auth-user", "app", "--auth-password")
        told = swaks(daemon.port, *login, PASSWORD)
        assert f"<~  {OK}" in told
        assert "<~  250 OK ids=" in told
        told = swaks(daemon.port, *login, GUESS, status=28)
        assert f"<~* {INVALID}" in told
        # Without TLS there is no AUTH to be had.
        assert "AUTH PLAIN" not in swaks(daemon.port, *login[1:], PASSWORD, status=28)
        assert daemon.stop() == 0
        assert len([r for r in daemon.records() if r["type"] == "Reception"]) == 2
        assert_no_secret(daemon)
