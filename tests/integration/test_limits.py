"""Limits to the octet: sizes, lines, recipients, messages, connections, descriptors."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from .daemon import PATIENCE, Kumod
from .wire import Answer, Peer, parse_replies, stuffed

POLICY = """
kumo.on('init', function()
  spools(false)
  logs()
  local function listener(parameters)
    parameters.listen = '127.0.0.1:0'
    parameters.hostname = 'mx.test'
    parameters.trace_headers = { received_header = false, supplemental_header = false }
    kumo.start_esmtp_listener(parameters)
  end
  listener { max_message_size = 1000, max_recipients_per_message = 2, max_messages_per_connection = 3 }
  listener { max_connections = 3 }
  listener { invalid_line_endings = 'Allow', data_buffer_size = 1 }
  listener { invalid_line_endings = 'Fix', max_message_size = 1000 }
  listener { max_recipients_per_message = 0, max_messages_per_connection = 1, data_buffer_size = 7 }
  listener { max_connections = 0 }
end)
kumo.on('smtp_server_mail_from', function(from)
  if from.user == 'refused' then kumo.reject(550, 'no') end
end)
maildir()
"""

SMALL, FEW, ALLOW, FIX, NONE, CLOSED = range(6)

TOO_BIG = "552 5.3.4 message too big"
TOO_LONG = "500 5.2.3 line too long"
BARE = "552 5.6.0 message data must use CRLF for line endings"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kumod]:
    with Kumod(tmp_path_factory.mktemp("limits"), POLICY) as daemon:
        yield daemon


def offer(peer: Peer, octets: bytes, domain: str = "limits.example", *, is_dribbled: bool = False) -> Answer:
    """Send a message; the reply to it, after which no transaction is open and commands are commands."""
    peer.begin(b"a@example.com", b"b@" + domain.encode())
    (peer.dribble if is_dribbled else peer.send)(octets)
    verdict = peer.reply()
    assert [str(a) for a in peer.ask(b"DATA", b"NOOP")] == [
        "503 5.5.0 MAIL FROM must be issued first",
        "250 the goggles do nothing",
    ]
    return verdict


def delivered(daemon: Kumod, domain: str, count: int) -> list[bytes]:
    inbox = daemon.folder / "maildir" / domain / "b" / "new"
    daemon.wait_until(lambda: inbox.is_dir() and len(list(inbox.iterdir())) >= count)
    return [path.read_bytes() for path in inbox.iterdir()]


def lines_of(octets: int, first: bytes = b"") -> bytes:
    """Content of exactly so many octets."""
    line = first + b"x" * 58 + b"\r\n"
    return (line * (octets // 60 + 1))[: octets - 2] + b"\r\n"


@pytest.mark.parametrize("is_dribbled", [False, True], ids=["whole", "octet by octet"])
@pytest.mark.parametrize(
    ("size", "first"), [(1000, b""), (1001, b""), (1000, b"."), (1001, b".."), (5000, b"")]
)
def test_the_size_limit_is_exact_after_unstuffing(
    daemon: Kumod, size: int, first: bytes, *, is_dribbled: bool
) -> None:
    content = lines_of(size, first)
    assert len(content) == size
    domain = f"size-{size}-{len(first)}-{is_dribbled:d}.example"
    with Peer(daemon.ports[SMALL]) as peer:
        peer.greet()
        verdict = offer(peer, stuffed(content), domain, is_dribbled=is_dribbled)
    if size > 1000:
        assert str(verdict) == TOO_BIG
        assert not (daemon.folder / "maildir" / domain).exists()
    else:
        assert verdict.code == 250
        assert delivered(daemon, domain, 1) == [content]


def test_size_is_announced_and_judged_at_mail(daemon: Kumod) -> None:
    with Peer(daemon.ports[SMALL]) as peer:
        assert "SIZE 1000" in peer.greet().lines
        for _ in range(5):
            assert str(peer.ask(b"MAIL FROM:<a@example.com> SIZE=1001")[0]) == TOO_BIG
        assert peer.ask(b"MAIL FROM:<a@example.com> SIZE=1000")[0].code == 250


def test_a_huge_message_is_drained_without_being_kept(daemon: Kumod) -> None:
    """What lies beyond the limit is not commands either, even if it looks like a smuggled end."""
    process = psutil.Process(daemon.process.pid)
    block = (b"x" * 60 + b"\n.\r\nMAIL FROM:<evil@example.com>\r\n\r.\r\n") * 10_000
    with Peer(daemon.ports[SMALL]) as peer:
        peer.greet()
        peer.begin(b"a@example.com", b"b@example.org")
        peer.send(block)
        before = process.memory_info().rss
        for _ in range(30):
            peer.send(block)
        peer.send(b"\r\n.\r\nMAIL FROM:<c@example.com>\r\n")
        assert [str(peer.reply()), str(peer.reply())] == [TOO_BIG, "250 OK <c@example.com>"]
        assert process.memory_info().rss - before < 4_000_000


@pytest.mark.parametrize(
    ("listener", "content", "expected"),
    [
        (SMALL, b"x" * 998 + b"\r\n", "250"),
        (SMALL, b"ok\r\n" + b"x" * 998 + b"\r\n", TOO_BIG),
        (SMALL, b"x" * 900 + b"\n\r\n", BARE),
        (SMALL, b"x\n" * 499 + b"\r\n", BARE),
        (ALLOW, b"ok\r\n" + b"." * 999 + b"\r\n", TOO_LONG),
        (ALLOW, b"." * 998 + b"\r\n", "250"),
        (ALLOW, b"x" * 998 + b"\n" + b"y" * 998 + b"\r" + b"z" * 998 + b"\r\n", "250"),
        (ALLOW, b"x" * 999 + b"\ny\r\n", TOO_LONG),
        (ALLOW, b"ab\n" * 2000 + b"\r\n", "250"),
        (FIX, b"x" * 500 + b"\n" + b"y" * 490 + b"\r\r\n", "250"),
        (FIX, b"x" * 999 + b"\n", TOO_BIG),
    ],
)
def test_lines_are_measured_after_the_verdict_on_line_ends(
    daemon: Kumod, listener: int, content: bytes, expected: str
) -> None:
    with Peer(daemon.ports[listener]) as peer:
        peer.greet()
        end = b"" if content.endswith(b"\r\n") else b"\r\n"
        assert str(offer(peer, stuffed(content + end))).startswith(expected)


def test_a_buffer_of_one_octet_splits_every_crlf(daemon: Kumod) -> None:
    content = b"Subject: x\r\n\r\n..\r\n.\n.\r.\r\n\r\n\r\r\n\0\r\n"
    for listener in (ALLOW, NONE):
        with Peer(daemon.ports[listener]) as peer:
            peer.greet()
            if listener == ALLOW:
                assert offer(peer, stuffed(content), "split.example").code == 250
                assert delivered(daemon, "split.example", 1) == [content]
            else:
                codes = [a.code for a in peer.ask(b"MAIL FROM:<a@example.com>", b"RCPT TO:<b@example.org>")]
                assert codes == [250, 452]


def test_too_many_recipients_leave_the_earlier_ones(daemon: Kumod) -> None:
    with Peer(daemon.ports[SMALL]) as peer:
        peer.greet()
        commands = [b"RCPT TO:<b@%d.few.example>" % number for number in range(4)]
        answers = peer.ask(b"MAIL FROM:<a@example.com>", *commands)
        assert [a.code for a in answers] == [250, 250, 250, 452, 452]
        assert str(answers[-1]) == "452 4.5.3 too many recipients"
        peer.ask(b"DATA")
        peer.send(stuffed(b"Subject: x\r\n\r\n"))
        assert len(peer.reply().text.split()) == 3
    for number in range(2):
        assert len(delivered(daemon, f"{number}.few.example", 1)) == 1
    assert not (daemon.folder / "maildir" / "2.few.example").exists()


def test_the_fourth_accepted_mail_is_one_too_many(daemon: Kumod) -> None:
    with Peer(daemon.ports[SMALL]) as peer:
        peer.greet()
        for command in (b"MAIL FROM:<refused@example.com>", b"MAIL FROM:<bad", b"RCPT TO:<b@example.org>"):
            assert peer.ask(command)[0].code >= 500
        assert offer(peer, stuffed(b"x\r\n"), "fourth.example").code == 250
        assert [a.code for a in peer.ask(b"MAIL FROM:<a@example.com>", b"RSET")] == [250, 250]
        assert offer(peer, stuffed(lines_of(2000))).code == 552
        for _ in range(120):
            assert (
                str(peer.ask(b"MAIL FROM:<a@example.com>")[0])
                == "452 4.5.3 too many messages on this connection"
            )
        assert [a.code for a in peer.ask(b"NOOP", b"QUIT")] == [250, 221]


def test_one_connection_too_many_is_told_so(daemon: Kumod) -> None:
    busy = b"421 4.3.2 mx.test too many concurrent sessions. Try later\r\n"
    with Peer(daemon.ports[CLOSED]) as peer:
        assert peer.rest() == busy
    with (
        Peer(daemon.ports[FEW]) as first,
        Peer(daemon.ports[FEW]) as second,
        Peer(daemon.ports[FEW]) as third,
    ):
        for peer in (first, second, third):
            assert peer.reply().code == 220
        for _ in range(10):
            with Peer(daemon.ports[FEW]) as peer:
                peer.send(b"EHLO x\r\nMAIL FROM:<a@example.com>\r\n")
                assert peer.rest() == busy
        assert [a.code for a in second.ask(b"NOOP", b"QUIT")] == [250, 221]
        assert second.rest() == b""

        banners = []

        def is_let_in() -> bool:
            with Peer(daemon.ports[FEW]) as peer:
                banners.append(peer.reply().code)
            return banners[-1] == 220

        daemon.wait_until(is_let_in)
        assert banners[-1] == 220
        assert third.ask(b"NOOP")[0].code == 250


PLAIN = """
kumo.on('init', function()
  spools(false)
  logs()
  kumo.start_esmtp_listener { listen = '127.0.0.1:0', hostname = 'mx.test' }
end)
maildir()
"""


def test_a_daemon_out_of_descriptors_comes_back(tmp_path: Path) -> None:
    """Sessions that are there go on, connections wait or are refused, nothing that got a 250 is lost."""
    with Kumod(tmp_path, PLAIN, prefix=("prlimit", "--nofile=64")) as daemon:
        assert psutil.Process(daemon.process.pid).rlimit(resource.RLIMIT_NOFILE) == (64, 64)
        accepted = 0
        with Peer(daemon.port) as early:
            early.greet()
            crowd = [
                socket.create_connection(("127.0.0.1", daemon.port), timeout=PATIENCE) for _ in range(150)
            ]
            daemon.wait_for_line("cannot accept connections")
            for _ in range(3):
                assert early.ask(b"NOOP")[0].code == 250
            # Also with no descriptor to spare for the spool: an honest answer.
            early.begin(b"a@example.com", b"b@crowd.example")
            early.send(stuffed(b"Subject: x\r\n\r\n"))
            verdict = early.reply()
            assert verdict.code in {250, 421, 451, 452}
            accepted += verdict.code == 250
            for peer in crowd:
                peer.close()
            if verdict.code == 250:
                assert early.ask(b"NOOP")[0].code == 250

        with Peer(daemon.port) as late:
            late.greet()
            late.begin(b"a@example.com", b"b@crowd.example")
            late.send(stuffed(b"Subject: x\r\n\r\n"))
            assert late.reply().code == 250
            accepted += 1
        assert len(delivered(daemon, "crowd.example", accepted)) == accepted
        assert daemon.stop() == 0
        assert "Traceback" not in "".join(daemon.lines)


def test_replies_to_a_flood_of_commands_stay_in_order(daemon: Kumod) -> None:
    with Peer(daemon.ports[ALLOW]) as peer:
        peer.send(b"".join(b"HELO h%d.example\r\n" % number for number in range(2000)) + b"QUIT\r\n")
        answers = parse_replies(peer.rest())
    assert [a.text for a in answers[1:-1]] == [f"Hello h{number}.example!" for number in range(2000)]
