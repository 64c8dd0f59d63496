"""What all tests share: each asynchronous test runs on both event loops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop


def pytest_asyncio_loop_factories(
    config: pytest.Config,  # noqa: ARG001 - the hook's signature
    item: pytest.Item,  # noqa: ARG001 - as above
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """uvloop is what users run, asyncio what they fall back to."""
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}
