"""What the tests of the Lua API share: a bare Lua state that calls host functions without the bridge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from lupa.lua54 import LuaRuntime

from kumo.config import KeySource
from kumo.policy.api import ALL_FUNCTIONS
from kumo.policy.domain_files import DomainFiles
from kumo.policy.findings import Findings
from kumo.policy.octets import octets_of
from kumo.policy.registry import Declarations, PolicyContext


class BareLua:
    """A Lua state and a context, with what was done to both."""

    def __init__(self) -> None:
        self.runtime = LuaRuntime(
            unpack_returned_tuples=True, register_eval=False, register_builtins=False, encoding="latin-1"
        )
        self.current_event: str | None = "init"
        self.warnings: dict[str, str] = {}
        self.objects: list[tuple[str, object, Mapping[str, Any], Any]] = []
        self.epochs = 0
        self.domain_files: dict[str, DomainFiles] = {}
        self.findings: Findings | None = None
        self.keys: dict[KeySource, bytes] = {}
        self.declarations = Declarations()
        self.context = PolicyContext(self.declarations, self, self)
        self.functions = {
            name: function for function in ALL_FUNCTIONS for name in (function.name, *function.aliases)
        }

    @property
    def config_epoch(self) -> int:
        return self.epochs

    def value(self, expression: str) -> Any:
        """A Lua value."""
        return self.runtime.eval(expression)

    def call(self, name: str, arguments: str = "") -> Any:
        """Call a host function with Lua expressions."""
        packed = self.runtime.eval(f"table.pack({arguments})")
        function = self.functions[name].bind(self.context, name)
        return function(*(packed[index] for index in range(1, packed["n"] + 1)))

    def source(self) -> str:
        return "init.lua:7"

    def to_lua(self, value: Any) -> Any:
        if isinstance(value, dict):
            return self.runtime.table_from(
                {self.to_lua(key): self.to_lua(item) for key, item in value.items()}
            )
        if isinstance(value, list | tuple):
            return self.runtime.table_from([self.to_lua(item) for item in value])
        return octets_of(value) if isinstance(value, str) else value

    def new_object(self, kind: str, value: object, fields: Mapping[str, Any]) -> Any:
        proxy = self.to_lua(dict(fields))
        self.objects.append((kind, value, fields, proxy))
        return proxy

    def object_value(self, kind: str, candidate: Any) -> object | None:
        for known, value, _, proxy in self.objects:
            if known == kind and proxy is candidate:
                return value
        return None

    def traceback(self, level: int) -> list[dict[str, Any]]:
        return [{"event": self.current_event, "curr_line": level}]

    def event_registrars(self, name: str) -> list[list[str]]:
        return [[f"{name}:1"]]

    async def load_key(self, source: KeySource) -> bytes:
        return self.keys[source]

    def bump_config_epoch(self) -> None:
        self.epochs += 1

    def warn_once(self, key: str, text: str) -> None:
        self.warnings.setdefault(key, text)


@pytest.fixture
def lua() -> BareLua:
    return BareLua()
