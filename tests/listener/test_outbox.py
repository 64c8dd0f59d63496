"""Who sends at the end of a turn of the loop, in which order, and how many at most wait for it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kumo.listener.outbox import MOST_WAITING, Outbox


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


class Sender:
    """Notes that it sent; does what ``then`` says besides."""

    def __init__(self, name: int, sent: list[int], then: Callable[[], None] | None = None) -> None:
        self.name = name
        self.sent = sent
        self.then = then

    def send_due(self) -> None:
        self.sent.append(self.name)
        if self.then is not None:
            self.then()


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
