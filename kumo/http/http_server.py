"""One HTTP listener: liveness for whoever watches the daemon, metrics for whoever scrapes it.

``kumo.server`` makes one for each ``kumo.start_http_listener`` of the policy. aiohttp takes a quarter of
a second and 27 MB to import, so it is imported when a listener starts and not before.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

from kumo.config import CidrSet, HttpListener, parse_socket_address
from kumo.errors import LocalProtocolError, TransportError
from kumo.maybe_awaitable import MaybeAwaitable, is_awaitable
from kumo.message import print_socket_address
from kumo.metrics import Family

if TYPE_CHECKING:
    from aiohttp import web

    _Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_logger = logging.getLogger("kumod.http")

_SHUTDOWN_TIMEOUT = 2.0
"""Seconds that requests in hand get to finish."""


class MetricsSource(Protocol):
    """Whoever knows what is counted: ``kumo.metrics``, or the supervisor of several processes."""

    def families(self) -> MaybeAwaitable[Iterable[Family]]:
        """Every metric with the values of this moment."""


class HttpServer:
    """One listener.

    Args:
        config: its parameters.
        liveness: asked at each liveness check; None when all is well, else why not.
        metrics: what ``/metrics`` shows.
        claim: gives a listening socket that somebody else opened, for a family and an address as the
            resolver has them; None where there is none.

    Source: KumoMTA manual, kumo.start_http_listener.
    """

    def __init__(
        self,
        config: HttpListener,
        liveness: Callable[[], str | None],
        metrics: MetricsSource,
        claim: Callable[[int, tuple[Any, ...]], socket.socket | None] | None = None,
    ) -> None:
        self._config = config
        self._claim = claim
        self._liveness = liveness
        self._metrics = metrics
        self._runner: web.AppRunner | None = None
        self._addresses: tuple[str, ...] = ()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens, with the port that was really taken."""
        return self._addresses

    async def start(self) -> None:
        """Bind and begin to serve.

        Raises:
            TransportError: ``failed to bind to {listen}: {why}``.
        """
        from aiohttp import web  # noqa: PLC0415 - see the module's docstring

        if self._runner is not None:
            raise LocalProtocolError("the listener was started already")
        config = self._config
        application = web.Application(
            middlewares=[_gate(config.trusted_hosts, config.request_body_limit)],
            client_max_size=config.request_body_limit,
        )
        application.router.add_get("/api/check-liveness/v1", self._check_liveness, allow_head=False)
        application.router.add_get("/metrics", self._show_metrics, allow_head=False)
        runner = web.AppRunner(
            application, handle_signals=False, access_log=None, shutdown_timeout=_SHUTDOWN_TIMEOUT
        )
        await runner.setup()
        try:
            host, port = parse_socket_address(config.listen)
            claimed = await self._claimed(host, port)
            site = web.TCPSite(runner, host, port) if claimed is None else web.SockSite(runner, claimed)
            await site.start()
        except (OSError, ValueError) as error:
            await runner.cleanup()
            raise TransportError.while_binding(config.listen, error) from error
        self._runner = runner
        self._addresses = tuple(print_socket_address(ip, port) for ip, port, *_ in runner.addresses)
        for address in self._addresses:
            _logger.info("http listener on %s", address)

    async def _claimed(self, host: str, port: int) -> socket.socket | None:
        """A socket that was opened for one of the host's addresses before this process began."""
        if self._claim is None:
            return None
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        claims = (self._claim(family, address) for family, _, _, _, address in found)
        return next((claimed for claimed in claims if claimed is not None), None)

    async def stop(self) -> None:
        """Stop serving; requests in hand are finished or, after two seconds, dropped. Idempotent."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _check_liveness(self, _request: web.Request) -> web.StreamResponse:
        from aiohttp import web  # noqa: PLC0415

        reason = self._liveness()
        if reason is None:
            return web.Response(text="OK")
        return web.Response(status=503, text=reason)

    async def _show_metrics(self, request: web.Request) -> web.StreamResponse:
        from aiohttp import web  # noqa: PLC0415

        from kumo.http.exposition import CONTENT_TYPE, render  # noqa: PLC0415

        families = self._metrics.families()
        if is_awaitable(families):
            families = await families
        response = web.StreamResponse(headers={"Content-Type": CONTENT_TYPE})
        response.enable_compression()
        with contextlib.suppress(ConnectionResetError):  # a scraper that gave up is nobody's fault
            await response.prepare(request)
            for part in render(families):
                await response.write(part)
                # Writing to a fast client never waits; the sessions want their turn all the same.
                await asyncio.sleep(0)
            await response.write_eof()
        return response


def _gate(trusted_hosts: CidrSet, body_limit: int) -> Any:
    from aiohttp import web  # noqa: PLC0415

    @web.middleware
    async def admit(request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Let in who is trusted and does not bring too much."""
        if request.remote is None or request.remote not in trusted_hosts:
            return web.Response(status=401, text="Unauthorized")
        if request.content_length is not None and request.content_length > body_limit:
            return web.Response(status=413, text=f"the body may have {body_limit} octets")
        return await handler(request)

    return admit
