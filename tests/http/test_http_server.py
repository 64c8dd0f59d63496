"""Liveness, metrics, and who may see them."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import aiohttp
import pytest

from kumo.config import CidrSet
from kumo.errors import LocalProtocolError, TransportError
from kumo.metrics import Family


async def test_daemon_that_is_well_says_so(http_house: Any) -> None:
    server = await http_house.start()
    assert await http_house.get(server, "/api/check-liveness/v1") == (200, "OK")


async def test_daemon_that_is_unwell_says_why(http_house: Any) -> None:
    server = await http_house.start()
    http_house.trouble = "storage is too full"
    assert await http_house.get(server, "/api/check-liveness/v1") == (503, "storage is too full")
    http_house.trouble = None
    assert await http_house.get(server, "/api/check-liveness/v1") == (200, "OK")


async def test_metrics_are_shown_in_prometheus_text(http_house: Any) -> None:
    http_house.metrics.total_messages_received["esmtp_listener"] += 3
    server = await http_house.start()
    async with http_house.client.get(f"http://{server.addresses[0]}/metrics") as response:
        assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert 'total_messages_received{service="esmtp_listener"} 3.0\n' in await response.text()


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "identity"])
async def test_metrics_are_compressed_as_the_client_likes(http_house: Any, encoding: str) -> None:
    server = await http_house.start()
    url = f"http://{server.addresses[0]}/metrics"
    async with http_house.client.get(url, headers={"Accept-Encoding": encoding}) as response:
        assert response.headers.get("Content-Encoding", "identity") == encoding
        assert "scheduled_count_total 0.0\n" in await response.text()


@pytest.mark.parametrize(
    ("trusted", "listen", "status"),
    [
        (["127.0.0.1", "::1"], "127.0.0.1:0", 200),
        (["127.0.0.0/8"], "0:0", 200),
        (["::1"], "[::1]:0", 200),
        ([], "127.0.0.1:0", 401),
        (["10.0.0.0/8", "::1"], "127.0.0.1:0", 401),
        (["127.0.0.1"], "[::1]:0", 401),
    ],
)
@pytest.mark.parametrize("path", ["/metrics", "/api/check-liveness/v1"])
async def test_only_trusted_hosts_are_let_in(
    http_house: Any, path: str, trusted: list[str], listen: str, status: int
) -> None:
    server = await http_house.start(listen=listen, trusted_hosts=CidrSet.parse(trusted))
    assert (await http_house.get(server, path))[0] == status


async def test_untrusted_hosts_learn_no_paths(http_house: Any) -> None:
    server = await http_house.start(trusted_hosts=CidrSet.parse([]))
    assert (await http_house.get(server, "/nothing"))[0] == 401


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("GET", "/metrics/x", 404), ("POST", "/metrics", 405), ("HEAD", "/metrics", 405)],
)
async def test_other_requests_are_refused(http_house: Any, method: str, path: str, status: int) -> None:
    server = await http_house.start()
    async with http_house.client.request(method, f"http://{server.addresses[0]}{path}") as response:
        assert response.status == status


@pytest.mark.parametrize(("octets", "status"), [(10, 200), (11, 413)])
async def test_bodies_over_the_limit_are_refused(http_house: Any, octets: int, status: int) -> None:
    server = await http_house.start(request_body_limit=10)
    body = b"x" * octets
    assert (await http_house.get(server, "/api/check-liveness/v1", data=body))[0] == status


async def test_scraper_that_gives_up_is_no_error(http_house: Any, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(20_000):
        http_house.metrics.scheduled_count[f"queue-{number}.example.com"] = number
    server = await http_house.start()
    host, _, port = server.addresses[0].rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    await writer.drain()
    await asyncio.sleep(0)
    writer.transport.abort()
    await server.stop()
    assert caplog.records == []


async def test_listener_says_where_it_is(http_house: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "kumod.http")
    server = await http_house.start(listen="127.0.0.1:0")
    assert caplog.messages == [f"http listener on {server.addresses[0]}"]
    assert server.addresses[0].startswith("127.0.0.1:")


async def test_taken_port_fails_to_start(http_house: Any) -> None:
    first = await http_house.start()
    second = http_house.make(listen=first.addresses[0])
    with pytest.raises(TransportError, match=f"^failed to bind to {first.addresses[0]}: .*in use"):
        await second.start()
    assert await http_house.get(first, "/api/check-liveness/v1") == (200, "OK")


async def test_bad_listen_address_is_refused(http_house: Any) -> None:
    with pytest.raises(TransportError, match=r"^failed to bind to \*:8000: invalid socket address"):
        await http_house.make(listen="*:8000").start()


async def test_listener_starts_once_and_stops_as_often_as_one_likes(http_house: Any) -> None:
    server = await http_house.start()
    with pytest.raises(LocalProtocolError):
        await server.start()
    await server.stop()
    await server.stop()


async def test_stopped_listener_serves_no_more(http_house: Any) -> None:
    server = await http_house.start()
    assert (await http_house.get(server, "/metrics"))[0] == 200
    await server.stop()
    with pytest.raises(aiohttp.ClientConnectionError):
        await http_house.get(server, "/metrics")


async def test_metrics_may_have_to_be_collected_first(http_house: Any) -> None:
    metrics = http_house.metrics

    class Collected:
        async def families(self) -> list[Family]:
            await asyncio.sleep(0)
            return list(metrics.families())

    http_house.metrics = Collected()
    metrics.total_messages_received["esmtp_listener"] += 3
    server = await http_house.start()
    status, text = await http_house.get(server, "/metrics")
    assert status == 200
    assert 'total_messages_received{service="esmtp_listener"} 3.0\n' in text
