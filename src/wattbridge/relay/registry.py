"""Every charge point's session by its identity: opened at its first message, closed when it falls silent.

A SOAP charge point has no connection, so its session is alive while it speaks: ``k ×`` its heartbeat interval
after its last word the link to the central system is closed, so that the central system sees it offline.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from wattbridge.ocpp.errors import Unreachable
from wattbridge.ocpp.messages import Side
from wattbridge.relay.journal import Event, Journal
from wattbridge.relay.session import Link, Session

MOST_SWEPT = 2000  # sessions looked at in one sweep; less than a millisecond


class CentralSystemLink(Link, Protocol):
    """A link that keeps itself connected from ``run`` until ``close``; ``run`` then returns."""

    async def run(self) -> None: ...


class Registry:
    """Opens, finds and closes sessions.

    ``open_link`` makes the link to the central system of a session; it raises Unreachable when there is none
    for that charge point. ``alive`` is how many heartbeat intervals a silent session is kept,
    ``heartbeat_interval`` (seconds) what is assumed until the central system tells one.
    """

    def __init__(
        self,
        journal: Journal,
        open_link: Callable[[Session], CentralSystemLink],
        *,
        alive: float = 3.0,
        heartbeat_interval: float = 300.0,
        most_sessions: int = 20_000,
        sweep_every: float = 1.0,  # seconds
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._journal = journal
        self._open_link = open_link
        self._alive = alive
        self._heartbeat_interval = heartbeat_interval
        self._most_sessions = most_sessions
        self._sweep_every = sweep_every
        self._clock = clock
        self._sessions: dict[str, Session] = {}
        # The last session of each identity whose link has not ended yet: set when it has.
        self._ended: dict[str, asyncio.Event] = {}
        # What the central system told charge points whose session was closed since, the latest last.
        self._told_intervals: dict[str, float] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._stopped = asyncio.Event()
        self._draining = False
        self._swept = 0  # how many of the sessions, in their order, have been looked at

    def __len__(self) -> int:
        return len(self._sessions)

    def __contains__(self, identity: str) -> bool:
        return identity in self._sessions

    def sessions(self) -> list[Session]:
        return list(self._sessions.values())

    def find(self, identity: str) -> Session | None:
        return self._sessions.get(identity)

    def session(self, identity: str) -> Session:
        """The session of a charge point that has spoken; opened if there is none.

        Raises Unreachable when the registry does not run, holds as many sessions as it may, or has no central
        system for this charge point.
        """
        session = self._sessions.get(identity)
        if session is not None:
            return session
        if self._draining or self._tasks is None:
            raise Unreachable("draining", "the gateway takes no further charge points: it is stopping")
        if len(self._sessions) >= self._most_sessions:
            raise Unreachable("busy", f"the gateway holds {self._most_sessions} sessions, as many as it may")
        session = Session(identity, self._journal, clock=self._clock)
        session.heartbeat_interval = self._told_intervals.pop(identity, None)
        link = self._open_link(session)
        session.attach(Side.CENTRAL_SYSTEM, link)
        self._sessions[identity] = session
        earlier, ended = self._ended.get(identity), asyncio.Event()
        self._ended[identity] = ended
        self._tasks.create_task(
            self._keep(session, link, earlier, ended), name=f"central system of {identity}"
        )
        self._journal.event(Event("session opened", identity))
        return session

    async def run(self) -> None:
        """Keep the sessions until ``stop``; closes those that fall silent.

        Sessions can be opened as soon as this has begun.
        """
        async with asyncio.TaskGroup() as self._tasks:
            while not self._stopped.is_set():
                self._sweep()
                try:
                    async with asyncio.timeout(self._sweep_every):
                        await self._stopped.wait()
                except TimeoutError:
                    continue
            for session in self.sessions():
                self._let_go(session, "the gateway is stopping")
        self._tasks = None

    def drain(self) -> None:
        """Open no more sessions; those there are go on."""
        self._draining = True

    def stop(self) -> None:
        """Close every session; ``run`` returns when they are."""
        self._draining = True
        self._stopped.set()

    def silent_after(self, session: Session) -> float:
        """Seconds of silence after which a session is closed."""
        return self._alive * (session.heartbeat_interval or self._heartbeat_interval)

    def _sweep(self) -> None:
        """Look at the next few sessions: a large fleet is gone through in parts, so that no message waits."""
        now = self._clock()
        begin = self._swept if self._swept < len(self._sessions) else 0
        part = self.sessions()[begin : begin + MOST_SWEPT]
        silent = [
            session
            for session in part
            if now - session.heard > self.silent_after(session) and not session.calls_in_flight
        ]
        self._swept = begin + len(part) - len(silent)
        for session in silent:
            self._let_go(session, "the charge point is silent")

    def _let_go(self, session: Session, why: str) -> None:
        """Forget the session at once and close its links; whoever speaks from now on opens a new one."""
        if self._sessions.get(session.identity) is not session or self._tasks is None:
            return
        del self._sessions[session.identity]
        if session.heartbeat_interval is not None:
            self._told_intervals[session.identity] = session.heartbeat_interval
            if len(self._told_intervals) > self._most_sessions:
                del self._told_intervals[next(iter(self._told_intervals))]
        self._tasks.create_task(self._close(session, why), name=f"closing {session.identity}")

    async def _close(self, session: Session, why: str) -> None:
        try:
            # The central system's calls are in flight to the charge point, so its side is closed first.
            for side in (Side.CENTRAL_SYSTEM, Side.CHARGE_POINT):
                await session.links[side].close(why)
        except Exception as bug:  # the edge of the task: one session's bug must not end the others
            self._journal.event(Event("internal error", session.identity, repr(bug), "internal"))
        self._journal.event(Event("session closed", session.identity, why))

    async def _keep(
        self, session: Session, link: CentralSystemLink, earlier: asyncio.Event | None, ended: asyncio.Event
    ) -> None:
        try:
            if earlier is not None:
                # Two sessions may overlap, but the central system never sees one charge point twice.
                await earlier.wait()
            await link.run()
        except Exception as bug:  # the edge of the task: one session's bug must not end the others
            self._journal.event(Event("internal error", session.identity, repr(bug), "internal"))
            self._let_go(session, "an error inside the gateway")
        finally:
            ended.set()
            if self._ended.get(session.identity) is ended:
                del self._ended[session.identity]
