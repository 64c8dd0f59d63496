"""The grammar of a host name of our own, as far as replies and trace fields depend on it."""

from __future__ import annotations

_LONGEST = 255


def check_hostname(name: str) -> None:
    """Refuse a host name that would break the lines that it stands in.

    Args:
        name: in whatever script.

    Raises:
        ValueError: it is empty, has blanks or control characters, or more than 255 octets.

    Source: RFC 5321 §4.5.3.1.2 (the length).
    """
    if not name or " " in name or not name.isprintable() or len(name.encode()) > _LONGEST:
        raise ValueError(
            f"invalid hostname {name!r}: expected 1 to {_LONGEST} octets without blanks or control characters"
        )
