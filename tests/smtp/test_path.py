"""Envelope addresses: normal forms and printing."""

from __future__ import annotations

import pytest

from kumo.smtp import (
    NULL_REVERSE_PATH,
    POSTMASTER,
    EnvelopeAddress,
    envelope_address,
    normalise_domain,
    parse_envelope_address,
    path,
    replies,
)
from kumo.smtp.path import normalise_greeting, print_address_literal
from kumo_core import Path


@pytest.mark.parametrize(
    ("typed", "normal"),
    [
        ("EXAMPLE.Com", "example.com"),
        ("xn--BCHER-KVA.example", "xn--bcher-kva.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.EXAMPLE", "xn--bcher-kva.example"),
        ("bu\u0308cher.example", "xn--bcher-kva.example"),
        ("faß.example", "xn--fa-hia.example"),
        ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
        ("\uff45\uff58\uff41\uff4d\uff50\uff4c\uff45.com", "example.com"),
        ("☃.net", "xn--n3h.net"),
        ("Foo_Bar.Example", "Foo_Bar.Example"),
        ("a--b.example", "a--b.example"),
        ("123.456", "123.456"),
        ("localhost", "localhost"),
        ("x" * 63, "x" * 63),
        (".".join(["a" * 63] * 3 + ["b" * 63]), ".".join(["a" * 63] * 3 + ["b" * 63])),
    ],
)
def test_domains_are_normalised(typed: str, normal: str) -> None:
    assert normalise_domain(typed) == normal
    assert normalise_domain(normal) == normal


@pytest.mark.parametrize(
    "domain",
    [
        "ü_b.example",
        "ü..example",
        "ü。",
        "ex\uff0fam.ü",
        "\uff1cü\uff1e.example",
        "ü\u2028.example",
        "xn--ü.example",
        "\u0300ü.example",
        "x" * 64 + ".example",
        "ü" * 64,
        ".".join(["a" * 63] * 4) + "." + "b",
        "\u05d0☃a.example",
        "",
    ],
)
def test_names_that_dns_could_not_hold_are_refused(domain: str) -> None:
    with pytest.raises(ValueError, match="invalid domain"):
        normalise_domain(domain)


@pytest.mark.parametrize(
    ("typed", "printed"),
    [
        ("[192.0.2.1]", "[192.0.2.1]"),
        ("[ipv6:2001:DB8:0::1]", "[IPv6:2001:db8::1]"),
        ("[IPV6:0:0:0:0:0:0:0:1]", "[IPv6:::1]"),
        ("[tag:Content]", "[tag:Content]"),
    ],
)
def test_address_literals_print_one_way(typed: str, printed: str) -> None:
    assert print_address_literal(typed) == printed
    assert normalise_greeting(typed) == printed


@pytest.mark.parametrize("literal", ["[IPv6:nonsense]", "[IPv6:fe80::1%eth0]", "[IPv6:]"])
def test_an_ipv6_literal_that_is_no_address_is_refused(literal: str) -> None:
    with pytest.raises(ValueError):
        print_address_literal(literal)


def test_a_greeting_may_be_a_name() -> None:
    assert normalise_greeting("BÜCHER.example") == "xn--bcher-kva.example"


@pytest.mark.parametrize(
    ("path", "address"),
    [
        (Path("", "", False), NULL_REVERSE_PATH),
        (Path("Postmaster", "", False), POSTMASTER),
        (Path("User", "EXAMPLE.com", False), EnvelopeAddress("User", "example.com")),
        (Path("user", "[IPv6:::1]", True), EnvelopeAddress("user", "[IPv6:::1]")),
        (Path('"a b"', "example.com", False), EnvelopeAddress('"a b"', "example.com")),
    ],
)
def test_paths_become_addresses(path: Path, address: EnvelopeAddress) -> None:
    assert envelope_address(path) == address


@pytest.mark.parametrize(
    ("address", "email", "user", "is_null"),
    [
        (NULL_REVERSE_PATH, "", "", True),
        (POSTMASTER, "Postmaster", "postmaster", False),
        (EnvelopeAddress("User", "example.com"), "User@example.com", "User", False),
        (EnvelopeAddress('"a \\"b\\\\"', "example.com"), '"a \\"b\\\\"@example.com', 'a "b\\', False),
        (EnvelopeAddress('""', "example.com"), '""@example.com', "", False),
        (EnvelopeAddress('"Postmaster"', "[192.0.2.1]"), '"Postmaster"@[192.0.2.1]', "Postmaster", False),
    ],
)
def test_addresses_print_and_tell_their_user(
    address: EnvelopeAddress, email: str, user: str, is_null: bool
) -> None:
    assert (address.email, str(address), address.user, address.is_null) == (email, email, user, is_null)
    assert parse_envelope_address(email) == address


def test_addresses_are_values() -> None:
    one = EnvelopeAddress("User", "example.com")
    evaluated = eval(repr(one), {"EnvelopeAddress": EnvelopeAddress})  # noqa: S307 - our own text
    assert evaluated == one
    assert hash(evaluated) == hash(one)
    others = [
        EnvelopeAddress("user", "example.com"),
        EnvelopeAddress("User", "example.org"),
        "User@example.com",
    ]
    assert all(other != one for other in others)


@pytest.mark.parametrize("text", ["postmaster", "POSTMASTER"])
def test_postmaster_is_read_in_any_case(text: str) -> None:
    assert parse_envelope_address(text) is POSTMASTER


@pytest.mark.parametrize(
    "text", ["user", "a@b@c", "<a@b>", "a@", "@b", "a b@c", "a@b\n", "a@\x00", "a@b_ü", "\ud800@b"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_envelope_address(text)


def kept() -> int:
    functions = (path._kept_envelope_address, path._normalise_domain, replies._kept_address_accepted)
    return sum(function.cache_info().currsize for function in functions)


def test_what_is_remembered_of_addresses_has_a_bound() -> None:
    """The line's limit may be large, and the peer chooses what stands in it."""
    before = kept()
    for number in range(10):
        local_part = f"{number}{'x' * 320}"
        assert envelope_address(Path(local_part, "", False)) == POSTMASTER
        assert replies.address_accepted(local_part).encode() == f"250 OK <{local_part}>\r\n".encode()
        with pytest.raises(ValueError, match="invalid domain"):
            normalise_domain("x." * 40_000 + f"example{number}")
    # Of the domains, that there was one too long.
    assert kept() <= before + 1
