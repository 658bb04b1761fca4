"""The port for probes and scrapers: ``/livez``, ``/readyz``, ``/metrics`` and ``/metrics/chargers``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping

from aiohttp import web

from wattbridge.operation.metrics import ChargePointState, Metrics

# aiohttp tells of every broken request in several lines, in the words of whoever sent it.
QUIET = logging.getLogger("wattbridge.ports")
QUIET.disabled = True


class HealthPort:
    """Serves these pages on one address.

    ``checks`` are what has to be well for the gateway to take messages, each with the causes why it is not,
    a line each. That one central system is away is no such cause: the fleet's other charge points still need
    the gateway.
    ``charge_points`` gives what is told of each charge point, and of how many at most; None where nothing is.
    """

    def __init__(
        self,
        host: str,
        port: int,
        metrics: Metrics,
        checks: Callable[[], Mapping[str, list[str]]],
        charge_points: Callable[[], tuple[Iterable[ChargePointState], int] | None] = lambda: None,
    ) -> None:
        self._host = host
        self.port = port
        self._metrics = metrics
        self._checks = checks
        self._charge_points = charge_points
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Bind the address. Raises OSError when it is taken."""
        pages = web.Application(client_max_size=1024)
        pages.router.add_get("/livez", self._livez)
        pages.router.add_get("/", self._index)
        pages.router.add_get("/readyz", self._readyz)
        pages.router.add_get("/metrics", self._page)
        pages.router.add_get("/metrics/chargers", self._page_of_charge_points)
        pages.on_response_prepare.append(_keep_versions_to_ourselves)
        # At the end nobody is waited for: who asks for metrics then asks somebody else.
        self._runner = web.AppRunner(
            pages, access_log=None, logger=QUIET, keepalive_timeout=75.0, shutdown_timeout=0.5
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self.port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _index(self, request: web.Request) -> web.Response:
        return web.Response(text="/livez /readyz /metrics /metrics/chargers\n")

    async def _livez(self, request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, request: web.Request) -> web.Response:
        checks = self._checks()
        causes = [cause for each in checks.values() for cause in each]
        if "verbose" in request.query:
            lines = [f"{name}: {'; '.join(each) or 'ok'}" for name, each in checks.items()]
        else:
            lines = causes or ["ok"]
        return web.Response(status=503 if causes else 200, text="".join(f"{line}\n" for line in lines))

    async def _page(self, request: web.Request) -> web.Response:
        page, media_type = self._metrics.page_for(request.headers.get("Accept", ""))
        return web.Response(body=page, headers={"Content-Type": media_type})

    async def _page_of_charge_points(self, request: web.Request) -> web.Response:
        told = self._charge_points()
        if told is None:
            return web.Response(status=404, text="charge points are not told of: set metrics.per_charger\n")
        page, media_type = self._metrics.page_of_charge_points(*told, request.headers.get("Accept", ""))
        return web.Response(body=page, headers={"Content-Type": media_type})


async def _keep_versions_to_ourselves(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = "wattbridge"
