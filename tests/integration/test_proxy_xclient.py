"""Who is talking, when somebody else says so: PROXY headers and XCLIENT, by swaks and octet by octet."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .clients import swaks
from .daemon import Kumod
from .wire import Peer, parse_replies, stuffed

POLICY = """
kumo.on('init', function()
  spools(false)
  kumo.aaa.configure_acct_log { log_dir = var .. '/acct' }
  kumo.configure_local_logs {
    log_dir = var .. '/log', meta = { '*' }, min_free_space = '0%', min_free_inodes = '0%',
  }
  local function listener(parameters)
    parameters.listen = '127.0.0.1:0'
    parameters.hostname = 'mx.test'
    parameters.relay_hosts = { '192.0.2.7', '2001:db8::7' }
    kumo.start_esmtp_listener(parameters)
  end
  local blocks = {
    ['192.0.2.0/24'] = { banner = 'for the net', meta = { role = 'net' } },
    ['192.0.2.9'] = { allow_xclient = true },
  }
  listener { require_proxy_protocol = true, peer = blocks, via = { ['192.0.2.25'] = { banner = 'at 25' } } }
  listener { require_proxy_protocol = true, client_timeout = '1 second' }
  listener { peer = { ['127.0.0.1'] = { require_proxy_protocol = true, banner = 'balanced' } } }
  listener {
    peer = {
      ['127.0.0.1'] = { allow_xclient = true, banner = 'for front-ends', max_message_size = 1000 },
      ['192.0.2.9'] = { allow_xclient = true, banner = 'for nine' },
    },
    via = { ['192.0.2.25'] = { banner = 'at 25' } },
  }
  listener {}
end)
kumo.on('smtp_server_get_dynamic_parameters', function(listener, conn_meta)
  conn_meta:set_meta('asked', (conn_meta:get_meta 'asked' or 0) + 1)
  return {}
end)
kumo.on('smtp_server_auth_plain', function() return true end)
maildir()
"""
PROXIED, IMPATIENT, BALANCED, TRUSTING, PLAIN = range(5)

NOT_RELAYED = "550 5.7.1 relaying not permitted"
GOGGLES = "250 the goggles do nothing"
CONTENT = stuffed(b"Subject: x\r\n\r\nbody\r\n")


def running(folder: Path) -> Kumod:
    return Kumod(folder, POLICY)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kumod]:
    with running(tmp_path_factory.mktemp("proxies")) as daemon:
        yield daemon


def version_1(source: str, port: int = 4000, *, to: str = "192.0.2.1", family: str = "TCP4") -> bytes:
    return f"PROXY {family} {source} {to} {port} 25\r\n".encode()


SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
TCP4, TCP6, UNIX = 0x11, 0x21, 0x31


def version_2(
    source: str = "", *, to: str = "192.0.2.1", family: int = TCP4, command: int = 1, more: bytes = b""
) -> bytes:
    addresses = b""
    if source:
        kind = socket.AF_INET if family == TCP4 else socket.AF_INET6
        addresses = socket.inet_pton(kind, source) + socket.inet_pton(kind, to) + struct.pack("!HH", 4000, 25)
    block = addresses + more
    return SIGNATURE + struct.pack("!BBH", 0x20 | command, family, len(block)) + block


def may_relay(peer: Peer) -> bool:
    """Whether the session may send anywhere."""
    return refusal(peer) == ""


def refusal(peer: Peer) -> str:
    """Whom the session may not relay for, as ``IP:port``; empty: it may."""
    answer = peer.ask(b"MAIL FROM:<a@example.com>", b"RCPT TO:<b@example.org>", b"RSET")[1]
    if answer.code == 250:
        return ""
    assert str(answer).startswith(f"{NOT_RELAYED} for ")
    return str(answer).removeprefix(f"{NOT_RELAYED} for ")


HEADERS: list[tuple[str, bytes, str | None, bool]] = [
    ("1, allowed", version_1("192.0.2.7"), "192.0.2.7:4000", True),
    ("1, not allowed", version_1("192.0.2.8"), "192.0.2.8:4000", False),
    ("1, IPv6", version_1("2001:db8::7", family="TCP6", to="2001:db8::1"), "[2001:db8::7]:4000", True),
    ("1, mapped", version_1("::ffff:192.0.2.7", family="TCP6", to="::1"), "192.0.2.7:4000", True),
    (
        "1, mapped, not allowed",
        version_1("::ffff:c000:208", family="TCP6", to="::1"),
        "192.0.2.8:4000",
        False,
    ),
    ("1, UNKNOWN", b"PROXY UNKNOWN\r\n", None, False),
    ("1, UNKNOWN with addresses", version_1("192.0.2.7", family="UNKNOWN"), None, False),
    ("2, allowed", version_2("192.0.2.7"), "192.0.2.7:4000", True),
    ("2, not allowed", version_2("198.51.100.7"), "198.51.100.7:4000", False),
    ("2, IPv6", version_2("2001:db8::7", to="2001:db8::1", family=TCP6), "[2001:db8::7]:4000", True),
    ("2, mapped", version_2("::ffff:192.0.2.7", to="::1", family=TCP6), "192.0.2.7:4000", True),
    ("2, with TLVs", version_2("192.0.2.7", more=b"\x04\0\x10" + bytes(16)), "192.0.2.7:4000", True),
    ("2, LOCAL", version_2(command=0, family=0), None, False),
    ("2, LOCAL with addresses", version_2("192.0.2.7", command=0), None, False),
    ("2, unspecified", version_2(family=0), None, False),
    ("2, UNIX", version_2(family=UNIX, more=bytes(216)), None, False),
]


@pytest.mark.parametrize("row", HEADERS, ids=[row[0] for row in HEADERS])
@pytest.mark.parametrize("way", ["alone", "with commands", "by dribble"])
def test_the_address_in_the_header_decides(
    daemon: Kumod, way: str, row: tuple[str, bytes, str | None, bool]
) -> None:
    _, header, source, is_allowed = row
    with Peer(daemon.ports[PROXIED]) as peer, Peer(daemon.ports[PLAIN]) as pacer:
        if way == "by dribble":
            pacer.reply()
            peer.dribble(header, pacer)
        else:
            peer.send(header + (b"NOOP\r\n" if way == "with commands" else b""))
        banner = "for the net" if source is not None and source.startswith("192.") else "KumoMTA"
        assert str(peer.reply()) == f"220 mx.test {banner}"
        if way == "with commands":
            assert str(peer.reply()) == GOGGLES
        own = "{}:{}".format(*peer.socket.getsockname())
        assert refusal(peer) == ("" if is_allowed else source or own)


NO_HEADERS = {
    "SMTP": b"EHLO client.example.com\r\n",
    "whole mail": b"EHLO x\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n" + CONTENT,
    "XCLIENT": b"XCLIENT ADDR=192.0.2.7\r\n",
    "random": bytes(range(255, 0, -1)) * 20,
    "zeros": bytes(3000),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(508),
    "HTTP": b"GET / HTTP/1.1\r\nHost: mx.test\r\n\r\n",
    "lower case": b"proxy TCP4 192.0.2.7 192.0.2.1 4000 25\r\n",
    "bare LF": b"PROXY TCP4 192.0.2.7 192.0.2.1 4000 25\nNOOP\r\n",
    "no port": b"PROXY TCP4 192.0.2.7 192.0.2.1 4000\r\n",
    "odd port": b"PROXY TCP4 192.0.2.7 192.0.2.1 4000 +25\r\n",
    "great port": b"PROXY TCP4 192.0.2.7 192.0.2.1 70000 25\r\n",
    "odd address": b"PROXY TCP4 192.0.2.07 192.0.2.1 4000 25\r\n",
    "name": b"PROXY TCP4 localhost 192.0.2.1 4000 25\r\n",
    "wrong family": b"PROXY TCP6 192.0.2.7 192.0.2.1 4000 25\r\n",
    "other family": b"PROXY TCP5 192.0.2.7 192.0.2.1 4000 25\r\n",
    "endless line": b"PROXY TCP4 " + b"1" * 100_000,
    "signature cut": SIGNATURE[:11] + b"x" * 20,
    "version 3": b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c" + bytes(12),
    "other command": version_2("192.0.2.7", command=5),
    "short block": SIGNATURE + b"\x21\x11\0\x04" + bytes(4) + b"NOOP\r\n",
    "huge block": SIGNATURE + b"\x21\x11\xff\xff" + bytes(70_000),
}


def test_without_a_header_the_connection_is_closed_without_a_word(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        for name, octets in NO_HEADERS.items():
            with Peer(daemon.ports[PROXIED]) as peer:
                peer.send_as_far_as_it_goes(octets)
                assert peer.rest() == b"", name
        for half in (b"", b"PROXY TCP4 192.0.2.7", SIGNATURE + b"\x21\x11\0\x0c" + bytes(5)):
            with Peer(daemon.ports[PROXIED]) as peer:
                peer.send(half)
                assert peer.finish() == b""
            with Peer(daemon.ports[IMPATIENT]) as peer:
                peer.send(half)
                assert peer.rest() == b""
        with Peer(daemon.ports[PLAIN]) as peer:
            assert peer.greet().code == 250
        assert daemon.stop() == 0
        assert not (tmp_path / "log").exists() or daemon.records() == []
        assert list(daemon.delivered()) == []
        assert daemon.has_logged("its PROXY header did not come in time")


@pytest.mark.parametrize("header", [version_1("192.0.2.7"), version_2("192.0.2.7", more=bytes(100))])
def test_a_header_that_takes_too_long_on_the_whole(daemon: Kumod, header: bytes) -> None:
    """The limit is for all of it: an octet now and then does not prolong it."""
    with Peer(daemon.ports[IMPATIENT]) as peer:
        assert 1 < peer.dribble_until_closed(header, 0.1) < len(header)
        assert peer.rest() == b""


SWAKS_ROWS = [
    ("1", "TCP4", "192.0.2.7", "192.0.2.25", "192.0.2.7:4000", "192.0.2.25:25"),
    ("1", "TCP6", "2001:db8::7", "2001:db8::1", "[2001:db8::7]:4000", "[2001:db8::1]:25"),
    ("2", "AF_INET", "192.0.2.7", "192.0.2.25", "192.0.2.7:4000", "192.0.2.25:25"),
    ("2", "AF_INET6", "2001:db8::7", "2001:db8::1", "[2001:db8::7]:4000", "[2001:db8::1]:25"),
]


def by_proxy(version: str, family: str, source: str, to: str) -> tuple[str, ...]:
    """Options of swaks."""
    return (
        *("--proxy-version", version, "--proxy-family", family, "--proxy-source", source),
        *("--proxy-source-port", "4000", "--proxy-dest", to, "--proxy-dest-port", "25"),
    )


def test_swaks_behind_a_balancer_in_the_clear_and_inside_tls(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        port = daemon.ports[PROXIED]
        expected = []
        for number, (version, family, source, to, received_from, received_via) in enumerate(SWAKS_ROWS):
            for tls in ((), ("--tls",)):
                recipient = f"{number}{''.join(tls)}@proxied.example"
                told = swaks(port, *by_proxy(version, family, source, to), "--to", recipient, *tls)
                assert "250 OK ids=" in told
                banner = "at 25" if to == "192.0.2.25" else "KumoMTA"
                assert f"<-  220 mx.test {banner}\n" in told
                expected.append((recipient, received_from, received_via, bool(tls), source))
            stranger = "198.51.100.1" if ":" not in source else "2001:db8::8"
            told = swaks(port, *by_proxy(version, family, stranger, to), status=24)
            assert f"<** {NOT_RELAYED} for {stranger}" in told.replace("[", "").replace("]", "")
        assert daemon.stop() == 0
        receptions = {r["recipient"]: r for r in daemon.records() if r["type"] == "Reception"}
        assert len(receptions) == len(expected)
        for recipient, received_from, received_via, is_secured, source in expected:
            record = receptions[recipient]
            meta = record["meta"]
            assert (meta["received_from"], meta["received_via"]) == (received_from, received_via)
            assert meta["orig_received_from"].startswith("127.0.0.1:")
            assert meta["orig_received_via"] == f"127.0.0.1:{port}"
            assert record["peer_address"]["addr"] == source
            assert ("tls_cipher" in record) is is_secured
            # Once with the header's addresses, once as in every session.
            assert meta["asked"] == 2
        for path in daemon.delivered():
            assert b" (192.0.2.7)\r\n" in path.read_bytes() or b" (2001:db8::7)\r\n" in path.read_bytes()


def test_a_peer_block_can_ask_for_the_header(daemon: Kumod) -> None:
    """Whoever comes from the balancer's address is to be somebody else; the block is the balancer's alone."""
    with Peer(daemon.ports[BALANCED]) as peer:
        peer.send(version_1("192.0.2.7"))
        assert str(peer.reply()) == "220 mx.test KumoMTA"
        assert may_relay(peer)
    with Peer(daemon.ports[BALANCED]) as peer:
        peer.send(b"EHLO balancer.example.com\r\n")
        assert peer.rest() == b""


def test_only_the_first_header_counts(daemon: Kumod) -> None:
    with Peer(daemon.ports[PROXIED]) as peer:
        peer.send(version_1("192.0.2.8") + version_1("192.0.2.7"))
        answers = [str(peer.reply()) for _ in range(2)]
        assert answers == ["220 mx.test for the net", "502 5.5.1 Command unimplemented"]
        assert not may_relay(peer)


def test_a_proxied_peer_block_may_grant_xclient(daemon: Kumod) -> None:
    with Peer(daemon.ports[PROXIED]) as peer:
        peer.send(version_1("192.0.2.9"))
        peer.reply()
        assert not may_relay(peer)
        assert peer.ask(b"XCLIENT ADDR=192.0.2.7")[0].code == 220
        assert may_relay(peer)


# --- XCLIENT ------------------------------------------------------------------------------------------

ATTRIBUTES = "XCLIENT ADDR PORT DESTADDR DESTPORT"
FORBIDDEN = "550 insufficient authorization"


@pytest.fixture
def peer(daemon: Kumod) -> Iterator[Peer]:
    """Greeted by the listener that trusts it."""
    with Peer(daemon.ports[TRUSTING]) as peer:
        peer.greet()
        yield peer


def test_an_untrusted_peer_changes_nothing(daemon: Kumod) -> None:
    with Peer(daemon.ports[PLAIN]) as peer:
        assert not [line for line in peer.greet().lines if line.startswith("XCLIENT")]
        assert str(peer.ask(b"XCLIENT ADDR=192.0.2.7")[0]) == FORBIDDEN
        assert not may_relay(peer)


def test_a_trusted_peer_speaks_for_another_and_is_that_other_then(peer: Peer) -> None:
    """The block of the new address holds: the right to XCLIENT is lost with the old one."""
    assert ATTRIBUTES in peer.ask(b"EHLO front.example.com")[0].lines
    assert not may_relay(peer)
    assert str(peer.ask(b"xclient addr=192.0.2.7 port=4000")[0]) == "220 mx.test KumoMTA"
    assert may_relay(peer)
    lines = peer.ask(b"EHLO client.example.com")[0].lines
    assert not [line for line in lines if line.startswith("XCLIENT")]
    assert "SIZE 20971520" in lines
    assert str(peer.ask(b"XCLIENT ADDR=127.0.0.1")[0]) == FORBIDDEN
    assert may_relay(peer)


def test_rights_that_the_other_has_not_are_lost(peer: Peer) -> None:
    assert str(peer.ask(b"XCLIENT ADDR=192.0.2.9")[0]) == "220 mx.test for nine"
    assert not may_relay(peer)
    assert str(peer.ask(b"XCLIENT ADDR=2001:db8::7")[0]) == "220 mx.test KumoMTA"
    assert may_relay(peer)


def test_the_other_end_may_be_changed_as_well(peer: Peer) -> None:
    assert str(peer.ask(b"XCLIENT DESTADDR=192.0.2.25 DESTPORT=25")[0]) == "220 mx.test at 25"
    assert ATTRIBUTES in peer.ask(b"EHLO front.example.com")[0].lines
    assert str(peer.ask(b"XCLIENT DESTADDR=192.0.2.26")[0]) == "220 mx.test for front-ends"


BAD_VALUES = [
    (b"ADDR=192.0.2.256", "501 ADDR 192.0.2.256 is invalid"),
    (b"ADDR=localhost", "501 ADDR localhost is invalid"),
    (b"addr=IPV6:2001:db8::7", "501 ADDR IPV6:2001:db8::7 is invalid"),
    (b"ADDR=[UNAVAILABLE]", "501 ADDR [UNAVAILABLE] is invalid"),
    (b"PORT=65536", "501 PORT 65536 is invalid"),
    (b"PORT=-1", "501 PORT -1 is invalid"),
    (b"DESTADDR=192.0.2.025", "501 DESTADDR 192.0.2.025 is invalid"),
    (b"DESTPORT=x", "501 DESTPORT x is invalid"),
    (b"NAME=client.example.com", "501 parameter NAME is not supported"),
    (b"ADDR=192.0.2.7 Helo=x", "501 parameter Helo is not supported"),
    (b"ADDR=192.0.2.7 PORT=x", "501 PORT x is invalid"),
]


@pytest.mark.parametrize(("attributes", "text"), BAD_VALUES)
def test_a_bad_value_applies_nothing(peer: Peer, attributes: bytes, text: str) -> None:
    assert str(peer.ask(b"XCLIENT " + attributes)[0]) == text
    assert not may_relay(peer)
    assert ATTRIBUTES in peer.ask(b"EHLO front.example.com")[0].lines


def test_xtext_is_decoded_and_shown_printable(peer: Peer) -> None:
    assert peer.ask(b"XCLIENT ADDR=192+2E0+2E2+2E7")[0].code == 220
    assert may_relay(peer)


def test_no_xtext_gets_control_characters_into_a_reply(peer: Peer) -> None:
    peer.send(b"XCLIENT ADDR=1+0D+0A250+20OK\r\nNOOP\r\nQUIT\r\n")
    answers = parse_replies(peer.rest())
    assert [answer.code for answer in answers] == [501, 250, 221]
    assert answers[0].text.isprintable()


def test_not_within_a_transaction(peer: Peer) -> None:
    peer.ask(b"XCLIENT ADDR=192.0.2.9")
    answers = peer.ask(b"MAIL FROM:<a@example.com>", b"XCLIENT ADDR=192.0.2.7", b"RSET")
    assert str(answers[1]) == "503 mail transaction in progress"
    assert not may_relay(peer)


def test_tls_and_authentication_outlast_it(peer: Peer) -> None:
    peer.start_tls()
    codes = [
        answer.code
        for answer in peer.ask(
            b"EHLO front.example.com",
            b"AUTH PLAIN AGEAYg==",
            b"XCLIENT ADDR=192.0.2.7",
            b"AUTH PLAIN AGEAYg==",
            b"STARTTLS",
        )
    ]
    assert codes == [250, 235, 220, 503, 501]
    assert may_relay(peer)


def meta_of_mail(daemon: Kumod, *before: bytes) -> dict[str, Any]:
    """Send a mail, stop the daemon; what its record has in meta."""
    with Peer(daemon.ports[TRUSTING]) as peer:
        peer.greet()
        for answer in peer.ask(*before):
            assert answer.code == 220
        peer.begin(b"a@example.com", b"b@example.org")
        peer.send(CONTENT)
        assert peer.reply().code == 250
    assert daemon.stop() == 0
    (record,) = (r for r in daemon.records() if r["type"] == "Reception")
    assert record["peer_address"] == {"name": "client.example.com", "addr": "192.0.2.7"}
    meta: dict[str, Any] = record["meta"]
    return meta


def test_meta_keeps_the_sockets_own_addresses(tmp_path: Path) -> None:
    """Also when the client was changed twice; policy is asked for parameters each time."""
    with running(tmp_path) as daemon:
        meta = meta_of_mail(
            daemon,
            b"XCLIENT ADDR=192.0.2.9 PORT=9 DESTADDR=192.0.2.25 DESTPORT=25",
            b"XCLIENT ADDR=192.0.2.7 PORT=7",
        )
        assert (meta["received_from"], meta["received_via"]) == ("192.0.2.7:7", "192.0.2.25:25")
        assert meta["orig_received_from"].startswith("127.0.0.1:")
        assert meta["orig_received_via"] == f"127.0.0.1:{daemon.ports[TRUSTING]}"
        assert meta["asked"] == 3


def test_the_accounting_log_knows_clients_by_xclient_and_balancers_by_socket(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        for commands in ((), (b"XCLIENT ADDR=192.0.2.7",)):
            with Peer(daemon.ports[PROXIED]) as peer:
                peer.send(version_1("192.0.2.9"))
                peer.greet()
                peer.start_tls()
                assert [answer.code for answer in peer.ask(*commands, b"AUTH PLAIN AGEAYg==")][-1] == 235
        assert daemon.stop() == 0
        addresses = [record["auth_info"]["peer_address"] for record in daemon.records("acct")]
        assert addresses == ["127.0.0.1", "192.0.2.7"]


def test_swaks_speaks_for_another(tmp_path: Path) -> None:
    attributes = ("--xclient-addr", "192.0.2.7", "--xclient-port", "4000")
    with running(tmp_path) as daemon:
        assert "<-  250 OK ids=" in swaks(daemon.ports[TRUSTING], *attributes)
        assert "<~  250 OK ids=" in swaks(daemon.ports[TRUSTING], *attributes, "--tls")
        assert NOT_RELAYED in swaks(daemon.ports[TRUSTING], "--xclient-addr", "192.0.2.8", status=24)
        assert "did not advertise XCLIENT" in swaks(daemon.ports[PLAIN], *attributes, status=33)
        assert daemon.stop() == 0
        addresses = [r["meta"]["received_from"] for r in daemon.records() if r["type"] == "Reception"]
        assert addresses == ["192.0.2.7:4000"] * 2
