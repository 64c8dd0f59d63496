"""How the steps of a transaction wait: what for, and for how long.

The steps are a generator, so that one that waits for nothing needs neither coroutine nor loop; what it
yields is a wait. ``reception`` drives it.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable, Generator
from typing import Any, NamedTuple, TypeVar

from kumo.smtp import Reply

T = TypeVar("T")

SLICE = 0.005
"""Seconds that one transaction may take before other sessions have their turn."""


class Stage(enum.Enum):
    """Where a transaction waits; the values are what a time-out's reply says."""

    RECEIVE = "rx"
    RESOLVE = "resolve"
    STORE = None
    """Not bounded: a store that was begun is waited for, else nobody knows whether it is there."""


class Wait(NamedTuple):
    """Something a step cannot go on without."""

    stage: Stage
    awaitable: Awaitable[Any]


Steps = Generator[Wait, Any, T]


class TimedOut(Exception):  # noqa: N818 - control flow inside this room
    """The deadline passed at ``stage``."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.reply = Reply(451, f"4.4.5 data_processing_timeout exceeded ({stage.value})")


def others_turn(stage: Stage) -> Wait:
    """The wait that lets other sessions have their turn, to be yielded once ``SLICE`` has passed."""
    return Wait(stage, asyncio.sleep(0))
