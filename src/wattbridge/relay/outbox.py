"""What one charge point said that its central system has not got yet, in order.

Rows are on disk before anybody is told. How a message is delivered, and what its delivery changes, is not
known here: the owner of the outbox brings each message to the central system and says what came of it.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from wattbridge.ocpp import ocppj
from wattbridge.ocpp.errors import Unreachable
from wattbridge.ocpp.messages import Call, CallError, Original
from wattbridge.relay.journal import Event
from wattbridge.relay.keeper import Amount, Keeper
from wattbridge.store.base import Change, Forget, NotKept, Waiting

FIRST_WAIT = 1.0  # seconds after a message could not be sent, doubled each time
LONGEST_WAIT = 30.0
ROWS_AT_ONCE = 50  # of one charge point, in memory
A_HAIR = 0.001  # seconds that a timer may fire early


@dataclass(frozen=True, slots=True)
class Delivered:
    """The central system has the message. ``changes`` are kept with that, ``then`` is done afterwards."""

    changes: Sequence[Change] = ()
    then: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class Hopeless:
    """To send it again is of no use: a sentence, and a word of ``reasons.REASONS``."""

    problem: str
    reason: str


@dataclass(frozen=True, slots=True)
class Unanswered:
    """It was sent, and the central system answers other messages, but not this one."""

    problem: str


# What came of a message: None when the central system was not reached, an error when it refused.
Outcome = Delivered | CallError | Unanswered | Hopeless | None


def call_of(row: Waiting) -> Call:
    """What the charge point said."""
    original = Original(row.form, row.payload.encode()) if row.form else None
    return Call(row.action, ocppj.read_payload(row.payload), original, row.message_id)


def _forget(row: Waiting) -> Forget:
    return Forget(Waiting, (row.identity, row.position))


class Owner(Protocol):
    """Who knows the central system."""

    @property
    def is_away(self) -> bool:
        """Whether it cannot be reached now."""
        ...

    def may_go(self, row: Waiting) -> bool:
        """Whether a message is for the central system that is in use."""
        ...

    async def deliver(self, row: Waiting) -> Outcome:
        """Bring a message there. Raises Unreachable when nothing can be read from the store."""
        ...

    def parked(self, row: Waiting, problem: str, reason: str) -> None:
        """A message is given up for the moment: a sentence, and a word of ``reasons.REASONS``."""
        ...


class Outbox:
    """The messages of one charge point that wait for its central system.

    ``turn`` is had by whoever sends: one transaction message at a time, so that a later one never overtakes
    one that could not be delivered. ``is_sending`` while it is a kept message. ``changes`` counts what may
    let a message go that could not go before.
    """

    # There is one for each charge point.
    __slots__ = (
        "_draining",
        "_head",
        "_identity",
        "_keeper",
        "_news",
        "_owner",
        "_position",
        "_retry_at_once",
        "_settled",
        "by_upstream",
        "changes",
        "is_sending",
        "turn",
        "waiting",
    )

    def __init__(self, identity: str, keeper: Keeper, owner: Owner) -> None:
        self.waiting = Amount()
        self.by_upstream: dict[str, int] = {}  # messages that wait, by whom alone they are for
        self.turn = asyncio.Lock()
        self.is_sending = False
        self._identity = identity
        self._keeper = keeper
        self._owner = owner
        self._position = 0  # of the message kept last
        self.changes = 0
        self._news: asyncio.Event | None = None  # made by who waits for it: it costs a kilobyte
        self._draining = False
        self._retry_at_once = False
        self._head: list[Waiting] = []
        self._settled: frozenset[int] = frozenset()  # positions that are done with, and still on disk

    @property
    def is_idle(self) -> bool:
        return not (self._draining or self.turn.locked() or self.waiting.messages)

    async def load(self) -> None:
        """Count what is on disk; all charge points together were counted at the start. Raises Unreachable."""
        mine = {"identity": self._identity}
        for last in await self._keeper.read(Waiting, mine, order="last", limit=1):
            self._position = last.position
        where = {**mine, "state": "waiting"}
        rows = await self._keeper.read(Waiting, where, limit=1_000_000)
        self.by_upstream = dict(Counter(row.upstream for row in rows))
        self.waiting = Amount(len(rows), sum(len(row.payload) for row in rows))

    # --- keeping ---

    async def keep(self, call: Call, key: str, upstream: str, *changes: Change) -> None:
        """Keep *call*, and *changes* with it. Raises Unreachable when there is no room for it, or no disk.

        *key* is what it says in short, *upstream* the only central system that may get it, "" for any.
        """
        row = self._row(call, key, upstream)
        self._keeper.check_room(self.waiting, len(row.payload))
        self._position = row.position
        await self._keeper.keep(row, *changes)
        self._count(row, 1)
        self._tell("message kept", f"{call.action} waits for the central system", row)
        self.drain_soon()

    async def keep_only(self, call: Call) -> None:
        """Keep *call* in the place of others of its action that wait. Raises Unreachable."""
        async with self.turn:
            where = {"identity": self._identity, "action": call.action, "state": "waiting"}
            earlier = await self._keeper.read(Waiting, where)
            await self.keep(call, "", "", *map(_forget, earlier))
            for row in earlier:
                self._count(row, -1)
            self._head = []

    async def park(self, call: Call, key: str, problem: str, *changes: Change) -> None:
        """Keep a message that its central system has refused, for the operator to see. Raises Unreachable."""
        row = replace(self._row(call, key, ""), state="parked", refusals=1, problem=problem)
        self._position = row.position
        await self._keeper.keep(row, *changes)
        self._keeper.parked += 1
        self._tell("message parked", f"{call.action}: {problem}", row, "call_error")

    def _row(self, call: Call, key: str, upstream: str) -> Waiting:
        passes = call.original is not None and call.original.form == ocppj.FORM
        text = call.original.text.decode() if passes and call.original else ocppj.write_payload(call.payload)
        return Waiting(
            self._identity,
            self._position + 1,
            call.action,
            text,
            call.message_id,
            form=ocppj.FORM if passes else "",
            content_key=key,
            upstream=upstream,
            kept=self._keeper.now(),
        )

    def _count(self, row: Waiting, change: int) -> None:
        keeper = self._keeper
        self.by_upstream[row.upstream] = self.by_upstream.get(row.upstream, 0) + change
        for amount in (self.waiting, keeper.waiting):
            amount.messages += change
            amount.bytes += change * len(row.payload)
        if not keeper.waiting.messages:
            keeper.oldest = None
        elif keeper.oldest is None:
            keeper.oldest = row.kept

    def _uncount(self, row: Waiting) -> None:
        """A message that waited or was parked is gone."""
        if row.state == "parked":
            self._keeper.parked -= 1
        else:
            self._count(row, -1)

    # --- delivering ---

    def wake(self) -> None:
        """Something has changed: the link, or what waits."""
        self.changes += 1
        if self._news is not None:
            self._news.set()
            self._news = None

    async def wait_for_news(self, within: float, seen: int) -> None:
        """Wait until there are more ``changes`` than *seen*, at most *within* seconds.

        *seen* is how many there were before a look that found nothing to do: what changed meanwhile counts.
        """
        if self.changes != seen:
            return
        news = self._news = self._news or asyncio.Event()
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await news.wait()

    def drain_soon(self) -> None:
        """Begin to send what waits, unless that is being done."""
        if not self._draining and self.waiting.messages:
            self._draining = True
            self._keeper.spawn(self._drain(), f"outbox of {self._identity}")

    async def _drain(self) -> None:
        """Send what waits, until nothing does."""
        failures = 0
        try:
            while self.waiting.messages and not self._keeper.stopping:
                seen = self.changes  # to look and to tidy up takes a while, in which the link may open
                try:
                    row = None if self._owner.is_away else await self._next()
                    if row is None:
                        await self._expire()
                        await self.wait_for_news(LONGEST_WAIT, seen)
                        continue
                    await self._keeper.pacer.turn()
                    wait = await self._send(row)
                except Unreachable:  # the store cannot be read
                    wait = 0.0
                if wait is None:
                    failures = 0
                elif wait:
                    await self._give_it_time(wait)
                else:
                    failures += 1
                    await self._expire()
                    longest = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(failures - 1, 10))
                    await self.wait_for_news(longest, seen)
        finally:
            self._draining = False
            self.wake()

    async def _give_it_time(self, seconds: float) -> None:
        """Wait before the central system is asked again for what it has refused, or for the operator."""
        until = self._keeper.clock() + seconds
        self._retry_at_once = False
        while not self._retry_at_once and not self._keeper.stopping:
            left = until - self._keeper.clock()
            if left < A_HAIR:
                return
            await self.wait_for_news(left, self.changes)

    async def _next(self) -> Waiting | None:
        """The message to send now; None when none may be sent to this central system."""
        await self._fetch()
        row = next(filter(self._owner.may_go, self._head), None)
        if row is None:
            self._head = []
        return row

    async def _fetch(self) -> None:
        if not self._head:
            where = {"identity": self._identity, "state": "waiting"}
            rows = await self._keeper.read(Waiting, where, limit=ROWS_AT_ONCE)
            self._head = [row for row in rows if row.position not in self._settled]

    async def _expire(self) -> None:
        """Drop what is too old. Only while it cannot be delivered: a clock that jumps costs nothing else."""
        age = self._keeper.rules.max_age
        while True:
            await self._fetch()
            oldest = self._keeper.now() - age
            row = next((row for row in self._head if row.kept < oldest), None)
            if row is None:
                return
            if await self._settle(row, _forget(row)):
                text = f"{row.action} was kept for longer than {age / 86400:.3g} days and is dropped"
                self._tell("message expired", f"{text}: {row.payload}", row, "expired")

    async def _send(self, row: Waiting) -> float | None:
        """Send one message; None when it is settled, else for how long to wait, 0 for as long as usual."""
        async with self.turn:
            if row not in self._head:
                return None  # the operator has taken it away meanwhile
            self.is_sending = True
            try:
                outcome = await self._owner.deliver(row)
                if outcome is None:
                    return 0.0
                if isinstance(outcome, Hopeless):
                    await self._give_up(row, outcome.problem, outcome.reason)
                elif isinstance(outcome, CallError):
                    problem = f"{outcome.code}: {outcome.description}"
                    # The central system has had its word on the message of this id.
                    return await self._refused(row, problem, outcome.reason, str(uuid.uuid4()))
                elif isinstance(outcome, Unanswered):
                    return await self._refused(row, outcome.problem, "timeout", row.message_id)
                else:
                    await self._delivered(row, outcome)
            finally:
                self.is_sending = False
        return None

    async def _delivered(self, row: Waiting, outcome: Delivered) -> None:
        late = self._keeper.now() - row.kept
        if await self._settle(row, _forget(row), *outcome.changes):
            text = f"{row.action} reached the central system {late:.0f} s late"
            self._tell("message delivered", text, row)
        outcome.then()

    async def _refused(self, row: Waiting, problem: str, reason: str, message_id: str) -> float | None:
        """The central system would not have it; how often counts. *message_id* is for the next attempt."""
        refusals = row.refusals + 1
        if refusals >= self._keeper.rules.attempts:
            await self._give_up(replace(row, refusals=refusals), problem, reason)
            return None
        refused = replace(row, refusals=refusals, problem=problem, message_id=message_id)
        self._head = [refused if each.position == row.position else each for each in self._head]
        with suppress(NotKept):  # it is only how often it was refused
            await self._keeper.store.write(refused)
        return self._keeper.rules.retry * 2.0 ** (refusals - 1)

    async def _give_up(self, row: Waiting, problem: str, reason: str) -> None:
        """Park a message: it is shown to the operator, and the next ones go on."""
        if await self._settle(row, replace(row, state="parked", problem=problem)):
            self._keeper.parked += 1
            self._tell("message parked", f"{row.action}: {problem}", row, reason)
            self._owner.parked(row, problem, reason)

    async def _settle(self, row: Waiting, *changes: Change) -> bool:
        """Take *row* out of what waits, and keep *changes*; False when somebody else has done it.

        A store that cannot keep is waited for: what has reached the central system must not be sent again.
        """
        if row.position in self._settled:
            return False
        self._settled |= {row.position}
        self._head = [each for each in self._head if each.position != row.position]
        while True:
            try:
                await self._keeper.store.write(*changes)
            except NotKept:
                await self._keeper.sleep(FIRST_WAIT)
                continue
            break
        self._settled -= {row.position}
        self._count(row, -1)
        return True

    # --- what the operator does ---

    async def retry(self, position: int) -> bool:
        """Send a message again at once, also one that was parked; False when there is none.

        Raises NotKept, and Unreachable when the store cannot be read.
        """
        async with self.turn:
            row = await self._find(position)
            if row is None:
                return False
            again = replace(row, state="waiting", refusals=0)
            if row.state == "parked":
                again = replace(again, message_id=str(uuid.uuid4()))
            await self._keeper.store.write(again)
            if row.state == "parked":
                self._keeper.parked -= 1
                self._count(again, 1)
            self._head = []
            self._retry_at_once = True
        self.wake()
        self.drain_soon()
        return True

    async def drop(self, position: int) -> bool:
        """Never send a message; False when there is none. Raises NotKept and Unreachable."""
        async with self.turn:
            row = await self._find(position)
            if row is None:
                return False
            await self._keeper.store.write(_forget(row))
            self._head = []
            self._uncount(row)
        self._tell("message dropped", f"{row.action}, by the operator: {row.payload}", row)
        self.wake()
        return True

    async def settle_start(self, is_it: Callable[[Call], bool], *changes: Change) -> None:
        """A StartTransaction has reached the central system in another way: keep *changes*, and let what
        waited for its number go on. Raises NotKept and Unreachable.
        """
        async with self.turn:
            rows = await self._keeper.read(
                Waiting, {"identity": self._identity, "action": "StartTransaction"}
            )
            starts = [row for row in rows if is_it(call_of(row))]
            await self._keeper.store.write(*changes, *map(_forget, starts))
            self._head = []
            for row in starts:
                self._uncount(row)
        self.wake()

    async def _find(self, position: int) -> Waiting | None:
        rows = await self._keeper.read(Waiting, {"identity": self._identity, "position": position})
        return rows[0] if rows else None

    def _tell(self, kind: str, text: str, row: Waiting, reason: str = "") -> None:
        self._keeper.journal.event(Event(kind, self._identity, text, reason, {"action": row.action}))
