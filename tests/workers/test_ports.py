from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from kumo.errors import TransportError
from kumo.workers import HandedSockets, Ports
from tests.workers.steering import needs_steering


@pytest.fixture
def ports() -> Iterator[Ports]:
    made = Ports(3)
    yield made
    made.close()


def listening(host: str = "127.0.0.1") -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    made.bind((host, 0))
    made.listen()
    made.setblocking(False)
    return made


def bound_to(descriptor: int) -> object:
    with socket.socket(fileno=os.dup(descriptor)) as duplicate:
        return duplicate.getsockname()


def processor_of(descriptor: int) -> int:
    """The processor that a socket was told, or -1."""
    with socket.socket(fileno=os.dup(descriptor)) as duplicate:
        return duplicate.getsockopt(socket.SOL_SOCKET, socket.SO_INCOMING_CPU)


def accepted(descriptor: int, expected: int = -1) -> int:
    """How many connections wait in a socket; they are taken."""
    count = 0
    duplicate = socket.socket(fileno=os.dup(descriptor))
    with duplicate:
        while count != expected:
            try:
                connection, _ = duplicate.accept()
            except BlockingIOError:
                return count
            connection.close()
            count += 1
    return count


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_each_worker_has_a_socket_of_each_address(ports: Ports, host: str) -> None:
    first, second = listening(host), listening(host)
    names = [first.getsockname(), second.getsockname()]
    ports.add(first, is_ours=True)
    ports.add(second, is_ours=True)
    descriptors = [ports.of(number) for number in (1, 2, 3)]
    assert len({descriptor for pair in descriptors for descriptor in pair}) == 6
    for pair in descriptors:
        assert [bound_to(one) for one in pair] == names


def test_connections_are_dealt_out_and_wait_for_their_worker(ports: Ports) -> None:
    first = listening()
    address = first.getsockname()
    ports.add(first, is_ours=True)
    clients = [socket.create_connection(address) for _ in range(64)]
    waiting = [accepted(ports.of(number)[0]) for number in (1, 2, 3)]
    assert sum(waiting) == 64
    assert min(waiting) > 0
    for client in clients:
        client.close()


def pinned_clients(address: object, processor: int, count: int) -> int:
    """Connect from one processor; in a process of its own, as the test's may not be moved."""
    program = (
        "import os, socket, sys;"
        f"os.sched_setaffinity(0, {{{processor}}});"
        f"clients = [socket.create_connection({address!r}) for _ in range({count})];"
        "print(len(clients))"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return int(told.stdout)


@needs_steering
@pytest.mark.parametrize("is_remade", [False, True])
def test_connections_go_to_the_worker_of_their_processor(is_remade: bool) -> None:
    processors = sorted(os.sched_getaffinity(0))
    ports = Ports(len(processors), by_processor=True)
    first = listening()
    address = first.getsockname()
    ports.add(first, is_ours=True)
    if is_remade:
        ports.give_way(1)
        ports.of(1)
    for number, processor in enumerate(processors, 1):
        assert pinned_clients(address, processor, 20) == 20
        assert accepted(ports.of(number)[0]) == 20
    ports.close()


@needs_steering
def test_dealing_may_change_and_holds_for_sockets_made_later() -> None:
    processors = sorted(os.sched_getaffinity(0))
    ports = Ports(len(processors))
    first = listening()
    address = first.getsockname()
    ports.add(first, is_ours=True)
    (name,) = ports.addresses
    assert name == f"127.0.0.1:{address[1]}"
    other = listening()
    ports.add(other, is_ours=True)
    ports.deal(name, by_processor=True)
    assert processor_of(ports.of(1)[1]) == -1
    ports.give_way(1)
    ports.of(1)
    for number, processor in enumerate(processors, 1):
        pinned_clients(address, processor, 20)
        assert accepted(ports.of(number)[0]) == 20
    ports.deal(name, by_processor=False)
    pinned_clients(address, processors[0], 64)
    of_first = accepted(ports.of(1)[0])
    assert of_first < 64 or len(processors) == 1
    ports.close()


class Stubborn(socket.socket):
    """A socket that goes by no processor but none."""

    def setsockopt(self, *arguments: object) -> None:
        if arguments[1] == socket.SO_INCOMING_CPU and arguments[2] != -1:
            raise OSError(errno.ENOPROTOOPT, "Protocol not available")
        super().setsockopt(*arguments)  # type: ignore[call-overload]


def test_what_cannot_be_dealt_by_processor_is_left_to_chance_whole() -> None:
    ports = Ports(2)
    first = listening()
    ports.add(Stubborn(fileno=first.detach()), is_ours=True)
    address = ports._addresses[0]
    address.by_worker = dict(reversed(address.by_worker.items()))
    with pytest.raises(OSError, match="not available"):
        ports.deal(ports.addresses[0], by_processor=True)
    assert [processor_of(ports.of(number)[0]) for number in (1, 2)] == [-1, -1]
    ports.give_way(2)
    assert processor_of(ports.of(2)[0]) == -1
    ports.close()


def test_more_workers_than_processors_share_them() -> None:
    count = len(os.sched_getaffinity(0)) + 1
    ports = Ports(count, by_processor=True)
    ports.add(listening(), is_ours=True)
    told = [processor_of(ports.of(number)[0]) for number in range(1, count + 1)]
    assert told == [*sorted(os.sched_getaffinity(0)), min(os.sched_getaffinity(0))]
    ports.close()


def test_another_daemon_is_refused_all_the_same(ports: Ports) -> None:
    first = listening()
    address = first.getsockname()
    ports.add(first, is_ours=True)
    ports.give_way(1)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError) as raised:
            other.bind(address)
    assert raised.value.errno == errno.EADDRINUSE


def test_who_gives_way_gets_no_connection_until_it_is_back(ports: Ports) -> None:
    first = listening()
    address = first.getsockname()
    ports.add(first, is_ours=True)
    ports.give_way(1)
    ports.give_way(1)
    clients = [socket.create_connection(address) for _ in range(32)]
    assert accepted(ports.of(2)[0]) + accepted(ports.of(3)[0]) == 32
    ports.of(1)
    clients += [socket.create_connection(address) for _ in range(64)]
    assert accepted(ports.of(1)[0]) > 0
    for client in clients:
        client.close()


def test_a_socket_of_the_manager_is_for_all(ports: Ports) -> None:
    first = listening()
    ports.add(first, is_ours=False)
    assert ports.addresses == ()
    ports.give_way(1)
    assert ports.of(1) == ports.of(2) == ports.of(3) == (first.fileno(),)
    ports.close()
    assert first.fileno() == -1


def test_handed_sockets_are_claimed_in_order() -> None:
    first, second = listening(), listening()
    names = [first.getsockname(), second.getsockname()]
    handed = HandedSockets([first.detach(), second.detach()])
    claimed = [handed.claim(socket.AF_INET, ("127.0.0.1", 0)) for _ in names]
    assert [one.getsockname() for one in claimed] == names
    assert not any(one.get_inheritable() for one in claimed)
    with pytest.raises(TransportError, match=r"no socket for 127.0.0.1:25"):
        handed.claim(socket.AF_INET, ("127.0.0.1", 25))
    for one in claimed:
        one.close()


def test_handed_sockets_that_nobody_claims_are_closed() -> None:
    descriptor = listening().detach()
    HandedSockets([descriptor]).close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
