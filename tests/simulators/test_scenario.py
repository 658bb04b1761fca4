"""The demo's day, with nothing between the two simulators."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from wattbridge.simulators.central_system_json import JsonCentralSystem
from wattbridge.simulators.outcomes import Refused
from wattbridge.simulators.scenario import ScenarioResult, charging_day

from .plugged_in import PluggedIn

A_DAY = [
    "boot",
    "status",
    "authorize",
    "plug in",
    "start",
    "charge",
    "meter values",
    "GetConfiguration",
    "ChangeConfiguration",
    "SetChargingProfile",
    "GetCompositeSchedule",
    "TriggerMessage",
    "meter values and GetLocalListVersion",
    "stop",
    "unplug",
    "leave",
    "RemoteStartTransaction",
    "RemoteStopTransaction",
    "UnlockConnector",
    "heartbeat",
    "data",
    "DataTransfer",
    "diagnostics",
    "firmware",
]


@pytest.fixture
async def central_system() -> AsyncIterator[JsonCentralSystem]:
    async with JsonCentralSystem(call_timeout=5.0) as central_system:
        yield central_system


@pytest.fixture
async def charge_point(central_system: JsonCentralSystem) -> AsyncIterator[PluggedIn]:
    async with PluggedIn("CP1", central_system.url) as charge_point:
        yield charge_point


async def play_until(
    last: str, charge_point: PluggedIn, central_system: JsonCentralSystem, *, times: int = 1
) -> tuple[ScenarioResult, list[str]]:
    """Play until the step *last* was begun *times* times; returns the result and all steps."""
    evening = asyncio.Event()
    steps: list[str] = []

    def on_step(step: str) -> None:
        steps.append(step.partition(" ")[2])
        if steps.count(last) == times:
            evening.set()

    async with asyncio.timeout(20):
        result = await charging_day(charge_point, central_system, until=evening, pause=0, on_step=on_step)
    return result, steps


async def test_a_day_has_its_parts_and_goes_round(
    central_system: JsonCentralSystem, charge_point: PluggedIn
) -> None:
    result, steps = await play_until("firmware", charge_point, central_system, times=2)
    assert result == ScenarioResult(calls=4 + 2 * 32, failures=[])
    assert steps == [*A_DAY, *A_DAY[2:]]
    assert [known.reason for known in central_system.transactions.values()] == ["Local", "Remote"] * 2


@pytest.mark.parametrize(
    "step", ["boot", "charge", "meter values and GetLocalListVersion", "RemoteStartTransaction"]
)
async def test_a_day_that_ends_early_leaves_nothing_running(
    central_system: JsonCentralSystem, charge_point: PluggedIn, step: str
) -> None:
    result, steps = await play_until(step, charge_point, central_system)
    assert result.failures == []
    assert steps == A_DAY[: A_DAY.index(step) + 1]
    assert None not in [known.meter_stop for known in central_system.transactions.values()]
    assert {connector.status for connector in charge_point.connectors.values()} == {"Available"}


async def test_a_day_ends_by_itself_after_its_duration(
    central_system: JsonCentralSystem, charge_point: PluggedIn
) -> None:
    result = await charging_day(charge_point, central_system, duration=0, pause=60)
    assert result == ScenarioResult(calls=1, failures=[])


async def test_a_refusal_is_a_failure_and_the_day_goes_on(
    central_system: JsonCentralSystem, charge_point: PluggedIn
) -> None:
    charge_point.refuse("ChangeConfiguration", Refused("Receiver", "InternalError", "worn out"))
    result, steps = await play_until("RemoteStartTransaction", charge_point, central_system)
    assert result.failures == ["CP1 ChangeConfiguration: GenericError: worn out"]
    assert steps == [*A_DAY[:9], "RemoteStartTransaction"]
    assert None not in [known.meter_stop for known in central_system.transactions.values()]


async def test_an_answer_of_another_kind_is_a_failure(
    central_system: JsonCentralSystem, charge_point: PluggedIn
) -> None:
    charge_point.configuration["ConnectorPhaseRotation"].readonly = True
    result, _ = await play_until("RemoteStartTransaction", charge_point, central_system)
    assert result.failures == ["CP1 ChangeConfiguration: status: 'Rejected'; expected 'Accepted'"]


class Idle(PluggedIn):
    """Accepts a remote start, and does nothing."""

    def _start_remotely(self, connector_id: int, id_tag: str) -> None:
        pass


async def test_what_a_party_does_not_do_is_a_failure() -> None:
    async with (
        JsonCentralSystem(call_timeout=0.2) as central_system,
        Idle("CP1", central_system.url) as charge_point,
    ):
        result, _ = await play_until("heartbeat", charge_point, central_system)
    assert result.failures == ["CP1 StartTransaction: no StartTransaction arrived within 0.2 s"]


async def test_a_boot_that_is_not_answered_is_tried_again(
    central_system: JsonCentralSystem, charge_point: PluggedIn
) -> None:
    central_system.errors["BootNotification"] = ("InternalError", "not yet")
    evening = asyncio.Event()

    def on_step(step: str) -> None:
        if len(central_system.received) == 2:
            central_system.errors.clear()
        if step == "CP1 status":
            evening.set()

    result = await charging_day(charge_point, central_system, until=evening, pause=0, on_step=on_step)
    assert result.failures == ["CP1 boot: Receiver/InternalError: not yet"] * 2
    actions = [action for _, action, _ in central_system.received]
    assert actions == [*["BootNotification"] * 3, *["StatusNotification"] * 3]


async def test_a_pending_boot_is_repeated_after_the_interval(
    central_system: JsonCentralSystem, charge_point: PluggedIn
) -> None:
    central_system.boot_status = "Pending"
    central_system.heartbeat_interval = 0
    evening = asyncio.Event()

    def on_step(step: str) -> None:
        if len(central_system.received) == 2:
            central_system.boot_status = "Accepted"
        if step == "CP1 status":
            evening.set()

    result = await charging_day(charge_point, central_system, until=evening, pause=0, on_step=on_step)
    assert result.failures == []
    actions = [action for _, action, _ in central_system.received]
    assert actions == [*["BootNotification"] * 3, *["StatusNotification"] * 3]


async def test_problems_of_the_witnesses_are_failures_of_the_day(
    central_system: JsonCentralSystem, charge_point: PluggedIn
) -> None:
    charge_point.problems.append("of the day before")
    evening = asyncio.Event()

    def on_step(step: str) -> None:
        charge_point.problems.append("seen by the charge point")
        central_system.problems.append("seen by the central system")
        evening.set()

    result = await charging_day(charge_point, central_system, until=evening, pause=0, on_step=on_step)
    assert result.failures == ["seen by the charge point", "seen by the central system"]


async def test_days_run_beside_each_other(central_system: JsonCentralSystem, charge_point: PluggedIn) -> None:
    async with PluggedIn("CP2", central_system.url) as other, asyncio.TaskGroup() as days:
        played = [
            days.create_task(play_until("heartbeat", cp, central_system)) for cp in (charge_point, other)
        ]
        results = [(await day)[0] for day in played]
    assert results == [ScenarioResult(calls=4 + 16 + 11 + 1, failures=[])] * 2
