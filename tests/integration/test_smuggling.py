"""No octets round a dot make two messages of one, or commands of content; the real daemon over loopback."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from .daemon import Kumod
from .wire import Peer, parse_replies

MODES = ("Deny", "Allow", "Fix")

POLICY = """
kumo.on('init', function()
  spools(false)
  logs()
  for _, mode in ipairs { 'Deny', 'Allow', 'Fix' } do
    kumo.start_esmtp_listener {
      listen = '127.0.0.1:0', hostname = 'mx.test', invalid_line_endings = mode, data_buffer_size = 16384,
      trace_headers = { received_header = false, supplemental_header = false },
    }
  end
end)
maildir()
"""

LINE_ENDS = {
    "CRLF": b"\r\n",
    "LF": b"\n",
    "CR": b"\r",
    "LFCR": b"\n\r",
    "CRCR": b"\r\r",
    "CRCRLF": b"\r\r\n",
    "CR NUL LF": b"\r\0\n",
    "NUL": b"\0",
    "VT": b"\v",
    "FF": b"\f",
    "FS": b"\x1c",
    "NEL": "\x85".encode(),
    "raw NEL": b"\x85",
    "LINE SEPARATOR": "\u2028".encode(),
    "PARAGRAPH SEPARATOR": "\u2029".encode(),
    "CR blank LF": b"\r \n",
    "CRLF with the eighth bit": b"\x8d\x8a",
}

SMUGGLED = (
    b"MAIL FROM:<evil@example.com>\r\nRCPT TO:<victim@example.org>\r\nDATA\r\nSubject: evil\r\n\r\nevil"
)


def rows() -> Iterator[bytes]:
    """Content in which something nearly ends the data, and a whole transaction follows."""
    for before, after in itertools.product(LINE_ENDS.values(), repeat=2):
        around = before + b"." + after
        if b"\r\n.\r\n" not in around:
            yield around
    # A second dot, a blank, a dot with the eighth bit: near misses of the dot itself.
    yield from (
        b"\r\n..\r\n",
        b"\r\n. \r\n",
        b"\r\n.\t\r\n",
        b"\r\n\xae\r\n",
        b"\r\n\xef\xbc\x8e\r\n",
        b"\r\n .\r\n",
    )


ROWS = tuple(rows())


def received(content: bytes) -> bytes:
    """What arrives of sent content: RFC 5321 §4.5.2, by splitting."""
    return b"\r\n".join(line.removeprefix(b".") for line in content.split(b"\r\n"))


def mended(content: bytes) -> bytes:
    return re.sub(rb"\r(?!\n)|(?<!\r)\n", b"\r\n", content)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kumod]:
    with Kumod(tmp_path_factory.mktemp("smuggling"), POLICY) as daemon:
        yield daemon


def sent_content(number: int) -> bytes:
    return b"Subject: %d\r\n\r\nbody" % number + ROWS[number] + SMUGGLED + b"\r\n"


def send_all(daemon: Kumod, mode: str, domain: bytes, *, is_dribbled: bool) -> dict[int, bool]:
    """Send every row as a message; whether each was accepted."""
    accepted = {}
    with Peer(daemon.ports[MODES.index(mode)]) as peer:
        peer.greet()
        for number, around in enumerate(ROWS):
            content = sent_content(number)
            assert b"\r\n.\r\n" not in content
            peer.begin(b"a@example.com", b"b@" + domain)
            head, separator, tail = content.partition(around)
            if is_dribbled:
                peer.send(head[:-2])
                peer.dribble(head[-2:] + separator + tail[:2])
                peer.send(tail[2:-2])
                peer.dribble(tail[-2:] + b".\r\nNO")
                peer.send(b"OP\r\n")
            else:
                peer.send(content + b".\r\nNOOP\r\n")
            verdict, noop = peer.reply(), peer.reply()
            assert str(noop) == "250 the goggles do nothing", (number, around)
            if verdict.code == 552:
                assert verdict.text == "5.6.0 message data must use CRLF for line endings"
            else:
                assert verdict.code == 250, (number, around, verdict)
            accepted[number] = verdict.code == 250
        peer.send(b"QUIT\r\n")
        assert [answer.code for answer in parse_replies(peer.rest())] == [221]
    return accepted


@pytest.mark.parametrize("is_dribbled", [False, True], ids=["whole", "octet by octet"])
@pytest.mark.parametrize("mode", MODES)
def test_what_is_not_crlf_dot_crlf_ends_no_data(daemon: Kumod, mode: str, *, is_dribbled: bool) -> None:
    domain = f"{mode}-{is_dribbled:d}.example".lower()
    accepted = send_all(daemon, mode, domain.encode(), is_dribbled=is_dribbled)
    expected = {}
    for number in range(len(ROWS)):
        content = received(sent_content(number))
        has_bare_ends = mended(content) != content
        assert accepted[number] == (mode != "Deny" or not has_bare_ends), ROWS[number]
        if accepted[number]:
            expected[number] = mended(content) if mode == "Fix" else content
    inbox = daemon.folder / "maildir" / domain / "b" / "new"
    daemon.wait_until(lambda: inbox.is_dir() and len(list(inbox.iterdir())) >= len(expected))
    assert by_subject(inbox) == expected
    assert not (daemon.folder / "maildir" / "example.org" / "victim").exists()


def by_subject(inbox: Path) -> dict[int, bytes]:
    """The messages of a maildir by the number in their subject, none of which comes twice."""
    contents = [path.read_bytes() for path in inbox.iterdir()]
    numbered = {int(content[9 : content.index(b"\r\n")]): content for content in contents}
    assert len(numbered) == len(contents)
    return numbered


@pytest.mark.parametrize(
    ("octets", "content"),
    [
        (b".\r\n", b""),
        (b"\r\n.\r\n", b"\r\n"),
        (b"..\r\n.\r\n", b".\r\n"),
        (b".x\r\n.\r\n", b"x\r\n"),
        (b"...\r\n..y\r\n.z\r\n.\r\n", b"..\r\n.y\r\nz\r\n"),
        (bytes(c for c in range(256) if c not in b"\r\n") + b"\r\n.\r\n",
         bytes(c for c in range(256) if c not in b"\r\n") + b"\r\n"),
        (b"." + b"x" * 998 + b"\r\n.\r\n", b"x" * 998 + b"\r\n"),
    ],
    ids=["empty", "one empty line", "stuffed first line", "a lone dot", "all kinds", "every octet", "limit"],
)  # fmt: skip
def test_dots_at_line_starts_are_taken_away(
    daemon: Kumod, request: pytest.FixtureRequest, octets: bytes, content: bytes
) -> None:
    domain = f"dots-{request.node.callspec.id}.example".replace(" ", "-").replace("'", "")
    with Peer(daemon.ports[0]) as peer:
        peer.greet()
        for is_dribbled in (False, True):
            peer.begin(b"a@example.com", b"b@" + domain.encode())
            (peer.dribble if is_dribbled else peer.send)(octets)
            assert peer.reply().code == 250
        assert peer.ask(b"NOOP")[0].text == "the goggles do nothing"
    inbox = daemon.folder / "maildir" / domain / "b" / "new"
    daemon.wait_until(lambda: inbox.is_dir() and len(list(inbox.iterdir())) >= 2)
    assert [path.read_bytes() for path in inbox.iterdir()] == [content, content]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("around", [b"\n.\n", b"\r.\r", b"\n.\r\n"])
def test_nearly_ended_data_still_waits_for_its_end(daemon: Kumod, mode: str, around: bytes) -> None:
    """A second transaction in the same segment is content until the one real end comes."""
    with Peer(daemon.ports[MODES.index(mode)]) as peer:
        peer.greet()
        peer.begin(b"a@example.com", b"b@waiting.example")
        peer.send(b"x" + around + SMUGGLED + around + b"QUIT\r\n")
        # Half-closed without an end: no reply at all, nothing kept.
        assert peer.finish() == b""
