"""Two central systems for one charge point: the second stands in while the first cannot be reached.

Exactly one of them is in use. How a link reaches its central system, and how an unreachable one is looked
for, is not known here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from wattbridge.ocpp.errors import Unreachable
from wattbridge.ocpp.messages import Call
from wattbridge.relay.duty import Duty
from wattbridge.relay.journal import Event, Journal
from wattbridge.relay.registry import CentralSystemLink
from wattbridge.relay.session import Answer, Session

MOST_PATIENCE = 64  # times back_after


class WatchedLink(CentralSystemLink, Protocol):
    """A link that tells since when its central system cannot be reached; None while it can.

    It is ``held`` while the operator does not want it to be used.
    """

    @property
    def unreachable_since(self) -> float | None: ...

    @property
    def held(self) -> bool: ...


class FailOver:
    """A link to the first of two central systems, and to the second while that cannot be reached.

    *first* and *second* make a link each time one is needed; *names* are what they are called. After the
    first has been unreachable for *after* seconds the second takes its place. From then on *reachable* is
    asked every *probe_every* seconds; when it has said yes for *back_after* seconds, the first is used again.
    If that does not hold, the next attempt waits twice as long. While the second *has_business_with* the
    charge point, transactions that began there and have not ended, it is used as long as it can be reached.
    *duties* are what the operator says of the two: one that is out of service is left at once, and never
    changed over to.

    A call that waits for a connection when they change goes to the new one; one that was sent ends with the
    old one. ``on_switch`` is called with the name of the one that is used now.
    """

    def __init__(
        self,
        session: Session,
        journal: Journal,
        first: Callable[[], WatchedLink],
        second: Callable[[], WatchedLink],
        *,
        names: tuple[str, str],
        duties: tuple[Duty, Duty] | None = None,
        reachable: Callable[[], Awaitable[bool]],
        after: float = 30.0,  # seconds, as all of them
        back_after: float = 60.0,
        probe_every: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        on_switch: Callable[[str], None] = lambda name: None,
        has_business_with: Callable[[str], bool] = lambda name: False,
    ) -> None:
        self._session = session
        self._has_business_with = has_business_with
        self._journal = journal
        self._first = first
        self._second = second
        self._names = names
        self._duties = duties or (Duty(), Duty())
        self._resting: asyncio.Timeout | None = None
        self._reachable = reachable
        self._after = after
        self._back_after = back_after
        self._probe_every = probe_every
        self._clock = clock
        self._sleep = sleep
        self._on_switch = on_switch
        self._link = first()
        self._until_free = session.until_free  # of this link; a later one has another
        self._running: dict[str, asyncio.Task[None]] = {}  # the last link to each, by its name
        self._closing = False
        self._closed = asyncio.Event()
        session.upstream = names[0]

    @property
    def transport(self) -> str:
        return self._link.transport

    @property
    def version(self) -> str:
        return self._link.version

    @property
    def form(self) -> str:
        return self._link.form

    @property
    def away(self) -> bool:
        return self._link.away

    @property
    def unreachable_since(self) -> float | None:
        return self._link.unreachable_since

    @property
    def held(self) -> bool:
        return self._link.held

    async def call(self, call: Call) -> Answer:
        """Ask the central system that is in use. Raises Unreachable and Violation."""
        while True:
            link = self._link
            try:
                return await link.call(call)
            except Unreachable as gone:
                if gone.asked is not None or self._link is link:
                    raise

    async def run(self) -> None:
        """Keep one of them until ``close``."""
        async with asyncio.TaskGroup() as tasks:
            self._go(tasks, self._link, self._names[0])
            switching = tasks.create_task(self._switch(tasks))
            first, second = self._duties
            with first.followed_by(self._look_again), second.followed_by(self._look_again):
                await self._closed.wait()
            switching.cancel()

    async def close(self, reason: str) -> None:
        """Let what is in flight end, then let go of the central system; ``run`` returns."""
        self._closing = True
        await self._link.close(reason)
        self._closed.set()

    async def _switch(self, tasks: asyncio.TaskGroup) -> None:
        """Use the second while the first is lost, again and again."""
        (first, second), patience = self._names, 1  # times back_after, until the first is tried again
        began: float | None = None  # when the first was taken back
        while True:
            lost = await self._until_lost()
            if lost is None:
                why = f"{first} {self._duties[0].why}"
            else:
                steady = began is None or lost - began >= self._back_after
                patience = 1 if steady else min(patience * 2, MOST_PATIENCE)
                why = f"{first} has not been reachable for {self._after:g} s"
            if not self._use(tasks, self._second, second, "fail-over", why):
                return
            wait = self._back_after * patience
            await self._until_back(wait)
            # What began at the second ends there, or it would wait until that is used again.
            while self._is_needed(second):
                await self._rest(self._probe_every)
                await self._until_back(0.0)
            why = f"{first} has been reachable for {wait:g} s"
            if self._link.held:
                why = f"{second} {self._duties[1].why}"
            if not self._use(tasks, self._first, first, "fail-back", why):
                return
            began = self._clock()

    async def _until_lost(self) -> float | None:
        """Wait until the link in use has not reached its central system for long enough; gives since when,
        None when the operator has it out of service. While that is so of the second there is no other.
        """
        while True:
            since, now = self._link.unreachable_since, self._clock()
            left = self._after if since is None else since + self._after - now
            if self._duties[1].is_ready:
                if self._link.held:
                    return None
                if left <= 0:
                    return since
            # Nothing that begins while this rests can be over before it wakes.
            await self._rest(left if left > 0 else self._after)

    async def _until_back(self, wait: float) -> None:
        """Wait until the first has been reachable for *wait* seconds in a row, or is while the second is out
        of service.
        """
        first, since = self._duties[0], None
        while True:
            if first.is_ready and await self._reachable() and first.is_ready:
                now = self._clock()
                since = now if since is None else since
                if now - since >= wait or self._link.held:
                    return
                await self._rest(min(self._probe_every, since + wait - now))
            else:
                since = None
                await self._rest(self._probe_every)

    async def _rest(self, seconds: float) -> None:
        """Sleep, until the operator has another word on one of the two at the latest."""
        try:
            async with asyncio.timeout(None) as self._resting:
                await self._sleep(seconds)
        except TimeoutError:  # only _look_again() sets a time
            pass
        finally:
            self._resting = None

    def _look_again(self) -> None:
        if self._resting is not None:
            self._resting.reschedule(asyncio.get_running_loop().time())
            self._resting = None

    def _is_needed(self, name: str) -> bool:
        """Whether the central system in use has transactions that no other knows, and can be reached."""
        since = self._link.unreachable_since
        lost = since is not None and self._clock() - since >= self._after
        return not lost and not self._link.held and self._has_business_with(name)

    def _use(
        self, tasks: asyncio.TaskGroup, make: Callable[[], WatchedLink], name: str, kind: str, why: str
    ) -> bool:
        """Put another link in the place of the one in use, unless that is being closed for good."""
        if self._closing:
            return False
        old, self._link = self._link, make()
        self._session.upstream = name
        self._journal.event(
            Event(kind, self._session.identity, f"to {name}: {why}", labels={"upstream": name})
        )
        self._on_switch(name)
        tasks.create_task(old.close(why))
        self._go(tasks, self._link, name)
        return True

    def _go(self, tasks: asyncio.TaskGroup, link: WatchedLink, name: str) -> None:
        earlier = self._running.get(name)
        keeping = self._keep(link, name, earlier)
        self._running[name] = tasks.create_task(keeping, name=f"{name} of a fail-over")

    async def _keep(self, link: WatchedLink, name: str, earlier: asyncio.Task[None] | None) -> None:
        # A central system never sees one charge point twice: not by us, nor by whom we took the place of.
        if earlier is not None:
            await asyncio.wait([earlier])
        if self._until_free is not None:
            await self._until_free(name)
        await link.run()
