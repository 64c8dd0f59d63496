"""Mail that is taken before policy sees it: nothing of it is lost, nothing is done twice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from kumo.spool import list_spool

from .daemon import Kumod, run_kumod
from .wire import Peer

QUEUE = "deferred_smtp_inject.kumomta.internal"

POLICY = """
kumo.on('init', function()
  spools(%s)
  kumo.configure_local_logs {
    log_dir = var .. '/log', min_free_space = '0%%', min_free_inodes = '0%%', meta = { 'queue', 'seen' },
  }
  kumo.start_esmtp_listener {
    listen = '127.0.0.1:0', hostname = 'mx.test', deferred_queue = true,
  }
end)
kumo.on('smtp_server_message_received', function() kumo.log_error 'received early' end)
kumo.on('smtp_server_data', function(msg)
  if msg:sender().user == 'barred' then kumo.reject(550, '5.7.1 barred') end
end)
local function may_go()
  local file = io.open(var .. '/go')
  return file ~= nil and file:close()
end
kumo.on('smtp_server_message_deferred_inject', function(msg, conn_meta)
  local user = msg:recipient().user
  kumo.log_info('injecting for ' .. user)
  msg:set_meta('seen', conn_meta:get_meta 'received_from')
  msg:prepend_header('X-Seen', conn_meta:get_meta 'ehlo_domain')
  if user == 'slow' and not may_go() then kumo.sleep(3600) end
  if user == 'bad' then kumo.reject(550, '5.7.1 not wanted') end
  if user == 'later' and not may_go() then kumo.reject(451, '4.7.1 not yet') end
  if user == 'fault' and not may_go() then error 'a fault' end
  if user == 'else' then msg:set_recipient 'moved@elsewhere.test' end
end)
maildir()
"""
CONTENT = b"Subject: x\r\n\r\nbody\r\n"


def running(folder: Path, flush: str = "false") -> Kumod:
    return Kumod(folder, POLICY % flush)


def take(daemon: Kumod, *users: bytes) -> list[str]:
    """Have a message taken for each user; their ids."""
    with Peer(daemon.port) as peer:
        peer.greet()
        answer = peer.offer(CONTENT, *(user + b"@example.org" for user in users))
    assert answer.code == 250
    return answer.text.removeprefix("OK ids=").split()


def stored(daemon: Kumod) -> list[str]:
    """Ids in the spool."""
    listed = run_kumod("--list-spool", str(daemon.folder / "spool" / "meta"), cwd=daemon.folder)
    assert listed.returncode == 0
    return [line.split()[0] for line in listed.stdout.splitlines()]


def has_stored(daemon: Kumod) -> bool:
    return any(list_spool(daemon.folder / "spool" / "meta"))


def let_go(daemon: Kumod) -> None:
    """From now on policy lets everything go, and knows at its next look."""
    (daemon.folder / "go").touch()


def kinds(daemon: Kumod, spool_id: str) -> list[str]:
    return [record["type"] for record in daemon.records() if record["id"] == spool_id]


def record(daemon: Kumod, kind: str) -> dict[str, Any]:
    (found,) = (record for record in daemon.records() if record["type"] == kind)
    return found


def test_a_message_is_taken_shown_to_policy_and_delivered(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        (spool_id,) = take(daemon, b"b")
        daemon.wait_until(lambda: any(daemon.delivered()) and not has_stored(daemon))
        assert daemon.stop() == 0
        assert kinds(daemon, spool_id) == ["Reception", "DeferredInjectionRebind", "Delivery"]
        reception, rebind = record(daemon, "Reception"), record(daemon, "DeferredInjectionRebind")
        assert (reception["queue"], reception["meta"]) == (QUEUE, {"queue": QUEUE})
        assert rebind["queue"] == "example.org"
        assert rebind["response"] == {"code": 250, "enhanced_code": None, "content": "ok", "command": None}
        assert rebind["delivery_protocol"] == "DeferredSmtpInjection"
        assert rebind["meta"]["seen"].startswith("127.0.0.1:")
        (path,) = daemon.delivered()
        names = [line.partition(b":")[0] for line in path.read_bytes().split(b"\r\n\r\n")[0].split(b"\r\n")]
        assert names == [
            b"X-Seen",
            b"X-KumoRef",
            b"Received",
            *[b"  by mx.test (KumoMTA 127.0.0.1) "],
            *names[4:],
        ]
        assert not daemon.has_logged("received early")


def test_policy_may_send_it_elsewhere(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        take(daemon, b"else")
        daemon.wait_until(lambda: any(daemon.delivered()))
        assert daemon.stop() == 0
        assert record(daemon, "DeferredInjectionRebind")["queue"] == "elsewhere.test"
        assert [path.parts[-4:-2] for path in daemon.delivered()] == [("elsewhere.test", "moved")]


def test_a_refusal_for_good_is_a_bounce(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        (spool_id,) = take(daemon, b"bad")
        daemon.wait_until(lambda: not has_stored(daemon))
        assert daemon.stop() == 0
        assert kinds(daemon, spool_id) == ["Reception", "Bounce"]
        bounce = record(daemon, "Bounce")
        assert (bounce["response"]["code"], bounce["response"]["content"]) == (550, "not wanted")
        assert stored(daemon) == []


@pytest.mark.parametrize(
    ("user", "code", "content"), [(b"later", 451, "not yet"), (b"fault", 450, "a fault")]
)
def test_anything_else_is_tried_again(tmp_path: Path, user: bytes, code: int, content: str) -> None:
    """Each attempt begins with the message as it was received."""
    with running(tmp_path) as daemon:
        (spool_id,) = take(daemon, user)
        daemon.wait_for_line("injecting for")
        assert daemon.stop() == 0
        assert kinds(daemon, spool_id) == ["Reception", "TransientFailure"]
        failure = record(daemon, "TransientFailure")
        assert failure["response"]["code"] == code
        assert content in failure["response"]["content"]
        assert (failure["queue"], failure["meta"]) == (QUEUE, {"queue": QUEUE})
        assert stored(daemon) == [spool_id]
        let_go(daemon)
        daemon.start()
        daemon.wait_until(lambda: any(daemon.delivered()) and not has_stored(daemon))
        assert daemon.stop() == 0
        assert kinds(daemon, spool_id)[2:] == ["DeferredInjectionRebind", "Delivery"]
        (path,) = daemon.delivered()
        assert path.read_bytes().count(b"X-Seen: client.example.com\r\n") == 1


@pytest.mark.parametrize(("end", "flush"), [("kill -9", "false"), ("kill -9", "true"), ("SIGTERM", "false")])
def test_what_policy_looks_at_survives_the_end(tmp_path: Path, end: str, flush: str) -> None:
    """However the daemon ends: afterwards each message is delivered once, seen by policy once."""
    with running(tmp_path, flush) as daemon:
        ids = take(daemon, b"slow", b"slow", b"slow")
        daemon.wait_for_line("injecting for slow")
        if end == "SIGTERM":
            assert daemon.stop() == 0
        else:
            daemon.kill()
        assert sorted(stored(daemon)) == sorted(ids)
        assert list(daemon.delivered()) == []
        let_go(daemon)
        daemon.start()
        daemon.wait_until(lambda: len(list(daemon.delivered())) >= 3 and not has_stored(daemon))
        assert daemon.stop() == 0
        contents = [path.read_bytes() for path in daemon.delivered()]
        assert [content.count(b"X-Seen: ") for content in contents] == [1] * 3
        assert all(content.endswith(CONTENT) for content in contents)
        counts = Counter(record["type"] for record in daemon.records() if record["type"] != "Reception")
        assert counts == {"DeferredInjectionRebind": 3, "Delivery": 3}


def test_what_refuses_before_still_refuses(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        with Peer(daemon.port) as peer:
            peer.greet()
            answer = peer.offer(CONTENT, b"b@example.org", sender=b"barred@example.com")
            assert str(answer) == "550 5.7.1 barred"
            bare = peer.offer(b"Subject: x\r\n\r\nbare\nline\r\n", b"b@example.org")
            assert bare.code == 552
        assert daemon.stop() == 0
        assert stored(daemon) == []
