"""Lua values for Python ones. Nothing but the main thread of a state may be asked to make tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kumo.policy.call_error import CallError
from kumo.policy.kept_values import KeptMap, KeptObject
from kumo.policy.octets import octets_of, octets_of_bytes

_MAX_DEPTH = 128
_MIN_INTEGER, _MAX_INTEGER = -(2**63), 2**63 - 1

_VALUE_OCTETS = 64
"""What one value in a table costs, roughly."""
_UNCHECKED_OCTETS = 4096

_AS_THEY_ARE = frozenset({type(None), bool, float})


class LuaValues:
    """Makes Lua values.

    Args:
        new_table: the runtime's ``table_from``.
        require_room: raises ``MemoryError`` when the state has no room for so many octets.
        new_object: the Lua object of a kept one.
        new_map: the Lua object of a map by domain, of a table that becomes its own.
    """

    __slots__ = ("_new_map", "_new_object", "_new_table", "_owed", "_require_room")

    def __init__(
        self,
        new_table: Callable[[Any], Any],
        require_room: Callable[[int], None],
        new_object: Callable[[KeptObject], Any],
        new_map: Callable[[Any], Any],
    ) -> None:
        self._new_table = new_table
        self._require_room = require_room
        self._new_object = new_object
        self._new_map = new_map
        self._owed = 0

    def make(self, value: Any) -> Any:
        """A Lua value for a JSON-able one.

        Args:
            value: None, bool, int, float, str, bytes (kept as octets), lists, tuples, mappings, and what
                ``kept_values`` has.

        Raises:
            CallError: nested deeper than 128 levels, or an integer that has no 64 bits.
            TypeError: anything else.
            MemoryError: the state has no room for it.
        """
        return self._make(value, 0)

    def _make(self, value: Any, depth: int) -> Any:
        kind = type(value)
        self._owed += _VALUE_OCTETS
        if kind is str:
            self._owed += len(value)
            return octets_of(value)
        if kind in _AS_THEY_ARE:
            return value
        if kind is int:
            if _MIN_INTEGER <= value <= _MAX_INTEGER:
                return value
            raise CallError(f"integer {value} does not fit into 64 bits")
        if kind is bytes:
            self._owed += len(value)
            return octets_of_bytes(value)
        if depth >= _MAX_DEPTH:
            raise CallError(f"nested deeper than {_MAX_DEPTH} levels")
        return self._table(value, depth + 1)

    def _table(self, value: Any, depth: int) -> Any:
        if isinstance(value, Mapping):
            items = {
                octets_of(key) if type(key) is str else key: self._make(item, depth)
                for key, item in value.items()
            }
        elif isinstance(value, list | tuple):
            items = {index: self._make(item, depth) for index, item in enumerate(value, 1)}
        elif isinstance(value, KeptObject):
            return self._new_object(value)
        elif isinstance(value, KeptMap):
            return self._new_map(self._table(value.entries, depth))
        else:
            raise TypeError(f"a Python {type(value).__name__} has no Lua form")
        if self._owed > _UNCHECKED_OCTETS:
            self._require_room(self._owed)
            self._owed = 0
        return self._new_table({key: item for key, item in items.items() if item is not None})
