"""What a script is told when it asks for something that cannot be.

Host functions and bindings raise ``CallError`` on purpose: its text is for whoever wrote the policy, so
nothing of Python is shown with it. Any other exception is a fault of ours and keeps its class and its
traceback in the log; ``lua_state`` tells the two apart.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class CallError(ValueError):
    """A host function was called with something that it cannot take, or where it cannot work."""


def refusing(function: Callable[P, R]) -> Callable[P, R]:
    """Turn the ``ValueError`` with which other rooms refuse a value into a ``CallError``.

    Args:
        function: what Lua calls; a ``ValueError`` leaves it only for what the policy gave.
    """

    @functools.wraps(function)
    def refuse(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except CallError:
            raise
        except ValueError as error:
            raise CallError(str(error)) from None

    return refuse
