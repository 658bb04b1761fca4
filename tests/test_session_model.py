"""What a session promises, in every order of things that may happen to it.

Two parties that keep books (``tests/session_model.py``) do to the gateway between them whatever parties do:
they connect, vanish, ask, answer late, twice or with rubbish, while time passes and routes change. One CALL
at a time in each direction, every call ends once and in its own reply, nothing is delivered twice, nothing
is left behind.
"""

from __future__ import annotations

from typing import ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.session_model import (
    CALLS,
    CP,
    CS,
    FIRST_ROUTES,
    HOSTS,
    OTHER_ROUTES,
    TAKEOVER,
    HttpAsked,
    HttpAsking,
    World,
)
from wattbridge.ocpp.messages import Side
from wattbridge.relay.duty import State

VENDORS = [vendor for vendor in FIRST_ROUTES if vendor]
KINDS = ["result", "result", "result", "error", "unlike", "broken"]


class SessionMachine(RuleBasedStateMachine):
    """The rules that all pairings have."""

    charge_point: ClassVar[str]
    central_system: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.charge_point, self.central_system)
        self.abrupt = False

    @initialize(abrupt=st.booleans())
    def begin(self, abrupt: bool) -> None:
        """The charge point comes; at the end the gateway stops, when all is quiet or in the middle of it."""
        self.abrupt = abrupt
        if self.charge_point == "json":
            self.world.dial()
            self.world.settle()
            assert len(self.world.open_peers(CP)) == 1
        else:
            boot = self.world.post(CP, "BootNotification")
            self.world.settle()
            assert boot.waits_on is not None
            self.world.reply(boot.waits_on, "result")

    @invariant()
    def nothing_was_done_that_may_not_be_done(self) -> None:
        self.world.check()

    def teardown(self) -> None:
        try:
            if not self.abrupt:
                self.world.quiet()
        finally:
            self.world.end()

    # --- calls and replies ---

    @rule(data=st.data(), times=st.integers(1, 3))
    def the_charge_point_asks(self, data: st.DataObject, times: int) -> None:
        for _ in range(times):
            action = data.draw(st.sampled_from(list(CALLS[CP])))
            vendor = data.draw(st.sampled_from(VENDORS)) if action == "BootNotification" else ""
            if self.charge_point == "soap":
                self.world.post(CP, action, vendor)
            elif self.world.open_peers(CP):
                self.world.ask(self.world.open_peers(CP)[-1], action, vendor)
        self.world.settle()

    @rule(data=st.data(), times=st.integers(1, 3))
    def the_central_system_asks(self, data: st.DataObject, times: int) -> None:
        peers = self.world.open_peers(CS)
        if self.central_system == "json" and not peers:
            return
        alone = self._nothing_is_under_way()
        askings = []
        for _ in range(times):
            action = data.draw(st.sampled_from(list(CALLS[CS])))
            if self.central_system == "soap":
                askings.append(self.world.post(CS, action))
            else:
                askings.append(self.world.ask(data.draw(st.sampled_from(peers)), action))
        self.world.settle()
        if alone:
            assert askings[0].deliveries == 1, f"{askings[0]} was not delivered"

    def _nothing_is_under_way(self) -> bool:
        """So that what is asked of a charge point that is connected must reach it at once."""
        world = self.world
        charge_points = [peer for peer in world.peers if peer.side is CP]
        return (
            all(asking.is_ended or not asking.peer.open for asking in world.askings)
            and not world.journal.in_flight[CS]
            and len(charge_points) == 1
            and charge_points[0].open
            and not world.dials
        )

    @precondition(lambda self: any(task.peer.open for task in self.world.tasks))
    @rule(data=st.data(), kind=st.sampled_from(KINDS), latest=st.booleans())
    def a_party_replies(self, data: st.DataObject, kind: str, latest: bool) -> None:
        """In time, late, or once more."""
        tasks = [task for task in self.world.tasks if task.peer.open]
        self.world.reply(tasks[-1] if latest else data.draw(st.sampled_from(tasks)), kind)

    @precondition(lambda self: any(task.is_pending(self.world.loop.time()) for task in self.world.tasks))
    @rule()
    def all_that_is_asked_is_answered(self) -> None:
        for _ in range(20):
            now = self.world.loop.time()
            pending = [task for task in self.world.tasks if task.is_pending(now)]
            if not pending:
                break
            self.world.reply(pending[0], "result")

    @precondition(lambda self: self.world.peers)
    @rule(data=st.data(), what=st.sampled_from(["unknown", "rubbish"]))
    def a_party_says_what_nobody_waits_for(self, data: st.DataObject, what: str) -> None:
        for peer in [*self.world.open_peers(CP), *self.world.open_peers(CS)]:
            if data.draw(st.booleans()):
                if what == "unknown":
                    self.world.expected["stray"] += 1
                    peer.send('[3,"of-nobody",{}]')
                else:
                    self.world.expected["malformed message"] += 1
                    peer.send("hello")
                self.world.settle()
                assert peer.open

    @rule(side=st.sampled_from(Side), answered=st.booleans())
    def a_party_repeats_its_last_call(self, side: Side, answered: bool) -> None:
        """While it is being served, or when it has been *answered*."""
        for peer in self.world.open_peers(side):
            if peer.asked:
                last = list(peer.asked.values())[-1]
                task = last.waits_on
                if answered and task is not None and task.peer.open and not last.is_ended:
                    self.world.reply(task, "result")
                if peer.open:  # or the reply was what its end has waited for
                    self.world.repeat(last)
                    self.world.settle()
                return

    @rule(data=st.data())
    def a_party_hangs_up(self, data: st.DataObject) -> None:
        """One that posts before its answer has come, one that is called before it has answered."""
        asking = [each.peer for each in self.world.askings]
        asked = [each.peer for each in self.world.tasks]
        there = [peer for peer in [*asking, *asked] if isinstance(peer, HttpAsking | HttpAsked) and peer.open]
        if there:
            data.draw(st.sampled_from(there)).hang_up()
            self.world.settle()

    # --- connections ---

    @rule(how=st.sampled_from(["goodbye", "reset", "deaf"]), side=st.sampled_from(Side))
    def a_connection_ends(self, how: str, side: Side) -> None:
        for peer in self.world.open_peers(side)[:1]:
            for asking in peer.asked.values():
                asking.surely_heard = asking.surely_heard and how != "reset"
            if how == "goodbye":
                peer.say_goodbye()
            elif how == "reset":
                peer.reset()
            else:
                peer.go_deaf()
            self.world.settle()

    @precondition(lambda self: self.charge_point == "json")
    @rule(then=st.sampled_from(["waits", "goes on", "gives up"]))
    def the_charge_point_connects(self, then: str) -> None:
        """Once more, or again: one that is alive keeps its place, one that is silent loses it."""
        world = self.world
        alive, alone = world.open_peers(CP), not world.dials
        deaf = [peer for peer in world.peers if peer.side is CP and peer.deaf and not peer.let_go]
        dial = world.dial()
        world.settle()
        if alive:
            assert dial.status == 409, dial.status
        elif alone and not deaf:
            assert dial.status == 101, dial.status
        elif then == "gives up":
            dial.reset()
            world.settle()
        elif alone and then == "waits":
            world.settle(TAKEOVER)
            assert dial.status == 101, dial.status
            assert all(peer.let_go for peer in deaf)

    @precondition(lambda self: self.charge_point == "json")
    @rule(action=st.sampled_from(list(CALLS[CP])))
    def the_charge_point_posts_as_well(self, action: str) -> None:
        """While its WebSocket answers nobody else may speak for it."""
        alive = self.world.open_peers(CP)
        asking = self.world.post(CP, action, "VA")
        self.world.settle()
        if alive:
            assert asking.is_ended
            assert not asking.deliveries

    @rule(name=st.sampled_from(list(HOSTS)), how=st.sampled_from(["up", "up", "refuses", "hangs"]))
    def a_central_system_comes_or_goes(self, name: str, how: str) -> None:
        if how == "up":
            self.world.come_up(name)
        else:
            self.world.go_down(name, hang=how == "hangs")
        self.world.settle()

    @rule(name=st.sampled_from(list(HOSTS)), state=st.sampled_from(["ready", "ready", "drain", "maint"]))
    def the_operator_has_a_word_on_a_central_system(self, name: str, state: State) -> None:
        """Who is connected stays while it is drained; in maintenance, only for what is in flight."""
        world = self.world
        there = [peer for peer in world.open_peers(CS) if peer.name == name]
        world.say(name, state)
        world.settle()
        if state == "drain":
            assert all(peer.open for peer in there)
        elif state == "maint":
            busy = [task.peer for task in world.tasks if task.is_pending(world.loop.time())]
            asking = [each.peer for each in world.askings if not each.is_ended]
            assert all(peer.let_go or peer.deaf or peer in [*busy, *asking] for peer in there)

    # --- time and configuration ---

    @rule(seconds=st.sampled_from([0.5, 1.0, 3.0, 8.0, 16.0, 20.0, 32.0, 64.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.settle(seconds)

    @rule()
    def all_falls_quiet(self) -> None:
        self.world.quiet()

    @rule(move=st.booleans())
    def another_configuration_is_loaded(self, move: bool) -> None:
        """What is in flight on the old way may end there."""
        world = self.world
        in_flight = [task.peer for task in world.tasks if task.is_pending(world.loop.time())]
        busy = [peer for peer in world.open_peers(CS) if peer in in_flight]
        self.world.routes = OTHER_ROUTES if self.world.routes is FIRST_ROUTES else FIRST_ROUTES
        if move:
            self.world.move()
        self.world.settle()
        assert all(peer.open for peer in busy)


class JsonToJson(SessionMachine):
    charge_point = "json"
    central_system = "json"


class SoapToJson(SessionMachine):
    charge_point = "soap"
    central_system = "json"


class JsonToSoap(SessionMachine):
    charge_point = "json"
    central_system = "soap"


class SoapToSoap(SessionMachine):
    charge_point = "soap"
    central_system = "soap"


TestJsonToJson = JsonToJson.TestCase
TestSoapToJson = SoapToJson.TestCase
TestJsonToSoap = JsonToSoap.TestCase
TestSoapToSoap = SoapToSoap.TestCase
# A few seconds each, shortly.
for test in (TestJsonToJson, TestSoapToJson, TestJsonToSoap, TestSoapToSoap):
    test.settings = settings(max_examples=4 * settings().max_examples)
del test  # or it would be found once more, under this name
