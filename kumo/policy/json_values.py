"""JSON-able values between Lua and Python, and the JSON that error texts show.

What Lua hands over is walked once into plain Python values, so that nothing here or above keeps a Lua
table. The way back is ``PolicyContext.to_lua``. Nothing here judges parameters: ``convert`` does.
Called by ``convert``, ``api`` and ``bindings``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from lupa.lua54 import lua_type

from kumo.policy.call_error import CallError
from kumo.policy.kept_values import MAP, KeptMap, KeptObject, Mark
from kumo.policy.octets import text_of

MAX_DEPTH = 128
"""Tables inside tables; serde_json's limit, and what stops a table that contains itself."""
MAX_VALUES = 1_000_000
"""Values in one tree; a table that is shared at many places of it counts at each."""

_SCALARS = frozenset({type(None), bool, int, float})
_SECRET_KEY = re.compile(r"key_data|token|password|passwd|secret", re.IGNORECASE)
_SECRET_TEXT = "PRIVATE KEY"  # noqa: S105 - what PEM writes above a key
_MASK = "***"


class Opaque(NamedTuple):
    """Stands for a Lua value that has no JSON form, such as a function."""

    lua_type: str


def lua_to_json(value: Any) -> Any:
    """Turn a Lua value into a JSON-able Python value.

    Args:
        value: as it came from Lua; a table's keys are either all strings or exactly 1 to n.

    Returns:
        None, bool, int, float, str (Unicode; octets that are no UTF-8 as surrogates), list, or dict
        with str keys. An empty table is an empty dict; a number that JSON lacks (NaN, infinity) None.

    Raises:
        CallError: a function or the like, keys that fit neither list nor map, nesting past
            ``MAX_DEPTH`` or more than ``MAX_VALUES`` values.
    """
    if type(value) is str:
        return text_of(value)
    return _Walk(strict=True).value(value, 0)


def lua_to_plain(value: Any) -> Any:
    """Turn a constructor's argument into plain Python values, its oddities kept for ``convert``.

    Args:
        value: as it came from Lua, or plain values already.

    Returns:
        As ``lua_to_json``, but functions and the like become ``Opaque``, numbers stay as they are and
        a table that is neither list nor map becomes a dict with int among its keys.

    Raises:
        CallError: as ``lua_to_json``; also a key that is neither string nor integer.
    """
    if type(value) is dict:
        return value
    return _Walk(strict=False).value(value, 0)


def lua_to_kept(value: Any, kept_object: Callable[[Any], KeptObject | None]) -> Any:
    """Turn a Lua value into one that outlives its state, as ``kumo.memoize`` keeps it.

    Args:
        value: as it came from Lua; tables may have strings and integers as keys.
        kept_object: the kept form of a constructor's object; None for any other table.

    Returns:
        As ``lua_to_plain``; ``KeptObject`` and ``KeptMap`` for objects and domain maps.

    Raises:
        CallError: a function or the like, or as ``lua_to_plain``.
    """
    return _KeptWalk(kept_object).value(value, 0)


def json_key(value: Any) -> str:
    """Print a Lua value so that equal ones print alike, in ASCII.

    Raises:
        CallError: as ``lua_to_json``.
    """
    return json.dumps(lua_to_json(value), sort_keys=True, separators=(",", ":"))


def shown_json(value: Any) -> str:
    """Print a tree of ``lua_to_plain`` for an error text, secrets masked.

    Returns:
        Compact JSON, keys sorted, without control characters or surrogates.
    """
    text = json.dumps(
        _masked(value),
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
        default=repr,
        allow_nan=True,
    )
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class _Walk:
    """One walk over a tree of Lua tables, with its budget."""

    __slots__ = ("_budget", "_strict")

    def __init__(self, *, strict: bool) -> None:
        self._strict = strict
        self._budget = MAX_VALUES

    def value(self, value: Any, depth: int) -> Any:
        self._budget -= 1
        if self._budget < 0:
            raise CallError(f"table holds more than {MAX_VALUES} values")
        kind = type(value)
        if kind is str:
            return text_of(value)
        if kind in _SCALARS:
            if self._strict and kind is float and not math.isfinite(value):
                return None
            return value
        lua_kind = lua_type(value) or "userdata"
        if lua_kind == "table":
            if depth >= MAX_DEPTH:
                raise CallError(f"table is nested deeper than {MAX_DEPTH} levels, or contains itself")
            return self._table(value, depth + 1)
        return self._opaque(lua_kind)

    def _opaque(self, lua_kind: str) -> Any:
        if self._strict:
            raise CallError(f"a Lua {lua_kind} has no JSON form")
        return Opaque(lua_kind)

    def _object(self, table: Any) -> Any:
        bad = next(key for key in table if type(key) not in (int, str))
        raise CallError(f"a table key must be a string or an integer, not {_key_kind(bad)}")

    def _map(self, entries: Any) -> Any:
        return entries

    def _marked(self, mark: Mark, content: Any, depth: int) -> Any:
        if mark is MAP:
            return self._map(self._pairs(list(content["entries"].items()), depth))
        base, made = content[1], content[2]
        if made is None:
            return self._table(base, depth)
        return self._pairs([(key, made[key] or value) for key, value in base.items()], depth)

    def _table(self, table: Any, depth: int) -> Any:
        pairs = list(table.items())
        if len(pairs) == 1 and type(pairs[0][0]) is Mark:
            mark, content = pairs[0]
            return self._marked(mark, content, depth)
        if not {type(key) for key, _ in pairs} <= {int, str}:
            return self._object(table)
        return self._pairs(pairs, depth)

    def _pairs(self, pairs: list[tuple[Any, Any]], depth: int) -> dict[Any, Any] | list[Any]:
        kinds = {type(key) for key, _ in pairs}
        if kinds == {int}:
            ordered = dict(pairs)
            length = len(ordered)
            if all(index in ordered for index in range(1, length + 1)):
                return [self.value(ordered[index], depth) for index in range(1, length + 1)]
            if self._strict:
                raise CallError(f"a list has keys 1 to n without holes; this table has {sorted(ordered)[:8]}")
        elif self._strict and len(kinds) > 1 and kinds <= {int, str}:
            raise CallError("a table is either a list or a map; this one has both string and integer keys")
        return {(text_of(key) if type(key) is str else key): self.value(value, depth) for key, value in pairs}


class _KeptWalk(_Walk):
    """A walk that keeps what has a kept form."""

    __slots__ = ("_kept_object",)

    def __init__(self, kept_object: Callable[[Any], KeptObject | None]) -> None:
        super().__init__(strict=False)
        self._kept_object = kept_object

    def _opaque(self, lua_kind: str) -> Any:
        raise CallError(f"a Lua {lua_kind} cannot be kept by kumo.memoize")

    def _object(self, table: Any) -> Any:
        kept = self._kept_object(table)
        return super()._object(table) if kept is None else kept

    def _map(self, entries: Any) -> Any:
        return KeptMap(entries)


def _key_kind(key: Any) -> str:
    if isinstance(key, bool):
        return "a boolean"
    if isinstance(key, float):
        return f"the number {key}"
    return f"a {lua_type(key) or 'userdata'}"


def _masked(value: Any, *, secret: bool = False) -> Any:
    if type(value) is dict:
        return {
            str(key): _masked(item, secret=secret or _SECRET_KEY.search(str(key)) is not None)
            for key, item in value.items()
        }
    if type(value) is list:
        return [_masked(item, secret=secret) for item in value]
    if type(value) is Opaque:
        return f"<{value.lua_type}>"
    if secret or (type(value) is str and _SECRET_TEXT in value):
        return _MASK
    return value
