"""The ``conn_meta`` object of the session events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kumo.message import Connection
from kumo.policy.bindings.meta import meta_functions
from kumo.policy.handles import Handles

_IDENTITIES = (
    ("authn_id", "SmtpAuthPlainAuthentication"),
    ("authz_id", "SmtpAuthPlainAuthorization"),
)


def connection_functions(
    connections: Handles[Connection], to_lua: Callable[[Any], Any], require_room: Callable[[int], None]
) -> dict[str, Callable[..., Any]]:
    """The functions behind ``ConnectionMeta`` of ``lua/objects.lua``.

    Args:
        connections: connections of the events that run now.
        to_lua: makes a Lua table.
        require_room: raises ``MemoryError`` when the state has no room for so many octets.
    """

    def auth_info(number: int) -> Any:
        return to_lua(_auth_info(connections[number]))

    functions = meta_functions("connection", connections, to_lua, require_room)
    return functions | {"connection_auth_info": auth_info}


def _auth_info(connection: Connection) -> dict[str, Any]:
    info = connection.auth_info
    if info is not None:
        identities = [{"identity": name, "context": context} for name, context in info.identities]
        return {"peer_address": info.peer_address, "identities": identities, "groups": info.groups}
    meta = connection.meta
    identities = [
        {"identity": meta[key], "context": context}
        for key, context in _IDENTITIES
        if connection.is_authenticated and isinstance(meta.get(key), str)
    ]
    return {"peer_address": connection.peer_ip, "identities": identities, "groups": []}
