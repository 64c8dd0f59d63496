"""Which meta keys and header fields a logger copies into its records.

A pattern is a name, or the beginning of names followed by ``*``. The patterns are sorted once, when
the logger is made. Called by ``kumo.logs.local_logger``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kumo.message import HeaderField, Message, header_fields, named_fields, wanted_names


class MetaSelection:
    """Selects meta values; the case of a key counts.

    Args:
        patterns: as ``configure_local_logs`` takes them.
    """

    __slots__ = ("_names", "_prefixes")

    def __init__(self, patterns: Iterable[str]) -> None:
        self._names, self._prefixes = _sorted_patterns(patterns)

    def __bool__(self) -> bool:
        return bool(self._names or self._prefixes)

    def select(self, meta: Mapping[str, Any]) -> dict[str, Any]:
        """The selected values; absent keys and null values of exact names are left out."""
        selected = {name: value for name in self._names if (value := meta.get(name)) is not None}
        if self._prefixes:
            prefixes = self._prefixes
            selected |= {name: value for name, value in meta.items() if name.startswith(prefixes)}
        return selected


class HeaderSelection:
    """Selects header fields; the case of a name does not count.

    Args:
        patterns: as ``configure_local_logs`` takes them.
    """

    __slots__ = ("_names", "_prefixes", "_wanted")

    def __init__(self, patterns: Iterable[str]) -> None:
        names, self._prefixes = _sorted_patterns(pattern.lower() for pattern in patterns)
        self._names = names
        self._wanted = wanted_names(names)

    def __bool__(self) -> bool:
        return bool(self._names or self._prefixes)

    def select(self, message: Message) -> dict[str, str | list[str]]:
        """The selected fields of a resident message, nothing of another one.

        Returns:
            Decoded values under the name as it is spelt first; a list where a name occurs again.
        """
        if not message.is_resident:
            return {}
        head, body = message.segments
        fields = self._fields(head) if head else []
        fields += self._fields(body)
        found: dict[str, list[HeaderField]] = {}
        for field in fields:
            found.setdefault(field.name.lower(), []).append(field)
        return {
            same[0].name: same[0].value if len(same) == 1 else [field.value for field in same]
            for same in found.values()
        }

    def _fields(self, content: bytes) -> list[HeaderField]:
        if not self._prefixes:
            return named_fields(content, self._wanted)
        return [
            field
            for field in header_fields(content)
            if (name := field.name.lower()) in self._names or name.startswith(self._prefixes)
        ]


def _sorted_patterns(patterns: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    names: list[str] = []
    prefixes: list[str] = []
    for pattern in patterns:
        if pattern.endswith("*"):
            prefixes.append(pattern[:-1])
        else:
            names.append(pattern)
    return tuple(names), tuple(prefixes)
