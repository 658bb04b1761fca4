"""The demo's day, and the parts that charge points play by themselves; nothing between the simulators."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime

import pytest

from tests.interop.running import configuration, running
from wattbridge.simulators.central_system import CentralSystem
from wattbridge.simulators.central_system_json import JsonCentralSystem
from wattbridge.simulators.central_system_soap import SoapCentralSystem
from wattbridge.simulators.charge_point import ChargePoint
from wattbridge.simulators.charge_point_json import JsonChargePoint
from wattbridge.simulators.charge_point_soap import SoapChargePoint
from wattbridge.simulators.outcomes import Refused
from wattbridge.simulators.quirks import quirks_of
from wattbridge.simulators.scenario import PARTS, ScenarioResult, charging_day, play

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


# --- Parts that charge points play by themselves ---------------------------------------------------------


@pytest.fixture(params=["soap", "json"])
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[tuple[CentralSystem, ChargePoint]]:
    central_system: CentralSystem
    charge_point: ChargePoint
    if request.param == "soap":
        central_system = SoapCentralSystem(call_timeout=5.0)
        async with central_system:
            charge_point = SoapChargePoint("CP1", central_system.url, call_timeout=5.0)
            async with charge_point:
                yield central_system, charge_point
    else:
        central_system = JsonCentralSystem(call_timeout=5.0)
        async with central_system:
            charge_point = JsonChargePoint("CP1", central_system.url, call_timeout=5.0)
            async with charge_point:
                yield central_system, charge_point


BOOT = ["BootNotification", *["StatusNotification"] * 3]
CHARGE = [
    *("Authorize", "StatusNotification", "StartTransaction", "StatusNotification"),
    *("MeterValues", "MeterValues", "MeterValues", "StopTransaction"),
    *("StatusNotification", "StatusNotification"),
]
OFFLINE = [
    *("Authorize", "StartTransaction", "StatusNotification", "MeterValues"),
    *("MeterValues", "StopTransaction", "StatusNotification"),
]


@pytest.mark.parametrize(
    ("name", "once", "twice"),
    [
        ("charge", BOOT + CHARGE, BOOT + CHARGE * 2),
        ("boot-storm", BOOT, BOOT * 2),
        ("offline", BOOT + OFFLINE, BOOT + OFFLINE * 2),
    ],
)
async def test_a_part_is_played_over_and_over(
    pair: tuple[CentralSystem, ChargePoint], name: str, once: list[str], twice: list[str]
) -> None:
    central_system, charge_point = pair
    for expected in (once, twice):
        assert await play(charge_point, PARTS[name]) == []
        assert [action for _, action, _ in central_system.received] == expected
    assert charge_point.problems == central_system.problems == []
    assert None not in [known.meter_stop for known in central_system.transactions.values()]


async def test_what_was_measured_offline_is_delivered_with_its_own_times(
    pair: tuple[CentralSystem, ChargePoint],
) -> None:
    central_system, charge_point = pair
    await play(charge_point, PARTS["offline"])
    moments = [
        payload["meterValue"][0]["timestamp"]
        for _, action, payload in central_system.received
        if action == "MeterValues"
    ]
    assert len(moments) == 2
    assert moments[0] < moments[1]
    [transaction] = central_system.transactions.values()
    assert (transaction.meter_start, transaction.meter_stop) == (1000, 1500)


async def test_an_idtag_that_is_not_accepted_is_a_failure(pair: tuple[CentralSystem, ChargePoint]) -> None:
    central_system, charge_point = pair
    central_system.id_tags = {}
    assert await play(charge_point, PARTS["charge"]) == ["CP1: idTag 04E91C5A123456 is Invalid"]


@pytest.mark.parametrize("name", ["charge", "offline"])
async def test_a_refusal_ends_the_part_and_not_the_charge_point(
    pair: tuple[CentralSystem, ChargePoint], name: str
) -> None:
    central_system, charge_point = pair
    central_system.errors["StopTransaction"] = ("InternalError", "out of order")
    [failure] = await play(charge_point, PARTS[name])
    assert failure.startswith("CP1: ")
    assert failure.endswith("InternalError: out of order")
    central_system.errors.clear()
    assert await play(charge_point, PARTS[name]) == []


async def test_who_cannot_come_back_tries_it_with_the_next_part() -> None:
    async with (
        JsonCentralSystem() as central_system,
        JsonChargePoint("CP1", central_system.url) as charge_point,
    ):
        await charge_point.power_up()
        await charge_point.go_offline()
        central_system.refuse_handshakes = 503
        assert await play(charge_point, PARTS["charge"]) == ["CP1: no connection: HTTP 503"]
        central_system.refuse_handshakes = None
        assert await play(charge_point, PARTS["charge"]) == []


async def test_a_strict_json_central_system_does_not_live_with_these_quirks() -> None:
    async with (
        JsonCentralSystem() as central_system,
        JsonChargePoint("CP1", central_system.url, call_timeout=0.5) as charge_point,
    ):
        failures = await play(charge_point, PARTS["quirks"])
        assert [failure.split(": ")[1] for failure in failures] == [
            "offers none in its handshake",
            "writes sampled values as numbers",
            "writes null instead of an empty payload",
        ]
        assert "CP1: Authorize: sent while 1 CALL of the same side had no answer (4.1.1)" in [
            *central_system.problems
        ]
        assert charge_point.problems == []
        assert charge_point.quirks == set()
        await charge_point.heartbeat()


async def test_a_strict_soap_central_system_does_not_live_with_these_quirks() -> None:
    async with (
        SoapCentralSystem() as central_system,
        SoapChargePoint("CP1", central_system.url) as charge_point,
    ):
        failures = await play(charge_point, PARTS["quirks"])
        assert [failure.split(": ")[1] for failure in failures] == [
            "a SOAP 1.1 envelope",
            "unqualified fields",
            "the body in the namespace of ChargePointService",
            "fields in alphabetical order",
            "white space around an identifier",
            "an empty line before the XML declaration",
        ]
        assert charge_point.answered == 4 + len(quirks_of("1.6"))
        local = [
            payload["timestamp"]
            for _, action, payload in central_system.received[4:]
            if "timestamp" in payload
        ]
        assert len(local) == 1
        assert datetime.fromisoformat(local[0]).tzinfo is None


async def test_a_gateway_lives_with_every_quirk_of_soap_charge_points() -> None:
    async with (
        JsonCentralSystem() as central_system,
        running(configuration(central_system.url)) as gateway,
        SoapChargePoint("CP1", gateway.url) as charge_point,
    ):
        assert await play(charge_point, PARTS["quirks"]) == []
        assert central_system.heard == 4 + len(quirks_of("1.6"))
        assert central_system.problems == charge_point.problems == []
