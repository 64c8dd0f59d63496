"""The rooms and who may import whom, as ARCHITECTURE.md draws them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent

LAYERS: tuple[tuple[str, ...], ...] = (
    ("kumo_core",),
    ("kumo._version", "kumo.errors", "kumo.maybe_awaitable", "kumo.config"),
    ("kumo.smtp",),
    ("kumo.message",),
    ("kumo.keys", "kumo.tls", "kumo.spool", "kumo.logs", "kumo.health", "kumo.metrics"),
    ("kumo.egress", "kumo.policy"),
    ("kumo.queue",),
    ("kumo.reception",),
    ("kumo.listener", "kumo.http", "kumo.service", "kumo.workers"),
    (
        "kumo.server",
        "kumo.parent",
        "kumo.worker",
        "kumo.cli",
        "kumo.monitoring",
        "kumo.validation",
        "kumo.__main__",
    ),
)

LAYER_OF = {room: number for number, rooms in enumerate(LAYERS) for room in rooms}

# Foundations and composition root are single modules that may use each other.
OPEN_LAYERS = {1, 9}

ONLY_IN = {
    "lupa": {"kumo.policy"},
    "socket": {"kumo.listener", "kumo.http", "kumo.egress", "kumo.service", "kumo.workers"},
    "subprocess": {"kumo.workers"},
    "ssl": {"kumo.tls"},
    "rocksdict": {"kumo.spool"},
}

SANS_IO = {"asyncio", "socket", "ssl", "time", "logging", "threading", "os", "uvloop"}

FILE_ROOMS = {
    "kumo.spool",
    "kumo.logs",
    "kumo.egress",
    "kumo.keys",
    "kumo.health",
    "kumo.policy",
}

LIMIT_MODULE_LINES = 600
LIMIT_FUNCTION_LINES = 60


class Import(NamedTuple):
    module: str
    importer: Path
    line: int

    def __str__(self) -> str:
        return f"{self.importer.relative_to(ROOT)}:{self.line} imports {self.module}"


def sources(suffix: str) -> list[Path]:
    return sorted(path for top in ("kumo_core", "kumo") for path in (ROOT / top).rglob(f"*{suffix}"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    parts = module.split(".")
    if parts[0] == "kumo_core":
        return "kumo_core"
    return ".".join(parts[:2])


def imports_of(path: Path) -> Iterator[Import]:
    if path.suffix == ".py":
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(alias.name, path, node.lineno)
            elif isinstance(node, ast.ImportFrom):
                yield Import(node.module or "", path, node.lineno)
        return
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if match := re.match(r"\s*(?:from\s+([\w.]+)\s+c?import|c?import\s+([\w.]+))", line):
            yield Import(match.group(1) or match.group(2), path, number)


ALL_IMPORTS = [
    found for suffix in (".py", ".pyx", ".pxd") for path in sources(suffix) for found in imports_of(path)
]


def test_the_tree_is_looked_at() -> None:
    rooms = {room_of(module_name(found.importer)) for found in ALL_IMPORTS}
    assert {"kumo_core", "kumo.smtp", "kumo.policy", "kumo.server"} <= rooms


def test_every_module_has_a_layer() -> None:
    homeless = [
        module_name(path)
        for path in sources(".py")
        if module_name(path) != "kumo" and room_of(module_name(path)) not in LAYER_OF
    ]
    assert homeless == []


def test_imports_go_down() -> None:
    wrong = []
    for found in ALL_IMPORTS:
        importer, imported = room_of(module_name(found.importer)), room_of(found.module)
        if importer in {"kumo", imported} or imported not in LAYER_OF:
            continue
        above, below = LAYER_OF[importer], LAYER_OF[imported]
        if below > above or (below == above and above not in OPEN_LAYERS):
            wrong.append(str(found))
    assert wrong == []


def test_rooms_are_entered_by_their_door() -> None:
    """Other rooms import from ``kumo.room``, never from ``kumo.room.file``."""
    wrong = [
        str(found)
        for found in ALL_IMPORTS
        if found.module.startswith("kumo.")
        and found.module.count(".") > 1
        and room_of(found.module) != room_of(module_name(found.importer))
    ]
    assert wrong == []


@pytest.mark.parametrize("library", ONLY_IN)
def test_library_stays_in_its_rooms(library: str) -> None:
    wrong = [
        str(found)
        for found in ALL_IMPORTS
        if found.module.split(".")[0] == library
        and room_of(module_name(found.importer)) not in ONLY_IN[library]
    ]
    assert wrong == []


@pytest.mark.parametrize("room", ["kumo_core", "kumo.smtp"])
def test_sans_io_rooms_know_no_sockets_loops_or_clocks(room: str) -> None:
    wrong = [
        str(found)
        for found in ALL_IMPORTS
        if room_of(module_name(found.importer)) == room and found.module.split(".")[0] in SANS_IO
    ]
    assert wrong == []


def opens_files(path: Path) -> bool:
    """Whether a module calls ``open``, ``os.open`` or the reading and writing methods of ``Path``."""
    methods = {"read_text", "write_text", "read_bytes", "write_bytes", "unlink", "mkdir"}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Name) and function.id == "open":
                return True
            if isinstance(function, ast.Attribute) and (
                function.attr in methods or ast.unparse(function) == "os.open"
            ):
                return True
    return False


def test_files_are_opened_in_the_rooms_that_own_them() -> None:
    wrong = [
        str(path.relative_to(ROOT))
        for path in sources(".py")
        if opens_files(path) and room_of(module_name(path)) not in FILE_ROOMS
    ]
    assert wrong == []


def test_nobody_imports_the_composition_root() -> None:
    root_modules = set(LAYERS[9])
    wrong = [
        str(found)
        for found in ALL_IMPORTS
        if found.module in root_modules and module_name(found.importer) not in root_modules
    ]
    assert wrong == []


def test_room_doors_only_re_export() -> None:
    wrong = []
    for path in sources("__init__.py"):
        if path.parent.name == "kumo_core":
            continue  # says how to build itself when it is not built
        body = ast.parse(path.read_text()).body
        allowed = (ast.ImportFrom, ast.Expr, ast.Assign)
        wrong += [f"{path}:{node.lineno}" for node in body if not isinstance(node, allowed)]
    assert wrong == []


def test_modules_and_functions_stay_readable() -> None:
    wrong = []
    for path in [*sources(".py"), *sources(".pyx")]:
        text = path.read_text()
        if text.count("\n") > LIMIT_MODULE_LINES:
            wrong.append(f"{path}: {text.count(chr(10))} lines")
        if path.suffix != ".py":
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > LIMIT_FUNCTION_LINES:
                    wrong.append(f"{path}:{node.lineno} {node.name} has {length} lines")
    assert wrong == []
