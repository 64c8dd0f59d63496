"""Sets and maps of networks, strictly parsed.

``ipaddress`` parses (py-radix alone takes ``127.1`` and ``0x7f.1``), py-radix looks up and keeps
the two families apart: a trie that mixes them has matched ``::1`` against ``0.0.0.0/0``, which
makes a relay list an open relay. IPv4-mapped IPv6 peers count as IPv4.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from typing import Generic, TypeVar

import radix

_ANY = ("0.0.0.0/0", "::/0")

V = TypeVar("V")

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

_MAPPED_PREFIX = 96
_LENGTH_DIGITS = 3


def unmapped(address: IPAddress) -> IPAddress:
    """The IPv4 address inside an IPv4-mapped IPv6 one, any other address itself."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def parse_network(text: str, *, names_nearest: bool = True) -> tuple[str, ...]:
    """Check one CIDR text.

    Args:
        text: ``any``, an IP literal, or ``IP/length`` whose host bits are zero.
        names_nearest: whether the error asks for the network that was meant.

    Returns:
        Canonical prefixes: two for ``any``, else one.

    Raises:
        ValueError: KumoMTA's words for what is wrong; where only host bits are set it may name the network.
    """
    if text == "any":
        return _ANY
    address_text, slash, length_text = text.partition("/")
    if "%" in address_text:
        # ipaddress takes it, and the mask would not mean what was written.
        raise ValueError(_invalid(text, "couldn't parse address in network: a zone id is not allowed"))
    try:
        address = ipaddress.ip_address(address_text)
    except ValueError as error:
        raise ValueError(_invalid(text, f"couldn't parse address in network: {error}")) from None
    if not slash:
        return (str(unmapped(address)),)
    if not (length_text.isascii() and length_text.isdigit() and len(length_text) <= _LENGTH_DIGITS):
        raise ValueError(_invalid(text, f"couldn't parse length in network: {length_text!r} is not a number"))
    length = int(length_text)
    if length > address.max_prefixlen:
        raise ValueError(
            _invalid(text, f"invalid length for network: {length} is more than {address.max_prefixlen}")
        )
    network = ipaddress.ip_network((address, length), strict=False)
    if network.network_address != address:
        problem = _invalid(text, "host part of address was not zero")
        raise ValueError(f"{problem}. Did you mean {network}?" if names_nearest else problem)
    return (str(_unmapped_network(network)),)


def _unmapped_network(network: IPNetwork) -> IPNetwork:
    """A network of IPv4-mapped addresses as IPv4: peers are unmapped before they are looked up."""
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= _MAPPED_PREFIX:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.IPv4Network((mapped, network.prefixlen - _MAPPED_PREFIX))
    return network


def _invalid(text: str, why: str) -> str:
    return f"{text} is not a valid CIDR: {why}"


class CidrSet:
    """An immutable set of networks of both families.

    Made by ``parse``; ``ip in cidr_set`` asks for membership.
    """

    __slots__ = ("_cache", "_entries", "_tree")

    _CACHE_LIMIT = 1024

    def __init__(self, entries: tuple[str, ...], prefixes: Iterable[str]) -> None:
        self._entries = entries
        self._tree = radix.Radix()
        self._cache: dict[str, bool] = {}
        for prefix in prefixes:
            self._tree.add(prefix)

    @classmethod
    def parse(cls, entries: Iterable[str]) -> CidrSet:
        """Build a set from CIDR texts.

        Args:
            entries: as ``parse_network`` takes them.

        Raises:
            ValueError: names every bad entry, joined by ``, ``, each as ``{entry}: {entry} is not …``.
        """
        entries = tuple(entries)
        prefixes: list[str] = []
        problems: list[str] = []
        for entry in entries:
            try:
                prefixes.extend(parse_network(entry))
            except ValueError as error:
                problems.append(f"{entry}: {error}")
        if problems:
            raise ValueError(", ".join(problems))
        return cls(entries, prefixes)

    def __contains__(self, ip: object) -> bool:
        """Whether an IP (text, or an ``ipaddress`` object; no port) lies in one of the networks."""
        text = str(ip)
        known = self._cache.get(text)
        if known is None:
            address = unmapped(ipaddress.ip_address(text))
            known = self._tree.search_best(packed=address.packed) is not None
            if len(self._cache) >= self._CACHE_LIMIT:
                self._cache.clear()
            self._cache[text] = known
        return known

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CidrSet) and set(self._entries) == set(other._entries)

    def __hash__(self) -> int:
        return hash(frozenset(self._entries))

    def __repr__(self) -> str:
        return f"CidrSet({list(self._entries)!r})"


class CidrMap(Generic[V]):
    """An immutable map from networks of both families to values; the longest prefix decides.

    Two keys may be the same network in other words, such as ``any`` and ``0.0.0.0/0``: then the one that
    names it wins over ``any``, and otherwise the later in the alphabet, as Lua's tables have no order.

    Args:
        entries: values by CIDR text, as ``parse_network`` takes them.

    Raises:
        ValueError: names every bad key, joined by ``, ``, each as ``{key}: {key} is not …``.
    """

    __slots__ = ("_entries", "_tree")

    def __init__(self, entries: Mapping[str, V]) -> None:
        self._entries = dict(entries)
        self._tree = radix.Radix()
        problems: list[str] = []
        for text in sorted(entries, key=lambda key: (key != "any", key)):
            try:
                prefixes = parse_network(text, names_nearest=False)
            except ValueError as error:
                problems.append(f"{text}: {error}")
                continue
            for prefix in prefixes:
                self._tree.add(prefix).data["value"] = entries[text]
        if problems:
            raise ValueError(", ".join(problems))

    def get(self, ip: str) -> V | None:
        """The value of the longest prefix that holds an IP (text without port); None when none does."""
        node = self._tree.search_best(packed=unmapped(ipaddress.ip_address(ip)).packed)
        if node is None:
            return None
        value: V = node.data["value"]
        return value

    def items(self) -> Iterable[tuple[str, V]]:
        """CIDR texts and values, as given."""
        return self._entries.items()

    def __len__(self) -> int:
        return len(self._entries)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CidrMap) and self._entries == other._entries

    # Values may be unhashable; nobody needs a map as a key.
    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"CidrMap({self._entries!r})"
