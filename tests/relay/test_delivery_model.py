"""Any order of messages, outages, lost answers, crashes and repetitions, against a reference of ten lines.

A device like the rules want it: one message at a time, the first of its queue again and again until that is
acknowledged. Whatever happens in between, its central system has got in the end what was acknowledged, each
message once, in order, under the transaction numbers that it gave itself.
"""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.relay.deliveries import World, meter_values, start, status, stop
from wattbridge.ocpp.messages import Call, CallResult
from wattbridge.relay.offline import Answers, Rules
from wattbridge.relay.repeats import content_key
from wattbridge.store.base import Waiting


class Reference:
    """What the central system must have got: what was acknowledged, in that order, with its own numbers.

    It may have got the message besides that the device still has in hand.
    """

    def __init__(self) -> None:
        self.acknowledged: list[Call] = []
        self.numbers: dict[int, str] = {}  # what the device was told → content of the StartTransaction

    def expected(self, given: dict[str, int]) -> list[tuple[str, Any]]:
        """``given``: content of a StartTransaction → the number that the central system gave."""
        expected = []
        for call in self.acknowledged:
            number = call.payload.get("transactionId")
            begun = self.numbers.get(number) if number is not None else None
            expected.append((call.action, call.payload | ({"transactionId": given[begun]} if begun else {})))
        return expected


class Deliveries(RuleBasedStateMachine):
    @initialize(
        policy=st.sampled_from(["hold", "provisional"]),
        json=st.booleans(),
        first=st.integers(-3, 3),
        disk=st.sampled_from([0.0, 0.1, 1.0]),
        slow=st.sampled_from([0.0, 0.15, 2.0]),
    )
    def begin(self, policy: Any, json: bool, first: int, disk: float, slow: float) -> None:
        rules = Rules(hold=5.0, attempts=1000, retry=1.0, rate=1000.0)
        self.world = World(answers=Answers(start_transaction=policy), rules=rules)
        self.world.charge_point.transport = "json" if json else "soap"
        # Some that no charge point of SOAP can say, some of our own range, some that mean nothing elsewhere.
        self.world.central_system.next_id = first if first != 3 else 2**31 - 2
        self.world.store.delay = disk
        self.world.central_system.slow = slow
        self.reference = Reference()
        self.count = 0
        self.open: list[int] = []  # numbers that the device was told
        self.queue: list[Call] = []

    def teardown(self) -> None:
        if hasattr(self, "world"):
            try:
                self.heal()
                self.compare(whole=True)
            finally:
                self.world.close()

    # --- the device ---

    @rule(connector=st.integers(1, 2))
    def begins(self, connector: int) -> None:
        self.count += 1
        self.queue.append(start(self.count, connector))

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def measures(self, data: st.DataObject) -> None:
        self.count += 1
        self.queue.append(meter_values(data.draw(st.sampled_from(self.open)), self.count))

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def ends(self, data: st.DataObject) -> None:
        self.count += 1
        number = data.draw(st.sampled_from(self.open))
        self.open.remove(number)
        self.queue.append(stop(number, self.count))

    @rule()
    def tells_its_status(self) -> None:
        self.count += 1
        self.queue.append(status(self.count))

    @rule(times=st.integers(1, 3))
    def sends(self, times: int) -> None:
        for _ in range(times):
            self.send()

    def send(self) -> None:
        """Send the first of the queue and wait for as long as a device does."""
        if not self.queue:
            return
        call = self.queue[0]
        task = self.world.asking(call)
        self.world.run_for(40.0)
        reply = task.result()
        if isinstance(reply, CallResult):
            self.acknowledge(call, reply)

    def acknowledge(self, call: Call, reply: CallResult) -> None:
        self.queue.pop(0)
        self.reference.acknowledged.append(call)
        if call.action == "StartTransaction":
            number = reply.payload["transactionId"]
            assert number not in self.reference.numbers, "no two transactions have one number"
            self.reference.numbers[number] = content_key(call)
            self.open.append(number)

    @precondition(lambda self: self.reference.acknowledged)
    @rule()
    def repeats_the_last(self) -> None:
        """Its reply did not come. A StatusNotification says the same when it is said twice."""
        call = self.reference.acknowledged[-1]
        if call.action == "StatusNotification":
            return
        task = self.world.asking(call)
        self.world.run_for(40.0)
        reply = task.result()
        if call.action == "StartTransaction":
            assert isinstance(reply, CallResult)
            assert self.reference.numbers[reply.payload["transactionId"]] == content_key(call)

    # --- what happens to it ---

    @rule()
    def the_central_system_goes(self) -> None:
        self.world.central_system.away = True

    @rule()
    def its_answers_get_lost(self) -> None:
        self.world.central_system.loses = True

    @rule()
    def it_falls_silent(self) -> None:
        self.world.central_system.silent = True

    @rule()
    def it_comes_back(self) -> None:
        self.world.come_back()

    @rule(seconds=st.sampled_from([0.0, 1.0, 60.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.run_for(seconds)

    @rule()
    def the_store_breaks(self) -> None:
        self.world.store.problem = "disk full"

    @rule()
    def the_store_works(self) -> None:
        self.world.store.problem = ""

    @rule(asked_before=st.booleans(), seconds=st.sampled_from([0.0, 0.5, 31.0]))
    def the_gateway_crashes(self, asked_before: bool, seconds: float) -> None:
        """Also in the middle of a message."""
        if asked_before and self.queue:
            task = self.world.asking(self.queue[0])
            self.world.run_for(seconds)
            if task.done() and isinstance(task.result(), CallResult):
                self.acknowledge(self.queue[0], task.result())  # type: ignore[arg-type]
        self.world.crash()

    # --- what must hold ---

    @invariant()
    def nothing_is_doubled_or_out_of_order(self) -> None:
        if hasattr(self, "world"):
            self.compare(whole=False)

    def heal(self) -> None:
        self.world.store.problem = ""
        self.world.come_back()
        self.world.run_for(300.0)
        for _ in range(len(self.queue)):
            self.send()
        self.world.run_for(300.0)

    def compare(self, *, whole: bool) -> None:
        """What the central system has got, each message id once, is the beginning of what it must get."""
        got = self.world.central_system.messages
        given = {
            content_key(call): self.world.central_system.answered[call.message_id]["transactionId"]
            for call in got
            if call.action == "StartTransaction"
        }
        for each in self.reference.numbers.values():
            given.setdefault(each, -999)  # not given yet: nothing of this transaction may have arrived
        expected = self.reference.expected(given)
        arrived: list[tuple[str, Any]] = []
        for call in got:
            if call.action == "StatusNotification" and (call.action, call.payload) in arrived:
                continue  # the device has said it twice, for it was not told that it had arrived
            arrived.append((call.action, call.payload))
        in_hand = self.queue[0] if self.queue else None
        if len(arrived) > len(expected) or arrived[: len(expected)] != expected[: len(arrived)]:
            # One may have arrived that was not acknowledged: the one in hand.
            assert in_hand is not None, (arrived, expected)
            assert arrived[-1][0] == in_hand.action
            assert arrived[:-1] == expected[: len(arrived) - 1]
        if whole:
            assert not self.queue
            assert arrived == expected
            assert self.world.read(lambda: self.world.store.find(Waiting)) == []


DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"
Deliveries.TestCase.settings = settings(
    max_examples=3000 if DEEP else 150,
    stateful_step_count=60 if DEEP else 40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestDeliveries = Deliveries.TestCase
