"""Who may send mail through us to anywhere.

The rule looks at the peer's address alone: neither greeting nor headers count. Who relays for a domain
will join it here, next to the address rule. Called by ``esmtp_protocol`` for each RCPT, before the
recipient limit and before policy.
"""

from __future__ import annotations

from kumo.config import CidrSet
from kumo.errors import Rejection
from kumo.message import Connection


class RelayRule:
    """Relay rights of one listener.

    Args:
        relay_hosts: networks whose hosts may relay anywhere.

    Source: KumoMTA manual, kumo.start_esmtp_listener, relay_hosts.
    """

    __slots__ = ("_relay_hosts",)

    def __init__(self, relay_hosts: CidrSet) -> None:
        self._relay_hosts = relay_hosts

    def is_relay_host(self, connection: Connection) -> bool:
        """Whether the peer may relay anywhere; the same for the whole of a connection."""
        return connection.peer_ip in self._relay_hosts


def relaying_denied(connection: Connection) -> Rejection:
    """The verdict for a recipient that the peer may not reach through us."""
    return Rejection(550, f"5.7.1 relaying not permitted for {connection.peer}")
