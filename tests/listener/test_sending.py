"""Sockets of many kinds, sent to together: each gets its octets, and what it did not take comes back."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from kumo.listener.sending import involuntary_switches, send_each, send_together

Send = Callable[[list[int], list[bytes]], list[bytes]]

TOGETHER = 64
"""Sends of one system call."""


class Pair:
    """Two ends of a connection over TCP."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.client = socket.create_connection(listening.getsockname())
            self.server, _ = listening.accept()
        self.client.settimeout(10)
        self.server.setblocking(False)

    def fill(self) -> int:
        """Send until nothing more is taken; returns how many octets were."""
        octets = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                octets += self.server.send(bytes(65536))
        return octets

    def received(self, count: int) -> bytes:
        octets = b""
        while len(octets) < count:
            octets += self.client.recv(count - len(octets))
        return octets

    def close(self) -> None:
        self.client.close()
        self.server.close()


class Pairs:
    """Makes connections, and closes them."""

    def __init__(self) -> None:
        self.made: list[Pair] = []

    def make(self, count: int) -> list[Pair]:
        pairs = [Pair() for _ in range(count)]
        self.made += pairs
        return pairs


@pytest.fixture
def pairs() -> Iterator[Pairs]:
    pairs = Pairs()
    yield pairs
    for pair in pairs.made:
        pair.close()


@pytest.fixture(params=[send_each, send_together], ids=["each", "together"])
def send(request: pytest.FixtureRequest) -> Send:
    way: Send = request.param
    return way


def descriptors(pairs: list[Pair]) -> list[int]:
    return [pair.server.fileno() for pair in pairs]


@pytest.mark.parametrize("count", [0, 1, 2, TOGETHER - 1, TOGETHER, TOGETHER + 1, 2 * TOGETHER + 1])
def test_each_gets_its_own(send: Send, pairs: Pairs, count: int) -> None:
    some = pairs.make(count)
    contents = [f"250 {number}\r\n".encode() for number in range(count)]
    assert send(descriptors(some), contents) == [b""] * count
    assert [pair.received(len(octets)) for pair, octets in zip(some, contents, strict=True)] == contents


@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_a_full_socket_does_not_take_comes_back(send: Send, pairs: Pairs, place: int) -> None:
    some = pairs.make(3)
    some[place].fill()
    contents = [b"one\r\n", b"two\r\n", b"three\r\n"]
    rests = send(descriptors(some), contents)
    assert rests == [octets if number == place else b"" for number, octets in enumerate(contents)]
    for number, pair in enumerate(some):
        if number != place:
            assert pair.received(len(contents[number])) == contents[number]


def test_a_part_is_taken_where_there_is_room_for_a_part(send: Send, pairs: Pairs) -> None:
    big, small = pairs.make(2)
    octets = bytes(range(256)) * 100_000
    rest, nothing = send(descriptors([big, small]), [octets, b"250 OK\r\n"])
    assert nothing == b""
    assert 0 < len(rest) < len(octets)
    assert octets.endswith(rest)
    assert big.received(len(octets) - len(rest)) == octets[: -len(rest)]
    assert small.received(8) == b"250 OK\r\n"


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_connection_that_is_gone_harms_no_other(send: Send, pairs: Pairs, place: int) -> None:
    some = pairs.make(3)
    some[place].server.shutdown(socket.SHUT_WR)
    rests = send(descriptors(some), [b"250 OK\r\n"] * 3)
    assert rests == [b"250 OK\r\n" if number == place else b"" for number in range(3)]
    assert [pair.received(8) for number, pair in enumerate(some) if number != place] == [b"250 OK\r\n"] * 2


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_descriptor_of_nothing_harms_no_other(send: Send, pairs: Pairs, place: int) -> None:
    some = pairs.make(3)
    given = descriptors(some)
    nothing = os.dup(given[place])
    os.close(nothing)
    given[place] = nothing
    for _ in range(2):
        rests = send(given, [b"250 OK\r\n"] * 3)
        assert rests == [b"250 OK\r\n" if number == place else b"" for number in range(3)]
    for number, pair in enumerate(some):
        if number != place:
            assert pair.received(16) == b"250 OK\r\n" * 2


def test_the_same_socket_gets_them_in_order(send: Send, pairs: Pairs) -> None:
    (pair,) = pairs.make(1)
    contents = [f"{number:03}\r\n".encode() for number in range(100)]
    assert send(descriptors([pair] * 100), contents) == [b""] * 100
    assert pair.received(500) == b"".join(contents)


def test_lists_that_do_not_match(send: Send, pairs: Pairs) -> None:
    (pair,) = pairs.make(1)
    with pytest.raises(ValueError, match="1 descriptors for 2 contents"):
        send(descriptors([pair]), [b"one", b"two"])
    with pytest.raises(TypeError):
        send(descriptors([pair]), [None])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        send(descriptors([pair]), ["text"])  # type: ignore[list-item]


CHILD = """
import os, socket
from kumo.listener.sending import send_together
pairs = [socket.socketpair() for _ in range(3)]
def send(octets):
    assert send_together([server.fileno() for server, _ in pairs], [octets] * 3) == [b""] * 3
    assert [client.recv(100) for _, client in pairs] == [octets] * 3
for server, _ in pairs:
    server.setblocking(False)
send(b"parent")
child = os.fork()
send(b"in both")
send(b"again")
if child:
    assert os.waitpid(child, 0)[1] == 0
"""


def test_a_child_of_a_fork_sends_as_well() -> None:
    """It has no part in its parent's context, and has to do without."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_switches_are_those_of_the_thread_that_asks() -> None:
    """A processor that two busy threads share is taken from each of them, by and by."""
    mine = os.sched_getaffinity(0)
    seen: list[int] = []

    def compete() -> None:
        os.sched_setaffinity(0, {min(mine)})
        # It inherits the processor.
        rival = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        try:
            while involuntary_switches() < 3 and rival.poll() is None:
                pass
            seen.append(involuntary_switches())
        finally:
            rival.kill()
            rival.wait()

    thread = threading.Thread(target=compete)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    assert seen[0] >= 3
