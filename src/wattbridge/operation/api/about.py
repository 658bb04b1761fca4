"""What runs here."""

from __future__ import annotations

from typing import Any, Protocol

from aiohttp import web

from wattbridge.operation.api.pages import Page, answered


class About(Protocol):
    def info(self) -> dict[str, Any]: ...


def pages(gateway: About) -> list[Page]:
    async def info(_: web.Request) -> web.Response:
        return answered(gateway.info())

    return [Page("GET", "/info", "read", info, "what runs, since when, where it listens")]
