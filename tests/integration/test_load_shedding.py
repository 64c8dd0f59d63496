"""Too little of something: new sessions are turned away, and served again once there is enough."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from .daemon import PATIENCE, Kumod, run_kumod
from .wire import Peer, parse_replies

POLICY = """
kumo.on('init', function()
  spools(false)
  logs()
  %s
  kumo.start_esmtp_listener { listen = '127.0.0.1:0', hostname = 'mx.test' }
  kumo.start_http_listener { listen = '127.0.0.1:0' }
end)
kumo.on('smtp_server_ehlo', function(domain)
  if domain == 'short.test' then kumo.set_memory_soft_limit(1) end
  if domain == 'ample.test' then kumo.set_memory_soft_limit(1 << 50) end
  if domain == 'slow.test' then kumo.log_info 'asleep' kumo.sleep(3600) end
end)
maildir()
"""
CONTENT = b"Subject: x\r\n\r\nbody\r\n"

LOAD = "421 4.3.2 mx.test load shedding. Try later"
SPOOL = "421 4.3.2 mx.test the spool is not accepting writes. Try later"


def running(folder: Path) -> Kumod:
    return Kumod(folder, POLICY % "")


def banner(daemon: Kumod) -> str:
    with Peer(daemon.port) as peer:
        return str(peer.reply())


def assert_turned_away(daemon: Kumod, expected: str) -> None:
    """Whatever the client sent ahead of the banner."""
    with Peer(daemon.port) as peer:
        peer.send(b"EHLO client.example.com\r\nMAIL FROM:<a@example.com>\r\n")
        assert [str(answer) for answer in parse_replies(peer.rest())] == [expected]


def is_served(daemon: Kumod) -> bool:
    return banner(daemon).startswith("220 ")


def fetch(daemon: Kumod, path: str) -> tuple[int, str]:
    url = f"http://127.0.0.1:{daemon.http_port}{path}"
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def liveness(daemon: Kumod) -> tuple[int, str]:
    return fetch(daemon, "/api/check-liveness/v1")


def denied(daemon: Kumod) -> int:
    """Connections turned away, as they are scraped."""
    name = 'total_connections_denied{service="esmtp_listener"} '
    lines = fetch(daemon, "/metrics")[1].splitlines()
    return sum(int(float(line.removeprefix(name))) for line in lines if line.startswith(name))


@pytest.mark.parametrize(
    ("variables", "prefix", "init"),
    [
        ({"KUMOD_MEMORY_SOFT_LIMIT": "1000000"}, (), ""),
        ({"KUMOD_MEMORY_HARD_LIMIT": "1000000"}, (), ""),
        ({}, ("prlimit", "--rss=1000000"), ""),
        ({"KUMOD_MEMORY_SOFT_LIMIT": "100000000000"}, (), "kumo.set_memory_soft_limit(1000000)"),
    ],
    ids=["soft limit", "hard limit", "limit of the process", "the policy's limit"],
)
def test_no_memory_left(
    tmp_path: Path, variables: dict[str, str], prefix: tuple[str, ...], init: str
) -> None:
    with Kumod(tmp_path, POLICY % init, environment=variables, prefix=prefix) as daemon:
        assert_turned_away(daemon, LOAD)
        assert_turned_away(daemon, LOAD)
        assert liveness(daemon) == (503, "load shedding")
        assert denied(daemon) == 2
        assert daemon.stop() == 0
        assert daemon.has_logged("new sessions are refused")
        assert daemon.records() == []


@pytest.mark.parametrize("value", ["", "0", "-1", "1 GB", "lots", "1e9"])
@pytest.mark.parametrize("variable", ["KUMOD_MEMORY_SOFT_LIMIT", "KUMOD_MEMORY_HARD_LIMIT"])
def test_a_limit_that_is_none_is_named(tmp_path: Path, variable: str, value: str) -> None:
    daemon = running(tmp_path)
    done = run_kumod("--policy", str(daemon.script), cwd=tmp_path, environment={variable: value})
    assert done.returncode == 1
    assert f"Error: {variable}: {value!r} is no number of octets above 0" in done.stderr
    assert "Traceback" not in done.stderr
    assert "listener on" not in done.stderr


def test_open_sessions_go_on_and_new_ones_come_back(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        with Peer(daemon.port) as peer:
            peer.greet()
            assert peer.ask(b"EHLO short.test")[0].code == 250
            daemon.wait_until(lambda: not is_served(daemon))
            assert_turned_away(daemon, LOAD)
            assert peer.offer(CONTENT, b"b@example.org").code == 250
            assert peer.ask(b"EHLO ample.test")[0].code == 250
            daemon.wait_until(lambda: is_served(daemon))
            assert is_served(daemon)
            assert liveness(daemon) == (200, "OK")
        daemon.wait_until(lambda: any(daemon.delivered()))
        assert daemon.stop() == 0
        assert [record["type"] for record in daemon.records()] == ["Reception", "Delivery"]


def test_a_spool_that_takes_no_writes_is_tried_until_it_does(tmp_path: Path) -> None:
    """There is a file where its journal was; no restart is needed once that is gone."""
    with running(tmp_path) as daemon, Peer(daemon.port) as peer, Peer(daemon.port) as other:
        peer.greet()
        other.greet()
        assert peer.offer(CONTENT, b"first@example.org").code == 250
        daemon.wait_until(lambda: any(daemon.delivered()))
        journal = tmp_path / "spool" / "meta" / "journal"
        journal.rename(tmp_path / "hidden")
        journal.write_text("no folder")
        answer = str(peer.offer(CONTENT, b"second@example.org"))
        assert answer == SPOOL
        assert peer.rest() == b""
        assert_turned_away(daemon, SPOOL)
        assert liveness(daemon) == (503, "the spool is not accepting writes")
        assert denied(daemon) == 1
        # Who was let in before is told so at its message.
        assert str(other.offer(CONTENT, b"third@example.org")) == SPOOL
        journal.unlink()
        daemon.wait_until(lambda: is_served(daemon))
        assert liveness(daemon) == (200, "OK")
        with Peer(daemon.port) as late:
            late.greet()
            assert late.offer(CONTENT, b"last@example.org").code == 250
        daemon.wait_until(lambda: len(list(daemon.delivered())) >= 2)
        assert daemon.stop() == 0
        assert sorted(path.parts[-3] for path in daemon.delivered()) == ["first", "last"]
        assert not [path for path in (tmp_path / "spool").glob("*/data/**/*") if path.is_file()]
        log = "".join(daemon.lines)
        assert "Traceback" not in log
        assert "the spool is accepting writes again" in log


def test_who_asks_while_it_ends_is_told(tmp_path: Path) -> None:
    with running(tmp_path) as daemon, Peer(daemon.port) as waiting:
        waiting.reply()
        waiting.send(b"EHLO slow.test\r\n")
        daemon.wait_for_line("asleep")
        daemon.process.terminate()
        daemon.wait_for_line("shutting down")
        assert liveness(daemon) == (503, "shutting down")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", daemon.port), timeout=PATIENCE)
        assert daemon.stop() == 0
