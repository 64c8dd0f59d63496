"""Envelope addresses: reverse-paths and forward-paths in their normalised form.

The grammar is the core's; this module knows the domain's canonical spelling and how addresses print.
Used by the session for what clients send and by policy, spool and logs for the printed form.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import TYPE_CHECKING

import idna

from kumo.smtp.limits import MAX_DOMAIN_LENGTH, MAX_KEPT_ADDRESS, MAX_LABEL_LENGTH
from kumo_core.command import parse_path

if TYPE_CHECKING:
    from kumo_core.command import Path


class EnvelopeAddress:
    """A mailbox, the null reverse-path, or the bare ``Postmaster``; never changed once it is made.

    Equal to any other of the same parts. Compiled, as each command makes or reads one, which a dataclass
    that works out a field cannot be.

    Args:
        local_part: as the client typed it, quotes kept; ``Postmaster`` for the bare postmaster,
            empty for the null reverse-path.
        domain: normalised (A-labels, lower case; address literals with brackets); empty for the
            null reverse-path and for the bare postmaster.

    Source: RFC 5321 §4.1.2.
    """

    __slots__ = ("domain", "email", "local_part")

    def __init__(self, local_part: str, domain: str) -> None:
        self.local_part = local_part
        self.domain = domain
        self.email = f"{local_part}@{domain}" if domain else local_part
        """The printed form: ``local@domain``, ``Postmaster``, or empty."""

    @property
    def user(self) -> str:
        """The local part without quotes and escapes; ``postmaster`` for the bare postmaster."""
        local = self.local_part
        if local.startswith('"'):
            return _unquoted(local)
        if not self.domain:
            return local.lower()
        return local

    @property
    def is_null(self) -> bool:
        """Whether this is the null reverse-path ``<>``."""
        return not self.local_part and not self.domain

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, EnvelopeAddress):
            return NotImplemented
        return self.local_part == other.local_part and self.domain == other.domain

    def __hash__(self) -> int:
        return hash((self.local_part, self.domain))

    def __repr__(self) -> str:
        return f"EnvelopeAddress(local_part={self.local_part!r}, domain={self.domain!r})"

    def __str__(self) -> str:
        return self.email


NULL_REVERSE_PATH = EnvelopeAddress("", "")
POSTMASTER = EnvelopeAddress("Postmaster", "")


def envelope_address(path: Path) -> EnvelopeAddress:
    """Normalise a path that the core parsed.

    Raises:
        ValueError: the domain is not a name that DNS could hold.
    """
    # Longer ones are not kept: the line's limit may be large, and the peer fills it.
    is_short = len(path.local_part) + len(path.domain) < MAX_KEPT_ADDRESS
    return _kept_envelope_address(path) if is_short else _envelope_address(path)


def _envelope_address(path: Path) -> EnvelopeAddress:
    if not path.domain:
        return POSTMASTER if path.local_part else NULL_REVERSE_PATH
    if path.is_literal:
        return EnvelopeAddress(path.local_part, path.domain)
    return EnvelopeAddress(path.local_part, normalise_domain(path.domain))


_kept_envelope_address = lru_cache(maxsize=4096)(_envelope_address)


def parse_envelope_address(text: str) -> EnvelopeAddress:
    """Read the printed form of an address, as policy, log and spool hold it.

    Args:
        text: ``local@domain``, ``Postmaster`` in any case, or empty for the null reverse-path.

    Raises:
        ValueError: not an address.
    """
    if not text:
        return NULL_REVERSE_PATH
    if text.lower() == "postmaster":
        return POSTMASTER
    return envelope_address(parse_path(text.encode()))


def normalise_domain(domain: str) -> str:
    """Lower-case a domain and turn its U-labels into A-labels.

    An ASCII name that UTS-46 refuses (it has a ``_``) stays as typed.

    Raises:
        ValueError: a non-ASCII name that has no A-label form, an empty label, a label over 63 or a
            name over 255 octets.

    Source: UTS #46 §4, non-transitional, with the host name rules for ASCII.
    """
    # No A-label is shorter than its U-label. So what is kept has a bound, whatever the peer's line has.
    return _normalise_domain(domain if len(domain) <= MAX_DOMAIN_LENGTH else "")


@lru_cache(maxsize=4096)
def _normalise_domain(domain: str) -> str:
    if not domain.isascii():
        name = _to_ascii(domain)
    elif "_" in domain:
        name = domain
    else:
        name = domain.lower()
    if len(name) > MAX_DOMAIN_LENGTH or not all(
        0 < len(label) <= MAX_LABEL_LENGTH for label in name.split(".")
    ):
        raise ValueError("invalid domain: a label may have 1 to 63 octets and a name 255")
    return name


def normalise_greeting(argument: str) -> str:
    """The canonical form of what follows EHLO or HELO: a domain or an address literal.

    Raises:
        ValueError: as ``normalise_domain``, or an IPv6 literal that is no address.
    """
    if argument.startswith("["):
        return print_address_literal(argument)
    return normalise_domain(argument)


def print_address_literal(literal: str) -> str:
    """The canonical form of an address literal with its brackets: ``[1.2.3.4]``, ``[IPv6:::1]``.

    Raises:
        ValueError: an IPv6 literal that is no address.
    """
    inside = literal[1:-1]
    if inside[:5].lower() != "ipv6:":
        return literal
    address = ipaddress.IPv6Address(inside[5:])
    if address.scope_id:
        raise ValueError("invalid address literal: a zone means nothing to others")
    return f"[IPv6:{address}]"


def _to_ascii(domain: str) -> str:
    try:
        labels = idna.uts46_remap(domain, std3_rules=True).split(".")
        return ".".join(label if label.isascii() else _a_label(label) for label in labels)
    except idna.IDNAError as error:
        raise ValueError(f"invalid domain: {error}") from None


def _a_label(label: str) -> str:
    try:
        return idna.alabel(label).decode("ascii")
    except idna.InvalidCodepoint:
        # UTS-46 takes symbols that IDNA 2008 does not; mail to such names exists.
        idna.check_bidi(label)
        return "xn--" + label.encode("punycode").decode("ascii")


def _unquoted(quoted: str) -> str:
    characters = iter(quoted[1:-1])
    return "".join(next(characters, "") if c == "\\" else c for c in characters)
