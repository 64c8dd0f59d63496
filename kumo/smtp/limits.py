"""Numbers that bound what one peer can make a session keep or do.

What an operator may change is in ``SessionParameters``; these are fixed.
"""

from __future__ import annotations

from typing import Final

MAX_PROTOCOL_ERRORS: Final = 100
"""Protocol errors in a row after which the session ends."""

MAX_HELD_OCTETS: Final = 65536
"""Octets of unread input, besides a line, with which a paused session still takes one more read."""

MAX_SIZE_DIGITS: Final = 20
"""RFC 1870 §4."""

MAX_ENVID_LENGTH: Final = 100
"""Characters of xtext; RFC 3461 §4.4."""

MAX_ORCPT_LENGTH: Final = 500
"""Characters of address type, semicolon and xtext; RFC 3461 §4.2."""

MAX_LABEL_LENGTH: Final = 63
"""Octets of an A-label; RFC 1035 §2.3.4."""

MAX_DOMAIN_LENGTH: Final = 255
"""Octets of a domain; RFC 1035 §2.3.4."""

MAX_KEPT_ADDRESS: Final = 320
"""Characters of the longest address that is remembered; RFC 5321 §4.5.3.1 has 64 and 255 octets."""
