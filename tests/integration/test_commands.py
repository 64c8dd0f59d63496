"""Hostile and broken command lines: the named reply, no effect, and nothing of them in what we write."""

from __future__ import annotations

import json
import random
import subprocess
import unicodedata
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from .daemon import PATIENCE, Kumod
from .wire import Peer, parse_replies, stuffed

POLICY = """
kumo.on('init', function()
  spools(false)
  logs()
  kumo.start_esmtp_listener {
    listen = '127.0.0.1:0', hostname = 'mx.test', max_recipients_per_message = 3, max_message_size = 5000,
  }
end)
kumo.on('smtp_server_rcpt_to', function(to)
  if to.user == 'refused' then kumo.reject(550, '5.1.1 no such user') end
end)
kumo.on('smtp_server_mail_from', function(from)
  kumo.log_warn('mail from ' .. tostring(from))
end)
maildir()
"""

GOGGLES = "250 the goggles do nothing"
SYNTAX = "501 Syntax error in command or arguments"
SENDER = "501 5.1.7 Bad sender's mailbox address syntax"
RECIPIENT = "501 5.1.3 Invalid recipient address syntax"
UTF8 = "501 5.5.2 Invalid UTF-8 in command"
UNKNOWN = "502 5.5.1 Command unimplemented"
MAIL_FIRST = "503 5.5.0 MAIL FROM must be issued first"
RECIPIENT_FIRST = "503 5.5.0 RCPT TO must be issued first"
NESTED = "503 5.5.0 MAIL FROM already issued; you must RSET first"
TOO_LONG = "500 5.2.3 line too long"

REFUSED = [
    (b"\x80\x81\x82\x83", UTF8),
    (b"NOOP \xc0\xaf", UTF8),
    (b"MAIL FROM:<\xed\xa0\x80@example.com>", UTF8),
    (b"EHLO \xff", UTF8),
    (b"", SYNTAX),
    (b" NOOP", SYNTAX),
    (b"NOOP ", SYNTAX),
    (b"NOOP\0", SYNTAX),
    (b"\0", SYNTAX),
    (b"NOOP\x1b[2J", SYNTAX),
    (b"QUIT now", SYNTAX),
    (b"RSET\n", SYNTAX),
    (b"\nNOOP", SYNTAX),
    (b"NOOP\n\n", SYNTAX),
    (b"NOOP\nNOOP", SYNTAX),
    (b"NOOP\rNOOP", SYNTAX),
    (b"DATA x", SYNTAX),
    (b"EHLO", SYNTAX),
    (b"EHLO a b", SYNTAX),
    (b"EHLO x\x07y", SYNTAX),
    (b"EHLO x\nX-Forged: 1", SYNTAX),
    (b"EHLO x\ty", SYNTAX),
    (b"EHLO [1.2.3.4]\0", SYNTAX),
    (b"EHLO [x:\x7f]", SYNTAX),
    (b"MAIL FROM:<a\0b@example.com>", SYNTAX),
    (b"MAIL FROM:<a\x7fb@example.com>", SYNTAX),
    (b'MAIL FROM:<"a\tb"@example.com>', SENDER),
    (b'MAIL FROM:<"a\\\nb"@example.com>', SYNTAX),
    (b"MAIL FROM:<a@example.com\n>", SYNTAX),
    (b"MAIL FROM:<a@exam\rple.com>", SYNTAX),
    (b"MAIL FROM:<a@example.com>\nRCPT TO:<b@example.org>", SYNTAX),
    (b"MAIL FROM:<a@example.com> ", SENDER),
    (b"MAIL FROM:<a@example.com>SIZE=1", SENDER),
    (b"MAIL FROM:<a@example.com:25>", SENDER),
    (b"MAIL FROM:<postmaster>", SENDER),
    (b"MAIL FROM:<a@[IPv6:zz]>", SENDER),
    (b"MAIL FROM:<a@-example.com>", SENDER),
    (b"MAIL FROM:<a@example..com>", SENDER),
    (b"MAIL FROM : <a@example.com>", SYNTAX),
    (b"MAIL", SYNTAX),
    (b"MAIL FROM:", SYNTAX),
    (b"MAIL FROM:<a@example.com> =x", SYNTAX),
    (b"MAIL FROM:<a@example.com> X=\x01", SYNTAX),
    (b"MAIL FROM:<a@example.com> SIZE=5001", "552 5.3.4 message too big"),
    (b"MAIL FROM:<a@example.com> SIZE=99999999999999999999", "552 5.3.4 message too big"),
    (b"MAIL FROM:<a@example.com> SIZE=-1", "501 5.5.4 Invalid SIZE parameter"),
    ("MAIL FROM:<a@example.com> SIZE=\u0661".encode(), "501 5.5.4 Invalid SIZE parameter"),
    (b"MAIL FROM:<a@example.com> BODY=BINARYMIME", "501 5.5.4 Invalid BODY parameter"),
    (b"VRFY b", UNKNOWN),
    (b"EXPN b", UNKNOWN),
    (b"HELP", UNKNOWN),
    (b"LHLO client.example.com", UNKNOWN),
    (b"BDAT 10 LAST", UNKNOWN),
    (b"ETRN example.org", UNKNOWN),
    (b"GET / HTTP/1.1", UNKNOWN),
    (b"AUTH PLAIN AGEAc2VjcmV0", "524 5.7.11 AUTH PLAIN requires an encrypted channel"),
    (b"AUTH LOGIN", "504 5.5.4 AUTH LOGIN not supported"),
    (b"XCLIENT ADDR=127.0.0.2", "550 insufficient authorization"),
    (b"NOOP " + b"x" * 994, TOO_LONG),
]  # fmt: skip

BAD_RECIPIENTS = [
    (b"RCPT TO:<>", RECIPIENT),
    (b"RCPT TO:postmaster", RECIPIENT),
    (b"RCPT TO:<b@example.org:25>", RECIPIENT),
    (b"RCPT TO:<b @example.org>", RECIPIENT),
    ("RCPT TO:<b@exa\u2028mple.org>".encode(), RECIPIENT),
    ("RCPT TO:<b@example\uff0f..\uff0f.org>".encode(), RECIPIENT),
    (b"RCPT TO:<b\0@example.org>", SYNTAX),
    (b"RCPT TO:<b@example.org\n>", SYNTAX),
    (b"RCPT TO:<b@example.org>\nDATA", SYNTAX),
    (b"RCPT TO:<b@example.org>\rDATA", SYNTAX),
    (b'RCPT TO:<"b\x01"@example.org>', SYNTAX),
    ("RCPT TO:<b\x85@example.org>".encode(), SYNTAX),
]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kumod]:
    with Kumod(tmp_path_factory.mktemp("commands"), POLICY) as daemon:
        yield daemon


@pytest.fixture
def peer(daemon: Kumod) -> Iterator[Peer]:
    with Peer(daemon.port) as peer:
        peer.greet()
        yield peer


@pytest.mark.parametrize(("line", "expected"), REFUSED, ids=[repr(row[0][:40]) for row in REFUSED])
def test_a_bad_command_gets_its_reply_and_changes_nothing(peer: Peer, line: bytes, expected: str) -> None:
    assert [str(a) for a in peer.ask(line, b"DATA", b"NOOP")] == [expected, MAIL_FIRST, GOGGLES]
    peer.ask(b"MAIL FROM:<a@example.com>", b"RCPT TO:<b@example.org>")
    assert peer.ask(line)[0].code >= 500
    assert peer.ask(b"DATA")[0].code == 354


def test_a_bad_recipient_leaves_the_others_valid(peer: Peer) -> None:
    assert peer.ask(b"MAIL FROM:<>")[0].text == "OK <>"
    for line, expected in BAD_RECIPIENTS:
        assert str(peer.ask(line)[0]) == expected, line
    assert str(peer.ask(b"DATA")[0]) == RECIPIENT_FIRST
    answers = peer.ask(b"RCPT TO:<Postmaster>", b'RCPT TO:<"x y"@Example.ORG>', b"RCPT TO:<c@example.org>")
    assert [a.text for a in answers] == ["OK <Postmaster>", 'OK <"x y"@example.org>', "OK <c@example.org>"]
    assert str(peer.ask(b"RCPT TO:<d@example.org>")[0]) == "452 4.5.3 too many recipients"
    assert peer.ask(b"DATA")[0].code == 354


@pytest.mark.parametrize("greeting", [b"EHLO other.example.com", b"HELO other.example.com"])
def test_a_greeting_resets_the_transaction(peer: Peer, greeting: bytes) -> None:
    peer.ask(b"MAIL FROM:<a@example.com>", b"RCPT TO:<b@example.org>")
    codes = [a.code for a in peer.ask(greeting, b"RCPT TO:<b@example.org>", b"DATA")]
    assert codes == [250, 503, 503]
    assert str(peer.ask(b"MAIL FROM:<b@example.com>")[0]) == "250 OK <b@example.com>"


def test_sequence_errors_leave_the_state_as_it_was(peer: Peer) -> None:
    recipient = b"RCPT TO:<b@example.org>"
    commands = (recipient, b"MAIL FROM:<a@example.com>", b"MAIL FROM:<b@example.com>", b"DATA", recipient)
    texts = [str(answer) for answer in peer.ask(*commands)]
    assert texts == [MAIL_FIRST, "250 OK <a@example.com>", NESTED, RECIPIENT_FIRST, "250 OK <b@example.org>"]


@pytest.mark.parametrize("length", [993, 994, 5000, 300_000])
@pytest.mark.parametrize("cut", [b"", b"\r"], ids=["CR with LF", "LF alone"])
def test_a_long_line_gets_one_reply_wherever_it_is_cut(
    daemon: Kumod, peer: Peer, length: int, cut: bytes
) -> None:
    with Peer(daemon.port) as pacer:
        pacer.reply()
        peer.send(b"NOOP " + b"x" * length + cut)
        pacer.pace()
        peer.send(b"\r\n".removeprefix(cut) + b"RSET\r\n")
        first, second = peer.reply(), peer.reply()
    assert str(first) == (GOGGLES if length == 993 else TOO_LONG)
    assert str(second) == "250 Reset state"
    assert peer.ask(b"QUIT")[0].code == 221
    assert peer.rest() == b""


def test_an_endless_line_takes_no_memory(daemon: Kumod, peer: Peer) -> None:
    process = psutil.Process(daemon.process.pid)
    block = b"x" * 1_000_000
    peer.send(block)
    before = process.memory_info().rss
    for _ in range(30):
        peer.send(block)
    with Peer(daemon.port) as pacer:
        pacer.reply()
        pacer.pace()
        assert process.memory_info().rss - before < 4_000_000
    assert str(peer.ask(b"")[0]) == TOO_LONG
    assert str(peer.ask(b"NOOP")[0]) == GOGGLES


def test_what_follows_a_refused_data_is_commands(daemon: Kumod, peer: Peer) -> None:
    peer.send(
        b"MAIL FROM:<a@example.com>\r\nRCPT TO:<refused@refused.example>\r\nDATA\r\nSubject: x\r\n\r\n"
        b"hello you\r\n.\r\nRSET\r\nQUIT\r\nNOOP\r\nMAIL FROM:<a@example.com>\r\n"
    )
    assert [str(a) for a in parse_replies(peer.rest())] == [
        "250 OK <a@example.com>",
        "550 5.1.1 no such user",
        RECIPIENT_FIRST,
        SYNTAX,
        SYNTAX,
        UNKNOWN,
        SYNTAX,
        "250 Reset state",
        "221 So long, and thanks for all the fish!",
    ]
    assert not (daemon.folder / "maildir" / "refused.example").exists()


def test_a_hundred_protocol_errors_end_the_session(daemon: Kumod, peer: Peer) -> None:
    peer.send(
        b"BDAT 1\r\n" * 99 + b"NOOP\r\n" + b"\0\r\n" * 99 + b"XCLIENT A=1\r\n" + b"DATA\r\n" + b"NOOP\r\n" * 9
    )
    answers = parse_replies(peer.rest())
    assert [a.code for a in answers] == [502] * 99 + [250] + [501] * 99 + [550, 503, 421]
    assert str(answers[-1]) == "421 4.7.0 mx.test too many errors"
    with Peer(daemon.port) as other:
        assert other.greet().code == 250


SESSION = (
    b"NOOP\r\nEHLO client.example.com\r\nMAIL FROM:<a@example.com> SIZE=10 BODY=8BITMIME\r\n"
    b"RCPT TO:<%s@session.example>\r\nRCPT TO:<refused@session.example>\r\nDATA\r\n"
    b"Subject: 1\r\n\r\n..\r\n.\0\xff\r\n...\r\n.\r\nRCPT TO:<b@example.org>\r\nfoo\r\n\xff\r\n"
    b"NOOP " + b"x" * 1000 + b"\r\nMAIL FROM:<>\r\nRCPT TO:<%s@session.example>\r\nDATA\r\n"
    b"Subject: 2\r\n\r\nbare\nends\r\n.\r\nDATA\r\nMAIL FROM:<c@example.com>\r\n"
    b"RCPT TO:<%s@session.example>\r\nDATA\r\nSubject: 3\r\n\r\n"
    + b"y" * 999 + b"\r\n.\r\nMAIL FROM:<d@example.com>\r\nRSET\r\nDATA\r\n"
    b"MAIL FROM:<e@example.com>\r\nRCPT TO:<%s@session.example>\r\nDATA\r\n.\r\n"
    b"MAIL FROM:<f@example.com>\r\nRCPT TO:<%s@session.example>\r\nDATA\r\n" + b"z\r\n" * 1667 + b".\r\n"
    b"HELP\r\nMAIL FROM:<g@example.com>\r\nHELO again.example.com\r\nDATA\r\nQUIT\r\nNOOP\r\n"
)  # fmt: skip


def has_files(folder: Path, count: int) -> bool:
    return folder.is_dir() and len(list(folder.iterdir())) >= count


def test_a_session_is_the_same_in_whatever_segments(daemon: Kumod) -> None:
    """In one segment, octet by octet, and cut at random places (seeded)."""
    rng = random.Random(1)  # noqa: S311 - a repeatable test
    transcripts = []
    for way in ("whole", "octets", "random"):
        session = SESSION.replace(b"%s", way.encode())
        with Peer(daemon.port) as peer, Peer(daemon.port) as pacer:
            pacer.reply()
            if way == "whole":
                peer.send(session)
            elif way == "octets":
                # The last octets of QUIT make the daemon close; nothing may be sent to it later.
                peer.dribble(session[: session.index(b"QUIT\r\n") + 6], pacer)
            else:
                cuts = sorted(rng.sample(range(len(session)), 60))
                for start, end in zip([0, *cuts], [*cuts, len(session)], strict=True):
                    peer.send(session[start:end])
                    pacer.pace()
            answers = parse_replies(peer.rest())
            transcripts.append([str(a).partition(" ids=")[0].replace(way, "USER") for a in answers])
        inbox = daemon.folder / "maildir" / "session.example" / way / "new"
        daemon.wait_until(partial(has_files, inbox, 2))
        contents = sorted(path.read_bytes() for path in inbox.iterdir())
        assert len(contents) == 2
        assert (
            sum(content.endswith(b"\r\nSubject: 1\r\n\r\n.\r\n\0\xff\r\n..\r\n") for content in contents) == 1
        )
    assert transcripts[0][-4:] == ["250 OK <g@example.com>", "250 Hello again.example.com!", MAIL_FIRST,
                                   "221 So long, and thanks for all the fish!"]  # fmt: skip
    assert [line[:3] for line in transcripts[0]].count("354") == 5
    assert transcripts[1] == transcripts[0]
    assert transcripts[2] == transcripts[0]


def test_random_octets_get_well_formed_replies(daemon: Kumod) -> None:
    rng = random.Random(2)  # noqa: S311 - a repeatable test
    words = [
        b"MAIL FROM:<",
        b"RCPT TO:<",
        b"DATA\r\n",
        b"\r\n",
        b">",
        b"@",
        b"EHLO ",
        b".\r\n",
        b"\r",
        b"\n",
        b"\0",
    ]
    for _ in range(100):
        pieces = [
            rng.choice(words) if rng.random() < 0.5 else rng.randbytes(rng.randrange(20)) for _ in range(60)
        ]
        with Peer(daemon.port) as peer:
            peer.send(b"".join(pieces))
            answers = parse_replies(peer.finish())
            assert answers[0].code == 220
    with Peer(daemon.port) as peer:
        assert peer.greet().code == 250


def test_nothing_a_client_says_breaks_headers_or_logs(tmp_path: Path) -> None:
    hostile = [
        b"EHLO x\r\nX-Forged: 1",
        b"EHLO evil\nX-Forged: 2",
        b'MAIL FROM:<"\\"}\\\\n{"@example.com>',
        b'RCPT TO:<"{\\"type\\":\\"Forged\\"}"@example.org>',
        "RCPT TO:<\u2028\u202e@example.org>".encode(),
        "RCPT TO:<x\x85y@example.org>".encode(),
        "RCPT TO:<x\x9b2Jy@example.org>".encode(),
        b"VRFY \x1b]0;x\x07",
        b'XYZZY\n{"type":"Forged"}',
        b"RCPT TO:<../../../evil@example.org>",
        b"RCPT TO:<refused@example.org>",
    ]  # fmt: skip
    with Kumod(tmp_path, POLICY) as daemon:
        with Peer(daemon.port) as peer:
            peer.greet()
            for line in hostile:
                peer.send(line + b"\r\n")
            peer.send(b"DATA\r\n" + stuffed(b"Subject: x\r\n\r\nbody\r\n") + b"NOOP\r\nQUIT\r\n")
            answers = parse_replies(peer.rest())
            for answer in answers:
                assert answer.text.replace("\n", "").isprintable(), answer
        daemon.wait_until(lambda: any(daemon.delivered()))
        assert daemon.stop() == 0
        for path in daemon.delivered():
            head = path.read_bytes().partition(b"\r\n\r\n")[0]
            names = [
                line.partition(b":")[0] for line in head.split(b"\r\n") if not line.startswith((b" ", b"\t"))
            ]
            assert names == [b"X-KumoRef", b"Received", b"Subject"]
            assert not set(head) & set(range(32)) - set(b"\t\r\n")
        for path in (tmp_path / "maildir").rglob("*"):
            assert not any(unicodedata.category(c) == "Cc" for c in str(path))
        assert not list(tmp_path.rglob("evil*"))
        segments = [str(path) for path in (tmp_path / "log").iterdir()]
        octets = subprocess.run(
            ["zstd", "-dc", *segments], capture_output=True, check=True, timeout=PATIENCE
        ).stdout
        assert not set(octets) & set(range(32)) - set(b"\n")
        kinds = [json.loads(line)["type"] for line in octets.splitlines()]
        assert set(kinds) <= {"Reception", "Rejection", "Delivery", "TransientFailure"}
        log = "".join(daemon.lines)
        assert all(c.isprintable() or c == "\n" for c in log), log
