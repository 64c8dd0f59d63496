"""What ``lua/memoize.lua`` asks of the host: the caches, and values on their way between Lua and them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from kumo.errors import ConfigError
from kumo.policy.api.knobs import BUILTIN_CACHES
from kumo.policy.convert import convert
from kumo.policy.json_values import json_key, lua_to_kept
from kumo.policy.kept_values import KeptObject
from kumo.policy.memo_caches import Entry, Flight, MemoCaches, MemoOptions
from kumo.policy.octets import octets_of, text_of

_CONSTRUCTOR = "kumo.memoize"


def memoize_functions(
    caches: MemoCaches,
    source: Callable[[], str | None],
    to_lua: Callable[[Any], Any],
    kept_object: Callable[[Any], KeptObject | None],
) -> dict[str, Callable[..., Any]]:
    """The functions behind ``kumo.memoize``.

    Args:
        caches: of the process.
        source: the policy line that called.
        to_lua: makes Lua values of kept ones.
        kept_object: the kept form of a constructor's object; None for any other table.
    """

    def memo_declare(parameters: Any) -> tuple[str, int]:
        place = source()
        options = convert(parameters, MemoOptions, constructor=_CONSTRUCTOR, source=place)
        if options.name in BUILTIN_CACHES:
            raise ConfigError(
                f"`{options.name}` is the name of a cache of KumoMTA's own",
                constructor=_CONSTRUCTOR,
                source=place,
            )
        caches.declare(options)
        return octets_of(options.name), options.capacity

    def memo_find(name: str, key: str) -> int | None:
        entry = caches.find(text_of(name), key)
        return None if entry is None else entry.number

    def memo_begin(name: str, key: str, may_wait: bool) -> tuple[int, bool] | Awaitable[None]:
        outcome = caches.begin(text_of(name), key, may_wait=may_wait)
        if isinstance(outcome, Flight):
            return outcome.number, True
        if isinstance(outcome, Entry):
            return outcome.number, False
        return outcome

    def memo_store(number: int, _count: int, *values: Any) -> tuple[Any, ...]:
        # A function that returns nothing is kept as one that returns nil.
        entry = caches.land(number, tuple(lua_to_kept(value, kept_object) for value in values) or (None,))
        return entry.number, *_lua_values(entry)

    def memo_fetch(name: str, key: str, number: int) -> tuple[Any, ...]:
        return _lua_values(caches.entry(text_of(name), key, number))

    def _lua_values(entry: Entry) -> tuple[Any, ...]:
        return len(entry.values), *map(to_lua, entry.values)

    return {
        "memo_declare": memo_declare,
        "memo_find": memo_find,
        "memo_begin": memo_begin,
        "memo_store": memo_store,
        "memo_fetch": memo_fetch,
        "memo_abandon": caches.abandon,
        "memo_json": json_key,
    }
