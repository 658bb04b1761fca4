"""Transactions, with the numbers they have on either side."""

from __future__ import annotations

from typing import Any, Protocol

from aiohttp import web

from wattbridge.operation.api import models
from wattbridge.operation.api.chargers import PLACE, paging
from wattbridge.operation.api.pages import (
    Page,
    Query,
    an_object,
    answered,
    limit,
    place,
    place_after,
    rows,
    state,
)
from wattbridge.operation.api.refusals import malformed


class Transactions(Protocol):
    async def list_transactions(
        self, charger: str, state: str, after: tuple[str, int] | None, most: int
    ) -> list[dict[str, Any]]: ...

    async def show_transaction(self, identity: str, number: int) -> dict[str, Any]: ...

    async def set_remote_id(self, identity: str, number: int, remote_id: int) -> dict[str, Any]: ...


def pages(gateway: Transactions) -> list[Page]:
    async def transactions(request: web.Request) -> web.Response:
        most = limit(request)
        found = await gateway.list_transactions(
            request.query.get("charger", ""),
            state(request, "open", "stopped", "refused"),
            place_after(request, any_size=True),
            most,
        )
        last = f"{found[-1]['charger']}/{found[-1]['number']}" if len(found) == most else None
        return rows("transactions", found, last)

    async def show(request: web.Request) -> web.Response:
        return answered(await gateway.show_transaction(*place(request, "number", any_size=True)))

    async def set_remote_id(request: web.Request) -> web.Response:
        identity, number = place(request, "number", any_size=True)
        asked = await an_object(request, {"remote_id": 4711})
        remote_id = asked.get("remote_id")
        if not isinstance(remote_id, int) or isinstance(remote_id, bool) or len(asked) > 1:
            raise malformed(f"found {str(asked)[:60]}, expected {{'remote_id': NUMBER}}")
        return answered(await gateway.set_remote_id(identity, number, remote_id))

    one = "/transactions/{charger}/{number}"
    which = (
        Query("charger", "only those of this charge point"),
        Query("state", "only those", {"type": "string", "enum": ["open", "stopped", "refused"]}),
        *paging(cursor=PLACE),
    )
    return [
        Page(
            *("GET", "/transactions", "read", transactions, "the transactions, with both their numbers"),
            query=which,
            gives=models.Transactions,
            refuses=(503,),
        ),
        Page("GET", one, "read", show, "one of them", gives=models.Transaction, refuses=(404, 503)),
        Page(
            *("PUT", one, "operate", set_remote_id, "say which number it has at its central system"),
            takes=models.RemoteId,
            gives=models.Transaction,
            refuses=(404, 409, 503),
        ),
    ]
