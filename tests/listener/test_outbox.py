"""Who sends at the end of a turn of the loop, in which order, and how many at most wait for it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from kumo.listener import outbox as outbox_module
from kumo.listener.outbox import MOST_WAITING, TURNS_APART, TURNS_TOGETHER, Outbox


class Loop:
    """Keeps what is to be called soon."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)

    def end_turn(self) -> None:
        soon, self.soon = self.soon, []
        for callback in soon:
            callback()


class Sender(outbox_module.Sender):
    """Sends by itself and notes it; does what ``then`` says besides."""

    def __init__(self, name: int, noted: list[int], then: Callable[[], None] | None = None) -> None:
        super().__init__()
        self.name = name
        self.noted = noted
        self.then = then

    def take_due(self) -> bytes:
        return b""

    def sent(self, rest: bytes) -> None:
        raise AssertionError(f"nobody sends for it, and leaves {rest!r}")

    def send_due(self) -> None:
        self.noted.append(self.name)
        if self.then is not None:
            self.then()


class DirectSender(outbox_module.Sender):
    """Has the outbox send to a socket, and notes what came back."""

    def __init__(self, octets: bytes) -> None:
        super().__init__()
        self.octets = octets
        self.client, self.server = socket.socketpair()
        self.client.settimeout(10)
        self.server.setblocking(False)
        self.descriptor = self.server.fileno()
        self.rests: list[bytes] = []

    def take_due(self) -> bytes:
        return self.octets

    def sent(self, rest: bytes) -> None:
        self.rests.append(rest)

    def send_due(self) -> None:
        raise AssertionError("it is to be sent for")

    def close(self) -> None:
        self.client.close()
        self.server.close()


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def outbox(loop: Loop) -> Outbox:
    return Outbox(loop)  # type: ignore[arg-type]


def test_all_send_in_order_at_the_end_of_the_turn(loop: Loop, outbox: Outbox) -> None:
    sent: list[int] = []
    for name in range(3):
        outbox.add(Sender(name, sent))
    assert (sent, len(loop.soon)) == ([], 1)
    loop.end_turn()
    assert (sent, loop.soon) == ([0, 1, 2], [])


def test_each_turn_sends_its_own(loop: Loop, outbox: Outbox) -> None:
    sent: list[int] = []
    outbox.add(Sender(1, sent))
    loop.end_turn()
    outbox.add(Sender(2, sent))
    assert sent == [1]
    loop.end_turn()
    assert sent == [1, 2]


def test_who_is_added_while_others_send_waits_for_the_next_turn(loop: Loop, outbox: Outbox) -> None:
    sent: list[int] = []
    late = Sender(3, sent)
    outbox.add(Sender(1, sent, lambda: outbox.add(late)))
    outbox.add(Sender(2, sent))
    loop.end_turn()
    assert sent == [1, 2]
    loop.end_turn()
    assert sent == [1, 2, 3]


def test_a_crowd_does_not_wait_for_the_end_of_the_turn(loop: Loop, outbox: Outbox) -> None:
    sent: list[int] = []
    for name in range(MOST_WAITING + 1):
        outbox.add(Sender(name, sent))
    assert sent == list(range(MOST_WAITING))
    loop.end_turn()
    assert sent == list(range(MOST_WAITING + 1))


def test_who_has_a_socket_is_sent_for_and_told(loop: Loop, outbox: Outbox) -> None:
    senders = [DirectSender(f"250 {number}\r\n".encode()) for number in range(3)]
    sent: list[int] = []
    outbox.add(senders[0])
    outbox.add(Sender(7, sent))
    outbox.add(senders[1])
    outbox.add(senders[2])
    loop.end_turn()
    assert sent == [7]
    for sender in senders:
        assert (sender.client.recv(100), sender.rests) == (sender.octets, [b""])
        sender.close()


def test_who_is_sent_for_gets_back_what_was_not_taken(loop: Loop, outbox: Outbox) -> None:
    broken, sound = DirectSender(b"221 bye\r\n"), DirectSender(b"250 OK\r\n")
    broken.server.shutdown(socket.SHUT_WR)
    outbox.add(broken)
    outbox.add(sound)
    loop.end_turn()
    assert broken.rests == [broken.octets]
    assert (sound.client.recv(100), sound.rests) == (sound.octets, [b""])
    broken.close()
    sound.close()


class Switches:
    """Counts up whenever it is asked for the second time, while ``goes_on``."""

    def __init__(self) -> None:
        self.goes_on = True
        self.asked = 0
        self.count = 0

    def __call__(self) -> int:
        self.asked += 1
        if self.goes_on and self.asked % 2 == 0:
            self.count += 1
        return self.count


@pytest.fixture
def pair() -> Iterator[list[DirectSender]]:
    pair = [DirectSender(b"250 OK\r\n"), DirectSender(b"250 OK\r\n")]
    yield pair
    for sender in pair:
        sender.close()


def test_where_readers_run_in_the_midst_of_a_turn_the_next_ones_are_sent_together(
    loop: Loop, pair: list[DirectSender]
) -> None:
    switches = Switches()
    outbox = Outbox(loop, switches)  # type: ignore[arg-type]

    def turns(count: int) -> int:
        """How many of so many turns were looked at."""
        before = switches.asked
        for _ in range(count):
            for sender in pair:
                outbox.add(sender)
            loop.end_turn()
            assert [sender.client.recv(100) for sender in pair] == [sender.octets for sender in pair]
        return (switches.asked - before) // 2

    assert turns(1) == 1
    assert turns(TURNS_TOGETHER) == 0
    assert turns(1) == 1
    assert turns(TURNS_TOGETHER) == 0
    switches.goes_on = False
    assert turns(1) == 1
    assert turns(TURNS_APART) == 0
    assert turns(1) == 1
    assert turns(TURNS_APART) == 0
    switches.goes_on = True
    assert turns(1) == 1
    assert turns(TURNS_TOGETHER) == 0
    assert [sender.rests for sender in pair] == [[b""] * (3 * TURNS_TOGETHER + 2 * TURNS_APART + 5)] * 2


def test_a_single_reply_says_nothing_of_readers(loop: Loop, pair: list[DirectSender]) -> None:
    switches = Switches()
    outbox = Outbox(loop, switches)  # type: ignore[arg-type]
    outbox.add(pair[0])
    loop.end_turn()
    assert (pair[0].client.recv(100), switches.asked) == (pair[0].octets, 0)
