"""A load of numbered messages, and what became of each: for tests that kill the daemon under it."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from .wire import Peer, stuffed

RECIPIENTS = (b"first", b"second")


class Acknowledged(NamedTuple):
    """A transaction that got its 250."""

    number: int
    ids: tuple[str, ...]


def content_of(number: int) -> bytes:
    """The one content that a message of this number may have."""
    rng = random.Random(number)  # noqa: S311 - a repeatable test
    lines = [b"Subject: %d" % number, b""]
    lines += [rng.randbytes(rng.randrange(30, 300)).hex().encode() for _ in range(rng.randrange(1, 12))]
    return b"\r\n".join(lines) + b"\r\n"


def whole_contents(paths: Iterable[Path]) -> Counter[tuple[int, str]]:
    """How often each number came to each recipient; fails on a message that is not as it was sent."""
    found: Counter[tuple[int, str]] = Counter()
    for path in paths:
        _, separator, rest = path.read_bytes().partition(b"Subject: ")
        number = int(rest.partition(b"\r\n")[0])
        assert separator + rest == content_of(number), f"{path} is torn"
        found[number, path.parts[-3]] += 1
    return found


class Load:
    """Several clients that send without a pause, each until its connection ends.

    Odd numbers go to two recipients, so to two messages of one transaction.

    Args:
        port: of the daemon.
        first_number: number of the first message; clients take turns.
        clients: how many send at one time.
    """

    def __init__(self, port: int, first_number: int, clients: int = 4) -> None:
        self._port = port
        self._acknowledged: list[list[Acknowledged]] = [[] for _ in range(clients)]
        self.endings: list[str] = [""] * clients
        """Last reply of each client, or how its connection ended."""
        self._threads = [
            threading.Thread(target=self._send, args=(client, first_number + client, clients))
            for client in range(clients)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait until every client has lost its connection."""
        for thread in self._threads:
            thread.join()

    @property
    def count(self) -> int:
        """Transactions that were acknowledged so far."""
        return sum(map(len, self._acknowledged))

    @property
    def acknowledged(self) -> list[Acknowledged]:
        return [one for client in self._acknowledged for one in client]

    def _send(self, client: int, number: int, step: int) -> None:
        try:
            with Peer(self._port) as peer:
                peer.greet()
                while True:
                    answer = self.offer(peer, number)
                    if not answer.startswith("250 OK ids="):
                        self.endings[client] = answer
                        return
                    ids = answer.removeprefix("250 OK ids=").split()
                    self._acknowledged[client].append(Acknowledged(number, tuple(ids)))
                    number += step
        except (OSError, AssertionError) as error:
            self.endings[client] = f"closed: {error}"

    def offer(self, peer: Peer, number: int) -> str:
        """Pipeline one transaction; the reply to its end, or the first refusal before."""
        recipients = RECIPIENTS[: 1 + number % 2]
        commands = [
            b"MAIL FROM:<a@example.com>",
            *(b"RCPT TO:<%s@load.example>" % to for to in recipients),
            b"DATA",
        ]
        peer.send(b"\r\n".join([*commands, stuffed(content_of(number))]))
        for _ in commands:
            answer = peer.reply()
            if answer.code >= 400:
                return str(answer)
        return str(peer.reply())
