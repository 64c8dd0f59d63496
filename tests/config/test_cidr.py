from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kumo.config import CidrMap, CidrSet, parse_network, unmapped


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


def test_the_nearest_network_is_named_on_request_only() -> None:
    with pytest.raises(ValueError) as caught:
        parse_network("10.0.0.1/8", names_nearest=False)
    assert str(caught.value) == "10.0.0.1/8 is not a valid CIDR: host part of address was not zero"


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


NESTED = ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3", "any", "2001:db8::/32", "2001:db8::1"]


@pytest.mark.parametrize("keys", [NESTED, NESTED[::-1], sorted(NESTED)], ids=["out", "in", "sorted"])
@pytest.mark.parametrize(
    ("ip", "key"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("10.1.2.4", "10.1.2.0/24"),
        ("10.1.3.4", "10.1.0.0/16"),
        ("10.2.3.4", "10.0.0.0/8"),
        ("192.0.2.1", "any"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("::ffff:192.0.2.1", "any"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:db8::2", "2001:db8::/32"),
        ("a01:203::1", "any"),
        ("::1", "any"),
    ],
)
def test_the_longest_prefix_decides_whatever_the_order(keys: list[str], ip: str, key: str) -> None:
    assert CidrMap({text: text for text in keys}).get(ip) == key


@pytest.mark.parametrize(
    ("keys", "ip", "key"),
    [
        (["0.0.0.0/0"], "::1", None),
        (["::/0"], "127.0.0.1", None),
        (["::/0"], "::ffff:127.0.0.1", None),
        (["2000::/3"], "32.1.2.3", None),
        (["::ffff:10.0.0.0/104"], "10.1.2.3", "::ffff:10.0.0.0/104"),
        (["10.0.0.0/8"], "11.0.0.1", None),
        (["127.0.0.1"], "127.0.0.1", "127.0.0.1"),
        ([], "127.0.0.1", None),
    ],
)
def test_a_map_keeps_the_families_apart(keys: list[str], ip: str, key: str | None) -> None:
    assert CidrMap({text: text for text in keys}).get(ip) == key


@pytest.mark.parametrize(
    ("keys", "winner"),
    [
        (("any", "0.0.0.0/0"), "0.0.0.0/0"),
        (("10.0.0.1", "10.0.0.1/32"), "10.0.0.1/32"),
        (("2001:DB8::/32", "2001:db8::/32"), "2001:db8::/32"),
    ],
)
def test_of_two_keys_for_one_network_the_same_wins_in_each_order(keys: tuple[str, str], winner: str) -> None:
    ip = {"any": "192.0.2.1", "10.0.0.1": "10.0.0.1"}.get(keys[0], "2001:db8::5")
    for order in (keys, keys[::-1]):
        assert CidrMap({text: text for text in order}).get(ip) == winner


def test_a_map_names_all_its_bad_keys_and_suggests_nothing() -> None:
    with pytest.raises(ValueError) as caught:
        CidrMap({"10.0.0.1/8": 1, "127.0.0.1": 2, "localhost": 3})
    text = str(caught.value)
    assert text.startswith("10.0.0.1/8: 10.0.0.1/8 is not a valid CIDR: host part of address was not zero, ")
    assert "localhost: localhost is not a valid CIDR: couldn't parse address in network: " in text


def test_a_map_is_a_value() -> None:
    one, other = CidrMap({"10.0.0.0/8": [1], "any": [2]}), CidrMap({"any": [2], "10.0.0.0/8": [1]})
    assert one == other
    assert one != CidrMap({"any": [2]})
    assert one != {"10.0.0.0/8": [1], "any": [2]}
    assert len(one) == 2
    assert dict(one.items()) == {"10.0.0.0/8": [1], "any": [2]}
    assert repr(one) == "CidrMap({'10.0.0.0/8': [1], 'any': [2]})"
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)), st.integers(0, 128)), max_size=6
    ),
    st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)),
)
def test_a_map_agrees_with_ipaddress(
    bases: list[tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]],
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    networks = {
        ipaddress.ip_network((base, min(length, base.max_prefixlen)), strict=False) for base, length in bases
    }
    # What holds IPv4-mapped addresses is rewritten, which other tests are about.
    networks = {net for net in networks if net.version == 4 or net.network_address.ipv4_mapped is None}
    plain = unmapped(ip)
    holding = [net for net in networks if net.version == plain.version and plain in net]
    best = max(holding, key=lambda net: net.prefixlen, default=None)
    assert CidrMap({str(net): net for net in networks}).get(str(ip)) == best
