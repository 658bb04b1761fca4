"""The port that serves the admin API: who may ask is seen here, before anything is answered."""

from __future__ import annotations

import hmac
import ssl
from collections.abc import Iterable

from aiohttp import web

from wattbridge.operation.api.pages import DETAILS, LARGEST_REQUEST, WHO, Handler, Page, Who, may
from wattbridge.operation.api.refusals import Refusal, problem
from wattbridge.operation.api.tokens import Access
from wattbridge.operation.audit import Audit
from wattbridge.operation.health import QUIET
from wattbridge.relay.journal import Event, Journal

ROOT = "/api/v1"
COOKIE = "wattbridge_session"


def cookie_of(request: web.Request) -> str:
    """The name of the cookie, with the port that was asked.

    A browser sends the cookies of a host to each of its ports: two gateways that it reaches at one host, as
    by tunnels, would sign each other out.
    """
    port = request.host.rpartition(":")[2]
    return f"{COOKIE}_{port}" if port.isascii() and port.isdecimal() and len(port) < 6 else COOKIE


CSRF_HEADER = "X-CSRF-Token"

# On every answer: nothing of it is kept, framed, guessed at, or may fetch anything from elsewhere.
HEADERS = {
    "Server": "wattbridge",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class AdminPort:
    """Serves *pages* on one address, to whoever *access* recognises.

    What takes more than the role ``read``, and does more than look, is told to *audit*, mistakes of ours to
    *journal*. *site* answers what is not below ``/api``, to everybody.
    """

    def __init__(
        self,
        host: str,
        port: int,
        access: Access,
        pages: Iterable[Page],
        *,
        audit: Audit | None = None,
        journal: Journal | None = None,
        site: Handler | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._host = host
        self.port = port
        self.tls = tls
        self.site = site
        self._access = access
        self._pages: dict[tuple[str, str], Page] = {
            (page.method, f"{ROOT}{page.path}"): page for page in pages
        }
        self._audit = audit
        self._journal = journal
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Bind the address. Raises OSError when it is taken."""
        app = web.Application(client_max_size=LARGEST_REQUEST, middlewares=[self._guard])
        app.on_response_prepare.append(_with_headers)
        for (method, path), page in self._pages.items():
            app.router.add_route(method, path, page.answer)
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
        page = self._page(request)
        try:
            return await self._answer(request, handler, page)
        except Refusal as refusal:
            self._tell_who_guesses(request, refusal)
            return problem(refusal)
        except web.HTTPException as known:
            response = problem(Refusal(known.status, "unsupported", known.reason))
            if "Allow" in known.headers:
                response.headers["Allow"] = known.headers["Allow"]
            return response
        except Exception as bug:  # the edge: one request's bug must not be silent
            if self._journal is None:
                raise
            text = f"{request.method} {request.path}: {bug!r}"
            self._journal.event(Event("internal error", text=text, reason="internal"))
            return problem(Refusal(500, "internal", "an error inside the gateway; its log says more"))

    async def _answer(self, request: web.Request, handler: Handler, page: Page | None) -> web.StreamResponse:
        if self.site is not None and not request.path.startswith("/api"):
            return await self.site(request)
        if page is not None and page.role is None:
            return await handler(request)
        # Before anything else, so that nobody learns without it which paths there are.
        who = request[WHO] = await self._authenticate(request)
        if page is None or page.role is None:
            return await handler(request)  # which says that there is no such path
        if page.role == "read" or page.method == "GET":  # it only looks
            self._check(request, page, who)
            return await handler(request)
        try:
            self._check(request, page, who)
            response = await handler(request)
        except Refusal as refusal:
            await self._note(request, who, refusal.status, refusal.detail)
            raise
        except web.HTTPException as known:
            await self._note(request, who, known.status, known.reason)
            raise
        except Exception:
            await self._note(request, who, 500, "an error inside the gateway")
            raise
        await self._note(request, who, response.status)
        return response

    def _tell_who_guesses(self, request: web.Request, refusal: Refusal) -> None:
        """Somebody has shown a token that is none."""
        shown = "Authorization" in request.headers or request.path == f"{ROOT}/login"
        if self._journal is not None and shown and refusal.status in (401, 429):
            labels = {"source": request.remote or "", "request": f"{request.method} {request.path[:200]}"}
            self._journal.event(Event("sign-in refused", "", refusal.detail, "auth", labels))

    def _page(self, request: web.Request) -> Page | None:
        resource = request.match_info.route.resource
        return self._pages.get((request.method, resource.canonical)) if resource is not None else None

    async def _authenticate(self, request: web.Request) -> Who:
        shown = request.headers.get("Authorization")
        if shown is not None:
            scheme, _, token = shown.partition(" ")
            found = await self._access.recognise(token.strip()) if scheme.lower() == "bearer" else None
            if found is not None:
                return Who(found.name, found.role)
        elif cookie := request.cookies.get(cookie_of(request)):
            session = self._access.session(cookie)
            if session is not None:
                return Who(session.token.name, session.token.role, session.csrf)
            raise Refusal(401, "auth", "the session has ended: log in again")
        raise Refusal(401, "auth", "the token is missing or wrong: Authorization: Bearer TOKEN")

    def _check(self, request: web.Request, page: Page, who: Who) -> None:
        """Raises Refusal when this token may not do that, or a session was not asked by its own page."""
        if page.role is not None and not may(who, page.role):
            text = f"token {who.name} has the role {who.role}; this takes {page.role}"
            raise Refusal(403, "auth", text, role=who.role, needed=page.role)
        if who.csrf and request.method not in ("GET", "HEAD"):
            # A browser sends the cookie along with what another page makes it ask.
            given = request.headers.get(CSRF_HEADER, "").encode(errors="replace")
            if not hmac.compare_digest(given, who.csrf.encode()):
                raise Refusal(403, "auth", f"{CSRF_HEADER} is missing or wrong")

    async def _note(self, request: web.Request, who: Who, status: int, result: str = "") -> None:
        if self._audit is None:
            return
        await self._audit.note(
            who=who.name,
            role=who.role,
            source=request.remote or "",
            request=f"{request.method} {request.rel_url.raw_path_qs.removeprefix(ROOT)[:500]}",
            identity=request.match_info.get("charger", ""),
            details=request.get(DETAILS),
            status=status,
            result=result,
        )


async def _with_headers(request: web.Request, response: web.StreamResponse) -> None:
    for name, value in HEADERS.items():
        if name not in response.headers or name == "Server":
            response.headers[name] = value
