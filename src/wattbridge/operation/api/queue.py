"""What waits for central systems that were away, and what can be done about it."""

from __future__ import annotations

from typing import Any, Protocol

from aiohttp import web

from wattbridge.operation.api import models
from wattbridge.operation.api.chargers import PLACE, paging
from wattbridge.operation.api.pages import Page, Query, answered, limit, place, place_after, rows, state
from wattbridge.store.base import Store


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


class Queue(Protocol):
    async def list_waiting(
        self, charger: str, state: str, after: tuple[str, int] | None, most: int
    ) -> list[dict[str, Any]]: ...

    async def show_waiting(self, identity: str, position: int) -> dict[str, Any]: ...

    async def retry(self, identity: str, position: int) -> dict[str, Any]: ...

    async def drop(self, identity: str, position: int) -> dict[str, Any]: ...


def pages(gateway: Queue) -> list[Page]:
    async def queue(request: web.Request) -> web.Response:
        most = limit(request)
        found = await gateway.list_waiting(
            request.query.get("charger", ""), state(request, "waiting", "parked"), place_after(request), most
        )
        last = f"{found[-1]['charger']}/{found[-1]['position']}" if len(found) == most else None
        return rows("queue", found, last)

    async def show(request: web.Request) -> web.Response:
        return answered(await gateway.show_waiting(*place(request, "position")))

    async def retry(request: web.Request) -> web.Response:
        return answered(await gateway.retry(*place(request, "position")))

    async def drop(request: web.Request) -> web.Response:
        return answered(await gateway.drop(*place(request, "position")))

    one = "/queue/{charger}/{position}"
    which = (
        Query("charger", "only those of this charge point"),
        Query("state", "only those", {"type": "string", "enum": ["waiting", "parked"]}),
        *paging(cursor=PLACE),
    )
    return [
        Page(
            *("GET", "/queue", "read", queue, "what is kept for central systems, in its order"),
            query=which,
            gives=models.Queue,
            refuses=(503,),
        ),
        Page("GET", one, "read", show, "one of them whole", gives=models.WaitingWhole, refuses=(404, 503)),
        Page(
            *("POST", f"{one}/retry", "operate", retry, "send it again at once, a parked one too"),
            gives=models.Retried,
            refuses=(404, 503),
        ),
        Page("DELETE", one, "operate", drop, "never send it", gives=models.WaitingWhole, refuses=(404, 503)),
    ]
