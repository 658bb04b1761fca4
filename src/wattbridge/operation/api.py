"""The admin API: what an operator, or a program, asks of a running gateway. Every request needs the token.

Paths and answers are JSON; what goes wrong is an RFC 9457 problem. What the gateway does for a request is its
own business: here are only HTTP and words.
"""

from __future__ import annotations

import hmac
import json
import re
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import orjson
from aiohttp import web

from wattbridge.operation.health import QUIET
from wattbridge.store.base import Store

LARGEST_REQUEST = 64 * 1024  # bytes
MOST_ROWS = 1000  # in one answer
MOST_REPORTS = 100  # likewise; a report is as long as a hundred rows
LONGEST_NUMBER = 40  # digits; OCPP sets no bound to a transactionId


class Refusal(Exception):
    """The gateway will not: an HTTP status, a word of ``reasons.REASONS``, a sentence, and more to say."""

    def __init__(self, status: int, reason: str, detail: str, **more: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.reason = reason
        self.detail = detail
        self.more = more


class Deliveries(Protocol):
    """What the gateway keeps for central systems that were away, and what can be done about it.

    ``store`` has the rows, ``Waiting`` and ``Transaction``. The three others come back with False when there
    is no such message or transaction.
    """

    @property
    def store(self) -> Store: ...

    async def retry(self, identity: str, position: int) -> bool:
        """Send a message that waits or is parked at once."""
        ...

    async def drop(self, identity: str, position: int) -> bool:
        """Never send it."""
        ...

    async def set_remote_id(self, identity: str, local_id: int, remote_id: int) -> bool:
        """From now on a transaction has this number at its central system.

        Raises ValueError when that has given it one itself.
        """
        ...


class Gateway(Protocol):
    """What can be asked for. Answers are what stands in the JSON; each may raise Refusal."""

    def info(self) -> dict[str, Any]: ...

    async def reload(self, *, move: bool) -> dict[str, Any]: ...

    async def check(self) -> dict[str, Any]: ...

    def list_routes(self) -> list[dict[str, Any]]: ...

    def test_route(self, asked: dict[str, Any]) -> dict[str, Any]: ...

    def list_sessions(self, after: str, most: int) -> list[dict[str, Any]]: ...

    def move(self, identity: str) -> dict[str, Any]: ...

    async def list_chargers(self, after: str, most: int) -> list[dict[str, Any]]: ...

    async def list_reports(self, after: str, most: int) -> list[dict[str, Any]]: ...

    async def show_report(self, identity: str) -> dict[str, Any]: ...

    async def list_waiting(
        self, charger: str, state: str, after: tuple[str, int] | None, most: int
    ) -> list[dict[str, Any]]: ...

    async def show_waiting(self, identity: str, position: int) -> dict[str, Any]: ...

    async def retry(self, identity: str, position: int) -> dict[str, Any]: ...

    async def drop(self, identity: str, position: int) -> dict[str, Any]: ...

    async def list_transactions(
        self, charger: str, state: str, after: tuple[str, int] | None, most: int
    ) -> list[dict[str, Any]]: ...

    async def show_transaction(self, identity: str, number: int) -> dict[str, Any]: ...

    async def set_remote_id(self, identity: str, number: int, remote_id: int) -> dict[str, Any]: ...


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
        pages.router.add_get("/api/v1/chargers", self._chargers)
        pages.router.add_post("/api/v1/chargers/{identity}/move", self._move)
        pages.router.add_get("/api/v1/reports", self._list_reports)
        pages.router.add_get("/api/v1/reports/{charger}", self._report)
        pages.router.add_get("/api/v1/queue", self._queue)
        pages.router.add_get("/api/v1/queue/{charger}/{position}", self._show_waiting)
        pages.router.add_delete("/api/v1/queue/{charger}/{position}", self._drop)
        pages.router.add_post("/api/v1/queue/{charger}/{position}/retry", self._retry)
        pages.router.add_get("/api/v1/transactions", self._transactions)
        pages.router.add_get("/api/v1/transactions/{charger}/{number}", self._show_transaction)
        pages.router.add_put("/api/v1/transactions/{charger}/{number}", self._set_remote_id)
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
        return _json(self._gateway.test_route(await _object(request, {"charger": "CP1"})))

    async def _sessions(self, request: web.Request) -> web.Response:
        most = _limit(request)
        found = self._gateway.list_sessions(request.query.get("cursor", ""), most)
        cursor = found[-1]["charger"] if len(found) == most else None
        return _page("sessions", found, cursor)

    async def _move(self, request: web.Request) -> web.Response:
        return _json(self._gateway.move(request.match_info["identity"]))

    # --- what charge points and central systems speak, and what that costs ---

    async def _chargers(self, request: web.Request) -> web.Response:
        most = _limit(request)
        found = await self._gateway.list_chargers(request.query.get("cursor", ""), most)
        return _page("chargers", found, found[-1]["charger"] if len(found) == most else None)

    async def _list_reports(self, request: web.Request) -> web.Response:
        most = _limit(request, MOST_REPORTS)
        found = await self._gateway.list_reports(request.query.get("cursor", ""), most)
        return _page("reports", found, found[-1]["charger"] if len(found) == most else None)

    async def _report(self, request: web.Request) -> web.Response:
        return _json(await self._gateway.show_report(request.match_info["charger"]))

    # --- what waits, and transactions ---

    async def _queue(self, request: web.Request) -> web.Response:
        most = _limit(request)
        found = await self._gateway.list_waiting(
            request.query.get("charger", ""), _state(request, "waiting", "parked"), _cursor(request), most
        )
        cursor = f"{found[-1]['charger']}/{found[-1]['position']}" if len(found) == most else None
        return _page("queue", found, cursor)

    async def _show_waiting(self, request: web.Request) -> web.Response:
        return _json(await self._gateway.show_waiting(*_place(request, "position")))

    async def _retry(self, request: web.Request) -> web.Response:
        return _json(await self._gateway.retry(*_place(request, "position")))

    async def _drop(self, request: web.Request) -> web.Response:
        return _json(await self._gateway.drop(*_place(request, "position")))

    async def _transactions(self, request: web.Request) -> web.Response:
        most = _limit(request)
        found = await self._gateway.list_transactions(
            request.query.get("charger", ""),
            _state(request, "open", "stopped", "refused"),
            _cursor(request),
            most,
        )
        cursor = f"{found[-1]['charger']}/{found[-1]['number']}" if len(found) == most else None
        return _page("transactions", found, cursor)

    async def _show_transaction(self, request: web.Request) -> web.Response:
        return _json(await self._gateway.show_transaction(*_place(request, "number")))

    async def _set_remote_id(self, request: web.Request) -> web.Response:
        identity, number = _place(request, "number")
        asked = await _object(request, {"remote_id": 4711})
        remote_id = asked.get("remote_id")
        if not isinstance(remote_id, int) or isinstance(remote_id, bool) or len(asked) > 1:
            raise Refusal(400, "malformed", f"found {str(asked)[:60]}, expected {{'remote_id': NUMBER}}")
        return _json(await self._gateway.set_remote_id(identity, number, remote_id))


def _limit(request: web.Request, most: int = MOST_ROWS) -> int:
    limit = request.query.get("limit", str(most))
    if not limit.isascii() or not limit.isdecimal() or not 0 < int(limit[:9]) <= most:
        raise Refusal(400, "malformed", f"limit: found {limit[:60]!r}, expected 1 to {most}")
    return int(limit)


def _cursor(request: web.Request) -> tuple[str, int] | None:
    """The last row of the page before: an identity, which may have a slash in it, and a number."""
    cursor = request.query.get("cursor")
    if cursor is None:
        return None
    identity, _, number = cursor.rpartition("/")
    return identity, _number(number, "cursor")


def _state(request: web.Request, *states: str) -> str:
    state = request.query.get("state", "")
    if state not in ("", *states):
        raise Refusal(400, "malformed", f"state: found {state[:60]!r}, expected {' or '.join(states)}")
    return state


def _place(request: web.Request, name: str) -> tuple[str, int]:
    return request.match_info["charger"], _number(request.match_info[name], name)


def _number(text: str, name: str) -> int:
    if not re.fullmatch(rf"-?[0-9]{{1,{LONGEST_NUMBER}}}", text):
        raise Refusal(400, "malformed", f"{name}: found {text[:60]!r}, expected a number")
    return int(text)


async def _object(request: web.Request, example: dict[str, Any]) -> dict[str, Any]:
    try:
        asked = json.loads(await request.read())
    except ValueError as bad:
        raise Refusal(400, "malformed", f"the body is not JSON: {bad}") from None
    if not isinstance(asked, dict):
        raise Refusal(400, "malformed", f"expected an object, such as {json.dumps(example)}")
    return asked


def _flag(request: web.Request, name: str) -> bool:
    value = request.query.get(name, "0").lower()
    if value in ("1", "true", "yes", ""):
        return True
    if value in ("0", "false", "no"):
        return False
    raise Refusal(400, "malformed", f"{name}: found {value[:60]!r}, expected 1 or 0")


def _page(name: str, rows: list[dict[str, Any]], cursor: str | None) -> web.Response:
    return _json({name: rows} if cursor is None else {name: rows, "cursor": cursor})


def _json(answer: Any) -> web.Response:
    try:
        body = orjson.dumps(answer)
    except TypeError:  # an integer beyond 64 bits, or half of a surrogate pair, both of which OCPP-J can say
        body = json.dumps(answer).encode()
    return web.Response(body=body, content_type="application/json")


def _problem(refusal: Refusal) -> web.Response:
    body = {"status": refusal.status, "title": refusal.detail, "reason": refusal.reason, **refusal.more}
    return web.Response(
        status=refusal.status, body=orjson.dumps(body), content_type="application/problem+json"
    )
