"""The numbers of the first page: calls in a second, the spark line, failures of the last hour."""

from __future__ import annotations

from dataclasses import replace

from wattbridge.ocpp.messages import CallError, CallResult, Passage, Reply, Side
from wattbridge.operation.rates import STEPS, Rates
from wattbridge.relay.journal import Journal, Record


class World:
    def __init__(self) -> None:
        self.now = 1000.0
        self.rates = Rates(clock=lambda: self.now)
        self.journal = Journal()
        self.rates.listen_to(self.journal)

    def calls(self, number: int, reply: Reply = CallResult({}), asked_by: Side = Side.CHARGE_POINT) -> None:  # noqa: B008
        nothing = Passage("soap", b"")
        record = Record("CP1", asked_by, "Heartbeat", {}, reply, 0.0, 0.1, 0.1, nothing, None, None, nothing)
        for _ in range(number):
            self.journal.record(record)


def test_a_rate_is_the_mean_of_the_last_minute() -> None:
    world = World()
    world.now += 5
    world.calls(10)
    assert world.rates.per_second(Side.CHARGE_POINT) == 2.0  # of the five seconds there were
    for _ in range(12):
        world.now += 5
        world.calls(10)
    assert 1.9 < world.rates.per_second(Side.CHARGE_POINT) < 2.3
    assert world.rates.per_second(Side.CENTRAL_SYSTEM) == 0.0
    world.now += 60
    assert world.rates.per_second(Side.CHARGE_POINT) == 0.0


def test_what_an_operator_asks_is_no_call_of_the_central_system() -> None:
    world = World()
    nothing = Passage("json", b"")
    side, reply = Side.CENTRAL_SYSTEM, CallError("GenericError", "", reason="timeout")
    record = Record("CP1", side, "Reset", {}, reply, 0.0, 0.1, 0.1, nothing, None, None, nothing)
    world.journal.record(replace(record, asked_by="operator"))
    assert (world.rates.per_second(side), world.rates.failures()) == (0.0, {})


def test_the_spark_line_has_a_number_for_each_ten_seconds() -> None:
    world = World()
    world.calls(3)
    world.now += 10
    world.calls(1, asked_by=Side.CENTRAL_SYSTEM)
    world.now += 20
    world.calls(2)
    assert world.rates.spark()[-4:] == [3, 1, 0, 2]
    assert len(world.rates.spark()) == STEPS
    world.now += 10_000
    assert world.rates.spark() == [0] * STEPS


def test_failures_of_the_last_hour_are_counted_by_reason() -> None:
    world = World()
    world.calls(2, CallError("GenericError", "", reason="timeout"))
    world.now += 600
    world.calls(3, CallError("GenericError", "", reason="schema"))
    world.calls(5)
    assert world.rates.failures() == {"schema": 3, "timeout": 2}
    world.now += 3100
    assert world.rates.failures() == {"schema": 3}
