"""An accept that fails must not end the service."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kumo.listener.acceptor import A_TURN, FIRST_PAUSE, LONGEST_PAUSE, Acceptor
from tests.listener.fakes import PATIENCE, until

ROOT = Path(__file__).parents[2]


class FailingSocket(socket.socket):
    """A listening socket whose next ``accept`` calls fail."""

    failures: list[int]

    def accept(self) -> tuple[socket.socket, Any]:
        if self.failures:
            code = self.failures.pop(0)
            raise OSError(code, os.strerror(code))
        return super().accept()


def listening(*failures: int) -> FailingSocket:
    made = FailingSocket()
    made.failures = list(failures)
    made.setblocking(False)
    made.bind(("127.0.0.1", 0))
    made.listen()
    return made


class FakeLoop:
    """Readers and timers that go off when the test says so."""

    def __init__(self) -> None:
        self.readers: list[Any] = []
        self.timers: list[tuple[float, Any]] = []
        self.cancelled = 0

    def add_reader(self, _socket: socket.socket, callback: Any) -> None:
        self.readers.append(callback)

    def remove_reader(self, _socket: socket.socket) -> bool:
        found = bool(self.readers)
        self.readers.clear()
        return found

    def call_later(self, seconds: float, callback: Any) -> FakeLoop:
        self.timers.append((seconds, callback))
        return self

    def cancel(self) -> None:
        self.cancelled += 1


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EPROTO])
async def test_failing_accept_pauses_and_comes_back(caplog: pytest.LogCaptureFixture, code: int) -> None:
    accepted: list[socket.socket] = []
    socket_under_test = listening(code, code)
    acceptor = Acceptor(
        asyncio.get_running_loop(), socket_under_test, lambda found, _peer: accepted.append(found)
    )
    with socket.create_connection(socket_under_test.getsockname()):
        await until(lambda: bool(accepted))
    for found in accepted:
        found.close()
    acceptor.close()
    assert caplog.messages == [
        f"cannot accept connections for the next 0.1 s: [Errno {code}] {os.strerror(code)}",
        f"cannot accept connections for the next 0.2 s: [Errno {code}] {os.strerror(code)}",
    ]


def test_pause_grows_to_a_bound_and_starts_anew_after_success() -> None:
    loop = FakeLoop()
    with listening(*[errno.EMFILE] * 8) as socket_under_test:
        acceptor = Acceptor(loop, socket_under_test, lambda found, _peer: found.close())  # type: ignore[arg-type]
        for _ in range(8):
            loop.readers[0]()
            assert loop.readers == []
            loop.timers[-1][1]()
        assert [seconds for seconds, _ in loop.timers] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0, LONGEST_PAUSE]
        with socket.create_connection(socket_under_test.getsockname()):
            loop.readers[0]()
        socket_under_test.failures = [errno.EMFILE]
        loop.readers[0]()
        assert loop.timers[-1][0] == FIRST_PAUSE
        acceptor.close()


@pytest.mark.parametrize("code", [errno.ECONNABORTED, errno.EAGAIN, errno.EINTR])
def test_client_that_changed_its_mind_is_no_failure(caplog: pytest.LogCaptureFixture, code: int) -> None:
    loop = FakeLoop()
    with listening(code) as socket_under_test:
        Acceptor(loop, socket_under_test, lambda *_: None)  # type: ignore[arg-type]
        loop.readers[0]()
        assert loop.timers == []
        assert caplog.messages == []


def test_client_that_changed_its_mind_holds_up_nobody() -> None:
    loop = FakeLoop()
    accepted: list[socket.socket] = []
    with listening(errno.ECONNABORTED) as socket_under_test:
        Acceptor(loop, socket_under_test, lambda found, _peer: accepted.append(found))  # type: ignore[arg-type]
        with socket.create_connection(socket_under_test.getsockname()):
            loop.readers[0]()
    assert len(accepted) == 1
    accepted[0].close()


def test_turn_takes_what_is_there_up_to_a_bound() -> None:
    loop = FakeLoop()
    turns: list[int] = []
    with listening() as socket_under_test, contextlib.ExitStack() as crowd:
        accepted: list[socket.socket] = []
        Acceptor(loop, socket_under_test, lambda found, _peer: accepted.append(crowd.enter_context(found)))  # type: ignore[arg-type]
        for _ in range(A_TURN + 3):
            crowd.enter_context(socket.create_connection(socket_under_test.getsockname()))
        for _ in range(3):
            loop.readers[0]()
            turns.append(len(accepted))
    assert turns == [A_TURN, A_TURN + 3, A_TURN + 3]


def test_closing_within_a_pause_stays_closed() -> None:
    loop = FakeLoop()
    socket_under_test = listening(errno.EMFILE)
    acceptor = Acceptor(loop, socket_under_test, lambda *_: None)  # type: ignore[arg-type]
    loop.readers[0]()
    acceptor.close()
    acceptor.close()
    assert loop.cancelled == 1
    assert socket_under_test.fileno() == -1


OUT_OF_DESCRIPTORS = """
import asyncio, resource, sys, uvloop
from tests.listener.fakes import House

async def main():
    server = await House().start()
    print(server.addresses[0].rpartition(":")[2], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)

resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
{"uvloop": uvloop.run, "asyncio": asyncio.run}[sys.argv[1]](main())
"""


@pytest.mark.parametrize("loop_name", ["uvloop", "asyncio"])
def test_daemon_out_of_descriptors_serves_again_once_there_are_some(loop_name: str) -> None:
    """The real thing: a process that may open 40 descriptors, and 60 clients."""
    daemon = subprocess.Popen(
        [sys.executable, "-c", OUT_OF_DESCRIPTORS, loop_name],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert daemon.stdin is not None
    assert daemon.stdout is not None
    assert daemon.stderr is not None
    crowd: list[socket.socket] = []
    try:
        port = int(daemon.stdout.readline())
        crowd += [socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) for _ in range(60)]
        assert "cannot accept connections" in daemon.stderr.readline()
        assert crowd[0].recv(100).startswith(b"220 ")
        for client in crowd:
            client.close()
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
            assert client.recv(100).startswith(b"220 ")
        assert daemon.poll() is None
    finally:
        for client in crowd:
            client.close()
        daemon.kill()
        daemon.communicate()
