"""A peer that speaks SMTP octet by octet, as no library would: for what a hostile or broken client sends."""

from __future__ import annotations

import contextlib
import re
import select
import socket
import ssl
import struct
from typing import NamedTuple, Self

from .daemon import PATIENCE

_LINE = re.compile(rb"([2-5][0-9]{2})([ -])([^\x00-\x08\x0a-\x1f\x7f]*)\r\n")
"""RFC 5321 §4.2: nothing of a reply may be a control character, CR or LF."""


class Answer(NamedTuple):
    """One reply as it came over the wire."""

    code: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def __str__(self) -> str:
        return f"{self.code} {self.text}"


class Peer:
    """One raw connection; every reply that is read is checked for its form.

    Args:
        port: of the daemon.
        receive_buffer: octets that the kernel takes in for us; 0: its own choice.
        source: our own address, of 127.0.0.0/8.
        host: the daemon's.
    """

    def __init__(
        self, port: int, *, receive_buffer: int = 0, source: str = "127.0.0.1", host: str = "127.0.0.1"
    ) -> None:
        self.socket: socket.socket | ssl.SSLSocket = socket.socket(
            socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP
        )
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(PATIENCE)
        self.socket.bind((source, 0))
        self.socket.connect((host, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._unread = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, octets: bytes) -> None:
        self.socket.sendall(octets)

    def send_as_far_as_it_goes(self, octets: bytes) -> None:
        """Send what the daemon may hang up on."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(octets)

    def dribble(self, octets: bytes, pacer: Peer | None = None) -> None:
        """Send each octet in a segment of its own.

        Args:
            octets: what to send.
            pacer: another connection, past its banner, to the same daemon. What it is answered tells that the
                daemon has read the last octet before the next one is sent.
        """
        for octet in octets:
            self.socket.send(bytes((octet,)))
            if pacer is not None:
                pacer.pace()

    def dribble_until_closed(self, octets: bytes, pause: float) -> int:
        """Send an octet now and then, as long as the daemon goes along with it.

        Args:
            octets: what to send.
            pause: seconds between any two of them.

        Returns:
            How many octets went out before something came, be it only the end of the connection.
        """
        for sent, octet in enumerate(octets):
            if select.select([self.socket], [], [], pause)[0]:
                return sent
            self.socket.send(bytes((octet,)))
        return len(octets)

    def pace(self) -> None:
        """Return once the daemon has read all that any peer sent before."""
        # What was sent before the first NOOP is ready, at the latest, in the turn that reads the NOOP; what
        # that turn reads only after the NOOP is read before the second one.
        for answer in self.ask(b"NOOP", b"NOOP"):
            assert answer.code == 250

    def reply(self) -> Answer:
        """The next reply; fails on anything else."""
        code = 0
        lines = []
        while True:
            line = self._line()
            match = _LINE.fullmatch(line)
            assert match is not None, f"not a reply line: {line!r}"
            assert code in {0, int(match.group(1))}, f"codes differ within a reply: {line!r}"
            code = int(match.group(1))
            lines.append(match.group(3).decode())
            if match.group(2) == b" ":
                return Answer(code, tuple(lines))

    def ask(self, *commands: bytes) -> list[Answer]:
        """Send commands one after another, each after the reply to the one before."""
        answers = []
        for command in commands:
            self.send(command + b"\r\n")
            answers.append(self.reply())
        return answers

    def greet(self) -> Answer:
        """Read the banner and say EHLO; the reply to it."""
        assert self.reply().code == 220
        return self.ask(b"EHLO client.example.com")[0]

    def start_tls(self, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        """Say STARTTLS and go on inside TLS.

        Args:
            context: the client's; None: one that takes any certificate.
        """
        (answer,) = self.ask(b"STARTTLS")
        assert str(answer) == "220 Ready to Start TLS"
        return self.shake_hands(context)

    def shake_hands(self, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        """Do the handshake at once; the first octets that come must belong to it."""
        assert self._unread == b""
        self.socket = secured = (context or credulous_context()).wrap_socket(self.socket)
        return secured

    def begin(self, sender: bytes, *recipients: bytes) -> None:
        """Open a transaction up to the 354."""
        commands = [b"MAIL FROM:<" + sender + b">", *(b"RCPT TO:<" + to + b">" for to in recipients), b"DATA"]
        codes = [answer.code for answer in self.ask(*commands)]
        assert codes == [250] * (1 + len(recipients)) + [354]

    def offer(self, content: bytes, *recipients: bytes, sender: bytes = b"a@example.com") -> Answer:
        """A whole transaction; the reply to its end."""
        self.begin(sender, *recipients)
        self.send(stuffed(content))
        return self.reply()

    def finish(self) -> bytes:
        """Send no more; everything that still comes until the other end closes."""
        self.socket.shutdown(socket.SHUT_WR)
        return self.rest()

    def rest(self) -> bytes:
        """Everything that comes until the other end closes, orderly or with a reset."""
        unread, self._unread = self._unread, b""
        while True:
            try:
                octets = self.socket.recv(65536)
            except ConnectionResetError:
                return unread
            if not octets:
                return unread
            unread += octets

    def reset(self) -> None:
        """Vanish with an RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def _line(self) -> bytes:
        while b"\r\n" not in self._unread:
            octets = self.socket.recv(65536)
            assert octets, f"the connection was closed in a reply, after {self._unread!r}"
            self._unread += octets
        line, _, self._unread = self._unread.partition(b"\r\n")
        return line + b"\r\n"


def credulous_context() -> ssl.SSLContext:
    """For a client that does not care whom it talks to."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def parse_replies(octets: bytes) -> list[Answer]:
    """The replies that a stream consists of; fails if there is anything else in it."""
    answers = []
    lines: list[str] = []
    at = 0
    while at < len(octets):
        match = _LINE.match(octets, at)
        assert match is not None, f"not a reply line: {octets[at : at + 200]!r}"
        lines.append(match.group(3).decode())
        if match.group(2) == b" ":
            answers.append(Answer(int(match.group(1)), tuple(lines)))
            lines = []
        at = match.end()
    assert not lines, "the last reply is not whole"
    return answers


def stuffed(content: bytes) -> bytes:
    """The content as a client sends it, with end-of-data."""
    lines = content.split(b"\r\n")
    assert lines[-1] == b"", "content ends with CRLF"
    return b"\r\n".join(b"." + line if line.startswith(b".") else line for line in lines) + b".\r\n"
