"""STARTTLS as real clients meet it, and as attackers do: what is served, refused and forgotten."""

from __future__ import annotations

import contextlib
import os
import random
import select
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tls.certificates import RSA_KEY, issue

from .clients import TLS_HEAD, mail_to, s_client, s_client_command
from .daemon import PATIENCE, Kumod
from .wire import Peer, stuffed

POLICY = (
    TLS_HEAD
    + """
kumo.on('init', function()
  spools(false)
  logs()
  listener {}
  listener { client_timeout = '1 second' }
end)
"""
)
IMPATIENT = 1

CONTENT = b"Subject: x\r\n\r\nbody\r\n"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kumod]:
    with Kumod(tmp_path_factory.mktemp("tls"), POLICY) as daemon:
        yield daemon


def assert_serves(daemon: Kumod) -> None:
    """In the clear."""
    with Peer(daemon.port) as peer:
        peer.greet()
        peer.begin(b"a@example.com", b"served@served.example")
        peer.send(stuffed(CONTENT))
        assert peer.reply().code == 250


def stored(daemon: Kumod) -> list[Path]:
    """Every file of the spool but its locks."""
    files = (path for path in (daemon.folder / "spool").rglob("*") if path.is_file())
    return [path for path in files if path.name != "lock"]


def assert_nothing_remains(daemon: Kumod) -> None:
    """Stop it; no message and no record may be anywhere."""
    assert daemon.stop() == 0
    assert list(daemon.delivered()) == []
    assert stored(daemon) == []
    assert not (daemon.folder / "log").exists() or daemon.records() == []


# --- what is served ----------------------------------------------------------------------------------

SUITES = [
    ("ec", "-tls1_3", "TLS_AES_256_GCM_SHA384", "TLS13_AES_256_GCM_SHA384"),
    ("ec", "-tls1_3", "TLS_AES_128_GCM_SHA256", "TLS13_AES_128_GCM_SHA256"),
    ("rsa", "-tls1_3", "TLS_CHACHA20_POLY1305_SHA256", "TLS13_CHACHA20_POLY1305_SHA256"),
    ("ec", "-tls1_2", "ECDHE-ECDSA-AES256-GCM-SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    ("ec", "-tls1_2", "ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    ("ec", "-tls1_2", "ECDHE-ECDSA-CHACHA20-POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
    ("rsa", "-tls1_2", "ECDHE-RSA-AES256-GCM-SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    ("rsa", "-tls1_2", "ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    ("rsa", "-tls1_2", "ECDHE-RSA-CHACHA20-POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
]


def test_every_suite_is_served_stamped_and_logged_in_kumomtas_words(tmp_path: Path) -> None:
    (tmp_path / "ec.pem").write_bytes(issue("mx.test").both)
    (tmp_path / "rsa.pem").write_bytes(issue("mx.test", key=RSA_KEY).both)
    policy = """
    kumo.on('init', function()
      spools(false)
      logs_with_meta()
      listener { tls_certificate = pem 'ec', tls_private_key = pem 'ec' }
      listener { tls_certificate = pem 'rsa', tls_private_key = pem 'rsa' }
    end)
    """
    with Kumod(tmp_path, TLS_HEAD + policy) as daemon:
        for number, (kind, version, suite, _) in enumerate(SUITES):
            choice = "-ciphersuites" if version == "-tls1_3" else "-cipher"
            port = daemon.ports[["ec", "rsa"].index(kind)]
            told = s_client(port, version, choice, suite, says=mail_to(f"{number}@suites.example"))
            assert f"Cipher is {suite}\n" in told
            assert "\n250 OK ids=" in told
        daemon.wait_until(lambda: len(list(daemon.delivered())) == len(SUITES))
        assert daemon.stop() == 0
        receptions = {r["recipient"]: r for r in daemon.records() if r["type"] == "Reception"}
        assert len(receptions) == len(SUITES)
        for number, (_, version, _, name) in enumerate(SUITES):
            record = receptions[f"{number}@suites.example"]
            agreed = {
                "tls_protocol_version": "TLSv1_3" if version == "-tls1_3" else "TLSv1_2",
                "tls_cipher": name,
            }
            assert {key: record[key] for key in agreed} == agreed
            assert record["tls_peer_subject_name"] == []
            assert {key: value for key, value in record["meta"].items() if "tls" in key} == agreed
            (path,) = (tmp_path / "maildir" / "suites.example" / str(number) / "new").iterdir()
            stamp = f"  with ESMTPS ({agreed['tls_protocol_version']}:{name})  id {record['id']} for <"
            assert stamp.encode() in path.read_bytes()


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_old_versions_are_refused_with_an_alert(daemon: Kumod, version: str) -> None:
    told = s_client(daemon.port, version, "-cipher", "DEFAULT@SECLEVEL=0", says="NOOP\n")
    assert "alert protocol version" in told
    assert "goggles" not in told


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_a_session_is_resumed(daemon: Kumod, tmp_path: Path, version: str) -> None:
    ticket = str(tmp_path / "ticket")
    assert "\nNew, TLS" in s_client(daemon.port, version, "-sess_out", ticket, says="NOOP\n")
    told = s_client(daemon.port, version, "-sess_in", ticket, says=mail_to("b@resumed.example"))
    assert "\nReused, TLS" in told
    assert "\n250 OK ids=" in told


def test_renegotiation_is_refused(daemon: Kumod) -> None:
    with subprocess.Popen(
        [*s_client_command(daemon.port), "-tls1_2"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as client:  # fmt: skip
        assert client.stdin is not None
        assert client.stdout is not None
        told = b""
        deadline = time.monotonic() + PATIENCE
        try:
            # It takes R for its own command only when that is all it reads, after its summary.
            while b"\n250 STARTTLS" not in told and time.monotonic() < deadline:
                if select.select([client.stdout], [], [], 0.1)[0]:
                    told += os.read(client.stdout.fileno(), 65536)
            client.stdin.write(b"R\n")
            client.stdin.flush()
            told += client.communicate(timeout=PATIENCE)[0]
        finally:
            client.kill()
    assert b"RENEGOTIATING" in told
    assert b"no renegotiation" in told
    assert_serves(daemon)


def test_starttls_inside_tls(daemon: Kumod) -> None:
    with Peer(daemon.port) as peer:
        peer.greet()
        peer.start_tls()
        texts = [str(answer) for answer in peer.ask(b"STARTTLS", b"NOOP")]
    assert texts == ["501 Cannot STARTTLS as TLS is already active", "250 the goggles do nothing"]


# --- injection ----------------------------------------------------------------------------------------

WHOLE_MAIL = (
    b"EHLO injected.example\r\nMAIL FROM:<evil@injected.example>\r\nRCPT TO:<b@injected.example>\r\nDATA\r\n"
    + stuffed(CONTENT)
)
INJECTIONS = [
    b"NOOP\r\n",
    b"RSET\r\nNOOP\r\nFOO\r\n",
    b"MAIL FROM:<evil@injected.example>\r\nRCPT TO:<b@injected.example>\r\nDATA\r\n",
    b"NOO",
    b"\r\n",
    b"EHLO evil\r\nAUTH PLAIN AGEAYg==\r\n",
    b"STARTTLS\r\n",
    WHOLE_MAIL,
    WHOLE_MAIL + b"QUIT\r\n",
]
FLOODS = [b"NOOP " + b"x" * 200_000, WHOLE_MAIL * 2000]


def assert_nothing_got_inside(peer: Peer) -> None:
    """Inside TLS the session is new: the first reply is to the first command that was sent there."""
    commands = (b"NOOP", b"AUTH PLAIN AGEAYg==", b"RCPT TO:<b@injected.example>", b"EHLO x", b"QUIT")
    assert [str(answer).partition("\n")[0] for answer in peer.ask(*commands)] == [
        "250 the goggles do nothing",
        # No handler takes anybody; a transaction that is open would be complained of before.
        "535 5.7.8 AUTH invalid",
        "503 5.5.0 MAIL FROM must be issued first",
        "250 mx.test Aloha x",
        "221 So long, and thanks for all the fish!",
    ]
    assert peer.rest() == b""


def assert_only_ours_was_refused(daemon: Kumod) -> None:
    """Stop it; nothing is known of what was injected."""
    assert daemon.stop() == 0
    assert list(daemon.delivered()) == []
    assert stored(daemon) == []
    commands = {record["response"]["command"] for record in daemon.records()}
    assert commands == {"AUTH PLAIN ***", "RCPT TO:<b@injected.example>"}
    assert {record["type"] for record in daemon.records()} == {"Rejection"}
    assert not daemon.has_logged("evil")


def test_what_is_sent_behind_starttls_is_dropped_unread(tmp_path: Path) -> None:
    """In the segment of the STARTTLS, with a transaction open in the clear."""
    policy = "kumo.on('init', function() spools(false) logs() listener {} end)"
    with Kumod(tmp_path, TLS_HEAD + policy) as daemon:
        for injection in INJECTIONS:
            with Peer(daemon.port) as peer:
                peer.greet()
                peer.ask(b"MAIL FROM:<clear@injected.example>", b"RCPT TO:<b@injected.example>")
                peer.send(b"STARTTLS\r\n" + injection)
                assert str(peer.reply()) == "220 Ready to Start TLS"
                peer.shake_hands()
                assert_nothing_got_inside(peer)
        assert_only_ours_was_refused(daemon)


def test_what_is_sent_while_the_key_is_fetched_is_dropped_unread(tmp_path: Path) -> None:
    """In segments of its own, before the daemon could say 220."""
    (tmp_path / "own.pem").write_bytes(issue("mx.test").both)
    policy = """
    kumo.on('init', function()
      spools(false)
      logs()
      listener {
        tls_certificate = pem 'own', tls_private_key = { event_name = 'key', event_args = { 'own' } },
      }
    end)
    kumo.on('key', function(name)
      while not io.open(var .. '/gate') do kumo.sleep(0.01) end
      return io.open(pem(name)):read 'a'
    end)
    """
    with Kumod(tmp_path, TLS_HEAD + policy) as daemon:
        peers = []
        with contextlib.ExitStack() as stack, Peer(daemon.port) as pacer:
            pacer.reply()
            for injection in INJECTIONS:
                peer = stack.enter_context(Peer(daemon.port))
                peer.greet()
                peer.send(b"STARTTLS\r\n")
                pacer.pace()
                peer.send(injection)
                pacer.pace()
                peers.append(peer)
            (tmp_path / "gate").touch()
            for peer in peers:
                assert str(peer.reply()) == "220 Ready to Start TLS"
                peer.shake_hands()
                assert_nothing_got_inside(peer)
        assert_only_ours_was_refused(daemon)


def assert_no_reply(octets: bytes) -> None:
    """At most a TLS alert."""
    assert octets == b"" or (octets.startswith(b"\x15\x03") and len(octets) == 7)


def test_clear_text_in_place_of_a_handshake_ends_the_connection(tmp_path: Path) -> None:
    """In segments after the 220, or too much for one read."""
    policy = "kumo.on('init', function() spools(false) logs() listener {} end)"
    with Kumod(tmp_path, TLS_HEAD + policy) as daemon:
        for injection in [*INJECTIONS, *FLOODS]:
            with Peer(daemon.port) as peer:
                peer.greet()
                assert peer.ask(b"STARTTLS")[0].code == 220
                peer.send_as_far_as_it_goes(injection + bytes(1000))
                assert_no_reply(peer.rest())
        for flood in FLOODS:
            with Peer(daemon.port) as peer:
                peer.greet()
                peer.send_as_far_as_it_goes(b"STARTTLS\r\n" + flood)
                replies = peer.rest()
                assert_no_reply(replies.removeprefix(b"220 Ready to Start TLS\r\n"))
        assert_nothing_remains(daemon)


# --- handshakes that come to nothing -------------------------------------------------------------------

HALF_A_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
SILENCES = {
    "nothing": b"",
    "half a hello": HALF_A_HELLO,
    "half a record": HALF_A_HELLO[:3],
}


@pytest.mark.parametrize("sent", SILENCES.values(), ids=SILENCES)
def test_a_handshake_that_never_comes_is_given_up(daemon: Kumod, sent: bytes) -> None:
    """Both event loops would wait twice as long as we do here; others are served meanwhile."""
    with Peer(daemon.ports[IMPATIENT]) as peer:
        peer.greet()
        address = "{}:{}".format(*peer.socket.getsockname())
        assert peer.ask(b"STARTTLS")[0].code == 220
        peer.send(sent)
        assert_serves(daemon)
        assert_no_reply(peer.rest())
    told = f"{address}: TLS handshake failed: not done within 1 seconds"
    daemon.wait_until(lambda: daemon.has_logged(told))
    assert daemon.has_logged(told)
    assert_serves(daemon)


def test_a_handshake_by_dribble_is_given_up(daemon: Kumod) -> None:
    """The limit is for the whole: an octet now and then does not prolong it."""
    hello = HALF_A_HELLO + bytes(500)
    with Peer(daemon.ports[IMPATIENT]) as peer:
        peer.greet()
        peer.ask(b"STARTTLS")
        assert 1 < peer.dribble_until_closed(hello, 0.1) < len(hello)
        assert_no_reply(peer.rest())


GARBAGE = {
    "random": random.Random(3).randbytes(3000),  # noqa: S311 - a repeatable test
    "zeros": bytes(100_000),
    "HTTP": b"GET / HTTP/1.1\r\nHost: mx.test\r\n\r\n",
    "SSL 2": b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10\x01\x00\x80" + bytes(40),
    "oversized record": b"\x16\x03\x01\xff\xff" + b"\x01" * 70_000,
    "alert": b"\x15\x03\x01\x00\x02\x02\x28",
    "close_notify": b"\x15\x03\x01\x00\x02\x01\x00" * 2,
    "application data": b"\x17\x03\x03\x00\x10" + bytes(16),
    "hello without end": HALF_A_HELLO + b"\xff" * 600,
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
@pytest.mark.parametrize("is_reset", [False, True], ids=["FIN", "RST"])
def test_garbage_in_place_of_a_handshake(daemon: Kumod, garbage: bytes, *, is_reset: bool) -> None:
    with Peer(daemon.port) as pacer:
        pacer.reply()
        pacer.pace()
        sockets = daemon.open_sockets()
        with Peer(daemon.port) as peer:
            peer.greet()
            peer.ask(b"STARTTLS")
            peer.send_as_far_as_it_goes(garbage)
            if is_reset:
                peer.reset()
            else:
                with contextlib.suppress(OSError):
                    peer.socket.shutdown(socket.SHUT_WR)
                assert_no_reply(peer.rest())
        daemon.wait_until(lambda: daemon.open_sockets() <= sockets)
        assert daemon.open_sockets() <= sockets
        pacer.pace()
    assert_serves(daemon)


# --- the end of TLS within a message ------------------------------------------------------------------


def test_a_message_cut_off_inside_tls_is_dropped(tmp_path: Path) -> None:
    """Whatever follows in the clear ends no message."""
    policy = "kumo.on('init', function() spools(false) logs() listener {} end)"
    with Kumod(tmp_path, TLS_HEAD + policy) as daemon:
        for ending in ("close_notify", "FIN", "RST", "clear text"):
            for half in (b"Subject: x\r\n\r\nhalf a mess", b"Subject: x\r\n\r\nbody\r\n", b"body\r\n."):
                with Peer(daemon.port) as peer:
                    peer.greet()
                    secured = peer.start_tls()
                    peer.ask(b"EHLO client.example.com")
                    peer.begin(b"a@example.com", b"b@cut.example")
                    peer.send(half)
                    cut(peer, secured, ending)
        assert_nothing_remains(daemon)


def cut(peer: Peer, secured: ssl.SSLSocket, ending: str) -> None:
    """End TLS in the middle of a message, then try to end the message in the clear."""
    end = b"\r\n.\r\n"
    if ending == "RST":
        peer.reset()
        return
    if ending == "close_notify":
        with contextlib.suppress(OSError):
            peer.socket = secured.unwrap()
        peer.send_as_far_as_it_goes(end)
    elif ending == "FIN":
        # Python forgets TLS here, without a word to the other end.
        secured.shutdown(socket.SHUT_WR)
    else:
        os.write(secured.fileno(), end)
    with contextlib.suppress(ssl.SSLError):
        assert b"250" not in peer.rest()
