"""The admin API: what an operator, or a program, asks of a running gateway. Every request needs the token.

Paths and answers are JSON; what goes wrong is an RFC 9457 problem. What the gateway does for a request is its
own business: here are only HTTP and words.
"""

from __future__ import annotations

import hmac
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import orjson
from aiohttp import web

from wattbridge.operation.health import QUIET

LARGEST_REQUEST = 64 * 1024  # bytes
MOST_SESSIONS = 1000  # in one answer


class Refusal(Exception):
    """The gateway will not: an HTTP status, a word of ``reasons.REASONS``, a sentence, and more to say."""

    def __init__(self, status: int, reason: str, detail: str, **more: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.reason = reason
        self.detail = detail
        self.more = more


class Gateway(Protocol):
    """What can be asked for. Answers are what stands in the JSON; each may raise Refusal."""

    def info(self) -> dict[str, Any]: ...

    async def reload(self, *, move: bool) -> dict[str, Any]: ...

    async def check(self) -> dict[str, Any]: ...

    def list_routes(self) -> list[dict[str, Any]]: ...

    def test_route(self, asked: dict[str, Any]) -> dict[str, Any]: ...

    def list_sessions(self, after: str, most: int) -> list[dict[str, Any]]: ...

    def move(self, identity: str) -> dict[str, Any]: ...


class AdminPort:
    """Serves the API on one address, to whoever has the token, which may be changed while it runs."""

    def __init__(
        self, host: str, port: int, token: str, gateway: Gateway, tls: ssl.SSLContext | None = None
    ) -> None:
        self._host = host
        self.port = port
        self.token = token
        self.tls = tls
        self._gateway = gateway
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Bind the address. Raises OSError when it is taken."""
        pages = web.Application(client_max_size=LARGEST_REQUEST, middlewares=[self._guard])
        pages.router.add_get("/api/v1/info", self._info)
        pages.router.add_post("/api/v1/config/reload", self._reload)
        pages.router.add_post("/api/v1/config/check", self._check)
        pages.router.add_get("/api/v1/routes", self._routes)
        pages.router.add_post("/api/v1/routes/test", self._test_route)
        pages.router.add_get("/api/v1/sessions", self._sessions)
        pages.router.add_post("/api/v1/chargers/{identity}/move", self._move)
        self._runner = web.AppRunner(
            pages, access_log=None, logger=QUIET, keepalive_timeout=75.0, shutdown_timeout=0.5
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self.port, ssl_context=self.tls).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        try:
            # Before anything else, so that nobody learns without it which paths there are.
            self._authenticate(request)
            response = await handler(request)
        except Refusal as refusal:
            response = _problem(refusal)
        except web.HTTPException as known:
            response = _problem(Refusal(known.status, "unsupported", known.reason))
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

    async def _info(self, request: web.Request) -> web.Response:
        return _json(self._gateway.info())

    async def _reload(self, request: web.Request) -> web.Response:
        return _json(await self._gateway.reload(move=_flag(request, "move")))

    async def _check(self, request: web.Request) -> web.Response:
        return _json(await self._gateway.check())

    async def _routes(self, request: web.Request) -> web.Response:
        return _json({"routes": self._gateway.list_routes()})

    async def _test_route(self, request: web.Request) -> web.Response:
        try:
            asked = orjson.loads(await request.read())
        except orjson.JSONDecodeError as bad:
            raise Refusal(400, "malformed", f"the body is not JSON: {bad}") from None
        if not isinstance(asked, dict):
            raise Refusal(400, "malformed", 'expected an object, such as {"charger": "CP1"}')
        return _json(self._gateway.test_route(asked))

    async def _sessions(self, request: web.Request) -> web.Response:
        limit = request.query.get("limit", str(MOST_SESSIONS))
        if not limit.isascii() or not limit.isdecimal() or not 0 < int(limit[:9]) <= MOST_SESSIONS:
            raise Refusal(400, "malformed", f"limit: found {limit[:60]!r}, expected 1 to {MOST_SESSIONS}")
        most = int(limit)
        found = self._gateway.list_sessions(request.query.get("cursor", ""), most)
        answer: dict[str, Any] = {"sessions": found}
        if len(found) == most:
            answer["cursor"] = found[-1]["charger"]
        return _json(answer)

    async def _move(self, request: web.Request) -> web.Response:
        return _json(self._gateway.move(request.match_info["identity"]))


def _flag(request: web.Request, name: str) -> bool:
    value = request.query.get(name, "0").lower()
    if value in ("1", "true", "yes", ""):
        return True
    if value in ("0", "false", "no"):
        return False
    raise Refusal(400, "malformed", f"{name}: found {value[:60]!r}, expected 1 or 0")


def _json(answer: Any) -> web.Response:
    return web.Response(body=orjson.dumps(answer), content_type="application/json")


def _problem(refusal: Refusal) -> web.Response:
    body = {"status": refusal.status, "title": refusal.detail, "reason": refusal.reason, **refusal.more}
    return web.Response(
        status=refusal.status, body=orjson.dumps(body), content_type="application/problem+json"
    )
