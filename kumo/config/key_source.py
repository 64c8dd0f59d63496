"""Where a key, certificate or password comes from. Loading is ``kumo.keys``'s job."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A file, read when the key is needed."""

    path: str


@dataclass(frozen=True, slots=True)
class KeyData:
    """The key's octets themselves, given in the policy."""

    key_data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyVault:
    """A field of a HashiCorp Vault KV version 2 secret."""

    vault_mount: str
    vault_path: str
    vault_address: str | None = None
    """None: ``$VAULT_ADDR``."""
    vault_token: str | None = field(default=None, repr=False)
    """None: ``$VAULT_TOKEN``."""
    vault_key: str = "key"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyEvent:
    """A Lua event that returns the key's octets."""

    event_name: str
    event_args: tuple[Any, ...]


KeySource = KeyFile | KeyData | KeyVault | KeyEvent
