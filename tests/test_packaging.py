"""The extensions are compiled, the sdist has their sources, the commands are there."""

from __future__ import annotations

import ast
import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import kumo
import kumo_core
from kumo._version import KUMOMTA_VERSION, __version__

ROOT = Path(__file__).resolve().parent.parent
MODULES = [
    "command",
    "crlf",
    "data_scanner",
    "header_section",
    "instruction_set",
    "line",
    "line_length",
    "transparency",
]
SYSTEM_CALLS = ["kumo.listener.sending"]
COMPILED_PYTHON = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "kumo").rglob("*.py")
    if f'"{".".join(path.relative_to(ROOT).with_suffix("").parts)}",' in (ROOT / "setup.py").read_text()
)


@pytest.mark.parametrize("name", [*(f"kumo_core.{name}" for name in MODULES), *SYSTEM_CALLS])
def test_what_is_written_in_cython_is_compiled(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__file__ is not None
    assert module.__file__.endswith(".so")


def named_in(folder: str, suffix: str) -> list[str]:
    return sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in (ROOT / folder).rglob(f"*{suffix}")
    )


def test_what_is_written_in_cython_is_listed_for_the_build() -> None:
    assert named_in("kumo_core", ".pyx") == [f"kumo_core.{name}" for name in MODULES]
    assert named_in("kumo", ".pyx") == SYSTEM_CALLS
    listed = {
        ast.unparse(target): statement.value
        for statement in ast.parse((ROOT / "setup.py").read_text()).body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
    }
    assert list(ast.literal_eval(listed["MODULES"])) == MODULES
    assert list(ast.literal_eval(listed["SYSTEM_CALLS"])) == SYSTEM_CALLS


@pytest.mark.parametrize(("value", "complaint"), [("use", "no notes are in"), ("yes", "record or use")])
def test_a_profile_that_cannot_be_used_is_refused(tmp_path: Path, value: str, complaint: str) -> None:
    environment = os.environ | {"KUMO_PROFILE": value}
    command = [sys.executable, str(ROOT / "setup.py"), "build_ext"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert complaint in done.stderr


def test_what_is_written_in_cython_has_a_stub() -> None:
    assert named_in("kumo_core", ".pyi") == [f"kumo_core.{name}" for name in MODULES]
    assert named_in("kumo", ".pyi") == SYSTEM_CALLS


def test_types_stand_beside_modules_that_are_compiled() -> None:
    typed = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "kumo").rglob("*.pxd")
        if path.stem != "__init__"  # a room's door
    }
    assert typed
    assert typed <= {*COMPILED_PYTHON, *SYSTEM_CALLS}


@pytest.mark.skipif(bool(os.environ.get("KUMO_PURE_PYTHON")), reason="built without them on purpose")
@pytest.mark.parametrize("name", COMPILED_PYTHON)
def test_what_every_message_passes_through_is_compiled(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__file__ is not None
    assert module.__file__.endswith(".so")


def test_compiled_python_runs_uncompiled_as_well(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "kumo", tmp_path / "kumo", ignore=shutil.ignore_patterns("*.so", "*.c"))
    shutil.copytree(ROOT / "kumo_core", tmp_path / "kumo_core")
    program = (
        "from kumo.smtp import ServerSession, Wait, server_session as module;"
        "from kumo.smtp.session_parameters import SessionParameters;"
        "assert module.__file__.endswith('.py'), module.__file__;"
        "parameters = SessionParameters(hostname='mx', banner='hello', client_timeout=1.0,"
        " line_length_hard_limit=998, max_message_size=100, max_recipients_per_message=1,"
        " max_messages_per_connection=1);"
        "session = ServerSession(parameters, 0.0);"
        "session.next_event(); session.accept(); assert session.next_event() is Wait.NEED_DATA;"
        "print(session.data_to_send().decode(), end='')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout == "220 mx hello\r\n".replace("\r", "")


@pytest.mark.parametrize("package", [kumo, kumo_core])
def test_packages_are_typed(package: object) -> None:
    assert (Path(str(package.__file__)).parent / "py.typed").exists()  # type: ignore[attr-defined]


def test_module_and_version_flag() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "kumo", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"kumod {__version__} (answers to KumoMTA {KUMOMTA_VERSION})\n"


def test_a_checkout_without_extensions_says_how_to_build_them(tmp_path: Path) -> None:
    package = tmp_path / "kumo_core"
    package.mkdir()
    for name in ("__init__.py", "errors.py"):
        (package / name).write_text((ROOT / "kumo_core" / name).read_text())
    # Without site: an editable install would lend its extensions.
    done = subprocess.run(
        [sys.executable, "-S", "-c", "import kumo_core"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "make build" in done.stderr
