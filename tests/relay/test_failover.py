"""Two central systems of which one is used: when they change, and what becomes of calls meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.fakes import PATIENCE, Clock, FakeLink, Listened, away, listen
from wattbridge.ocpp.errors import Unreachable
from wattbridge.ocpp.messages import Call, CallError, CallResult, Passage
from wattbridge.relay.duty import Duty, State
from wattbridge.relay.failover import FailOver
from wattbridge.relay.journal import Event, Journal
from wattbridge.relay.session import Answer, Session

HEARTBEAT = Call("Heartbeat", {})
NEVER = 1e9


@dataclass
class CentralSystem(FakeLink):
    """A link that cannot reach its central system from ``unreachable_since`` on."""

    unreachable_since: float | None = None
    held: bool = False


class Sleeps:
    """Moves the clock on, one sleep after another, while the test lets it."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.until = 0.0
        self._later = asyncio.Event()
        self._stuck = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        wakes = self.clock.now + seconds
        while wakes > self.until:
            self._stuck.set()
            self._later.clear()
            await self._later.wait()
        self.clock.now = wakes

    def let_go(self) -> None:
        self.until = NEVER
        self._later.set()

    async def go(self, until: float) -> None:
        """Let it sleep until the clock says *until*; returns when it would sleep on."""
        self.until = until
        self._stuck.clear()
        self._later.set()
        async with asyncio.timeout(PATIENCE):
            await self._stuck.wait()
        for _ in range(9):  # for links to begin and end
            await asyncio.sleep(0)
        self.clock.now = until


@dataclass
class World:
    heard: Listened
    clock: Clock
    sleeps: Sleeps
    duties: tuple[Duty, Duty]
    fail_over: FailOver = field(init=False)
    session: Session = field(init=False)
    firsts: list[CentralSystem] = field(default_factory=list)
    seconds: list[CentralSystem] = field(default_factory=list)
    switches: list[tuple[float, str]] = field(default_factory=list)
    probed: list[float] = field(default_factory=list)
    is_reachable: bool = False
    comes_back: bool = True  # whether a new link to the first reaches it

    async def at(self, now: float) -> None:
        await self.sleeps.go(now)

    async def lose(self, now: float) -> None:
        """The first cannot be reached from *now* on."""
        await self.at(now)
        self.firsts[-1].unreachable_since = now
        self.is_reachable = False

    async def say(self, name: str, state: State, *, held: bool = True) -> None:
        """The operator says this of a central system; its last link goes by it."""
        links, duty = (self.firsts, self.duties[0]) if name == "main" else (self.seconds, self.duties[1])
        if links:
            links[-1].held = held and state != "ready"
        duty.become(state, self.clock.now)
        await self.at(self.clock.now)

    async def find(self, now: float) -> None:
        """It can be reached from *now* on, as a probe tells."""
        await self.at(now)
        self.is_reachable = True


@asynccontextmanager
async def running(
    until_free: Callable[[str], Awaitable[None]] | None = None,
    *,
    duties: tuple[Duty, Duty] | None = None,
    begins_held: bool = False,
    **settings: Any,
) -> AsyncIterator[World]:
    journal, clock = Journal(), Clock()
    session, sleeps = Session("CP1", journal, clock=clock), Sleeps(clock)
    session.until_free = until_free
    duties = duties or (Duty(), Duty())
    world = World(listen(journal), clock, sleeps, duties)

    def first() -> CentralSystem:
        link = CentralSystem(transport="json", form="json 1.6", held=begins_held)
        if world.firsts and not world.comes_back:
            link.unreachable_since = clock.now
        world.firsts.append(link)
        return link

    def second() -> CentralSystem:
        link = CentralSystem(transport="soap", outcome=CallError("GenericError", "the second"))
        world.seconds.append(link)
        return link

    async def probe() -> bool:
        world.probed.append(clock.now)
        return world.is_reachable

    fail_over = FailOver(
        session,
        journal,
        first,
        second,
        names=("main", "spare"),
        duties=duties,
        reachable=probe,
        clock=clock,
        sleep=sleeps,
        on_switch=lambda name: world.switches.append((clock.now, name)),
        **settings,
    )
    world.fail_over, world.session = fail_over, session
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
        tasks.create_task(fail_over.run())
        await world.at(0.0)
        yield world
        await fail_over.close("the test is over")


async def test_the_first_is_used_while_it_can_be_reached() -> None:
    async with running() as world:
        await world.at(1000.0)
        assert await world.fail_over.call(HEARTBEAT) == Answer(
            CallResult({}), Passage("json", b"asked"), Passage("json", b"answered")
        )
        assert (world.fail_over.transport, world.fail_over.form) == ("json", "json 1.6")
        assert (world.session.upstream, world.seconds, world.probed) == ("main", [], [])
        assert world.firsts[0].running
    assert world.firsts[0].closed == ["the test is over"]
    assert not world.firsts[0].running


async def test_a_short_absence_changes_nothing() -> None:
    async with running(after=30.0) as world:
        await world.lose(100.0)
        await world.at(129.9)
        world.firsts[0].unreachable_since = None
        await world.at(200.0)
        assert (world.switches, world.seconds) == ([], [])


async def test_absences_are_not_added_up() -> None:
    async with running(after=30.0) as world:
        await world.lose(100.0)
        await world.lose(120.0)  # it was there in between
        await world.at(149.9)
        assert world.switches == []
        await world.at(150.0)
        assert world.switches == [(150.0, "spare")]


async def test_the_second_takes_the_place_of_one_that_is_away() -> None:
    async with running(after=30.0) as world:
        await world.lose(100.0)
        await world.at(129.9)
        assert world.switches == []
        await world.at(130.0)
        assert world.switches == [(130.0, "spare")]
        text = "to spare: main has not been reachable for 30 s"
        assert world.heard.events == [Event("fail-over", "CP1", text, labels={"upstream": "spare"})]
        assert world.session.upstream == "spare"
        assert (world.fail_over.transport, world.fail_over.form) == ("soap", "")
        assert (await world.fail_over.call(HEARTBEAT)).reply == CallError("GenericError", "the second")
        assert world.firsts[0].closed == ["main has not been reachable for 30 s"]
        assert (world.firsts[0].running, world.seconds[0].running) == (False, True)


async def test_one_that_is_away_from_the_beginning_is_not_waited_for_longer() -> None:
    async with running(after=30.0) as world:
        world.firsts[0].unreachable_since = 0.0
        await world.at(30.0)
        assert world.switches == [(30.0, "spare")]


async def test_the_first_is_used_again_when_it_has_been_there_for_a_while() -> None:
    async with running(after=30.0, back_after=60.0, probe_every=10.0) as world:
        await world.lose(0.0)
        await world.at(30.0)
        await world.find(55.0)
        await world.at(119.9)
        assert world.probed == [30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 100.0, 110.0]
        await world.at(120.0)  # seen at 60, and ever since
        assert world.switches == [(30.0, "spare"), (120.0, "main")]
        text = "to main: main has been reachable for 60 s"
        assert world.heard.told("fail-back") == [Event("fail-back", "CP1", text, labels={"upstream": "main"})]
        assert (world.session.upstream, world.fail_over.unreachable_since) == ("main", None)
        assert (await world.fail_over.call(HEARTBEAT)).reply == CallResult({})
        assert world.seconds[0].closed == ["main has been reachable for 60 s"]
        assert world.firsts[1].running


async def test_the_second_is_used_until_what_began_there_has_ended() -> None:
    """Nobody else knows its transactions."""
    business = {"spare": True}
    async with running(has_business_with=lambda name: business.get(name, False)) as world:
        await world.lose(10.0)
        await world.at(50.0)
        await world.find(100.0)
        await world.at(500.0)
        assert [name for _, name in world.switches] == ["spare"]
        business.clear()
        await world.at(600.0)
        assert [name for _, name in world.switches] == ["spare", "main"]


async def test_a_second_that_is_lost_is_left_whatever_began_there() -> None:
    async with running(has_business_with=lambda name: True) as world:
        await world.lose(10.0)
        await world.at(50.0)
        await world.find(100.0)
        await world.at(500.0)
        world.seconds[-1].unreachable_since = 500.0
        await world.at(700.0)
        assert [name for _, name in world.switches] == ["spare", "main"]


async def test_it_must_be_there_in_a_row() -> None:
    async with running(after=30.0, back_after=60.0, probe_every=10.0) as world:
        await world.lose(0.0)
        await world.find(35.0)
        await world.at(95.0)
        world.is_reachable = False
        await world.find(105.0)
        await world.at(169.9)
        assert world.switches == [(30.0, "spare")]
        await world.at(170.0)
        assert world.switches == [(30.0, "spare"), (170.0, "main")]


async def test_a_first_that_does_not_hold_is_tried_again_later_and_later() -> None:
    """A server that accepts connections and serves nobody."""
    async with running(after=30.0, back_after=60.0) as world:
        world.comes_back = False
        await world.lose(0.0)
        await world.find(29.0)
        await world.at(1000.0)
        assert world.switches == [
            (30.0, "spare"),
            (90.0, "main"),  # 60 s later
            (120.0, "spare"),
            (240.0, "main"),  # 120 s
            (270.0, "spare"),
            (510.0, "main"),  # 240 s
            (540.0, "spare"),
        ]
        await world.at(100_000.0)
        waits = [
            back - out for (out, _), (back, _) in zip(world.switches[::2], world.switches[1::2], strict=False)
        ]
        assert max(waits) == 64 * 60.0
        world.comes_back = True
        await world.at(104_000.0)
        assert world.switches[-1][1] == "main"
        await world.lose(105_000.0)
        await world.find(105_029.0)
        await world.at(105_100.0)  # it had held: patience is what it was
        assert world.switches[-2:] == [(105_030.0, "spare"), (105_090.0, "main")]


async def test_a_link_runs_only_when_the_one_before_it_to_the_same_has_ended() -> None:
    """A central system never sees one charge point twice."""
    async with running(after=30.0, back_after=60.0) as world:
        world.firsts[0].may_end.clear()
        await world.lose(0.0)
        await world.find(29.0)
        await world.at(90.0)
        assert world.switches == [(30.0, "spare"), (90.0, "main")]
        assert (world.firsts[0].running, world.firsts[1].running) == (True, False)
        world.firsts[0].may_end.set()
        await world.at(91.0)
        assert (world.firsts[0].running, world.firsts[1].running) == (False, True)


# --- calls meanwhile ---


async def test_a_call_that_waits_for_a_connection_goes_to_the_second() -> None:
    async with running(after=30.0) as world, asyncio.TaskGroup() as tasks:
        world.firsts[0].may_answer.clear()
        world.firsts[0].outcome = away("draining", "closed; Heartbeat was not sent")
        call = tasks.create_task(world.fail_over.call(HEARTBEAT))
        await world.firsts[0].until_asked(1)
        await world.lose(0.0)
        await world.at(30.0)
        world.firsts[0].may_answer.set()
        assert (await call).reply == CallError("GenericError", "the second")
        assert world.seconds[0].asked == [HEARTBEAT]


async def test_a_call_that_was_sent_ends_where_it_was_sent() -> None:
    async with running(after=30.0) as world, asyncio.TaskGroup() as tasks:
        gone = away("unreachable", "it closed the connection without an answer")
        gone.asked = Passage("json", b"asked")
        world.firsts[0].may_answer.clear()
        world.firsts[0].outcome = gone

        async def failing() -> None:
            with pytest.raises(Unreachable, match="without an answer"):
                await world.fail_over.call(HEARTBEAT)

        tasks.create_task(failing())
        await world.firsts[0].until_asked(1)
        await world.lose(0.0)
        await world.at(30.0)
        world.firsts[0].may_answer.set()
    assert world.seconds[0].asked == []


async def test_a_call_that_cannot_be_sent_fails_while_nothing_else_is_in_use() -> None:
    async with running() as world:
        world.firsts[0].outcome = away("refused", "it refused the connection")
        with pytest.raises(Unreachable, match="it refused the connection"):
            await world.fail_over.call(HEARTBEAT)
        assert world.firsts[0].asked == [HEARTBEAT]


# --- the end ---


async def test_closing_ends_the_one_in_use_only() -> None:
    async with running(after=30.0) as world:
        await world.lose(0.0)
        await world.at(30.0)
    assert world.seconds[0].closed == ["the test is over"]
    assert world.firsts[0].closed == ["main has not been reachable for 30 s"]


@pytest.mark.parametrize("now", [30.0, 90.0])
async def test_nothing_is_switched_while_it_is_being_closed(now: float) -> None:
    async with running(after=30.0, back_after=60.0) as world, asyncio.TaskGroup() as tasks:
        await world.lose(0.0)
        await world.find(0.0)
        await world.at(now - 0.1)
        used = (world.firsts + world.seconds)[-1]
        used.may_end.clear()
        tasks.create_task(world.fail_over.close("the session is closed"))
        await asyncio.sleep(0)
        assert used.closed == ["the session is closed"]
        made = len(world.firsts + world.seconds)
        world.sleeps.let_go()
        await asyncio.sleep(0)
        assert (len(world.firsts + world.seconds), world.heard.told("fail-back")) == (made, [])
        used.may_end.set()


# --- what the operator says ---


async def test_one_that_is_taken_out_of_service_is_left_at_once() -> None:
    async with running(after=30.0) as world:
        await world.at(100.0)
        await world.say("main", "maint")
        assert world.switches == [(100.0, "spare")]
        text = "to spare: main is in maintenance"
        assert world.heard.events == [Event("fail-over", "CP1", text, labels={"upstream": "spare"})]
        assert world.firsts[0].closed == ["main is in maintenance"]


async def test_nobody_fails_back_to_one_that_is_out_of_service() -> None:
    """It is not even looked for; back in service, it has to be there for a while, as ever."""
    async with running(after=30.0, back_after=60.0, probe_every=10.0) as world:
        world.is_reachable = True
        await world.say("main", "maint")
        await world.at(500.0)
        await world.say("main", "drain")
        await world.at(1000.0)
        assert (world.switches, world.probed) == ([(0.0, "spare")], [])
        await world.say("main", "ready")
        await world.at(1059.9)
        assert world.probed[0] == 1000.0
        await world.at(1060.0)
        assert world.switches == [(0.0, "spare"), (1060.0, "main")]


async def test_a_drained_first_is_used_for_as_long_as_it_is_connected() -> None:
    async with running(after=30.0) as world:
        await world.at(100.0)
        await world.say("main", "drain", held=False)
        await world.at(200.0)
        assert world.switches == []
        world.firsts[-1].held = True  # it has lost its connection
        await world.at(229.9)
        assert [name for _, name in world.switches] == ["spare"]


async def test_a_session_that_begins_while_the_first_is_drained_goes_to_the_second() -> None:
    duties = Duty(), Duty()
    duties[0].become("drain", 0.0)
    async with running(after=30.0, duties=duties, begins_held=True) as world:
        assert world.switches == [(0.0, "spare")]


async def test_a_second_that_is_out_of_service_does_not_stand_in() -> None:
    async with running(after=30.0) as world:
        await world.say("spare", "drain")
        await world.lose(100.0)
        await world.at(300.0)
        await world.say("main", "maint")
        assert world.switches == []
        await world.say("spare", "ready")
        assert world.switches == [(300.0, "spare")]


async def test_a_second_that_is_taken_out_of_service_is_left_as_soon_as_the_first_is_there() -> None:
    async with running(after=30.0, back_after=60.0, has_business_with=lambda name: True) as world:
        await world.lose(0.0)
        await world.at(50.0)
        await world.say("spare", "maint")
        assert [name for _, name in world.switches] == ["spare"]
        await world.find(100.0)
        await world.at(120.0)
        assert [name for _, name in world.switches] == ["spare", "main"]
        assert world.heard.told("fail-back")[0].text == "to main: spare is in maintenance"


async def test_maintenance_is_no_reason_to_wait_longer_the_next_time() -> None:
    async with running(after=30.0, back_after=60.0) as world:
        world.is_reachable = True
        for now in (0.0, 60.0, 120.0):
            await world.at(now)
            await world.say("main", "maint")
            await world.say("main", "ready")
        await world.at(180.0)
        names = [name for _, name in world.switches]
        assert names == ["spare", "main"] * 3
        assert world.switches[-1] == (180.0, "main")


async def test_one_that_is_closed_before_it_runs_ends_at_once() -> None:
    journal = Journal()
    first = CentralSystem()

    async def probe() -> bool:
        return True

    fail_over = FailOver(
        Session("CP1", journal),
        journal,
        lambda: first,
        lambda: first,
        names=("main", "spare"),
        reachable=probe,
    )
    await fail_over.close("the gateway is stopping")
    async with asyncio.timeout(PATIENCE):
        await fail_over.run()
    assert not first.running


async def test_a_central_system_is_not_connected_before_an_earlier_link_there_has_ended() -> None:
    asked, free = list[str](), asyncio.Event()

    async def until_free(name: str) -> None:
        asked.append(name)
        if name == "spare":
            await free.wait()

    async with running(until_free, after=30.0) as world:
        await world.lose(100.0)
        await world.at(140.0)
        assert (asked, [link.running for link in world.seconds]) == (["main", "spare"], [False])
        free.set()
        await world.at(141.0)
        assert [link.running for link in world.seconds] == [True]
