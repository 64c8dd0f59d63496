"""The only way from a Lua table to a parameter dataclass.

Unknown keys, wrong types and bad values end in a ``ConfigError`` that keeps KumoMTA's text, which policy
helpers match by substring, and adds the parameter, the script line and what was probably meant.
How each type is read stands in ``readers``. Called by ``kumo/policy/api``.
"""

from __future__ import annotations

from typing import Any, TypeVar

from kumo.errors import ConfigError
from kumo.policy.json_values import Opaque, lua_to_plain, shown_json
from kumo.policy.readers import Mismatch, read_struct

T = TypeVar("T")


def convert(
    table: Any,
    dataclass_type: type[T],
    *,
    constructor: str,
    source: str | None = None,
    names_alternatives: bool = True,
) -> T:
    """Read a constructor's parameters.

    Args:
        table: the Lua table, or what ``plain_parameters`` made of it.
        dataclass_type: a frozen dataclass of ``kumo.config``; its hints and ``Kind`` markers say how each
            key is read, its ``NOT_IMPLEMENTED`` which keys are refused.
        constructor: dotted Lua name, for error texts.
        source: ``script.lua:LINE`` of the call.
        names_alternatives: whether the text for an unknown key lists the known ones.

    Raises:
        ConfigError: ``deserialize error: {detail}, while processing {json}``, secrets masked.
    """
    plain = plain_parameters(table, constructor=constructor, source=source)
    try:
        return read_struct(dataclass_type, plain, names_alternatives=names_alternatives)
    except Mismatch as mismatch:
        where = f"in `{'.'.join(mismatch.path)}`" if mismatch.path else None
        hint = "; ".join(part for part in (where, mismatch.hint) if part)
        raise _config_error(mismatch.detail, plain, constructor, source, hint) from None


def plain_parameters(table: Any, *, constructor: str, source: str | None = None) -> Any:
    """Walk a constructor's argument once, for callers that look at it beside ``convert``.

    Args:
        table: as it came from Lua, or plain values already.
        constructor: as for ``convert``.
        source: as for ``convert``.

    Returns:
        Plain values as ``lua_to_plain`` makes them.

    Raises:
        ConfigError: it is nested too deeply or has keys of an odd type.
    """
    try:
        return lua_to_plain(table)
    except ValueError as error:
        # The walk failed, so there is no JSON of the table to show.
        raise _config_error(str(error), Opaque("table"), constructor, source, "") from None


def _config_error(detail: str, plain: Any, constructor: str, source: str | None, hint: str) -> ConfigError:
    return ConfigError(
        f"deserialize error: {detail}, while processing {shown_json(plain)}",
        constructor=constructor,
        source=source,
        hint=hint or None,
    )
