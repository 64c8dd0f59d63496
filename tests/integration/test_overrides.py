"""Parameters that differ by who is talking: ``peer``, ``via``, ``meta`` and the dynamic event."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .daemon import Kumod
from .wire import Peer, parse_replies

POLICY = """
kumo.on('init', function()
  spools(false)
  kumo.configure_local_logs {
    log_dir = var .. '/log', min_free_space = '0%', min_free_inodes = '0%',
    meta = { 'role', 'block', 'hostname' },
  }
  kumo.start_esmtp_listener {
    listen = '0.0.0.0:0',
    hostname = 'mx.test',
    banner = 'everybody',
    relay_hosts = { '127.0.0.0/8' },
    meta = { role = 'mx', block = 'top' },
    peer = {
      ['127.0.0.0/8'] = { banner = 'loopback', meta = { block = 'loopback' } },
      ['127.0.0.2'] = { max_message_size = 1000, hostname = 'small.test', banner = 'small' },
      ['127.0.0.3'] = { trace_headers = { received_header = false, supplemental_header = false } },
      ['127.0.0.4'] = { invalid_line_endings = 'Fix', relay_hosts = {} },
      ['127.0.0.5'] = { deferred_spool = true, batch_handling = 'BatchByDomain', meta = { role = 'bulk' } },
      ['127.0.0.6'] = { max_recipients_per_message = 1, line_length_hard_limit = 100 },
      ['127.0.1.0/24'] = {
        banner = 'net',
        meta = { block = 'net' },
        peer = { ['127.0.1.128/25'] = { banner = 'half', peer = { ['127.0.1.200'] = { banner = 'one' } } } },
        via = { ['127.0.9.1'] = { banner = 'net by nine', meta = { block = 'nine' } } },
      },
      ['127.0.3.0/24'] = { client_timeout = '1 second' },
    },
    via = {
      ['127.0.8.0/24'] = { banner = 'by eight', hostname = 'eight.test' },
      ['127.0.8.2'] = { meta = { hostname = 'renamed.test' } },
    },
  }
end)
kumo.on('smtp_server_get_dynamic_parameters', function(via, conn_meta)
  local ip = conn_meta:get_meta('received_from'):match '^(.*):'
  if ip == '127.0.7.1' then return { banner = via:match '^(.*):', meta = { role = 'asked' } } end
  if ip == '127.0.7.2' then kumo.reject(550, '5.7.1 nobody wants you') end
  if ip == '127.0.7.3' then return nil end
  if ip == '127.0.7.4' then error 'a fault' end
  if ip == '127.0.7.5' then return { bannner = 'x' } end
  if ip == '127.0.7.6' then
    return { peer = { ['127.0.7.0/24'] = { banner = 'within' } }, banner = 'around' }
  end
  if ip == '127.0.7.7' then return { relay_hosts = {} } end
  if ip == '127.0.7.8' then kumo.sleep(0.01) return { banner = 'late' } end
  if ip == '127.0.7.9' then return { banner = conn_meta:get_meta 'role' } end
  return {}
end)
maildir()
"""
CONTENT = b"Subject: x\r\n\r\nbody\r\n"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kumod]:
    with Kumod(tmp_path_factory.mktemp("overrides"), POLICY) as daemon:
        yield daemon


def talk(daemon: Kumod, source: str, host: str = "127.0.0.1") -> Peer:
    return Peer(daemon.port, source=source, host=host)


def take(daemon: Kumod, source: str, content: bytes, *recipients: bytes) -> list[str]:
    with talk(daemon, source) as peer:
        peer.greet()
        answer = peer.offer(content, *recipients)
    assert answer.code == 250, answer
    return answer.text.removeprefix("OK ids=").split()


def content_for(daemon: Kumod, user: str) -> bytes:
    """The one message in somebody's maildir, once it is there."""
    inbox = daemon.folder / "maildir" / "example.org" / user / "new"
    daemon.wait_until(lambda: inbox.is_dir() and any(inbox.iterdir()))
    (path,) = inbox.iterdir()
    return path.read_bytes()


@pytest.mark.parametrize(
    ("source", "host", "banner"),
    [
        ("127.0.0.1", "127.0.0.1", "mx.test loopback"),
        ("127.0.0.2", "127.0.0.1", "small.test small"),
        ("127.0.0.3", "127.0.0.1", "mx.test everybody"),
        ("127.0.1.1", "127.0.0.1", "mx.test net"),
        ("127.0.1.129", "127.0.0.1", "mx.test half"),
        ("127.0.1.200", "127.0.0.1", "mx.test one"),
        ("127.0.1.200", "127.0.9.1", "mx.test net by nine"),
        ("127.0.0.1", "127.0.9.1", "mx.test loopback"),
        ("127.0.0.2", "127.0.8.1", "eight.test by eight"),
        ("127.0.0.2", "127.0.8.2", "small.test small"),
        ("127.0.7.1", "127.0.0.1", "mx.test 127.0.0.1"),
        ("127.0.7.1", "127.0.8.1", "eight.test 127.0.8.1"),
        ("127.0.7.6", "127.0.0.1", "mx.test within"),
        ("127.0.7.8", "127.0.0.1", "mx.test late"),
        ("127.0.7.9", "127.0.0.1", "mx.test mx"),
    ],
)
def test_the_banner_tells_which_blocks_hold(daemon: Kumod, source: str, host: str, banner: str) -> None:
    """Of a level only the longest prefix, then the blocks within it; ``via`` after ``peer``; policy last."""
    with talk(daemon, source, host) as peer:
        assert str(peer.reply()) == f"220 {banner}"
        (answer,) = peer.ask(b"EHLO client.example.com")
        assert answer.lines[0] == f"{banner.partition(' ')[0]} Aloha client.example.com"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("127.0.7.2", "550 5.7.1 nobody wants you"),
        ("127.0.7.3", "421 4.3.0 mx.test technical difficulties"),
        ("127.0.7.4", "421 4.3.0 mx.test technical difficulties"),
        ("127.0.7.5", "421 4.3.0 mx.test technical difficulties"),
    ],
)
def test_policy_that_gives_no_parameters_ends_the_session(daemon: Kumod, source: str, expected: str) -> None:
    with talk(daemon, source) as peer:
        assert [str(answer) for answer in parse_replies(peer.rest())] == [expected]


def test_each_client_has_a_message_size_of_its_own(daemon: Kumod) -> None:
    with talk(daemon, "127.0.0.2") as small, talk(daemon, "127.0.0.1") as large:
        assert "SIZE 1000" in small.greet().lines
        assert "SIZE 20971520" in large.greet().lines
        content = b"Subject: x\r\n\r\n" + b"x" * 984 + b"\r\n"
        assert len(content) == 1000
        assert small.offer(content, b"size@example.org").code == 250
        assert str(small.offer(b"y" + content, b"size@example.org")) == "552 5.3.4 message too big"
        assert small.ask(b"MAIL FROM:<a@example.com> SIZE=1001")[0].code == 552
        assert large.offer(content * 2, b"size@example.org").code == 250


def test_trace_fields_by_peer(daemon: Kumod) -> None:
    take(daemon, "127.0.0.3", CONTENT, b"bare@example.org")
    take(daemon, "127.0.0.1", CONTENT, b"traced@example.org")
    take(daemon, "127.0.0.2", CONTENT, b"named@example.org")
    assert content_for(daemon, "bare") == CONTENT
    assert content_for(daemon, "traced").startswith(b"X-KumoRef: ")
    assert b"\r\n  by small.test (KumoMTA 127.0.0.1) \r\n" in content_for(daemon, "named")


def test_line_endings_and_relay_hosts_by_peer(daemon: Kumod) -> None:
    broken = b"Subject: x\r\n\r\nbare\nline\r\n"
    with talk(daemon, "127.0.0.1") as strict, talk(daemon, "127.0.0.6") as narrow:
        strict.greet()
        narrow.greet()
        assert strict.offer(broken, b"mended@example.org").code == 552
        assert narrow.offer(b"x" * 101 + b"\r\n", b"b@example.org").code == 500
        assert narrow.offer(b"x" * 100 + b"\r\n", b"narrow@example.org").code == 250
        assert strict.offer(b"x" * 101 + b"\r\n", b"wide@example.org").code == 250
        codes = [a.code for a in narrow.ask(b"MAIL FROM:<a@x>", b"RCPT TO:<b@x>", b"RCPT TO:<c@x>")]
        assert codes == [250, 250, 452]
    for source in ("127.0.0.4", "127.0.7.7"):
        with talk(daemon, source) as stranger:
            stranger.greet()
            answers = stranger.ask(b"MAIL FROM:<a@example.com>", b"RCPT TO:<b@example.org>")
            assert [answer.code for answer in answers] == [250, 550]


def test_batches_by_peer(daemon: Kumod) -> None:
    recipients = (b"b@one.test", b"c@one.test", b"d@two.test")
    assert len(take(daemon, "127.0.0.1", CONTENT, *recipients)) == 3
    assert len(take(daemon, "127.0.0.5", CONTENT, *recipients)) == 2


def test_patience_by_peer(daemon: Kumod) -> None:
    with talk(daemon, "127.0.3.1") as peer, talk(daemon, "127.0.0.1") as patient:
        patient.greet()
        assert str(parse_replies(peer.rest())[-1]) == "421 4.3.2 mx.test idle too long"
        assert patient.ask(b"NOOP")[0].code == 250


def test_meta_by_peer(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keys of blocks that apply later win; what no block names stays."""
    with Kumod(tmp_path_factory.mktemp("meta"), POLICY) as daemon:
        expected: dict[tuple[str, str], dict[str, Any]] = {
            ("127.0.0.1", "127.0.0.1"): {"role": "mx", "block": "loopback", "hostname": "mx.test"},
            ("127.0.0.2", "127.0.0.1"): {"role": "mx", "block": "top", "hostname": "small.test"},
            ("127.0.0.5", "127.0.0.1"): {"role": "bulk", "block": "top", "hostname": "mx.test"},
            ("127.0.1.1", "127.0.9.1"): {"role": "mx", "block": "nine", "hostname": "mx.test"},
            ("127.0.0.1", "127.0.8.2"): {"role": "mx", "block": "loopback", "hostname": "renamed.test"},
            ("127.0.7.1", "127.0.8.1"): {"role": "asked", "block": "loopback", "hostname": "eight.test"},
        }
        ids = {}
        for source, host in expected:
            with talk(daemon, source, host) as peer:
                peer.greet()
                answer = peer.offer(CONTENT, b"b@example.org")
                ids[answer.text.removeprefix("OK ids=")] = (source, host)
        assert daemon.stop() == 0
        found = {ids[r["id"]]: r["meta"] for r in daemon.records() if r["type"] == "Reception"}
        assert found == expected


def test_who_needs_the_spool_by_peer(tmp_path: Path) -> None:
    """Without the folder of its journal nothing can be stored; what need not be is delivered."""
    with Kumod(tmp_path, POLICY) as daemon:
        with talk(daemon, "127.0.0.1") as careful, talk(daemon, "127.0.0.5") as quick:
            careful.greet()
            quick.greet()
            (tmp_path / "spool" / "meta" / "journal").write_text("a file where a folder should be")
            assert careful.offer(CONTENT, b"careful@example.org").code == 421
            assert quick.offer(CONTENT, b"quick@example.org").code == 250
            assert content_for(daemon, "quick").endswith(CONTENT)
        assert daemon.stop() == 0
        assert len(list(daemon.delivered())) == 1
