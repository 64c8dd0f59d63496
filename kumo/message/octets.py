"""Text that came from octets which were no UTF-8.

Inside kumo such octets are lone surrogates, so that Lua gets back what the client sent; JSON cannot
carry them. Trace fields and address fields call it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def well_formed(value: Any) -> Any:
    """Copy a JSON-able value with U+FFFD in place of what is no UTF-8."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if isinstance(value, Mapping):
        return {well_formed(key): well_formed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [well_formed(item) for item in value]
    return value
