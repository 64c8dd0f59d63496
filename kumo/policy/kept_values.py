"""What outlives a Lua state: the form in which ``kumo.memoize`` keeps values.

Tables become dicts and lists as everywhere; the objects below stand for what has no JSON form. A mark is a
key that only the Lua side of kumo writes; it tells whoever walks a table what that table stands for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class KeptObject:
    """An object that a constructor made.

    Args:
        kind: the constructor, for example ``kumo.make_listener_domain``.
        value: the parameters behind it.
        fields: what Lua sees, JSON-able.
    """

    kind: str
    value: object
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class KeptMap:
    """A ``kumo.domain_map``.

    Args:
        entries: kept values by domain.
    """

    entries: dict[str, Any]


class Mark:
    """A key of tables that stand for something else."""

    __slots__ = ("noun",)

    def __init__(self, noun: str) -> None:
        self.noun = noun


VIEW = Mark("view")
"""Its value is an array: the table that is looked at, and what was made of its tables, or nothing."""
MAP = Mark("domain map")
"""Its value is a table that has the map's values by domain under ``entries``."""
