"""What a service manager hears."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from kumo.service import ServiceNotifier

TICK = 2000
"""Microseconds that this manager waits for a sign of life."""


class Manager:
    """The end of the socket that the service manager reads."""

    def __init__(self, path: Path) -> None:
        self.address = str(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.address)
        self.socket.setblocking(False)

    def heard(self) -> list[str]:
        """All messages that have come so far."""
        messages = []
        while True:
            try:
                messages.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return messages

    async def hear(self) -> str:
        """The next message, however long it takes."""
        for _ in range(60_000):
            try:
                return self.socket.recv(4096).decode()
            except BlockingIOError:
                await asyncio.sleep(0.001)
        raise AssertionError("nothing was said")


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    made = Manager(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", made.address)
    yield made
    made.socket.close()


@pytest.fixture
def _watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", str(TICK))
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))


async def test_a_life_as_the_manager_hears_it(manager: Manager) -> None:
    notifier = ServiceNotifier()
    notifier.starting("reading the policy")
    notifier.starting("opening the spool")
    notifier.ready(lambda: "3 sessions")
    notifier.stopping("waiting for 3 sessions")
    notifier.close()
    notifier.close()
    notifier.starting("too late")
    assert manager.heard() == [
        "STATUS=reading the policy",
        "STATUS=opening the spool",
        "READY=1\nSTATUS=3 sessions",
        "STOPPING=1\nSTATUS=waiting for 3 sessions",
    ]


@pytest.mark.usefixtures("_watched")
async def test_signs_of_life_bring_the_status_when_it_changed(manager: Manager) -> None:
    notifier = ServiceNotifier()
    sessions = 0
    notifier.ready(lambda: f"{sessions} sessions")
    assert await manager.hear() == "READY=1\nSTATUS=0 sessions"
    assert await manager.hear() == "WATCHDOG=1"
    manager.heard()
    sessions = 7
    while (message := await manager.hear()) == "WATCHDOG=1":
        pass
    assert message == "WATCHDOG=1\nSTATUS=7 sessions"
    notifier.close()


@pytest.mark.usefixtures("_watched")
async def test_signs_of_life_go_on_while_it_ends(manager: Manager) -> None:
    notifier = ServiceNotifier()
    notifier.ready(lambda: "serving")
    notifier.stopping("ending")
    assert [await manager.hear(), await manager.hear()] == [
        "READY=1\nSTATUS=serving",
        "STOPPING=1\nSTATUS=ending",
    ]
    assert await manager.hear() == "WATCHDOG=1"
    notifier.close()


@pytest.mark.usefixtures("_watched")
async def test_a_loop_that_is_stuck_gives_no_sign(manager: Manager) -> None:
    """The signs come from the loop: no thread covers up for it."""
    notifier = ServiceNotifier()
    notifier.ready(lambda: "serving")
    await manager.hear()
    # Without giving the loop a turn, for many times the interval.
    deadline = asyncio.get_running_loop().time() + 20 * TICK / 1e6
    while asyncio.get_running_loop().time() < deadline:
        assert manager.heard() == []
    assert (await manager.hear()).startswith("WATCHDOG=1")
    notifier.close()


@pytest.mark.parametrize(
    ("microseconds", "pid", "interval"),
    [
        ("30000000", None, 15.0),
        ("30000000", "own", 15.0),
        ("30000000", "1", None),
        ("0", None, None),
        ("soon", None, None),
        (None, None, None),
    ],
)
def test_half_of_what_the_manager_waits(
    monkeypatch: pytest.MonkeyPatch, microseconds: str | None, pid: str | None, interval: float | None
) -> None:
    values = {"WATCHDOG_USEC": microseconds, "WATCHDOG_PID": str(os.getpid()) if pid == "own" else pid}
    for name, value in values.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert ServiceNotifier()._watchdog_interval == interval


@pytest.mark.usefixtures("_watched")
async def test_nothing_is_said_or_timed_without_a_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notifier = ServiceNotifier()
    notifier.starting("a")
    notifier.ready(lambda: "b")
    notifier.stopping("c")
    assert notifier._timer is None
    notifier.close()


@pytest.mark.usefixtures("manager", "_watched")
def test_children_are_not_to_speak_for_the_daemon() -> None:
    notifier = ServiceNotifier()
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} & set(os.environ)
    notifier.close()


def test_a_status_is_one_line(manager: Manager) -> None:
    notifier = ServiceNotifier()
    notifier.starting("a\nREADY=1\r\n b")
    notifier.close()
    assert manager.heard() == ["STATUS=a READY=1 b"]


def test_a_manager_that_does_not_read_holds_up_nobody(
    manager: Manager, caplog: pytest.LogCaptureFixture
) -> None:
    notifier = ServiceNotifier()
    for number in range(100_000):
        notifier.starting(f"{number} {'x' * 1000}")
        if caplog.records:
            break
    notifier.starting("unheard")
    notifier.starting("unheard")
    assert [record.message for record in caplog.records] == [
        "unable to notify the service manager: [Errno 11] Resource temporarily unavailable"
    ]
    assert manager.heard()
    notifier.starting("unheard")
    assert manager.heard() == ["STATUS=unheard"]
    notifier.close()


# The library leaves the socket that it could not connect to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_a_manager_that_is_not_there_is_logged_and_no_more(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "none"))
    notifier = ServiceNotifier()
    notifier.starting("x")
    notifier.close()
    assert [record.message for record in caplog.records] == [
        f"unable to reach the service manager at {tmp_path}/none: [Errno 2] No such file or directory"
    ]
