"""What all tests share: each asynchronous test runs on both event loops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest
import uvloop

ROOT = Path(__file__).resolve().parent.parent


def pytest_sessionstart() -> None:
    """Refuse to test modules that were compiled before they were changed."""
    for compiled in (ROOT / "kumo").rglob(f"*{EXTENSION_SUFFIXES[0]}"):
        stem = compiled.name.removesuffix(EXTENSION_SUFFIXES[0])
        sources = [compiled.with_name(f"{stem}{suffix}") for suffix in (".py", ".pyx")]
        changed = [source.stat().st_mtime for source in sources if source.exists()]
        if not changed or max(changed) > compiled.stat().st_mtime:
            raise pytest.UsageError(
                f"{compiled.relative_to(ROOT)} is older than its source: run `make build`"
            )


def pytest_asyncio_loop_factories(
    config: pytest.Config,  # noqa: ARG001 - the hook's signature
    item: pytest.Item,  # noqa: ARG001 - as above
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """uvloop is what users run, asyncio what they fall back to."""
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}
