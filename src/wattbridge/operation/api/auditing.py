"""The audit log, for those who may see it."""

from __future__ import annotations

from typing import Any, Protocol

from aiohttp import web

from wattbridge.operation.api import models
from wattbridge.operation.api.chargers import paging
from wattbridge.operation.api.pages import Page, Query, a_number, limit, rows


class Auditing(Protocol):
    async def list_audit(self, before: int | None, most: int, who: str) -> list[dict[str, Any]]: ...


def pages(gateway: Auditing) -> list[Page]:
    async def audit(request: web.Request) -> web.Response:
        most = limit(request)
        cursor = request.query.get("cursor")
        before = None if cursor is None else a_number(cursor, "cursor")
        found = await gateway.list_audit(before, most, request.query.get("who", ""))
        return rows("audit", found, str(found[-1]["number"]) if len(found) == most else None)

    return [
        Page(
            *("GET", "/audit", "admin", audit, "who did what, the latest first"),
            query=(Query("who", "only the actions of this token"), *paging(cursor=r"^[0-9]{1,19}$")),
            gives=models.AuditLog,
            refuses=(503,),
        )
    ]
