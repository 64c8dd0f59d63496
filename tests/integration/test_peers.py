"""Slow, greedy, deaf and vanishing peers: they harm nobody else, and leave nothing behind."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator

import psutil
import pytest

from .daemon import PATIENCE, Kumod
from .wire import Peer, parse_replies, stuffed

POLICY = """
kumo.on('init', function()
  spools(false)
  logs()
  for _, timeout in ipairs { '5 minutes', '1 second' } do
    kumo.start_esmtp_listener {
      listen = '127.0.0.1:0', hostname = 'mx.test', client_timeout = timeout,
      trace_headers = { received_header = false, supplemental_header = false },
    }
  end
end)
kumo.on('smtp_server_message_received', function(msg)
  if msg:recipient().user == 'slow' then kumo.sleep(0.3) end
  if msg:recipient().user == 'sink' then msg:set_meta('queue', 'null') end
end)
maildir()
"""

CONTENT = stuffed(b"Subject: x\r\n\r\nbody\r\n")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kumod]:
    with Kumod(tmp_path_factory.mktemp("peers"), POLICY) as daemon:
        yield daemon


@pytest.fixture
def process(daemon: Kumod) -> psutil.Process:
    return psutil.Process(daemon.process.pid)


def impatient(daemon: Kumod) -> int:
    """The port whose client_timeout is short."""
    return daemon.ports[1]


def delivered_to(daemon: Kumod, user: str, domain: str) -> list[bytes]:
    inbox = daemon.folder / "maildir" / domain / user / "new"
    return [path.read_bytes() for path in inbox.iterdir()] if inbox.is_dir() else []


def assert_serves(daemon: Kumod) -> None:
    with Peer(daemon.port) as peer:
        peer.greet()
        peer.begin(b"a@example.com", b"sink@example.org")
        peer.send(CONTENT)
        assert peer.reply().code == 250


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"EHL",
        b"EHLO client.example.com\r\n",
        b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@idle.example>\r\n",
        b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@idle.example>\r\nDATA\r\nSubject: x\r\n\r\nbody\r\n.\r",
        b"NOOP " + b"x" * 100_000,
    ],
    ids=["nothing", "half a command", "greeting", "envelope", "half a message", "half a long line"],
)
def test_a_silent_peer_is_told_and_dropped(daemon: Kumod, sent: bytes) -> None:
    with Peer(impatient(daemon)) as peer:
        peer.send(sent)
        answers = parse_replies(peer.rest())
    assert answers[0].code == 220
    assert str(answers[-1]) == "421 4.3.2 mx.test idle too long"
    assert [a.code for a in answers].count(421) == 1
    assert delivered_to(daemon, "b", "idle.example") == []


def test_dribbling_peers_hold_up_nobody(daemon: Kumod) -> None:
    """Fifty sessions get an octet at a time; between any two octets another client finishes a message."""
    session = b"EHLO x\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@dribble.example>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n"
    slow = [Peer(daemon.port) for _ in range(50)]
    try:
        for start in range(len(session)):
            for peer in slow:
                peer.send(session[start : start + 1])
            if start % 4 == 0:
                assert_serves(daemon)
        for peer in slow:
            assert [a.code for a in parse_replies(peer.rest())] == [220, 250, 250, 250, 354, 250, 221]
    finally:
        for peer in slow:
            peer.socket.close()
    daemon.wait_until(lambda: len(delivered_to(daemon, "b", "dribble.example")) >= 50)
    assert delivered_to(daemon, "b", "dribble.example") == [b"x\r\n"] * 50


def test_a_peer_that_never_reads_is_not_read_from_and_given_up(
    daemon: Kumod, process: psutil.Process
) -> None:
    commands = b"EHLO client.example.com\r\n" * 4000
    assert_serves(daemon)
    before = process.memory_info().rss
    with Peer(impatient(daemon), receive_buffer=4096) as peer:
        peer.socket.setblocking(False)
        poll = select.poll()
        poll.register(peer.socket, select.POLLOUT)
        sent = 0
        is_dropped = False
        # What the kernel's buffers hold goes through; then nothing, until the daemon has had enough.
        while sent < 200_000_000 and not is_dropped:
            ready = poll.poll(PATIENCE * 1000)
            assert ready, "the daemon never gave it up"
            is_dropped = bool(ready[0][1] & (select.POLLERR | select.POLLHUP))
            if not is_dropped:
                try:
                    sent += peer.socket.send(commands)
                except BlockingIOError:
                    continue
                except (ConnectionResetError, BrokenPipeError):
                    is_dropped = True
        assert is_dropped
        # Had it been read without end, the replies would have been five times that much.
        assert sent < 20_000_000
        assert process.memory_info().rss - before < 8_000_000
    assert_serves(daemon)


STAGES = {
    "at once": b"",
    "half a command": b"MAIL FR",
    "envelope": b"MAIL FROM:<a@x>\r\nRCPT TO:<b@gone.example>\r\n",
    "content": b"MAIL FROM:<a@x>\r\nRCPT TO:<b@gone.example>\r\nDATA\r\nhalf a mess",
    "large content": b"MAIL FROM:<a@x>\r\nRCPT TO:<b@gone.example>\r\nDATA\r\n" + b"x\r\n" * 100_000,
    "before LF": b"MAIL FROM:<a@x>\r\nRCPT TO:<b@gone.example>\r\nDATA\r\nhalf\r\n.\r",
    "while policy thinks": b"MAIL FROM:<a@x>\r\nRCPT TO:<slow@gone.example>\r\nDATA\r\nwhole\r\n.\r\n",
}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("is_reset", [False, True], ids=["FIN", "RST"])
def test_a_vanished_peer_leaves_nothing(daemon: Kumod, stage: str, *, is_reset: bool) -> None:
    with Peer(daemon.port) as pacer:
        pacer.reply()
        pacer.pace()
        sockets = daemon.open_sockets()
        for _ in range(5):
            peer = Peer(daemon.port)
            peer.reply()
            peer.send(STAGES[stage])
            pacer.pace()
            (peer.reset if is_reset else peer.socket.close)()
        daemon.wait_until(lambda: daemon.open_sockets() <= sockets)
        assert daemon.open_sockets() <= sockets
        pacer.pace()
    assert delivered_to(daemon, "b", "gone.example") == []
    assert_serves(daemon)


def test_a_half_closed_peer_hears_all_its_replies(daemon: Kumod) -> None:
    """Also those that policy takes its time for."""
    with Peer(daemon.port) as peer:
        peer.send(
            b"EHLO client.example.com\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<slow@half.example>\r\nDATA\r\n"
            + CONTENT
            + b"MAIL FROM:<a@example.com>\r\nRCPT TO:<slow@half.example>\r\nDATA\r\n"
            + CONTENT
            + b"NOOP\r\nFOO\r\nMAIL FR"
        )
        codes = [answer.code for answer in parse_replies(peer.finish())]
    assert codes == [220, 250, *[250, 250, 354, 250] * 2, 250, 502]
    daemon.wait_until(lambda: len(delivered_to(daemon, "slow", "half.example")) >= 2)
    assert delivered_to(daemon, "slow", "half.example") == [b"Subject: x\r\n\r\nbody\r\n"] * 2


def test_a_flood_behind_a_thinking_policy_waits_in_the_kernel(daemon: Kumod, process: psutil.Process) -> None:
    with Peer(daemon.port) as peer:
        peer.greet()
        peer.begin(b"a@example.com", b"slow@flood.example")
        before = process.memory_info().rss
        peer.send(CONTENT)
        peer.socket.setblocking(False)
        poll = select.poll()
        poll.register(peer.socket, select.POLLOUT | select.POLLIN)
        sent = 0
        # Writable until the kernel has taken in all it may; then the next thing to happen is the reply.
        while (
            (events := poll.poll(PATIENCE * 1000)) and not events[0][1] & select.POLLIN and sent < 50_000_000
        ):
            sent += peer.socket.send(b"NOOP\r\n" * 10_000)
        assert process.memory_info().rss - before < 4_000_000
        peer.socket.setblocking(True)
        assert peer.reply().code == 250
    assert_serves(daemon)


def test_idle_connections_are_cheap(daemon: Kumod, process: psutil.Process) -> None:
    peers: list[Peer] = []
    try:
        for count in (100, 400):
            while len(peers) < count:
                peers.append(Peer(daemon.port))
                peers[-1].greet()
            if count == 100:
                before = process.memory_info().rss
        growth = process.memory_info().rss - before
        assert growth < 300 * 8192
        assert_serves(daemon)
    finally:
        for peer in peers:
            peer.socket.close()


def test_memory_stays_level_over_many_messages(daemon: Kumod, process: psutil.Process) -> None:
    message = stuffed(b"Subject: x\r\n\r\n" + b"body\r\n" * 3000)
    transaction = b"MAIL FROM:<a@example.com>\r\nRCPT TO:<sink@example.org>\r\nDATA\r\n" + message
    with Peer(daemon.port) as peer:
        peer.greet()

        def send(count: int) -> int:
            for _ in range(count):
                peer.send(transaction)
                assert [peer.reply().code for _ in range(4)] == [250, 250, 354, 250]
            return process.memory_info().rss

        level = send(500)
        # A small part of what passes through; the log's segment and its compressor still grow a little.
        assert send(1500) - level < 4_000_000


def test_a_connection_closed_before_the_banner_is_nothing(daemon: Kumod) -> None:
    for _ in range(50):
        with socket.create_connection(("127.0.0.1", daemon.port), timeout=PATIENCE):
            pass
        Peer(daemon.port).reset()
    assert_serves(daemon)
