"""What ``make profiled`` runs while the compiled modules of ``kumo`` note which of their code is used.

``python -m benchmarks.training``. Sessions of every usual kind, some at a time, with each fate that
``bench.lua`` has for a message. What is not run here still works afterwards, but is compiled to be small
instead of fast: a path that many messages take belongs here.
"""

from __future__ import annotations

import smtplib
import socket
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from benchmarks.servers import Kind, kumod, started

TIMEOUT = 30.0
"""Seconds that one reply may take."""

AT_A_TIME = 8
"""Sessions; one that is alone is served in a way of its own."""

LINE = b"The quick brown fox jumps over the lazy dog; what is not used is small.\r\n"

HEADERS = (
    b"Subject: training\r\nFrom: a@example.com\r\nTo: b@example.org\r\nMessage-ID: <%d@example.com>\r\n\r\n"
)

SENDER = "a@example.com"

RECIPIENT = "b@example.org"

FATES = ("discard", "keep", "deliver")
"""Values of BENCH_STORE."""

_PIPELINED = (
    b"MAIL FROM:<a@example.com> SIZE=%d BODY=8BITMIME\r\n"
    b"RCPT TO:<b@example.org>\r\nRCPT TO:<c@example.org>\r\nDATA\r\n"
)


def content_of(size: int, number: int = 0) -> bytes:
    """A message of about so many octets; one line in forty begins with a dot."""
    block = LINE * 39 + b"." + LINE
    return HEADERS % number + (block * (size // len(block) + 1))[:size].rpartition(b"\r\n")[0] + b"\r\n"


def connected(port: int) -> smtplib.SMTP:
    """A client."""
    return smtplib.SMTP("127.0.0.1", port, "client.example.com", timeout=TIMEOUT)


def send_alone(port: int, number: int) -> None:
    """A connection for one message, as most mail comes."""
    with connected(port) as client:
        client.sendmail(SENDER, RECIPIENT, content_of(2000, number))


def send_in_turn(port: int, number: int) -> None:
    """A connection for some messages, of which some are large."""
    with connected(port) as client:
        for size in [500, 2000, 2000, 2000, 5000, 100_000]:
            client.sendmail(SENDER, RECIPIENT, content_of(size, number))


def send_large(port: int, number: int) -> None:
    """A message that comes in many reads."""
    with connected(port) as client:
        client.sendmail(SENDER, [RECIPIENT, "c@example.org"], content_of(1_000_000, number))


def send_secured(port: int, number: int) -> None:
    """A message after STARTTLS."""
    # The certificate is the one that kumod makes for itself.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with connected(port) as client:
        client.starttls(context=context)
        client.sendmail(SENDER, RECIPIENT, content_of(2000, number))


def send_pipelined(port: int, number: int) -> None:
    """Two messages in as few packets as may be."""
    content = content_of(2000, number)
    stuffed = content.replace(b"\r\n.", b"\r\n..") + b".\r\n"
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as client, client.makefile("rb") as replies:
        replies.readline()
        client.sendall(b"EHLO client.example.com\r\n")
        while replies.readline()[3:4] == b"-":
            pass
        for _ in range(2):
            client.sendall(_PIPELINED % len(content))
            while not replies.readline().startswith(b"354"):
                pass
            client.sendall(stuffed)
            if not (answer := replies.readline()).startswith(b"250"):
                raise smtplib.SMTPDataError(int(answer[:3]), answer[4:])
        client.sendall(b"QUIT\r\n")
        replies.read()


def be_refused(port: int, number: int) -> None:
    """What is answered with something else than 250."""
    with connected(port) as client:
        client.docmd("HELP")
        client.docmd("NOOP", str(number))
        client.helo()
        client.mail("x@blocked.example")
        client.mail(SENDER)
        client.rcpt("nobody@example.org")
        client.rcpt("not an address")
        client.rset()


SESSIONS: tuple[tuple[Callable[[int, int], None], int], ...] = (
    (send_alone, 500),
    (send_in_turn, 100),
    (send_pipelined, 100),
    (send_secured, 50),
    (be_refused, 20),
    (send_large, 5),
)
"""The kinds of sessions, and how many of each."""


def run(kind: Kind) -> int:
    """All sessions with one server; how many they were."""
    with started(kind) as server, ThreadPoolExecutor(AT_A_TIME) as clients:
        for session, count in SESSIONS:
            # Whatever one of them raised comes out here.
            list(clients.map(partial(session, server.port), range(count)))
    return sum(count for _, count in SESSIONS)


def main() -> None:
    """Run all."""
    for fate in FATES:
        print(f"{run(kumod(fate, fate))} sessions whose messages are to {fate}", flush=True)


if __name__ == "__main__":
    main()
