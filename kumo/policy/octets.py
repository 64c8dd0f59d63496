"""Text between Lua and Python: Lua's strings are octets, kumo's are Unicode.

The runtime hands octets over as latin-1, one character an octet. These two functions, used by every
file of this room, turn that into the text that the octets spell in UTF-8, and back; octets that are
no UTF-8 survive the round trip as surrogates.
"""

from __future__ import annotations

SHORT_OCTETS = 4096
"""Below that many nobody asks whether Lua has room for a string: a state's headroom has it."""


def text_of(octets: str) -> str:
    """The Unicode text that a Lua string spells.

    Args:
        octets: a string as it came from Lua, one character for each octet.
    """
    return octets if octets.isascii() else octets.encode("latin-1").decode("utf-8", "surrogateescape")


def octets_of(text: str) -> str:
    """A Lua string that spells ``text`` in UTF-8, one character for each octet."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("latin-1")


def bytes_of(octets: str) -> bytes:
    """A Lua string's octets, as content is kept."""
    return octets.encode("latin-1")


def octets_of_bytes(content: bytes) -> str:
    """A Lua string of these octets."""
    return content.decode("latin-1")
