"""Sockets that somebody else opened."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from kumo.service import InheritedSockets

V4, V6 = socket.AF_INET, socket.AF_INET6


def listening(host: str = "127.0.0.1", family: int = V4) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    made.bind((host, 0))
    made.listen()
    return made


@pytest.fixture
def smtp() -> Iterator[socket.socket]:
    with listening() as made:
        yield made


def test_a_socket_is_claimed_once_by_its_address(smtp: socket.socket) -> None:
    inherited = InheritedSockets([("smtp", smtp)])
    port = smtp.getsockname()[1]
    for family, address in [
        (V4, ("127.0.0.1", port + 1)),
        (V4, ("127.0.0.2", port)),
        (V4, ("0.0.0.0", port)),
        (V6, ("::ffff:127.0.0.1", port, 0, 0)),
    ]:
        assert inherited.claim(family, address) is None
    assert inherited.claim(V4, ("127.0.0.1", port)) is smtp
    assert not smtp.getblocking()
    assert inherited.claim(V4, ("127.0.0.1", port)) is None
    inherited.close()
    assert smtp.fileno() >= 0


@pytest.mark.parametrize("host", ["::", "::1"])
def test_version_6(host: str) -> None:
    with listening(host, V6) as made:
        inherited = InheritedSockets([("smtp", made)])
        assert inherited.claim(V6, (host, made.getsockname()[1], 7, 0)) is made


def test_an_interface_is_part_of_the_address() -> None:
    class LinkLocal(socket.socket):
        def getsockname(self) -> tuple[str, int, int, int]:
            return ("fe80::1%eth0", 25, 0, 2)

    with LinkLocal(V6, socket.SOCK_STREAM, socket.IPPROTO_TCP) as made:
        made.bind(("::1", 0))
        made.listen()
        inherited = InheritedSockets([("smtp", made)])
        assert inherited.claim(V6, ("fe80::1", 25, 0, 3)) is None
        assert inherited.claim(V6, ("fe80::1", 25, 0, 2)) is made


def test_what_nobody_claims_is_closed_with_a_warning(
    smtp: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    port = smtp.getsockname()[1]
    inherited = InheritedSockets([("smtp", smtp)])
    inherited.close()
    inherited.close()
    assert smtp.fileno() == -1
    assert [record.message for record in caplog.records] == [
        f"inherited socket smtp on 127.0.0.1:{port} is closed: no listener of the policy listens there"
    ]


@pytest.mark.parametrize(
    ("family", "kind"),
    [
        pytest.param(V4, socket.SOCK_DGRAM, id="UDP"),
        pytest.param(socket.AF_UNIX, socket.SOCK_STREAM, id="Unix"),
        pytest.param(V4, socket.SOCK_STREAM, id="TCP that does not listen"),
    ],
)
def test_other_sockets_are_closed_with_a_warning(
    family: int, kind: int, caplog: pytest.LogCaptureFixture
) -> None:
    protocol = socket.IPPROTO_TCP if (family, kind) == (V4, socket.SOCK_STREAM) else 0
    made = socket.socket(family, kind, protocol)
    InheritedSockets([("odd", made)])
    assert made.fileno() == -1
    assert [record.message for record in caplog.records] == [
        "inherited socket odd is closed: it is no listening TCP socket"
    ]


def test_one_address_twice(caplog: pytest.LogCaptureFixture) -> None:
    with listening() as first:
        second = first.dup()
        inherited = InheritedSockets([("a", first), ("b", second)])
        assert second.fileno() == -1
        assert inherited.claim(V4, first.getsockname()) is first
    assert caplog.records[0].message.startswith("inherited socket b is closed: 127.0.0.1:")


# --- taken from the manager -----------------------------------------------------------------------


def hand_over(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", **variables}.items():
        monkeypatch.setenv(name, value)


def test_what_the_manager_hands_over(monkeypatch: pytest.MonkeyPatch) -> None:
    made = listening()
    address = made.getsockname()
    descriptor = made.detach()
    os.set_inheritable(descriptor, True)
    hand_over(monkeypatch, LISTEN_FDNAMES="smtp")
    inherited = InheritedSockets.take(descriptor)
    assert not {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} & set(os.environ)
    assert not os.get_inheritable(descriptor)
    claimed = inherited.claim(V4, address)
    assert claimed is not None
    with claimed:
        assert claimed.fileno() == descriptor
        assert claimed.proto == socket.IPPROTO_TCP
        assert claimed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1


@pytest.mark.parametrize(
    "variables",
    [
        pytest.param({"LISTEN_PID": "1"}, id="meant for another process"),
        pytest.param({"LISTEN_PID": ""}, id="meant for nobody"),
        pytest.param({"LISTEN_FDS": "0"}, id="none"),
        pytest.param({"LISTEN_FDS": "-1"}, id="fewer than none"),
        pytest.param({"LISTEN_FDS": "one"}, id="no number"),
    ],
)
def test_nothing_is_taken_that_was_not_handed_over(
    monkeypatch: pytest.MonkeyPatch, smtp: socket.socket, variables: dict[str, str]
) -> None:
    hand_over(monkeypatch, **variables)
    inherited = InheritedSockets.take(smtp.fileno())
    assert inherited.claim(V4, smtp.getsockname()) is None
    assert smtp.fileno() >= 0
    assert not {"LISTEN_PID", "LISTEN_FDS"} & set(os.environ)


def test_a_descriptor_that_is_no_socket_is_closed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reading, writing = os.pipe()
    os.close(writing)
    hand_over(monkeypatch)
    InheritedSockets.take(reading)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(reading)
    assert caplog.records[0].message.startswith(f"inherited socket unknown, descriptor {reading}, is none: ")


CHILD = """
import os, socket, sys
os.environ["LISTEN_PID"] = str(os.getpid())
from kumo.service import InheritedSockets
inherited = InheritedSockets.take()
taken = inherited.claim(socket.AF_INET, ("127.0.0.1", int(sys.argv[1])))
print(taken.fileno(), taken.accept()[1][0] if taken.setblocking(True) is None else "")
"""


def test_in_a_process_that_was_started_with_one() -> None:
    """Descriptor 3, as a manager hands it over, and a connection that was there before the process."""
    with listening() as made:
        port = made.getsockname()[1]

        def pass_on() -> None:
            os.dup2(made.fileno(), 3, inheritable=True)

        with socket.create_connection(("127.0.0.1", port)):
            done = subprocess.run(
                [sys.executable, "-c", CHILD, str(port)],
                env={**os.environ, "LISTEN_FDS": "1", "LISTEN_FDNAMES": "smtp"},
                close_fds=False,
                preexec_fn=pass_on,
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
    assert (done.stdout, done.returncode) == ("3 127.0.0.1\n", 0), done.stderr
