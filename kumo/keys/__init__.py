"""Where key material comes from: files, octets in the policy, Vault, Lua events."""

from kumo.keys.key_sources import KeySources

__all__ = ["KeySources"]
