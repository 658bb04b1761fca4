"""Every charge point's session by its identity: opened when it is first heard, closed when it falls silent.

A SOAP charge point has no connection, so its session is alive while it speaks: ``k ×`` its heartbeat interval
after its last word the link to the central system is closed, so that the central system sees it offline. One
that keeps a connection is there as long as that is, and for a moment longer, so that it may come back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from typing import Protocol

from wattbridge.ocpp.errors import Unreachable
from wattbridge.ocpp.messages import Call, Side
from wattbridge.relay.delivery import Deliveries, Delivery
from wattbridge.relay.journal import Event, Journal
from wattbridge.relay.routes import Heard
from wattbridge.relay.session import Link, Session
from wattbridge.relay.tracing import of_no_trace
from wattbridge.store.base import ChargePoint

STALE_AFTER = 1.5  # heartbeat intervals
MOST_SWEPT = 2000  # sessions looked at in one sweep; less than a millisecond


class CentralSystemLink(Link, Protocol):
    """A link that keeps itself connected from ``run`` until ``close``; ``run`` then returns.

    ``away`` tells that its central system could not be reached when that was last tried: to ask it is in
    vain for the moment.
    """

    @property
    def away(self) -> bool: ...

    async def run(self) -> None: ...


class Way(Protocol):
    """The way from one session to its central system, as its route says."""

    @property
    def link(self) -> CentralSystemLink: ...

    def leads(self, heard: Heard) -> bool:
        """Whether a charge point of which this is known still goes this way."""
        ...


@dataclass(eq=False, slots=True)
class _Running:
    """A link that may be connected with its *ends*: central systems, and what they call the charge point.

    There is more than one when a fail-over has changed from one to the other. Later ones have higher numbers.
    """

    number: int
    ends: list[tuple[str, str]] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True)
class _Kept:
    """A session, what is known of its charge point, and the way its calls take."""

    session: Session
    heard: Heard
    way: Way
    listed: bool = False  # when it was opened


class Registry:
    """Opens, finds and closes sessions.

    ``open_way`` makes the way to the central system of a session, and says on the session what its route says
    of it; it raises Unreachable when there is none for that charge point. ``alive`` is how many heartbeat
    intervals a silent session is kept, ``heartbeat_interval`` (seconds) what is assumed until the central
    system tells one; ``linger`` for how many seconds one that has lost its connection is. ``takeover`` is how
    many seconds an older connection has to answer before another takes its place.
    """

    def __init__(
        self,
        journal: Journal,
        open_way: Callable[[Session, Heard], Way],
        *,
        alive: float = 3.0,
        heartbeat_interval: float = 300.0,
        linger: float = 10.0,
        takeover: float = 3.0,
        deliveries: Deliveries | None = None,
        most_sessions: int = 20_000,
        sweep_every: float = 1.0,  # seconds
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.open_way = open_way
        self.alive = alive
        self.heartbeat_interval = heartbeat_interval
        self.linger = linger
        self.takeover = takeover
        self.most_sessions = most_sessions
        # Charge points that have room whatever else there is; the others share ``most_sessions``.
        self.is_listed: Callable[[str], bool] = lambda identity: False
        self._strangers = 0
        self._deliveries = deliveries
        self._journal = journal
        self._sweep_every = sweep_every
        self._clock = clock
        self._sessions: dict[str, _Kept] = {}
        # Those whose central system has another name for them, by that name.
        self._renamed: dict[str, list[_Kept]] = {}
        # The last link to each central system under each name that has not ended yet.
        self._running: dict[tuple[str, str], _Running] = {}
        self._numbers = count()
        # What was learned of charge points whose session was closed since, the latest last.
        self._learned: dict[str, tuple[Heard, float | None]] = {}
        self._last_heard: dict[str, float] = {}  # of the same, on the clock
        self._tasks: asyncio.TaskGroup | None = None
        self._stopped = asyncio.Event()
        self._draining = False
        self._swept = 0  # how many of the sessions, in their order, have been looked at

    def __len__(self) -> int:
        return len(self._sessions)

    def __contains__(self, identity: str) -> bool:
        return identity in self._sessions

    def sessions(self) -> list[Session]:
        return [kept.session for kept in self._sessions.values()]

    def identities(self) -> list[str]:
        """Of the charge points that have a session."""
        return list(self._sessions)

    def heard_of(self, identity: str) -> Heard | None:
        """What is known of a charge point that was heard since the start; None of any other."""
        if identity in self._sessions:
            return self._sessions[identity].heard
        return self._learned[identity][0] if identity in self._learned else None

    def last_heard(self, identity: str) -> float | None:
        """When a charge point last spoke, on the registry's clock; None when that was before the start."""
        kept = self._sessions.get(identity)
        return kept.session.heard if kept is not None else self._last_heard.get(identity)

    def is_stale(self, session: Session) -> bool:
        """Whether its charge point has a session and yet may be gone.

        That is one that has lost its connection, or has none and should have said something by now: a SOAP
        charge point sends a Heartbeat every interval (OCPP 1.6, 4.6).
        """
        if session.connection is not None:
            return False  # pings see to it
        if session.gone is not None:
            return True
        interval = session.heartbeat_interval or self.heartbeat_interval
        return self._clock() - session.heard > STALE_AFTER * interval

    def find(self, identity: str) -> Session | None:
        kept = self._sessions.get(identity)
        return kept.session if kept else None

    def find_known_as(self, known_as: str, serves: Callable[[Session], bool]) -> Session | None:
        """The session of the charge point that a central system calls *known_as*.

        *serves* tells whether a session is with that central system.
        """
        same = self._sessions.get(known_as)
        named = [same] if same is not None and same.session.known_as == known_as else []
        for kept in [*named, *self._renamed.get(known_as, [])]:
            if serves(kept.session):
                return kept.session
        return None

    def _name(self, kept: _Kept) -> None:
        """Remember what its central system calls it."""
        if kept.session.known_as != kept.session.identity:
            self._renamed.setdefault(kept.session.known_as, []).append(kept)

    def _forget_name(self, kept: _Kept) -> None:
        name = kept.session.known_as
        others = [each for each in self._renamed.pop(name, ()) if each is not kept]
        if others:
            self._renamed[name] = others

    def session(self, heard: Heard) -> Session:
        """The session of a charge point that was heard; opened if there is none.

        Raises Unreachable when the registry does not run, holds as many sessions as it may, or has no central
        system for this charge point.
        """
        identity = heard.identity
        known = self._sessions.get(identity)
        if known is not None:
            return known.session
        if self._draining or self._tasks is None:
            raise Unreachable("draining", "the gateway takes no further charge points: it is stopping")
        listed = self.is_listed(identity)
        if not listed and self._strangers >= self.most_sessions:
            said = f"the gateway holds {self.most_sessions} sessions of charge points that are not listed"
            raise Unreachable("busy", f"{said}, as many as it may")
        session = Session(identity, self._journal, clock=self._clock)
        earlier, session.heartbeat_interval = self._learned.pop(identity, (heard, None))
        self._last_heard.pop(identity, None)
        if heard.vendor is None:
            heard = replace(heard, vendor=earlier.vendor, model=earlier.model, firmware=earlier.firmware)
        session.before_relay = partial(self._learn, session)
        session.listener, session.source = heard.listener, heard.source
        way, running = self._open_way(session, heard)
        self._sessions[identity] = kept = _Kept(session, heard, way, listed)
        self._strangers += not listed
        self._name(kept)
        self._go(kept, running)
        self._journal.event(Event("session opened", identity))
        return session

    def restore(self, known: ChargePoint) -> Session | None:
        """Open the session of a charge point that had one before the gateway was restarted; None when it has
        spoken already, or there can be none.

        One that keeps a connection has to come back by itself: its session lives as long as messages wait.
        """
        if known.identity in self._sessions:
            return None
        heard = Heard(
            known.identity,
            known.source,
            known.listener,
            vendor=known.vendor,
            model=known.model,
            firmware=known.firmware,
        )
        try:
            session = self.session(heard)
        except Unreachable as gone:
            self._journal.event(Event("session not restored", known.identity, gone.description, gone.reason))
            return None
        session.heartbeat_interval = known.heartbeat_interval
        session.callback = known.callback
        if isinstance(session.delivery, Delivery):
            session.delivery.known = known
        if not known.dialect.startswith("soap"):
            session.gone = self._clock()
        return session

    async def claim(self, session: Session) -> bool:
        """Whether somebody else may speak for the charge point of *session*.

        An older connection that answers a ping keeps its place; one that is silent loses it. Who connects at
        once, without waiting for anything after this, has the place: of two that claim it one gets it.
        """
        while (connection := session.connection) is not None:
            if await connection.is_alive(self.takeover):
                return False
            if session.connection is connection:  # or somebody else has replaced it meanwhile
                session.disconnect(connection, "it was silent when another connection came")
                if self._tasks is not None:
                    why = "another connection has taken its place"
                    self._tasks.create_task(connection.close(why), name=f"closing {session.identity}")
        return True

    def move(self, session: Session, leads: Callable[[Way, Heard], bool]) -> bool:
        """Send a session another way, unless its way *leads* where it belongs; tells whether it was sent."""
        kept = self._sessions.get(session.identity)
        if kept is None or kept.session is not session or leads(kept.way, kept.heard):
            return False
        self._change_way(kept)
        return True

    def close(self, session: Session, why: str) -> None:
        """Close a session with its connections at once; whoever speaks next for it opens another."""
        self._let_go(session, why)

    def forget(self, identity: str) -> None:
        """What was learned of a charge point that has no session."""
        self._learned.pop(identity, None)
        self._last_heard.pop(identity, None)

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
        return self.alive * (session.heartbeat_interval or self.heartbeat_interval)

    def silence(self, session: Session) -> float:
        """Seconds since its charge point last spoke."""
        return self._clock() - session.heard

    def _is_silent(self, session: Session, now: float) -> bool:
        if session.connection is not None or session.calls_in_flight:
            return False
        if isinstance(session.delivery, Delivery) and session.delivery.outbox.waiting.messages:
            return False  # who else would bring them to the central system
        if session.gone is not None:
            return now - session.gone > self.linger
        return now - session.heard > self.silent_after(session)

    def _learn(self, session: Session, call: Call) -> None:
        """A charge point tells what it is: that may lead it to another central system."""
        kept = self._sessions.get(session.identity)
        if call.action != "BootNotification" or kept is None or kept.session is not session:
            return
        kept.heard = told(kept.heard, call)
        if not kept.way.leads(kept.heard):
            self._change_way(kept)

    def _change_way(self, kept: _Kept) -> None:
        """What is in flight on the old way ends there; everything else takes the new one."""
        session, old = kept.session, kept.way.link
        self._forget_name(kept)
        try:
            kept.way, running = self._open_way(session, kept.heard)
        except Unreachable as gone:
            self._journal.event(Event("route kept", session.identity, gone.description, gone.reason))
            return
        finally:
            self._name(kept)
        assert self._tasks is not None
        self._go(kept, running)
        text = f"{session.route} to {session.upstream}" if session.upstream else session.route
        self._journal.event(Event("route changed", session.identity, text))
        self._tasks.create_task(old.close("its route has changed"), name=f"closing {session.identity}")

    def _open_way(self, session: Session, heard: Heard) -> tuple[Way, _Running]:
        running = _Running(next(self._numbers))
        session.until_free = partial(self._until_free, session, running)
        return self.open_way(session, heard), running

    def _go(self, kept: _Kept, running: _Running) -> None:
        """Keep the link to the central system that the session's way leads to."""
        assert self._tasks is not None
        session, link = kept.session, kept.way.link
        session.attach(Side.CENTRAL_SYSTEM, link)
        if self._deliveries is not None and session.upstream:
            session.delivery = delivery = self._deliveries.of(session.identity)
            delivery.opened(session)
        else:  # its route rejects it: there is nobody to deliver to
            session.delivery = None
        earlier = self._hold(session, running, session.upstream)
        if earlier is not None:
            self._tell_if_taken(session)
        keeping = self._keep(session, link, running, earlier)
        name = f"central system of {session.identity}"
        self._tasks.create_task(keeping, name=name, context=of_no_trace())

    def _tell_if_taken(self, session: Session) -> None:
        """Two identities that are rewritten to one name: a central system has one charge point of a name."""

        def same_name(other: Session) -> bool:
            return other is not session and other.upstream == session.upstream

        other = self.find_known_as(session.known_as, same_name)
        if other is not None:
            text = f"central system {session.upstream} knows {other.identity} as {session.known_as} already; "
            text += "until that is gone, there may be no connection for this one"
            self._journal.event(Event("name taken", session.identity, text))

    def _sweep(self) -> None:
        """Look at the next few sessions: a large fleet is gone through in parts, so that no message waits."""
        now = self._clock()
        begin = self._swept if self._swept < len(self._sessions) else 0
        part = self.sessions()[begin : begin + MOST_SWEPT]
        silent = [session for session in part if self._is_silent(session, now)]
        self._swept = begin + len(part) - len(silent)
        for session in silent:
            why = "is silent" if session.gone is None else "has lost its connection"
            self._let_go(session, f"the charge point {why}")

    def _let_go(self, session: Session, why: str) -> None:
        """Forget the session at once and close its links; whoever speaks from now on opens a new one."""
        kept = self._sessions.get(session.identity)
        if kept is None or kept.session is not session or self._tasks is None:
            return
        del self._sessions[session.identity]
        self._strangers -= not kept.listed
        self._forget_name(kept)
        if self._deliveries is not None and isinstance(session.delivery, Delivery):
            session.delivery.closed(session, for_good=not self._draining)
            self._deliveries.forget(session.identity)
        self._learned[session.identity] = kept.heard, session.heartbeat_interval
        self._last_heard[session.identity] = session.heard
        if len(self._learned) > max(self.most_sessions, len(self._sessions)):
            forgotten = next(iter(self._learned))
            del self._learned[forgotten], self._last_heard[forgotten]
        self._tasks.create_task(self._close(session, why), name=f"closing {session.identity}")

    async def _close(self, session: Session, why: str) -> None:
        try:
            # The central system's calls are in flight to the charge point, so its side is closed first.
            for side in (Side.CENTRAL_SYSTEM, Side.CHARGE_POINT):
                await session.links[side].close(why)
        except Exception as bug:  # the edge of the task: one session's bug must not end the others
            self._journal.event(Event("internal error", session.identity, repr(bug), "internal"))
        self._journal.event(Event("session closed", session.identity, why))

    async def _until_free(self, session: Session, running: _Running, upstream: str) -> None:
        """A fail-over leads the link that is *running* to *upstream*: an earlier link there ends first."""
        earlier = self._hold(session, running, upstream)
        if earlier is not None:
            await earlier.ended.wait()

    def _hold(self, session: Session, running: _Running, upstream: str) -> _Running | None:
        """*running* goes to *upstream*, and whoever goes there later waits for its end: what it leaves behind
        may take as long as its last call does. Returns the one that it has to wait for itself.
        """
        end = upstream, session.known_as
        earlier = self._running.get(end)
        if earlier is not None and earlier.number >= running.number:
            return None  # it has been there before, or whoever came later waits for it
        running.ends.append(end)
        self._running[end] = running
        return earlier

    async def _keep(
        self,
        session: Session,
        link: CentralSystemLink,
        running: _Running,
        earlier: _Running | None,
    ) -> None:
        try:
            if earlier is not None:
                # Two sessions may overlap, but the central system never sees one charge point twice.
                await earlier.ended.wait()
            await link.run()
        except Exception as bug:  # the edge of the task: one session's bug must not end the others
            self._journal.event(Event("internal error", session.identity, repr(bug), "internal"))
            self._let_go(session, "an error inside the gateway")
        finally:
            running.ended.set()
            for end in running.ends:
                if self._running.get(end) is running:
                    del self._running[end]


def told(heard: Heard, boot: Call) -> Heard:
    """*heard*, and what a BootNotification tells."""
    vendor = str(boot.payload.get("chargePointVendor", ""))
    model, firmware = boot.payload.get("chargePointModel"), boot.payload.get("firmwareVersion")
    return replace(
        heard,
        vendor=vendor,
        model=None if model is None else str(model),
        firmware=None if firmware is None else str(firmware),
    )
