"""Which way a charge point goes, and why."""

from __future__ import annotations

from typing import Any, Protocol

from aiohttp import web

from wattbridge.operation.api import models
from wattbridge.operation.api.pages import Page, an_object, answered


class Routes(Protocol):
    def list_routes(self) -> list[dict[str, Any]]: ...

    def test_route(self, asked: dict[str, Any]) -> dict[str, Any]: ...


def pages(gateway: Routes) -> list[Page]:
    async def list_routes(_: web.Request) -> web.Response:
        return answered({"routes": gateway.list_routes()})

    async def test_route(request: web.Request) -> web.Response:
        return answered(gateway.test_route(await an_object(request, {"charger": "CP1"})))

    return [
        Page("GET", "/routes", "read", list_routes, "the routes in their order", gives=models.Routes),
        Page(
            *("POST", "/routes/test", "read", test_route, "which route a charge point takes, and why"),
            takes=models.RouteQuestion,
            gives=models.RouteAnswer,
        ),
    ]
