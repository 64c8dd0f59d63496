"""``kumo.sleep``: the one way for a handler to wait for time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from kumo.policy.api.arguments import NUMBER, lua_function
from kumo.policy.registry import PolicyContext

LONGEST_SLEEP = 366 * 86400.0
"""Seconds; event loops refuse timers that are much longer."""


def _seconds(value: Any) -> float:
    seconds: float = NUMBER.read(value)
    if not 0 <= seconds <= LONGEST_SLEEP:
        raise ValueError(f"0 to {LONGEST_SLEEP:.0f} seconds expected, got {seconds}")
    return seconds


@lua_function("time.sleep", NUMBER._replace(read=_seconds), aliases=("sleep",))
def sleep(_context: PolicyContext, seconds: float) -> Awaitable[None]:
    """Suspend the calling handler, and it alone.

    Args:
        seconds: from zero to ``LONGEST_SLEEP``.
    """
    return asyncio.sleep(seconds)


FUNCTIONS = (sleep,)
