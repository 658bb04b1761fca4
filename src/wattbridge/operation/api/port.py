"""The port that serves the admin API, to whoever has the token."""

from __future__ import annotations

import hmac
import ssl
from collections.abc import Iterable

from aiohttp import web

from wattbridge.operation.api.pages import LARGEST_REQUEST, Handler, Page
from wattbridge.operation.api.refusals import Refusal, problem
from wattbridge.operation.health import QUIET

ROOT = "/api/v1"


class AdminPort:
    """Serves *pages* on one address, to whoever has the token, which may be changed while it runs."""

    def __init__(
        self, host: str, port: int, token: str, pages: Iterable[Page], tls: ssl.SSLContext | None = None
    ) -> None:
        self._host = host
        self.port = port
        self.token = token
        self.tls = tls
        self._pages = list(pages)
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Bind the address. Raises OSError when it is taken."""
        app = web.Application(client_max_size=LARGEST_REQUEST, middlewares=[self._guard])
        for page in self._pages:
            app.router.add_route(page.method, f"{ROOT}{page.path}", page.answer)
        self._runner = web.AppRunner(
            app, access_log=None, logger=QUIET, keepalive_timeout=75.0, shutdown_timeout=0.5
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self.port, ssl_context=self.tls).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        response: web.StreamResponse
        try:
            # Before anything else, so that nobody learns without it which paths there are.
            self._authenticate(request)
            response = await handler(request)
        except Refusal as refusal:
            response = problem(refusal)
        except web.HTTPException as known:
            response = problem(Refusal(known.status, "unsupported", known.reason))
            if "Allow" in known.headers:
                response.headers["Allow"] = known.headers["Allow"]
        response.headers["Server"] = "wattbridge"
        response.headers["Cache-Control"] = "no-store"
        return response

    def _authenticate(self, request: web.Request) -> None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        right = hmac.compare_digest(token.strip().encode(errors="replace"), self.token.encode())
        if scheme.lower() != "bearer" or not right:
            raise Refusal(401, "auth", "the token is missing or wrong: Authorization: Bearer TOKEN")
