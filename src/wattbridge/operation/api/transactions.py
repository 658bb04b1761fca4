"""Transactions, with the numbers they have on either side."""

from __future__ import annotations

from typing import Any, Protocol

from aiohttp import web

from wattbridge.operation.api.pages import (
    Page,
    an_object,
    answered,
    limit,
    malformed,
    place,
    place_after,
    rows,
    state,
)


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
            place_after(request),
            most,
        )
        last = f"{found[-1]['charger']}/{found[-1]['number']}" if len(found) == most else None
        return rows("transactions", found, last)

    async def show(request: web.Request) -> web.Response:
        return answered(await gateway.show_transaction(*place(request, "number")))

    async def set_remote_id(request: web.Request) -> web.Response:
        identity, number = place(request, "number")
        asked = await an_object(request, {"remote_id": 4711})
        remote_id = asked.get("remote_id")
        if not isinstance(remote_id, int) or isinstance(remote_id, bool) or len(asked) > 1:
            raise malformed(f"found {str(asked)[:60]}, expected {{'remote_id': NUMBER}}")
        return answered(await gateway.set_remote_id(identity, number, remote_id))

    one = "/transactions/{charger}/{number}"
    return [
        Page("GET", "/transactions", "read", transactions, "the transactions, with both their numbers"),
        Page("GET", one, "read", show, "one of them"),
        Page("PUT", one, "operate", set_remote_id, "say which number it has at its central system"),
    ]
