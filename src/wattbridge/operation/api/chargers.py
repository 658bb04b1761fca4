"""Charge points: who is there, what they and their central systems speak, and what that costs."""

from __future__ import annotations

from typing import Any, Protocol

from aiohttp import web

from wattbridge.operation.api.pages import MOST_REPORTS, Page, answered, limit, rows


class Chargers(Protocol):
    def list_sessions(self, after: str, most: int) -> list[dict[str, Any]]: ...

    def move(self, identity: str) -> dict[str, Any]: ...

    async def list_chargers(self, after: str, most: int) -> list[dict[str, Any]]: ...

    async def list_reports(self, after: str, most: int) -> list[dict[str, Any]]: ...

    async def show_report(self, identity: str) -> dict[str, Any]: ...


def pages(gateway: Chargers) -> list[Page]:
    async def sessions(request: web.Request) -> web.Response:
        most = limit(request)
        found = gateway.list_sessions(request.query.get("cursor", ""), most)
        return rows("sessions", found, found[-1]["charger"] if len(found) == most else None)

    async def move(request: web.Request) -> web.Response:
        return answered(gateway.move(request.match_info["charger"]))

    async def chargers(request: web.Request) -> web.Response:
        most = limit(request)
        found = await gateway.list_chargers(request.query.get("cursor", ""), most)
        return rows("chargers", found, found[-1]["charger"] if len(found) == most else None)

    async def reports(request: web.Request) -> web.Response:
        most = limit(request, MOST_REPORTS)
        found = await gateway.list_reports(request.query.get("cursor", ""), most)
        return rows("reports", found, found[-1]["charger"] if len(found) == most else None)

    async def report(request: web.Request) -> web.Response:
        return answered(await gateway.show_report(request.match_info["charger"]))

    return [
        Page("GET", "/sessions", "read", sessions, "the charge points that are there, by identity"),
        Page("GET", "/chargers", "read", chargers, "the charge points that are known"),
        Page("POST", "/chargers/{charger}/move", "operate", move, "send a session where its route now leads"),
        Page("GET", "/reports", "read", reports, "what is lost, changed and answered on the way"),
        Page("GET", "/reports/{charger}", "read", report, "the same of one charge point"),
    ]
