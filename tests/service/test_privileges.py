"""What is left of root, seen by processes that really gave it up."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kumo.errors import PrivilegeError
from kumo.service import drop_privileges
from kumo.service.privileges import NET_BIND_SERVICE

ROOT = Path(__file__).resolve().parent.parent.parent
USER = "nobody"

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has privileges to drop")

# What is imported later would be looked for as another user, who may not read this checkout.
CHILD = """
import ctypes, errno, grp, json, os, pwd, socket, sys, threading, uuid
from pathlib import Path
import kumo.service.privileges
from kumo.service import drop_privileges
folder = Path(sys.argv[1])
facts = {}
def attempt(name, call):
    try:
        facts[name] = call()
    except Exception as error:
        facts[name] = f"{type(error).__name__}: {error}"
def low_port():
    for port in range(600, 1024):
        with socket.socket() as made:
            try:
                made.bind(("127.0.0.1", port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                return True
def write():
    file = folder / "made"
    file.write_text("x")
    return [file.stat().st_uid, file.stat().st_gid]
def own_descriptor():
    descriptor = os.memfd_create("key")
    os.write(descriptor, b"octets")
    return Path(f"/proc/self/fd/{descriptor}").read_text()
{before}
attempt("drop", lambda: drop_privileges("{user}"))
attempt("low_port", low_port)
attempt("setuid", lambda: os.setuid(0))
attempt("setgid", lambda: os.setgid(0))
attempt("setgroups", lambda: os.setgroups([0]))
attempt("read", lambda: Path("/etc/shadow").read_text()[:0])
attempt("write", write)
attempt("own_descriptor", own_descriptor)
attempt("again", lambda: drop_privileges("{user}"))
attempt("other", lambda: drop_privileges("root"))
facts["status"] = Path("/proc/self/status").read_text()
print(json.dumps(facts))
"""


def run(folder: Path, user: str = USER, before: str = "") -> dict[str, Any]:
    """What a child found out that became ``user``."""
    script = CHILD.replace("{user}", user).replace("{before}", before)
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    facts: dict[str, Any] = json.loads(done.stdout)
    facts["status"] = dict(line.split(":\t", 1) for line in facts["status"].splitlines() if ":\t" in line)
    return facts


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of the user's. Not below pytest's own, which each run of pytest closes to others anew."""
    account = pwd.getpwnam(USER)
    with tempfile.TemporaryDirectory(prefix="kumo-test-") as made:
        os.chown(made, account.pw_uid, account.pw_gid)
        yield Path(made)


@needs_root
def test_an_ordinary_user_who_may_bind_low_ports(folder: Path) -> None:
    account = pwd.getpwnam(USER)
    facts = run(folder)
    status = facts["status"]
    assert facts["drop"] is None
    assert status["Uid"].split() == [str(account.pw_uid)] * 4
    assert status["Gid"].split() == [str(account.pw_gid)] * 4
    assert set(map(int, status["Groups"].split())) == set(os.getgrouplist(USER, account.pw_gid))
    assert [int(status[name], 16) for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")] == [
        1 << NET_BIND_SERVICE,
        1 << NET_BIND_SERVICE,
        0,
        0,
    ]
    assert facts["low_port"] is True
    assert facts["write"] == [account.pw_uid, account.pw_gid]
    for way in ("setuid", "setgid", "setgroups", "read"):
        assert facts[way].startswith("PermissionError"), way
    assert facts["own_descriptor"] == "octets"
    assert facts["again"] is None
    assert facts["other"] == (
        f"PrivilegeError: --user: root has uid 0, this process {account.pw_uid}; only root can change it"
    )


@needs_root
def test_without_the_right_to_bind_there_is_none_to_keep(folder: Path) -> None:
    """As in a container that was started without it."""
    facts = run(
        folder,
        before="from kumo.service.privileges import _Capabilities, _capabilities, _set_capabilities\n"
        "_set_capabilities(_Capabilities(*(rights & ~(1 << 10) for rights in _capabilities())))",
    )
    assert facts["drop"] is None
    assert int(facts["status"]["CapPrm"], 16) == 0
    assert facts["setuid"].startswith("PermissionError")


@needs_root
def test_root_by_name_stays_root_without_roots_rights(folder: Path) -> None:
    facts = run(folder, user="root")
    assert facts["drop"] is None
    assert facts["status"]["Uid"].split() == ["0"] * 4
    assert int(facts["status"]["CapEff"], 16) == 1 << NET_BIND_SERVICE


FAILURES = [
    pytest.param(
        "thread = threading.Thread(target=threading.Event().wait, daemon=True); thread.start()",
        "PrivilegeError: --user: 2 threads run already, of which one only would change its user",
        id="a second thread",
    ),
    pytest.param(
        "from kumo.service.privileges import _Capabilities, _set_capabilities\n"
        "_set_capabilities(_Capabilities(0, 0, 0))",
        f"PrivilegeError: --user: unable to become {USER}: Operation not permitted",
        id="a root without rights",
    ),
    pytest.param(
        "os.setresuid = lambda *_: None",
        f"PrivilegeError: --user: {USER}: the user ids are (0, 0, 0); it can become root again",
        id="a call that did not do what it said",
    ),
]


@needs_root
@pytest.mark.parametrize(("before", "text"), FAILURES)
def test_what_cannot_be_done_is_told(folder: Path, before: str, text: str) -> None:
    assert run(folder, before=before)["drop"] == text


def test_unknown_user() -> None:
    with pytest.raises(PrivilegeError, match=r"^--user: there is no user 'no-such-user'$"):
        drop_privileges("no-such-user")


def test_a_user_who_is_not_root_may_name_nobody_but_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    account = pwd.getpwnam(USER)
    monkeypatch.setattr("kumo.service.privileges.os.geteuid", lambda: account.pw_uid)
    drop_privileges(USER)
    with pytest.raises(
        PrivilegeError, match=rf"^--user: root has uid 0, this process {account.pw_uid}; only"
    ):
        drop_privileges("root")


KUMOD = """
import contextlib, importlib, sys
from kumo.cli import main
for name in sys.stdin.read().split():
    with contextlib.suppress(ImportError):
        importlib.import_module(name)
status = main(sys.argv[1:])
print(*sys.modules)
sys.exit(status)
"""


def _kumod(modules: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run kumod with modules loaded before; the output names all that were loaded in the end."""
    return subprocess.run(
        [sys.executable, "-c", KUMOD, *arguments],
        input=modules,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@needs_root
def test_kumod_reads_its_policy_as_the_user(folder: Path) -> None:
    """The policy tells whom it runs as, and ends the start. Root may read what this user may not."""
    policy = folder / "init.lua"
    policy.write_text(
        "local status = io.open('/proc/self/status'):read 'a'\n"
        "error('uid ' .. status:match 'Uid:%s+(%d+)' .. ' reads ' .. tostring(io.open '/etc/shadow'))\n"
    )
    policy.chmod(0o644)
    # The user may not read this interpreter's library, so all that kumod will want is loaded before.
    known = _kumod("", "--policy", str(policy)).stdout
    done = _kumod(known, "--policy", str(policy), "--user", USER)
    assert done.returncode == 1
    assert f"uid {pwd.getpwnam(USER).pw_uid} reads nil" in done.stderr, done.stderr
    assert "running as root" not in done.stderr


@pytest.mark.parametrize(
    "arguments", [["--user", "no-such-user"], ["--user", "no-such-user", "--list-spool", "/"]]
)
def test_kumod_does_nothing_for_an_unknown_user(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "kumo", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (1, "Error: --user: there is no user 'no-such-user'\n")
