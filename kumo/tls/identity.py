"""Which certificate a server shows, said by the sources of its parts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import TypeAlias

from kumo.config import KeyData, KeyEvent, KeyFile, KeySource, KeyVault

LoadKey: TypeAlias = Callable[[KeySource], Awaitable[bytes]]
"""Loads a source's octets or raises ``KeySourceError``; ``kumo.keys`` implements it."""


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """What a server's TLS context is made from.

    Args:
        hostname: what a self-signed certificate is made out to.
        certificate: PEM chain, leaf first; None together with the private key: self-signed.
        private_key: PEM key of the leaf.
        client_ca: PEM bundle that clients' certificates are verified with; None: none is asked for.
    """

    hostname: str
    certificate: KeySource | None
    private_key: KeySource | None
    client_ca: KeySource | None


def identity_key(identity: ServerIdentity) -> Hashable:
    """What contexts are cached by; an identity itself may hold an event's arguments, tables among them."""
    return (
        identity.hostname,
        _source_key(identity.certificate),
        _source_key(identity.private_key),
        _source_key(identity.client_ca),
    )


def _source_key(source: KeySource | None) -> Hashable:
    if isinstance(source, KeyEvent):
        return (source.event_name, repr(source.event_args))
    return source


def describe_source(source: KeySource) -> str:
    """Names a source for messages, without anything that is secret."""
    match source:
        case KeyFile():
            return source.path
        case KeyData():
            return "key_data"
        case KeyVault():
            return f"vault {source.vault_mount}/{source.vault_path} field {source.vault_key}"
        case KeyEvent():
            return f"key event `{source.event_name}`"
