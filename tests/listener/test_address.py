"""Where a listener may listen."""

from __future__ import annotations

import socket

import pytest

from kumo.errors import TransportError
from kumo.listener.address import bind, plain_ip


async def test_an_address_that_is_none_is_refused_like_one_that_cannot_be_had() -> None:
    with pytest.raises(TransportError, match=r"^failed to bind to 127\.0\.0\.1: invalid socket address"):
        await bind("127.0.0.1")


async def test_taken_port_is_refused_with_the_systems_words() -> None:
    with await bind("127.0.0.1:0") as first:
        listen = f"127.0.0.1:{first.getsockname()[1]}"
        with pytest.raises(TransportError) as raised:
            await bind(listen)
    assert str(raised.value) == f"failed to bind to {listen}: Address already in use (os error 98)"


async def test_unknown_host_is_refused() -> None:
    with pytest.raises(
        TransportError, match=r"^failed to bind to a\.b\.invalid:25: failed to lookup address"
    ):
        await bind("a.b.invalid:25")


@pytest.mark.parametrize(
    ("listen", "ip"), [("0:0", "0.0.0.0"), ("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1"), ("[::]:0", "::")]
)
async def test_bind_takes_any_free_port(listen: str, ip: str) -> None:
    with await bind(listen) as bound:
        assert bound.getsockname()[0] == ip
        assert bound.getsockname()[1] != 0
        assert bound.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
        assert bound.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) == 1
        assert bound.proto == socket.IPPROTO_TCP
        assert not bound.getblocking()


async def test_a_socket_that_is_there_already_is_used_instead() -> None:
    asked = []
    with socket.socket(socket.AF_INET6) as ready:

        def claim(family: int, address: tuple[object, ...]) -> socket.socket:
            asked.append((family, address))
            return ready

        assert await bind("[::1]:25", claim) is ready
    assert asked == [(socket.AF_INET6, ("::1", 25, 0, 0))]


async def test_where_none_is_there_one_is_bound() -> None:
    with await bind("127.0.0.1:0", lambda _family, _address: None) as bound:
        assert bound.getsockname()[0] == "127.0.0.1"


async def test_addresses_of_a_host_are_tried_until_one_binds(monkeypatch: pytest.MonkeyPatch) -> None:
    """192.0.2.1 is nobody's address (RFC 5737), so that it cannot be bound."""

    async def two_addresses(*_arguments: object, **_keywords: object) -> list[tuple[object, ...]]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
        ]

    class Running:
        getaddrinfo = staticmethod(two_addresses)

    monkeypatch.setattr("kumo.listener.address.asyncio.get_running_loop", Running)
    with await bind("two.example:0") as bound:
        assert bound.getsockname()[0] == "127.0.0.1"


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:0:1", "::ffff:0:1"),
    ],
)
def test_plain_ip_unmaps_and_drops_zone_ids(given: str, plain: str) -> None:
    assert plain_ip(given) == plain
