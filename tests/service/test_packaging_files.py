"""The unit files and the image agree with the command line and with this tree."""

from __future__ import annotations

import ast
import fnmatch
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from kumo.cli import _parser

ROOT = Path(__file__).resolve().parent.parent.parent
UNIT = ROOT / "packaging" / "kumod.service"
SOCKET = ROOT / "packaging" / "kumod.socket"
DOCKERFILE = ROOT / "packaging" / "Dockerfile"


def settings(unit: Path, name: str) -> list[str]:
    """All values of one setting of a unit file."""
    return re.findall(rf"^{name}=(.*)$", unit.read_text(), re.MULTILINE)


def instructions(name: str) -> list[str]:
    """Arguments of one kind of instruction, continuation lines joined, comments left out."""
    text = "\n".join(line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#"))
    return re.findall(rf"^\s*{name}\s+(.*)$", text.replace("\\\n", " "), re.MULTILINE)


def test_the_unit_starts_kumod_with_flags_that_it_knows() -> None:
    (command,) = settings(UNIT, "ExecStart")
    program, *arguments = shlex.split(command)
    assert Path(program).name == "kumod"
    assert _parser().parse_args(arguments).policy == "/opt/kumomta/etc/policy/init.lua"


def test_the_unit_asks_for_what_the_daemon_does() -> None:
    assert settings(UNIT, "Type") == ["notify"]
    assert settings(UNIT, "WatchdogSec") == ["30"]
    assert settings(UNIT, "User") == ["kumod"]
    assert settings(UNIT, "AmbientCapabilities") == settings(UNIT, "CapabilityBoundingSet")
    # SIGHUP ends the daemon.
    assert settings(UNIT, "ExecReload") == []


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("unit", [UNIT, SOCKET], ids=lambda unit: unit.name)
def test_systemd_understands_it(tmp_path: Path, unit: Path) -> None:
    """Programs that are not installed here are replaced by one that is."""
    for source in (UNIT, SOCKET):
        text = re.sub(r"^(ExecStart(?:Pre)?=\+?)\S+", r"\1/bin/true", source.read_text(), flags=re.MULTILINE)
        (tmp_path / source.name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(tmp_path / unit.name)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    # Whoever is not the system's own manager is told of its own surroundings as well.
    complaints = [line for line in done.stderr.splitlines() if unit.name in line]
    assert (complaints, done.returncode) == ([], 0), done.stderr


def test_the_image_starts_kumod_with_flags_that_it_knows() -> None:
    (command,) = instructions("CMD")
    shell, flag, script = ast.literal_eval(command)
    assert (shell, flag) == ("sh", "-c")
    execute, program, *arguments = shlex.split(script)
    assert (execute, program) == ("exec", "kumod")
    assert _parser().parse_args(arguments).user == "kumod"


def test_the_image_is_made_of_what_is_there_and_let_through() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in ignored if line.startswith("!")}
    sources = [
        source
        for line in instructions("COPY")
        if not line.startswith("--from")
        for source in line.split()[:-1]
    ]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert Path(source).parts[0] in allowed, source
    assert {Path(source).parts[0] for source in sources} == allowed
    assert any(fnmatch.fnmatch("kumo_core/crlf.cpython-311-x86_64-linux-gnu.so", line) for line in ignored)


def test_the_image_checks_the_liveness_that_its_policy_serves() -> None:
    (check,) = instructions("HEALTHCHECK")
    program, flag, script = ast.literal_eval(check.partition("CMD ")[2])
    assert (Path(program).name, flag) == ("python", "-c")
    compile(script, "HEALTHCHECK", "exec")
    assert "http://127.0.0.1:8000/api/check-liveness/v1" in script
    assert "KUMO_HTTP_LISTEN=0.0.0.0:8000" in DOCKERFILE.read_text()
    assert "os.getenv 'KUMO_HTTP_LISTEN'" in (ROOT / "policy" / "init.lua").read_text()


def test_the_image_shows_the_ports() -> None:
    (ports,) = instructions("EXPOSE")
    assert ports.split() == [f"{port}/tcp" for port in (25, 587, 465, 2525, 2026, 8000)]
