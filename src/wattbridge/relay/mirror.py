"""Copies of a charge point's calls for further central systems.

A mirror reads along and has no say: what it answers ends here, and what it asks is answered NotSupported. It
has a connection, a queue and transaction numbers of its own, and costs the main path one append.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from wattbridge.ocpp.errors import Unreachable, Violation
from wattbridge.ocpp.messages import Call, CallError, Check, Passage, Reply, Side
from wattbridge.relay.journal import Event, Journal
from wattbridge.relay.registry import CentralSystemLink
from wattbridge.relay.session import Answer
from wattbridge.relay.transactions import TransactionIds, UnknownTransaction

RETRY_AFTER = 1.0  # seconds, when the mirror could not even be asked; its link has its own growing waits


class Bystander:
    """Stands in for a session where a mirror's link looks for one: whatever it asks is refused."""

    check: Check = "off"

    def __init__(self, identity: str, known_as: str, mirror: str, journal: Journal) -> None:
        self.identity = identity
        self.known_as = known_as
        self._mirror = mirror
        self._journal = journal

    def passes(self, arrived_from: Side, form: str) -> bool:
        return False

    async def relay(
        self,
        call: Call,
        arrived: Passage,
        arrived_from: Side,
        write: Callable[[Reply], Passage],
        began: float | None = None,
    ) -> tuple[Reply, Passage]:
        text = f"{call.action} of mirror {self._mirror} was refused: a mirror has no say"
        self._journal.event(Event("mirror refused", self.identity, text, labels={"upstream": self._mirror}))
        reply = CallError(
            "NotSupported", "this connection is a mirror, which has no say", reason="unsupported"
        )
        return reply, write(reply)


class Mirror:
    """One further central system of one charge point.

    ``offer`` takes a call that the main central system has answered, and its answer; at most ``most`` of them
    wait, the oldest is dropped for a new one. ``run`` sends them, one after the other, until ``close``.
    """

    def __init__(
        self,
        name: str,
        identity: str,
        link: CentralSystemLink,
        journal: Journal,
        most: int = 1000,
        *,
        on_depth: Callable[[int], None] = lambda change: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._name = name
        self._identity = identity
        self._link = link
        self._journal = journal
        self._most = most
        self._on_depth = on_depth
        self._sleep = sleep
        self._ids = TransactionIds()
        self._waiting: deque[tuple[Call, Reply]] = deque()
        self._news = asyncio.Event()
        self._closing = False

    def offer(self, call: Call, reply: Reply) -> None:
        if self._closing:
            return
        if len(self._waiting) >= self._most:
            dropped, _ = self._waiting.popleft()
            self._drop(dropped, "queue_full", f"{self._most} calls wait for it already")
        else:
            self._on_depth(1)
        self._waiting.append((call, reply))
        self._news.set()

    async def run(self) -> None:
        """Never raises: what goes wrong with a mirror is told, and nobody else's business."""
        try:
            async with asyncio.TaskGroup() as tasks:
                sending = tasks.create_task(self._send_all())
                await self._link.run()
                sending.cancel()
        except Exception as bug:  # the edge of the task: the main path must not end with a mirror
            self._journal.event(Event("internal error", self._identity, repr(bug), "internal"))
        finally:
            self._closing = True
            self._on_depth(-len(self._waiting))
            self._waiting.clear()

    async def close(self, reason: str) -> None:
        self._closing = True
        await self._link.close(reason)

    async def _send_all(self) -> None:
        while True:
            while not self._waiting:
                self._news.clear()
                await self._news.wait()
            waiting = self._waiting[0]
            done = await self._send(*waiting)
            # While it was being sent it may have been dropped, for a newer one.
            if done and self._waiting and self._waiting[0] is waiting:
                self._waiting.popleft()
                self._on_depth(-1)
            if not done:
                await self._sleep(RETRY_AFTER)

    async def _send(self, call: Call, told: Reply) -> bool:
        """Send one call; False when it shall be tried again."""
        try:
            answer = await self._link.call(self._ids.for_them(call))
        except UnknownTransaction as unknown:
            self._drop(call, "untranslatable", str(unknown))
        except Violation as broken:
            self._drop(call, "untranslatable", str(broken))
        except Unreachable as gone:
            if gone.asked is None and gone.reason != "draining":
                return False
            self._drop(call, gone.reason, gone.description)
        else:
            if call.action == "StartTransaction":
                self._ids.learn(told, answer.reply)
        return True

    def _drop(self, call: Call, reason: str, why: str) -> None:
        text = f"{call.action} was not sent to mirror {self._name}: {why}"
        labels = {"upstream": self._name}
        self._journal.event(Event("mirror dropped", self._identity, text, reason, labels))


class Mirrored:
    """The link to a central system, with mirrors beside it."""

    def __init__(self, link: CentralSystemLink, mirrors: Sequence[Mirror]) -> None:
        self._link = link
        self._mirrors = mirrors

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

    async def call(self, call: Call) -> Answer:
        return await self._link.call(call)

    def offer(self, call: Call, reply: Reply) -> None:
        for mirror in self._mirrors:
            mirror.offer(call, reply)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for mirror in self._mirrors:
                tasks.create_task(mirror.run())
            await self._link.run()

    async def close(self, reason: str) -> None:
        async with asyncio.TaskGroup() as tasks:
            for mirror in self._mirrors:
                tasks.create_task(mirror.close(reason))
            await self._link.close(reason)
