"""Parameters of ``kumo.start_http_listener``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from kumo.config.cidr import CidrSet
from kumo.config.kinds import Kind, Unsigned


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpListener:
    """One HTTP listener for liveness and metrics.

    Source: KumoMTA manual, kumo.start_http_listener.
    """

    NOT_IMPLEMENTED: ClassVar[frozenset[str]] = frozenset({"use_tls", "tls_certificate", "tls_private_key"})

    listen: Annotated[str, Kind.SOCKET_ADDRESS] = "127.0.0.1:8000"
    hostname: Annotated[str | None, Kind.HOSTNAME] = None
    """None: the host's own name."""
    request_body_limit: Unsigned = 2097152
    """Octets of a request body."""
    trusted_hosts: Annotated[CidrSet, Kind.CIDR_LIST] = field(
        default_factory=lambda: CidrSet.parse(("127.0.0.1", "::1"))
    )
    """Peers that need no credentials."""
