"""kumod as a service: what its manager hears, sockets that were opened for it, a user that is not root."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .daemon import PATIENCE, STARTED, Kumod
from .wire import Peer

POLICY = """
kumo.on('init', function()
  spools(false)
  logs()
  kumo.start_esmtp_listener { listen = '%s', hostname = 'mx.test' }
  kumo.start_http_listener { listen = '%s' }
end)
kumo.on('smtp_server_ehlo', function(domain)
  if domain == 'slow.test' then kumo.log_info 'asleep' kumo.sleep(3600) end
end)
maildir()
"""
ANYWHERE = POLICY % ("127.0.0.1:0", "127.0.0.1:0")
CONTENT = b"Subject: x\r\n\r\nbody\r\n"


# --- what the manager hears -----------------------------------------------------------------------


class Manager:
    """The service manager's end of the notification socket."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(PATIENCE)
        self.heard: list[str] = []

    def hear_until(self, line: str) -> list[str]:
        """The lines up to the first that is ``line``, or begins with it; fails if it never comes."""
        since = len(self.heard)
        while True:
            self.heard += self.socket.recv(4096).decode().splitlines()
            for number, heard in enumerate(self.heard[since:], since):
                if heard.startswith(line):
                    return self.heard[since : number + 1]


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path / "notify")
    with made.socket:
        yield made


def watched(folder: Path, manager: Manager) -> Kumod:
    """A daemon whose manager wants a sign of life each 0.2 seconds."""
    address = str(manager.socket.getsockname())
    return Kumod(folder, ANYWHERE, environment={"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "200000"})


def test_a_manager_hears_how_it_goes(tmp_path: Path, manager: Manager) -> None:
    with watched(tmp_path, manager) as daemon:
        before_ready = manager.hear_until("READY=1")
        assert daemon.has_logged(STARTED)
        assert before_ready == [
            f"STATUS=reading {daemon.script}",
            "STATUS=opening the spool",
            "READY=1",
        ]
        assert "STOPPING=1" not in manager.hear_until("WATCHDOG=1")
        with Peer(daemon.port) as peer:
            peer.greet()
            manager.hear_until("STATUS=serving, 1 sessions")
            peer.send(b"EHLO slow.test\r\n")
            daemon.wait_for_line("asleep")
            # A handler that waits holds up nothing.
            manager.hear_until("WATCHDOG=1")
            daemon.process.terminate()
            manager.hear_until("STOPPING=1")
            manager.hear_until("WATCHDOG=1")
            assert daemon.stop() == 0
        assert manager.heard.count("READY=1") == 1


def test_a_daemon_that_cannot_start_is_never_ready(tmp_path: Path, manager: Manager) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        policy = POLICY % (address_of(taken), "127.0.0.1:0")
        daemon = Kumod(tmp_path, policy, environment={"NOTIFY_SOCKET": str(manager.socket.getsockname())})
        with pytest.raises(AssertionError, match="failed to bind"):
            daemon.start()
    assert daemon.process.returncode == 1
    manager.socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        manager.hear_until("READY=1")


# --- sockets that were opened for it --------------------------------------------------------------

ACTIVATE = """
import os, sys
count = int(sys.argv[1])
for number, descriptor in enumerate(map(int, sys.argv[2 : 2 + count]), 3):
    os.dup2(descriptor, number)
    os.set_inheritable(number, True)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(count), "LISTEN_FDNAMES": "smtp:http:odd"}
os.execv(sys.argv[2 + count], sys.argv[2 + count :])
"""
"""Becomes the daemon with sockets as descriptors 3, 4 and 5, as a manager would start it."""


def listening() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def address_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()
    return f"{host}:{port}"


def activated(folder: Path, policy: str, *listeners: socket.socket) -> Kumod:
    # Beyond those that the daemon is to find them under, so that none is overwritten.
    descriptors = [str(os.dup(listener.fileno())) for listener in listeners]
    assert min(map(int, descriptors)) > 2 + len(descriptors)
    return Kumod(
        folder,
        policy,
        prefix=(sys.executable, "-c", ACTIVATE, str(len(descriptors)), *descriptors),
        descriptors=list(map(int, descriptors)),
    )


def close_handed_over(daemon: Kumod) -> None:
    """Our own copies; the listeners that they were made of stay."""
    for descriptor in daemon.descriptors:
        os.close(descriptor)


def test_sockets_of_the_manager_are_served(tmp_path: Path) -> None:
    """Clients that came before the daemon, and between two of its lives, are served."""
    with listening() as smtp, listening() as http, listening() as odd:
        daemon = activated(tmp_path, POLICY % (address_of(smtp), address_of(http)), smtp, http, odd)
        port = smtp.getsockname()[1]
        try:
            for number in range(2):
                with Peer(port) as early, daemon:
                    assert daemon.ports == [port]
                    assert daemon.http_port == http.getsockname()[1]
                    early.greet()
                    assert early.offer(CONTENT, b"b%d@example.org" % number).code == 250
                    with daemon.client() as client:
                        assert client.noop()[0] == 250
                    daemon.process.terminate()
                    assert early.reply().code == 421
                    early.socket.close()
                    assert daemon.stop() == 0
        finally:
            close_handed_over(daemon)
        assert sorted(path.parts[-3] for path in daemon.delivered()) == ["b0", "b1"]
        log = "".join(daemon.lines)
        assert log.count(f"inherited socket smtp is used for {address_of(smtp)}") == 2
        assert log.count(f"inherited socket odd on {address_of(odd)} is closed") == 2


# --- a user that is not root ----------------------------------------------------------------------

USER = "nobody"
OPEN_HOME = """
set -e
closed=$1 kept=$2
shift 2
mount --make-rprivate /
aside=$(mktemp -d)
mount --bind "$kept" "$aside"
mount -t tmpfs -o mode=755 none "$closed"
mkdir -p "$kept"
mount --move "$aside" "$kept"
rmdir "$aside"
exec "$@"
"""
"""Runs a command that sees nothing below a closed folder but one folder in it, which all may read."""


def closed_ancestor(path: Path) -> Path | None:
    """The outermost folder on the way to a path that a stranger cannot enter."""
    for folder in reversed([path, *path.parents]):
        if folder.is_dir() and not folder.stat().st_mode & 0o001:
            return folder
    return None


def readable_for_all() -> tuple[str, ...]:
    """A prefix under which any user can run this interpreter with this package."""
    base = Path(sys.base_prefix).resolve()
    for needed in (Path(sys.prefix).resolve(), Path(__file__).resolve()):
        if closed_ancestor(needed) is not None:
            pytest.skip(f"{USER} cannot read {needed}")
    closed = closed_ancestor(base)
    if closed is None:
        return ()
    prefix = ("unshare", "--mount", "sh", "-c", OPEN_HOME, "sh", str(closed), str(base))
    if subprocess.run([*prefix, "true"], check=False, timeout=PATIENCE, capture_output=True).returncode:
        pytest.skip(f"{USER} cannot read {base}, and this machine lets nobody mount")
    return prefix


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder of the user's; pytest's own are root's alone."""
    with tempfile.TemporaryDirectory(prefix="kumod-") as made:
        account = pwd.getpwnam(USER)
        os.chown(made, account.pw_uid, account.pw_gid)
        yield Path(made)


def free_low_port() -> int:
    """One that only a privileged process may bind."""
    for port in range(1023, 600, -1):
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue
    pytest.skip("every port below 1024 is taken")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has privileges to drop")
def test_another_user_serves(home: Path) -> None:
    """Files are that user's, a low port can be bound, and root is gone for good."""
    port = free_low_port()
    policy = POLICY % (f"127.0.0.1:{port}", "127.0.0.1:0")
    policy += "assert(io.open(var .. '/read-by-whom', 'w')):close()"
    account = pwd.getpwnam(USER)
    with Kumod(home, policy, prefix=readable_for_all(), arguments=("--user", USER)) as daemon:
        assert daemon.port == port
        assert not any("running as root" in line for line in daemon.lines)
        status = Path(f"/proc/{daemon.process.pid}/status").read_text()
        facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert facts["Uid"].split() == [str(account.pw_uid)] * 4
        assert facts["Gid"].split() == [str(account.pw_gid)] * 4
        assert {facts[name] for name in ("CapPrm", "CapEff")} == {f"{1 << 10:016x}"}
        with Peer(daemon.port) as peer:
            peer.greet()
            peer.start_tls()
            peer.ask(b"EHLO client.example.com")
            assert peer.offer(CONTENT, b"b@example.org").code == 250
        daemon.wait_until(lambda: any(daemon.delivered()))
        assert daemon.stop() == 0
        assert [record["type"] for record in daemon.records()] == ["Reception", "Delivery"]
        made = [path for path in home.rglob("*") if path.name not in {"init.lua", "stderr"}]
        assert home / "read-by-whom" in made
        assert {path.stat().st_uid for path in made} == {account.pw_uid}


@pytest.mark.parametrize("user", ["no-such-user", ""])
def test_a_user_that_is_none_is_named(tmp_path: Path, user: str) -> None:
    daemon = Kumod(tmp_path, ANYWHERE, arguments=("--user", user))
    with pytest.raises(AssertionError, match=f"--user: there is no user '{user}'"):
        daemon.start()
    assert daemon.process.returncode == 1
    assert not (tmp_path / "spool").exists()
