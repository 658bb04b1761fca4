"""A store in dicts. It forgets everything with the process: for ``store.url: memory``, and for tests.

A test can say what is the matter (``problem``), and when writes get through (``delay``, ``hold``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from wattbridge.store import sql
from wattbridge.store.base import (
    AnyRow,
    Change,
    Forget,
    NotKept,
    Order,
    Remembered,
    Row,
    Sizes,
    Transaction,
    Waiting,
)


class MemoryStore:
    """What ``SqliteStore`` does, without a disk. Like there, a write is seen once its future is done."""

    def __init__(self) -> None:
        self.problem = ""  # a test sets it: while it is there, nothing is kept
        self.delay = 0.0  # seconds until a write is done
        self.notes_dropped = 0
        self._rows: dict[type[Row], dict[tuple[Any, ...], Row]] = {}
        self._asked: list[tuple[tuple[Change, ...], asyncio.Future[None] | None]] = []
        self._held = False
        self._closed = False

    def hold(self) -> None:
        """Let no write through until ``release``."""
        self._held = True

    def release(self) -> None:
        self._held = False
        self._make()

    def crash(self) -> None:
        """What was asked for and is not made yet never will be; who waits for it is gone."""
        self._asked.clear()
        self._held = False

    def write(self, *changes: Change) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        if self._closed:
            future.set_exception(NotKept("the store is closed"))
            return future
        self._asked.append((changes, future))
        if self.delay:
            loop.call_later(self.delay, self._make, future)
        else:
            loop.call_soon(self._make, future)
        return future

    def note(self, *changes: Change) -> None:
        self._asked.append((changes, None))
        if len(self._asked) == 1:
            self._make()

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
        # Only for what it refuses.
        sql.find(kind, where or {}, after=after, order=order, by=by, limit=limit, mark="?")
        last = order == "last"
        found = [row for row in self._of(kind).values() if _matches(row, where)]
        if after:
            key = tuple(after)
            found = [row for row in found if (sql.key_of(row) < key if last else sql.key_of(row) > key)]

        def place(row: Row) -> tuple[Any, ...]:
            value = getattr(row, by) if by else None
            return (value is not None, *([] if value is None else [value]), *sql.key_of(row))

        found.sort(key=place, reverse=last)
        return found[:limit]

    async def sizes(self, kind: type[Row], where: Mapping[str, Any] | None = None) -> Sizes:
        found = [row for row in self._of(kind).values() if _matches(row, where)]
        age = sql.AGE.get(kind)
        oldest = min((getattr(row, age) for row in found), default=None) if age else None
        return Sizes(len(found), sum(map(_length, found)), oldest)

    async def prune(self, kind: type[Row], before: float, *, most_bytes: int | None = None) -> int:
        if kind not in sql.PRUNED:
            return 0
        rows, age = self._of(kind), sql.AGE[kind]
        waiting = {row.identity for row in self._of(Waiting).values()}
        may_go = [row for row in rows.values() if not _is_needed(row, waiting)]
        may_go.sort(key=lambda row: (getattr(row, age), *sql.key_of(row)))
        left = sum(map(_length, may_go))
        taken = 0
        for row in may_go:
            if getattr(row, age) >= before and (most_bytes is None or left <= most_bytes):
                break
            del rows[sql.key_of(row)]
            left -= _length(row)
            taken += 1
        return taken

    async def close(self) -> None:
        self.release()
        self._closed = True

    def _of(self, kind: type[AnyRow]) -> dict[tuple[Any, ...], AnyRow]:
        return self._rows.setdefault(kind, {})  # type: ignore[return-value]

    def _make(self, until: asyncio.Future[None] | None = None) -> None:
        """Make the changes that were asked for, in their order, up to those of *until*."""
        while self._asked and not self._held:
            if until is not None and all(future is not until for _, future in self._asked):
                return
            changes, future = self._asked.pop(0)
            if not self.problem:
                for change in changes:
                    self._change(change)
            elif future is None:
                self.notes_dropped += len(changes)
            if future is not None and not future.done():
                if self.problem:
                    future.set_exception(NotKept(self.problem))
                else:
                    future.set_result(None)

    def _change(self, change: Change) -> None:
        if isinstance(change, Forget):
            with suppress(KeyError):
                del self._of(change.kind)[change.key]
        else:
            self._of(type(change))[sql.key_of(change)] = change


def _is_needed(row: Row, waiting: set[str]) -> bool:
    """Whether it must stay, as ``sql.PRUNED`` says: what waits is about it."""
    if isinstance(row, Transaction):
        return row.state == "open" or row.identity in waiting
    return isinstance(row, Remembered) and row.identity in waiting


def _matches(row: Row, where: Mapping[str, Any] | None) -> bool:
    return all(getattr(row, name) == value for name, value in (where or {}).items())


def _length(row: Row) -> int:
    return sum(len(getattr(row, name) or "") for name in sql.texts(type(row)))
