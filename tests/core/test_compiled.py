from __future__ import annotations

import importlib
import importlib.machinery

import pytest


@pytest.mark.parametrize(
    "name",
    [
        "command",
        "crlf",
        "data_scanner",
        "header_section",
        "instruction_set",
        "line_length",
        "transparency",
    ],
)
def test_the_kernel_is_compiled(name: str) -> None:
    module = importlib.import_module(f"kumo_core.{name}")
    assert module.__file__ is not None
    assert module.__file__.endswith(tuple(importlib.machinery.EXTENSION_SUFFIXES))
