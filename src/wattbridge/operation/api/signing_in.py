"""Sessions of a browser: a token is shown once, and a cookie stands for it from then on."""

from __future__ import annotations

from aiohttp import web

from wattbridge.operation.api.models import Login, Me
from wattbridge.operation.api.pages import WHO, Page, answered, asked
from wattbridge.operation.api.port import cookie_of
from wattbridge.operation.api.refusals import Refusal
from wattbridge.operation.api.tokens import Access


def pages(access: Access) -> list[Page]:
    async def login(request: web.Request) -> web.Response:
        # No page of another origin can send JSON without asking first.
        if request.content_type != "application/json":
            raise Refusal(415, "malformed", "expected Content-Type: application/json")
        token = await access.recognise((await asked(request, Login)).token.strip())
        if token is None:
            raise Refusal(401, "auth", "no token is like that")
        cookie, session = access.begin(token)
        response = answered({"role": token.role, "name": token.name, "csrf": session.csrf})
        name = cookie_of(request)
        response.set_cookie(name, cookie, httponly=True, samesite="Strict", secure=request.secure, path="/")
        return response

    async def me(request: web.Request) -> web.Response:
        who = request[WHO]
        return answered({"role": who.role, "name": who.name, "csrf": who.csrf})

    async def logout(request: web.Request) -> web.Response:
        access.end(request.cookies.get(cookie_of(request), ""))
        response = answered({})
        response.del_cookie(cookie_of(request), path="/")
        return response

    return [
        Page(
            *("POST", "/login", None, login, "show a token once, and get a cookie"),
            takes=Login,
            gives=Me,
            refuses=(415, 429),
        ),
        Page("GET", "/me", "read", me, "who asks, and what may be done", gives=Me),
        Page("POST", "/logout", "read", logout, "end the session of the cookie"),
    ]
