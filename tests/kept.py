"""What a gateway keeps, in memory: its store of rows, and what the admin API can do with what waits."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from wattbridge.store.base import (
    AnyRow,
    Change,
    Forget,
    NotKept,
    Order,
    Row,
    Sizes,
    Transaction,
    Waiting,
)

Key = tuple[Any, ...]


@dataclass
class RowsInMemory:
    """A store without a disk. While ``problem`` is set nothing can be read or kept."""

    problem: str = ""
    notes_dropped: int = 0
    rows: dict[type[Row], dict[Key, Row]] = field(default_factory=dict)

    def put(self, *changes: Change) -> None:
        for change in changes:
            if isinstance(change, Forget):
                self.rows.get(change.kind, {}).pop(change.key, None)
            else:
                self.rows.setdefault(type(change), {})[_key(change)] = change

    def write(self, *changes: Change) -> asyncio.Future[None]:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.problem:
            done.set_exception(NotKept(self.problem))
        else:
            self.put(*changes)
            done.set_result(None)
        return done

    def note(self, *changes: Change) -> None:
        self.put(*changes)

    async def find(
        self,
        kind: type[AnyRow],
        where: Mapping[str, Any] | None = None,
        *,
        after: Sequence[Any] = (),
        order: Order = "first",
        by: str = "",
        limit: int = 1000,
    ) -> list[AnyRow]:
        if self.problem:
            raise NotKept(self.problem)
        assert (order, by) == ("first", "")  # nobody here asks for more
        found = sorted(self.rows.get(kind, {}).items())
        return [
            row
            for key, row in found
            if isinstance(row, kind)
            and (not after or key > tuple(after))
            and all(getattr(row, column) == value for column, value in (where or {}).items())
        ][:limit]

    async def sizes(self, kind: type[Row], where: Mapping[str, Any] | None = None) -> Sizes:
        raise NotImplementedError

    async def prune(self, kind: type[Row], before: float, *, most_bytes: int | None = None) -> int:
        raise NotImplementedError

    async def close(self) -> None:
        pass


def _key(row: Row) -> Key:
    return tuple(getattr(row, column) for column in row.key)


@dataclass
class DeliveriesInMemory:
    """Does what is asked for with the rows, and remembers it."""

    store: RowsInMemory = field(default_factory=RowsInMemory)
    asked: list[Any] = field(default_factory=list)

    async def retry(self, identity: str, position: int) -> bool:
        self.asked.append(("retry", identity, position))
        return bool(await self.store.find(Waiting, {"identity": identity, "position": position}))

    async def drop(self, identity: str, position: int) -> bool:
        self.asked.append(("drop", identity, position))
        found = await self.store.find(Waiting, {"identity": identity, "position": position})
        await self.store.write(Forget(Waiting, (identity, position)))
        return bool(found)

    async def set_remote_id(self, identity: str, local_id: int, remote_id: int) -> bool:
        self.asked.append(("map", identity, local_id, remote_id))
        rows = await self.store.find(Transaction, {"identity": identity, "local_id": str(local_id)})
        await self.store.write(*(replace(row, remote_id=str(remote_id)) for row in rows))
        return bool(rows)


NOW = 1_790_000_000.0  # 2026-09-21T14:13:20Z
PAYLOAD = '{"transactionId":4711,"timestamp":"2026-09-21T14:09:08Z","meterStop":5250,"idTag":"04E91C5A"}'


def what_waits() -> DeliveriesInMemory:
    """Two messages of CP/1, one of CP2 that is parked; a transaction of each."""
    deliveries = DeliveriesInMemory()
    deliveries.store.put(
        Waiting("CP/1", 17, "StopTransaction", PAYLOAD, "m1", kept=NOW - 252.0),
        Waiting("CP/1", 18, "StatusNotification", "{}", "m2", kept=NOW - 2.0, upstream="cloud"),
        Waiting(
            "CP2", 3, "MeterValues", "{}", "m3", kept=NOW - 90_000.0, state="parked",
            refusals=3, problem="InternalError: no\nsuch number",
        ),
        Transaction(
            "CP/1", "4711", remote_id="4711", upstream="cloud", connector_id="1", id_tag="04E91C5A",
            meter_start="1000", started="2026-09-21T13:00:00Z",
        ),
        Transaction(
            "CP2", "-9", provisional=1, connector_id="2", id_tag="AB", meter_start="0",
            started="2026-09-21T13:30:00Z", stopped="2026-09-21T13:40:00Z", state="stopped",
        ),
    )  # fmt: skip
    return deliveries
