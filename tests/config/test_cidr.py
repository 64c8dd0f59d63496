from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kumo.config import CidrSet, parse_network, unmapped


@pytest.mark.parametrize(
    ("text", "prefixes"),
    [
        ("any", ("0.0.0.0/0", "::/0")),
        ("127.0.0.1", ("127.0.0.1",)),
        ("::1", ("::1",)),
        ("10.0.0.0/8", ("10.0.0.0/8",)),
        ("2001:db8::/32", ("2001:db8::/32",)),
        ("0.0.0.0/0", ("0.0.0.0/0",)),
        ("10.1.2.3/32", ("10.1.2.3/32",)),
        ("2001:DB8:0::1", ("2001:db8::1",)),
        ("::ffff:10.0.0.1", ("10.0.0.1",)),
        ("::ffff:10.0.0.0/104", ("10.0.0.0/8",)),
    ],
)
def test_networks_have_a_canonical_form(text: str, prefixes: tuple[str, ...]) -> None:
    assert parse_network(text) == prefixes


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("10.0.0.1/8", "host part of address was not zero. Did you mean 10.0.0.0/8?"),
        ("2001:db8::1/32", "host part of address was not zero. Did you mean 2001:db8::/32?"),
        ("10/8", "couldn't parse address in network: "),
        ("127.1", "couldn't parse address in network: "),
        ("0x7f.0.0.1", "couldn't parse address in network: "),
        ("010.0.0.1", "couldn't parse address in network: "),
        ("fe80::1%eth0", "couldn't parse address in network: a zone id is not allowed"),
        ("localhost", "couldn't parse address in network: "),
        ("", "couldn't parse address in network: "),
        (" 10.0.0.1", "couldn't parse address in network: "),
        ("10.0.0.0/x", "couldn't parse length in network: "),
        ("10.0.0.0/", "couldn't parse length in network: "),
        ("10.0.0.0/-1", "couldn't parse length in network: "),
        ("10.0.0.0/٨", "couldn't parse length in network: "),
        ("10.0.0.0/" + "9" * 5000, "couldn't parse length in network: "),
        ("10.0.0.0/33", "invalid length for network: 33 is more than 32"),
        ("::/129", "invalid length for network: 129 is more than 128"),
        ("Any", "couldn't parse address in network: "),
    ],
)
def test_bad_networks_say_what_is_wrong(text: str, why: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_network(text)
    assert str(caught.value).startswith(f"{text} is not a valid CIDR: {why}")


def test_a_set_names_all_its_bad_entries() -> None:
    with pytest.raises(ValueError) as caught:
        CidrSet.parse(["10.0.0.1/8", "127.0.0.1", "::/129"])
    assert str(caught.value) == (
        "10.0.0.1/8: 10.0.0.1/8 is not a valid CIDR: host part of address was not zero. "
        "Did you mean 10.0.0.0/8?, "
        "::/129: ::/129 is not a valid CIDR: invalid length for network: 129 is more than 128"
    )


@pytest.mark.parametrize(
    ("entries", "ip", "inside"),
    [
        (["127.0.0.1", "::1"], "127.0.0.1", True),
        (["127.0.0.1", "::1"], "127.0.0.2", False),
        (["0.0.0.0/0"], "::1", False),
        (["::/0"], "127.0.0.1", False),
        (["2000::/3"], "32.1.2.3", False),
        (["any"], "192.0.2.9", True),
        (["any"], "2001:db8::9", True),
        (["10.0.0.0/8"], "::ffff:10.1.2.3", True),
        (["::ffff:10.0.0.0/104"], "10.1.2.3", True),
        (["10.0.0.0/8", "10.1.0.0/16"], "10.2.0.1", True),
        ([], "127.0.0.1", False),
    ],
)
def test_membership_keeps_the_families_apart(entries: list[str], ip: str, inside: bool) -> None:
    cidr_set = CidrSet.parse(entries)
    assert (ip in cidr_set) is inside
    assert (ip in cidr_set) is inside, "the cached answer is the same"
    assert (ipaddress.ip_address(ip) in cidr_set) is inside


def test_many_lookups_do_not_grow_the_cache_without_bound() -> None:
    cidr_set = CidrSet.parse(["10.0.0.0/8"])
    for number in range(3000):
        assert str(ipaddress.IPv4Address(0x0A000000 + number)) in cidr_set
    assert len(cidr_set._cache) <= CidrSet._CACHE_LIMIT


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)), max_size=4),
    st.integers(0, 32),
    st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)),
)
def test_membership_agrees_with_ipaddress(
    bases: list[ipaddress.IPv4Address | ipaddress.IPv6Address],
    length: int,
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    networks = [ipaddress.ip_network((base, length), strict=False) for base in bases]
    cidr_set = CidrSet.parse(map(str, networks))
    plain = unmapped(ip)
    expected = any(network.version == plain.version and plain in network for network in networks)
    assert (str(ip) in cidr_set) is expected
