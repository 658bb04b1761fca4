"""Sessions open with the first message and close in silence; time is a number."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from tests.fakes import Clock, FakeLink, Listened, away, listen
from wattbridge.ocpp.errors import Unreachable
from wattbridge.ocpp.messages import Call, CallResult, Passage, Side
from wattbridge.relay.journal import Event, Journal
from wattbridge.relay.registry import MOST_SWEPT, Registry, Way
from wattbridge.relay.routes import Heard
from wattbridge.relay.session import Session


@dataclass
class World:
    """A running registry whose links are fakes, ``links`` in the order they were opened."""

    registry: Registry
    clock: Clock
    heard: Listened
    running: asyncio.Task[None]
    links: list[FakeLink] = field(default_factory=list)

    async def closed(self, count: int = 1) -> list[Event]:
        await self.heard.until(lambda: len(self.heard.told("session closed")) >= count)
        return self.heard.told("session closed")

    async def turns(self) -> None:
        """Let everybody have their say, the sweep more than once."""
        await asyncio.sleep(0.01)


@asynccontextmanager
async def a_registry(
    make_link: Callable[[], FakeLink] = FakeLink, *, most_sessions: int = 20_000
) -> AsyncIterator[World]:
    clock, journal, links = Clock(), Journal(), list[FakeLink]()

    def open_way(session: Session, heard: Heard) -> FakeLink:
        links.append(make_link())
        return links[-1]

    registry = Registry(
        journal,
        open_way,
        alive=3.0,
        heartbeat_interval=100.0,
        most_sessions=most_sessions,
        sweep_every=0.001,
        clock=clock,
    )
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(registry.run())
        await asyncio.sleep(0)
        yield World(registry, clock, listen(journal), running, links)
        for link in links:
            link.may_end.set()
        registry.stop()


async def speak(session: Session, call: Call | None = None) -> None:
    await session.relay(
        call or Call("Heartbeat", {}),
        Passage("soap", b""),
        Side.CHARGE_POINT,
        lambda reply: Passage("soap", b""),
    )


async def test_the_first_message_opens_a_session_and_the_others_find_it() -> None:
    async with a_registry() as world:
        assert world.registry.find("CP1") is None
        session = world.registry.session(Heard("CP1"))
        assert world.registry.session(Heard("CP1")) is session is world.registry.find("CP1")
        assert world.registry.sessions() == [session]
        assert (len(world.registry), "CP1" in world.registry, "CP2" in world.registry) == (1, True, False)
        await world.turns()
        assert [link.running for link in world.links] == [True]
        assert world.heard.told("session opened") == [Event("session opened", "CP1")]


async def test_what_was_heard_of_a_charge_point_outlives_its_session() -> None:
    async with a_registry() as world:
        boot = Call("BootNotification", {"chargePointVendor": "ACME", "chargePointModel": "CC-1"})
        await speak(world.registry.session(Heard("CP1")), boot)
        assert world.registry.identities() == ["CP1"]
        known = Heard("CP1", vendor="ACME", model="CC-1")
        assert world.registry.heard_of("CP1") == known
        world.clock.now = 1000.0
        await world.closed()
        assert world.registry.identities() == []
        assert world.registry.heard_of("CP1") == known
        assert world.registry.heard_of("CP2") is None


async def test_a_silent_session_is_closed_after_k_intervals() -> None:
    async with a_registry() as world:
        session = world.registry.session(Heard("CP1"))
        charge_point = FakeLink()
        session.attach(Side.CHARGE_POINT, charge_point)
        assert world.registry.silent_after(session) == 300.0
        world.clock.now = 300.0
        await world.turns()
        assert len(world.registry) == 1
        world.clock.now = 300.1
        assert await world.closed() == [Event("session closed", "CP1", "the charge point is silent")]
        assert len(world.registry) == 0
        assert world.links[0].closed == charge_point.closed == ["the charge point is silent"]
        await world.turns()
        assert not world.links[0].running


async def test_a_session_is_stale_when_its_charge_point_should_have_spoken() -> None:
    async with a_registry(lambda: FakeLink(CallResult({"status": "Accepted", "interval": 1000}))) as world:
        session = world.registry.session(Heard("CP1"))
        for now, stale in ((0.0, False), (150.0, False), (150.1, True)):  # of 100 s that are assumed
            world.clock.now = now
            assert world.registry.is_stale(session) is stale, now
        await speak(session, Call("BootNotification", {"chargePointVendor": "V", "chargePointModel": "M"}))
        world.clock.now = 150.1 + 1500.0
        assert not world.registry.is_stale(session)
        world.clock.now = 150.1 + 1500.1
        assert world.registry.is_stale(session)


async def test_when_a_charge_point_last_spoke_outlives_its_session() -> None:
    async with a_registry() as world:
        session = world.registry.session(Heard("CP1"))
        world.clock.now = 20.0
        await speak(session)
        assert world.registry.last_heard("CP1") == 20.0
        world.clock.now = 1000.0
        await world.closed()
        assert world.registry.last_heard("CP1") == 20.0
        assert world.registry.last_heard("CP2") is None
        world.registry.session(Heard("CP1"))
        assert world.registry.last_heard("CP1") == 1000.0


async def test_a_large_fleet_that_falls_silent_is_closed_in_parts() -> None:
    async with a_registry() as world:
        for number in range(MOST_SWEPT + 500):
            world.registry.session(Heard(f"CP{number}"))
        world.clock.now = 301.0
        assert len(await world.closed(MOST_SWEPT + 500)) == MOST_SWEPT + 500
        assert len(world.registry) == 0


async def test_whoever_speaks_is_kept() -> None:
    async with a_registry() as world:
        session = world.registry.session(Heard("CP1"))
        for now in (250.0, 500.0, 750.0):
            world.clock.now = now
            await speak(session)
            await world.turns()
        assert world.registry.find("CP1") is session


async def test_the_interval_of_boot_notification_counts() -> None:
    async with a_registry(lambda: FakeLink(CallResult({"status": "Accepted", "interval": 1000}))) as world:
        session = world.registry.session(Heard("CP1"))
        await speak(session, Call("BootNotification", {}))
        assert world.registry.silent_after(session) == 3000.0
        world.clock.now = 2999.0
        await world.turns()
        assert len(world.registry) == 1


async def test_the_interval_is_remembered_when_the_session_is_reopened() -> None:
    """The charge point keeps to it; it does not boot because we closed a session."""
    async with a_registry(lambda: FakeLink(CallResult({"interval": 1000}))) as world:
        await speak(world.registry.session(Heard("CP1")), Call("BootNotification", {}))
        world.clock.now = 3001.0
        await world.closed()
        assert world.registry.silent_after(world.registry.session(Heard("CP1"))) == 3000.0


async def test_no_more_intervals_are_remembered_than_there_may_be_sessions() -> None:
    async with a_registry(lambda: FakeLink(CallResult({"interval": 1000})), most_sessions=2) as world:
        for round_, identity in enumerate(("CP1", "CP2", "CP3"), 1):
            await speak(world.registry.session(Heard(identity)), Call("BootNotification", {}))
            world.clock.now += 3001.0
            await world.closed(round_)
        assert world.registry.session(Heard("CP1")).heartbeat_interval is None
        assert world.registry.session(Heard("CP3")).heartbeat_interval == 1000.0


async def test_a_session_with_a_call_under_way_is_not_silent() -> None:
    async with a_registry() as world:
        session = world.registry.session(Heard("CP1"))
        world.links[0].may_answer.clear()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(speak(session))
            await asyncio.sleep(0)
            world.clock.now = 10_000.0
            await world.turns()
            assert len(world.registry) == 1
            world.links[0].may_answer.set()
        await world.closed()


async def test_the_next_message_opens_a_new_session() -> None:
    async with a_registry() as world:
        first = world.registry.session(Heard("CP1"))
        world.clock.now = 301.0
        await world.closed()
        second = world.registry.session(Heard("CP1"))
        assert second is not first
        await world.turns()
        assert [link.running for link in world.links] == [False, True]


async def test_the_central_system_never_sees_one_charge_point_twice() -> None:
    """However often it speaks while older connections are still being closed."""
    async with a_registry() as world:
        for number in range(3):
            world.registry.session(Heard("CP1"))
            world.links[number].may_end.clear()
            world.clock.now += 301.0
            await world.turns()
            assert len(world.registry) == 0
        world.registry.session(Heard("CP1"))
        await world.turns()
        assert [link.running for link in world.links] == [True, False, False, False]
        for number in range(3):
            world.links[number].may_end.set()
            await world.turns()
            assert sum(link.running for link in world.links) == 1
        assert [link.running for link in world.links] == [False, False, False, True]


async def test_stopping_closes_every_session() -> None:
    async with a_registry() as world:
        for number in range(100):
            world.registry.session(Heard(f"CP{number}"))
        world.registry.stop()
        await world.running
        assert len(world.registry) == 0
        assert {event.text for event in world.heard.told("session closed")} == {"the gateway is stopping"}
        assert not any(link.running for link in world.links)


async def test_a_draining_registry_opens_no_sessions_and_keeps_those_there_are() -> None:
    async with a_registry() as world:
        session = world.registry.session(Heard("CP1"))
        world.registry.drain()
        assert world.registry.session(Heard("CP1")) is session
        with pytest.raises(Unreachable, match="it is stopping") as gone:
            world.registry.session(Heard("CP2"))
        assert gone.value.reason == "draining"


async def test_there_are_no_more_sessions_than_there_may_be() -> None:
    async with a_registry(most_sessions=1) as world:
        world.registry.session(Heard("CP1"))
        with pytest.raises(Unreachable, match="holds 1 sessions") as gone:
            world.registry.session(Heard("CP2"))
        assert gone.value.reason == "busy"
        assert len(world.links) == 1


async def test_a_charge_point_without_a_central_system_gets_no_session() -> None:
    def nowhere() -> FakeLink:
        raise away("not_connected", "no route for CP1")

    async with a_registry(nowhere) as world:
        with pytest.raises(Unreachable, match="no route for CP1"):
            world.registry.session(Heard("CP1"))
        assert len(world.registry) == 0


async def test_the_mistake_of_one_session_ends_that_one_alone() -> None:
    class Failing(FakeLink):
        async def run(self) -> None:
            raise ZeroDivisionError("oops")

    links = iter([Failing(), FakeLink()])
    async with a_registry(lambda: next(links)) as world:
        world.registry.session(Heard("CP1"))
        world.registry.session(Heard("CP2"))
        [closed] = await world.closed()
        assert (closed.identity, closed.text) == ("CP1", "an error inside the gateway")
        assert world.heard.told("internal error") == [
            Event("internal error", "CP1", "ZeroDivisionError('oops')", "internal")
        ]
        assert [session.identity for session in world.registry.sessions()] == ["CP2"]


async def test_a_mistake_in_closing_ends_no_other_session() -> None:
    class Stuck(FakeLink):
        async def close(self, reason: str) -> None:
            await super().close(reason)
            raise ZeroDivisionError("oops")

    links = iter([Stuck(), FakeLink()])
    async with a_registry(lambda: next(links)) as world:
        world.registry.session(Heard("CP1"))
        world.clock.now = 200.0
        world.registry.session(Heard("CP2"))
        world.clock.now = 301.0
        await world.closed()
        assert [event.identity for event in world.heard.told("internal error")] == ["CP1"]
        assert [session.identity for session in world.registry.sessions()] == ["CP2"]


# --- a charge point that keeps a connection ---


@dataclass
class Connection(FakeLink):
    """A charge point's connection: answers a ping as ``alive`` says, when ``may_answer`` is set."""

    alive: bool = True

    async def is_alive(self, within: float) -> bool:
        await self.may_answer.wait()
        return self.alive


async def test_a_connected_charge_point_is_never_silent() -> None:
    async with a_registry() as world:
        session = world.registry.session(Heard("CP1"))
        session.connect(Connection())
        world.clock.now = 1_000_000.0
        assert not world.registry.is_stale(session)
        await world.turns()
        assert world.registry.find("CP1") is session


async def test_a_lost_connection_is_waited_for_and_then_the_session_is_closed() -> None:
    async with a_registry() as world:
        session, connection = world.registry.session(Heard("CP1")), Connection()
        session.connect(connection)
        session.disconnect(connection, "the connection broke")
        world.clock.now = 10.0
        await world.turns()
        assert len(world.registry) == 1
        with pytest.raises(Unreachable, match="charge point CP1 is not connected: the connection broke"):
            await session.links[Side.CHARGE_POINT].call(Call("ClearCache", {}))
        world.clock.now = 10.1
        [closed] = await world.closed()
        assert closed.text == "the charge point has lost its connection"


async def test_a_charge_point_that_comes_back_in_time_finds_its_session() -> None:
    async with a_registry() as world:
        session, first, second = world.registry.session(Heard("CP1")), Connection(), Connection()
        session.connect(first)
        session.disconnect(first, "the connection broke")
        world.clock.now = 9.0
        assert world.registry.session(Heard("CP1")) is session
        session.connect(second)
        world.clock.now = 30.0
        await world.turns()
        assert session.links[Side.CHARGE_POINT] is second
        assert len(world.registry) == 1


async def test_a_closing_old_connection_does_not_touch_the_new_one() -> None:
    async with a_registry() as world:
        session, old, new = world.registry.session(Heard("CP1")), Connection(), Connection()
        session.connect(old)
        session.connect(new)
        session.disconnect(old, "the connection broke")
        assert (session.connection, session.gone) == (new, None)


async def test_an_older_connection_that_answers_keeps_its_place() -> None:
    async with a_registry() as world:
        session, connection = world.registry.session(Heard("CP1")), Connection()
        assert await world.registry.claim(session)
        session.connect(connection)
        assert not await world.registry.claim(session)
        assert session.connection is connection


async def test_an_older_connection_that_is_silent_loses_it() -> None:
    async with a_registry() as world:
        session, connection = world.registry.session(Heard("CP1")), Connection(alive=False)
        session.connect(connection)
        assert await world.registry.claim(session)
        assert session.connection is None
        await world.turns()
        assert connection.closed == ["another connection has taken its place"]


async def test_of_two_that_claim_a_silent_place_one_gets_it() -> None:
    async with a_registry() as world, asyncio.TaskGroup() as tasks:
        session = world.registry.session(Heard("CP1"))
        silent = Connection(alive=False)
        silent.may_answer.clear()
        session.connect(silent)

        async def claim() -> Connection | None:
            if not await world.registry.claim(session):
                return None
            connection = Connection()
            session.connect(connection)
            return connection

        claiming = [tasks.create_task(claim()) for _ in range(2)]
        await world.turns()
        silent.may_answer.set()
        first, second = [await each for each in claiming]
        assert (session.connection, second) == (first, None)
        assert silent.closed == ["another connection has taken its place"]


# --- ways that change ---

BOOT = Call(
    "BootNotification",
    {"chargePointVendor": "ACME", "chargePointModel": "CC-1", "firmwareVersion": "1.3"},
)


@dataclass
class WayOf:
    """The way of charge points of one vendor."""

    link: FakeLink
    vendor: str | None

    def leads(self, heard: Heard) -> bool:
        return heard.vendor == self.vendor


@asynccontextmanager
async def by_vendor() -> AsyncIterator[tuple[World, list[WayOf]]]:
    """A registry that sends each vendor another way."""
    ways: list[WayOf] = []

    def open_way(session: Session, heard: Heard) -> WayOf:
        if heard.vendor == "nobody":
            raise Unreachable("not_connected", "no central system for nobody")
        ways.append(WayOf(FakeLink(), heard.vendor))
        session.upstream = heard.vendor or "default"
        session.route = f"for {session.upstream}"
        return ways[-1]

    async with a_registry() as world:
        world.registry.open_way = open_way
        yield world, ways
        for way in ways:
            way.link.may_answer.set()
            way.link.may_end.set()


async def test_a_boot_notification_may_lead_to_another_central_system() -> None:
    async with by_vendor() as (world, ways):
        session = world.registry.session(Heard("CP1"))
        await speak(session)
        await speak(session, BOOT)
        assert [call.action for call in ways[0].link.asked] == ["Heartbeat"]
        assert [call.action for call in ways[1].link.asked] == ["BootNotification"]
        await world.turns()
        assert ways[0].link.closed == ["its route has changed"]
        assert world.heard.told("route changed") == [Event("route changed", "CP1", "for ACME to ACME")]
        await speak(session, BOOT)
        assert len(ways) == 2


@pytest.mark.parametrize("and_back", [False, True])
async def test_a_way_to_where_a_fail_over_has_led_waits_for_its_end(and_back: bool) -> None:
    """Or that central system would see the charge point twice: calls may still be in flight there."""
    async with by_vendor() as (world, ways):
        session = world.registry.session(Heard("CP1"))
        first = session.upstream
        assert session.until_free is not None
        for upstream in ("ACME", first) if and_back else ("ACME",):
            await session.until_free(upstream)  # as a fail-over does before it goes there
            session.upstream = upstream
        ways[0].link.may_end.clear()
        await speak(session, BOOT)
        await world.turns()
        assert [way.link.running for way in ways] == [True, False]
        ways[0].link.may_end.set()
        await world.turns()
        assert [way.link.running for way in ways] == [False, True]


async def test_what_is_in_flight_ends_on_the_old_way() -> None:
    async with by_vendor() as (world, ways):
        session = world.registry.session(Heard("CP1"))
        ways[0].link.may_answer.clear()
        async with asyncio.TaskGroup() as tasks:
            earlier = tasks.create_task(speak(session))
            await ways[0].link.until_asked(1)
            await speak(session, BOOT)
            assert not earlier.done()
            ways[0].link.may_answer.set()
        assert [record.reply for record in world.heard.records] == [CallResult({})] * 2


async def test_what_was_never_sent_goes_the_new_way() -> None:
    async with by_vendor() as (world, ways):
        session = world.registry.session(Heard("CP1"))
        ways[0].link.may_answer.clear()
        ways[0].link.outcome = away("draining", "its route has changed; Heartbeat was not sent")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(speak(session))
            await ways[0].link.until_asked(1)
            await speak(session, BOOT)
            ways[0].link.may_answer.set()
        assert [call.action for call in ways[1].link.asked] == ["BootNotification", "Heartbeat"]
        assert [record.reason for record in world.heard.records] == ["", ""]


async def test_a_way_that_leads_nowhere_is_not_taken() -> None:
    async with by_vendor() as (world, ways):
        session = world.registry.session(Heard("CP1"))
        await speak(session, Call("BootNotification", {"chargePointVendor": "nobody"}))
        assert [call.action for call in ways[0].link.asked] == ["BootNotification"]
        assert world.heard.told("route kept") == [
            Event("route kept", "CP1", "no central system for nobody", "not_connected")
        ]


async def test_what_a_charge_point_told_is_remembered_for_its_next_session() -> None:
    async with by_vendor() as (world, ways):
        await speak(world.registry.session(Heard("CP1")), BOOT)
        world.clock.now = 301.0
        await world.closed()
        world.registry.session(Heard("CP1"))
        assert [way.vendor for way in ways] == [None, "ACME", "ACME"]


async def test_a_session_is_moved_only_where_its_way_no_longer_leads() -> None:
    async with by_vendor() as (world, ways):
        session = world.registry.session(Heard("CP1"))
        assert not world.registry.move(session, lambda way, heard: True)
        assert world.registry.move(session, lambda way, heard: False)
        assert session.links[Side.CENTRAL_SYSTEM] is ways[1].link
        assert not world.registry.move(Session("CP2", Journal()), lambda way, heard: False)


async def test_a_session_is_found_by_the_name_its_central_system_has_for_it() -> None:
    async with a_registry() as world:
        open_way = world.registry.open_way

        def rename(session: Session, heard: Heard) -> Way:
            session.known_as = session.identity.replace("EVB-", "CP")
            return open_way(session, heard)

        world.registry.open_way = rename
        plain, renamed = world.registry.session(Heard("CP1")), world.registry.session(Heard("EVB-2"))
        other = world.registry.session(Heard("CP2"))
        plain.upstream = renamed.upstream = "main"

        def serves(session: Session) -> bool:
            return session.upstream == "main"

        assert world.registry.find_known_as("CP1", serves) is plain
        assert world.registry.find_known_as("CP2", serves) is renamed
        assert world.registry.find_known_as("EVB-2", serves) is None
        other.upstream, renamed.upstream = "main", "other"
        assert world.registry.find_known_as("CP2", serves) is other
        assert world.registry.find_known_as("CP2", lambda session: session.upstream == "other") is renamed
        world.clock.now = 301.0
        await world.closed(3)
        assert world.registry.find_known_as("CP2", lambda session: True) is None


async def test_a_fail_over_waits_for_the_link_that_an_earlier_session_has_there() -> None:
    async with a_registry() as world:

        def open_way(session: Session, heard: Heard) -> FakeLink:
            world.links.append(FakeLink())
            session.upstream = "spare" if len(world.links) == 1 else "main"
            return world.links[-1]

        world.registry.open_way = open_way
        world.registry.session(Heard("CP1"))
        world.links[0].may_end.clear()
        world.clock.now = 301.0
        await world.turns()
        session = world.registry.session(Heard("CP1"))
        assert session.until_free is not None
        await session.until_free("main")  # that is its own
        earlier, of_earlier = session.until_free, world.registry.move(session, lambda way, heard: False)
        assert of_earlier
        await earlier("main")  # that came later, and waits for this one
        waiting = asyncio.ensure_future(session.until_free("spare"))  # noqa: TID251
        await world.turns()
        assert not waiting.done()
        world.links[0].may_end.set()
        await waiting
        await session.until_free("spare")
