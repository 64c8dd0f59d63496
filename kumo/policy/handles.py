"""Numbers that stand for Python objects in Lua.

Lua objects hold a number and nothing else: what they stand for is let go when the event is over, not
when Lua happens to collect garbage, so that no message body outlives its transaction.
"""

from __future__ import annotations

from typing import NoReturn, TypeVar

from kumo.policy.call_error import CallError

T = TypeVar("T")


class StaleHandle(CallError):  # noqa: N818 - names what was found
    """Policy kept an object longer than the event it was given to."""


class Handles(dict[int, T]):
    """Objects by number; a missing one is a ``StaleHandle``.

    Args:
        noun: what the objects are, for the error text.
    """

    __slots__ = ("_noun",)

    def __init__(self, noun: str) -> None:
        super().__init__()
        self._noun = noun

    def __missing__(self, _number: int) -> NoReturn:
        raise StaleHandle(
            f"this {self._noun} belongs to an event that is over; keep what you need of it in meta instead"
        )
