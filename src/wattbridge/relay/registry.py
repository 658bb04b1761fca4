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


class CentralSystemLink(Link, Protocol):
    """A link that keeps itself connected as long as ``run`` runs."""

    async def run(self) -> None: ...


class Registry:
    """Opens, finds and closes sessions.

    ``open_link`` makes the link to the central system of a session; it raises Unreachable when there is none
    for that charge point. ``alive`` is how many heartbeat intervals a silent session is kept,
    ``heartbeat_interval`` (seconds) what is assumed until BootNotification.conf tells.
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
        self._closing: dict[str, asyncio.Event] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._draining = False

    def __len__(self) -> int:
        return len(self._sessions)

    def sessions(self) -> list[Session]:
        return list(self._sessions.values())

    def find(self, identity: str) -> Session | None:
        return self._sessions.get(identity)

    def session(self, identity: str) -> Session:
        """The session of a charge point that has spoken; opened if there is none.

        Raises Unreachable when the gateway is stopping, holds as many sessions as it may, or has no central
        system for this charge point.
        """
        session = self._sessions.get(identity)
        if session is not None:
            return session
        if self._tasks is None or self._draining:
            raise Unreachable("draining", "the gateway is stopping")
        if len(self._sessions) >= self._most_sessions:
            raise Unreachable("busy", f"the gateway holds {self._most_sessions} sessions, as many as it may")
        session = Session(identity, self._journal, clock=self._clock)
        link = self._open_link(session)
        session.attach(Side.CENTRAL_SYSTEM, link)
        self._sessions[identity] = session
        self._tasks.create_task(self._keep(session, link), name=f"central system of {identity}")
        self._journal.event(Event("session opened", identity))
        return session

    async def run(self) -> None:
        """Keep the sessions until ``stop``; closes those that fall silent."""
        stopped = self._stopped = asyncio.Event()
        async with asyncio.TaskGroup() as self._tasks:
            while not stopped.is_set():
                self._sweep(self._tasks)
                try:
                    async with asyncio.timeout(self._sweep_every):
                        await stopped.wait()
                except TimeoutError:
                    continue
            for session in self.sessions():
                self._tasks.create_task(self._close(session, "the gateway is stopping"))
        self._tasks = None

    def drain(self) -> None:
        """Open no more sessions; those there are go on."""
        self._draining = True

    def stop(self) -> None:
        """Close every session; ``run`` returns when they are."""
        self._draining = True
        if self._tasks is not None:
            self._stopped.set()

    def silent_after(self, session: Session) -> float:
        """Seconds of silence after which a session is closed."""
        return self._alive * (session.heartbeat_interval or self._heartbeat_interval)

    def _sweep(self, tasks: asyncio.TaskGroup) -> None:
        now = self._clock()
        silent = [
            session
            for session in self._sessions.values()
            if not session.calls_in_flight and now - session.heard > self.silent_after(session)
        ]
        for session in silent:
            tasks.create_task(self._close(session, "the charge point is silent"))

    async def _close(self, session: Session, why: str) -> None:
        # Whoever speaks from now on opens a new session; its link waits until this one's has closed, so that
        # the central system never sees one charge point twice.
        if self._sessions.get(session.identity) is not session:
            return
        del self._sessions[session.identity]
        closed = self._closing[session.identity] = asyncio.Event()
        try:
            for link in session.links.values():
                await link.close(why)
        finally:
            closed.set()
            if self._closing.get(session.identity) is closed:
                del self._closing[session.identity]
            self._journal.event(Event("session closed", session.identity, why))

    async def _keep(self, session: Session, link: CentralSystemLink) -> None:
        earlier = self._closing.get(session.identity)
        if earlier is not None:
            await earlier.wait()
        try:
            await link.run()
        except Exception as bug:  # the edge of the task: one session's bug must not end the others
            self._journal.event(Event("internal error", session.identity, repr(bug), "internal"))
            await self._close(session, "an error inside the gateway")
