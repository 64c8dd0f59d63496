"""``get_meta`` and ``set_meta``, the same for messages and connections."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from kumo.message import Connection, Message
from kumo.policy.handles import Handles
from kumo.policy.json_values import lua_to_json
from kumo.policy.octets import SHORT_OCTETS, octets_of, text_of

_TABLES = (list, tuple, dict)


def meta_functions(
    prefix: str,
    objects: Handles[Connection] | Handles[Message],
    to_lua: Callable[[Any], Any],
    require_room: Callable[[int], None],
) -> dict[str, Callable[..., Any]]:
    """Make the four functions that ``lua/objects.lua`` builds the two methods from.

    Args:
        prefix: ``message`` or ``connection``.
        objects: those of the events that run now.
        to_lua: makes a Lua table.
        require_room: raises ``MemoryError`` when the state has no room for so many octets.
    """

    def get_meta(number: int, key: str) -> Any:
        value = objects[number].meta.get(key if key.isascii() else text_of(key))
        if type(value) is str:
            if len(value) >= SHORT_OCTETS:
                require_room(len(value))
            return value if value.isascii() else octets_of(value)
        if value is not None and isinstance(value, _TABLES):
            # The second result asks Lua to come back by the way that tables take.
            return None, True
        return value

    def set_meta(number: int, key: str, value: Any) -> None:
        meta = objects[number].meta
        key = key if key.isascii() else text_of(key)
        if type(value) is str:
            meta[key] = value if value.isascii() else text_of(value)
        elif value is None or (type(value) is float and not math.isfinite(value)):
            meta.pop(key, None)
        else:
            meta[key] = value

    def get_table(number: int, key: str) -> Any:
        return to_lua(objects[number].meta.get(text_of(key)))

    def set_table(number: int, key: str, value: Any) -> None:
        objects[number].meta[text_of(key)] = lua_to_json(value)

    return {
        f"{prefix}_get_meta": get_meta,
        f"{prefix}_set_meta": set_meta,
        f"{prefix}_get_table": get_table,
        f"{prefix}_set_table": set_table,
    }
