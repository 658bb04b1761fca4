"""What the deliveries of all charge points share: the store, the rules, the pace, and how much is kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from wattbridge.ocpp.errors import Unreachable
from wattbridge.relay.journal import Event, Journal
from wattbridge.relay.offline import Rules
from wattbridge.relay.pace import Pacer
from wattbridge.relay.tracing import of_no_trace
from wattbridge.store.base import (
    AnyRow,
    Authorization,
    Change,
    NotKept,
    Remembered,
    Store,
    Transaction,
    Waiting,
)

TIDY_EVERY = 60.0  # seconds
LAST_WAIT = 2.0  # seconds for what is under way when the gateway stops


@dataclass(slots=True)
class Amount:
    """How much is kept."""

    messages: int = 0
    bytes: int = 0


class Keeper:
    """Keeps and reads rows, and counts what waits for central systems.

    ``waiting`` is all of it, ``parked`` how many messages central systems do not want, ``oldest`` when the
    oldest message was kept, as it was within a minute. ``on_waiting`` is called with the identity of a charge
    point that has messages and may have no session.
    """

    def __init__(
        self,
        store: Store,
        journal: Journal,
        rules: Rules = Rules(),  # noqa: B008
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.store = store
        self.journal = journal
        self.rules = rules
        self.clock = clock
        self.now = wall_clock
        self.sleep = sleep
        self.stopping = False
        self.waiting = Amount()
        self.parked = 0
        self.open_transactions = 0
        self.oldest: float | None = None
        self.pacer = Pacer(rules.rate, max(1.0, rules.rate / 10), clock=clock, sleep=sleep)
        self.on_waiting: Callable[[str], None] = lambda identity: None
        self._tasks: asyncio.TaskGroup | None = None
        self._working: set[asyncio.Task[None]] = set()

    def go_by(self, rules: Rules) -> None:
        """From now on these rules count."""
        self.rules = rules
        self.pacer.go_at(rules.rate)

    async def open(self) -> list[str]:
        """Count what is kept; returns the charge points that have messages waiting."""
        size = await self.store.sizes(Waiting, {"state": "waiting"})
        self.waiting = Amount(size.rows, size.bytes)
        self.parked = (await self.store.sizes(Waiting, {"state": "parked"})).rows
        await self._count_what_is_old()
        return await self._identities_waiting()

    async def _identities_waiting(self) -> list[str]:
        found: dict[str, None] = {}
        after: tuple[Any, ...] = ()
        while True:
            rows = await self.store.find(Waiting, {"state": "waiting"}, after=after, limit=1000)
            found.update((row.identity, None) for row in rows)
            if len(rows) < 1000:
                return list(found)
            # On with the next charge point, not with the next message.
            after = (rows[-1].identity, 2**62)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Work while inside; what is under way at the end is given up, and done again later."""
        async with asyncio.TaskGroup() as self._tasks:
            tidying = self._tasks.create_task(self._tidy_up(), name="store")
            try:
                yield
            finally:
                self.stopping = True
                tidying.cancel()
                self.wake_all()
                if self._working:
                    await asyncio.wait(list(self._working), timeout=LAST_WAIT)
                for task in list(self._working):
                    task.cancel()
        self._tasks = None

    def wake_all(self) -> None:
        """Tell everybody who waits that the end has come."""

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Do *work* beside everything else; nothing when nothing runs any more."""
        if self._tasks is None:
            work.close()
            return
        task = self._tasks.create_task(self._guard(work, name), name=name, context=of_no_trace())
        self._working.add(task)
        task.add_done_callback(self._working.discard)

    async def _guard(self, work: Awaitable[None], name: str) -> None:
        try:
            await work
        except NotKept as broken:
            self.journal.event(Event("store broken", "", f"{name}: {broken}", "internal"))
        except Exception as bug:  # the edge of the task: one charge point's bug must not end the others
            self.journal.event(Event("internal error", "", f"{name}: {bug!r}", "internal"))

    @property
    def is_full(self) -> bool:
        """Whether no charge point has room for another message."""
        rules, waiting = self.rules, self.waiting
        return waiting.messages >= rules.most_in_all or waiting.bytes >= rules.most_bytes_in_all

    def check_room(self, of_one: Amount, size: int) -> None:
        """Raises Unreachable when a message of so many bytes is more than may be kept."""
        rules = self.rules
        for amount, most, most_bytes, whose in (
            (of_one, rules.most, rules.most_bytes, "of this charge point"),
            (self.waiting, rules.most_in_all, rules.most_bytes_in_all, "in all"),
        ):
            if amount.messages >= most or amount.bytes + size > most_bytes:
                kept = f"{amount.messages} messages, {amount.bytes} bytes"
                told = f"{kept} {whose} wait for central systems, as many as offline.queue allows"
                raise Unreachable("queue_full", told)

    async def keep(self, *changes: Change) -> None:
        """``Store.write``. Raises Unreachable when that cannot be kept."""
        try:
            await self.store.write(*changes)
        except NotKept as broken:
            raise Unreachable("queue_full", f"it cannot be kept: {broken}") from None

    async def read(self, kind: type[AnyRow], where: dict[str, Any], **how: Any) -> list[AnyRow]:
        """``Store.find``. Raises Unreachable when the store cannot be read."""
        try:
            return await self.store.find(kind, where, **how)
        except NotKept as broken:
            raise Unreachable("queue_full", f"the store cannot be read: {broken}") from None

    async def _tidy_up(self) -> None:
        while True:
            await self.sleep(TIDY_EVERY)
            with suppress(NotKept):
                await self._prune()
                await self._count_what_is_old()
                for identity in await self._identities_waiting():
                    self.on_waiting(identity)

    async def _prune(self) -> None:
        rules, now = self.rules, self.now()
        await self.store.prune(Remembered, now - rules.replies)
        await self.store.prune(Authorization, now - rules.authorizations)
        await self.store.prune(Transaction, now - rules.transactions)

    async def _count_what_is_old(self) -> None:
        self.oldest = (await self.store.sizes(Waiting, {"state": "waiting"})).oldest
        self.open_transactions = (await self.store.sizes(Transaction, {"state": "open"})).rows
