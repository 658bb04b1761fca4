"""The configuration: what another one would change, and to go on with it."""

from __future__ import annotations

from typing import Any, Protocol

from aiohttp import web

from wattbridge.operation.api.pages import Page, answered, flag


class Configuration(Protocol):
    async def reload(self, *, move: bool) -> dict[str, Any]: ...

    async def check(self) -> dict[str, Any]: ...


def pages(gateway: Configuration) -> list[Page]:
    async def reload(request: web.Request) -> web.Response:
        return answered(await gateway.reload(move=flag(request, "move")))

    async def check(_: web.Request) -> web.Response:
        return answered(await gateway.check())

    return [
        Page("POST", "/config/check", "read", check, "what a reload would change, or what is wrong"),
        Page("POST", "/config/reload", "admin", reload, "read the configuration again and go on with it"),
    ]
