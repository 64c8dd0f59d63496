"""``kumo.secrets``: keys and passwords from where the policy says, for the policy itself."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Annotated, Any

from kumo.config import KeySource, Kind
from kumo.errors import ConfigError
from kumo.policy.api.arguments import Parameter, lua_function
from kumo.policy.json_values import lua_to_plain
from kumo.policy.octets import octets_of_bytes
from kumo.policy.readers import Mismatch, reader_for
from kumo.policy.registry import PolicyContext

_NAME = "kumo.secrets.load"

_read_key_source = reader_for(Annotated[KeySource, Kind.KEY_SOURCE])


def _need_value(value: Any) -> Any:
    if value is None:
        raise TypeError
    return value


@lua_function("secrets.load", Parameter("string or table", _need_value))
def load(context: PolicyContext, source: Any) -> Awaitable[str]:
    """Get a key's octets; waits, also for a file.

    Args:
        context: of the call.
        source: a path, or a table of any of the shapes of a key source.

    Raises:
        ConfigError: it has none of these shapes.
        KeySourceError: there is no such key, or it cannot be had.
    """
    place = context.source()
    try:
        key_source: KeySource = _read_key_source(lua_to_plain(source))
    except Mismatch as mismatch:
        # The value is not shown: it may be the secret itself.
        raise ConfigError(mismatch.detail, constructor=_NAME, source=place, hint=mismatch.hint) from None
    return _octets(context, key_source)


async def _octets(context: PolicyContext, source: KeySource) -> str:
    return octets_of_bytes(await context.engine.load_key(source))


FUNCTIONS = (load,)
