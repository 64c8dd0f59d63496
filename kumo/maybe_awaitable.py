"""Answers that are there at once in the common case and awaited in the rare one.

A coroutine or task for each SMTP command costs more than the command; so what asks policy, spool or
queue returns the value itself when nothing had to wait. Callers test with ``is_awaitable``.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, TypeAlias, TypeVar

if TYPE_CHECKING:
    from typing_extensions import TypeIs

T = TypeVar("T")

MaybeAwaitable: TypeAlias = T | Awaitable[T]


def is_awaitable(value: MaybeAwaitable[T]) -> TypeIs[Awaitable[T]]:
    """Whether ``value`` is still to be awaited; ``inspect.isawaitable`` at a tenth of its price."""
    return value is not None and hasattr(value, "__await__")
