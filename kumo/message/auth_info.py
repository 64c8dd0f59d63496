"""Who a client has proved to be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


class Identity(NamedTuple):
    """One name and how it was proved.

    Args:
        identity: the name.
        context: KumoMTA's word, for example ``SmtpAuthPlainAuthentication``.
    """

    identity: str
    context: str


@dataclass(slots=True)
class AuthInfo:
    """What ``conn_meta:auth_info()`` shows.

    Args:
        peer_address: IP without port; None where there is no peer.
        identities: in the order in which they were proved.
        groups: what policy says the client belongs to.

    Source: KumoMTA manual, AuthInfo.
    """

    peer_address: str | None
    identities: list[Identity] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Authenticated:
    """Policy's yes to credentials.

    Args:
        authz_id: whom the client acts as.
        authn_id: who it is.
        identities: what is added to the session's.
        groups: likewise.
    """

    authz_id: str
    authn_id: str
    identities: tuple[Identity, ...]
    groups: tuple[str, ...] = ()
