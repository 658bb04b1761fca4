"""Central systems that are in use, and charge points of the field, with their habits on both transports."""

from __future__ import annotations

import asyncio

import pytest

from tests.interop.running import Running, configuration, running
from wattbridge.simulators.central_system_json import JsonCentralSystem
from wattbridge.simulators.central_system_soap import Habits, SoapCentralSystem
from wattbridge.simulators.charge_point import ChargePoint
from wattbridge.simulators.charge_point_json import JsonChargePoint
from wattbridge.simulators.charge_point_soap import SoapChargePoint
from wattbridge.simulators.outcomes import Refusal
from wattbridge.simulators.scenario import PARTS, charging_day, play

IDENTITY = "CP3211"
transports = pytest.mark.parametrize("transport", ["soap", "json"])


def a_charge_point(transport: str, gateway: Running) -> ChargePoint:
    if transport == "soap":
        return SoapChargePoint(IDENTITY, gateway.url, call_timeout=5.0)
    return JsonChargePoint(IDENTITY, gateway.json_url, call_timeout=5.0)


@transports
@pytest.mark.parametrize("habits", ["steve", "ev-server"])
async def test_a_day_with_a_central_system_that_is_in_use(habits: Habits, transport: str) -> None:
    """All that two parties ask of each other in a day, through two SOAP stacks that are in use."""
    async with (
        SoapCentralSystem(habits=habits, call_timeout=5.0) as central_system,
        running(configuration(central_system.url)) as gateway,
        a_charge_point(transport, gateway) as charge_point,
    ):
        evening = asyncio.Event()
        rounds = 0

        def on_step(step: str) -> None:
            nonlocal rounds
            rounds += 1
            if rounds == 60:
                evening.set()

        result = await charging_day(charge_point, central_system, until=evening, pause=0, on_step=on_step)
        assert result.failures == []
        assert result.calls > 60
        assert charge_point.problems + charge_point.failures + central_system.problems == []


@transports
async def test_steve_refuses_whoever_has_not_booted(transport: str) -> None:
    async with (
        SoapCentralSystem(habits="steve", call_timeout=5.0) as central_system,
        running(configuration(central_system.url)) as gateway,
        a_charge_point(transport, gateway) as charge_point,
    ):
        with pytest.raises(Refusal, match=r"SecurityError.*has not been accepted yet"):
            await charge_point.call("Authorize", idTag="1")
        await charge_point.power_up()
        assert (await charge_point.call("Authorize", idTag="1"))["idTagInfo"]["status"] == "Accepted"


async def test_habits_of_soap_charge_points_are_no_business_of_a_json_central_system() -> None:
    async with (
        JsonCentralSystem(call_timeout=5.0) as central_system,
        running(configuration(central_system.url)) as gateway,
        a_charge_point("soap", gateway) as charge_point,
    ):
        assert await play(charge_point, PARTS["quirks"]) == []
        assert central_system.problems == []


async def test_habits_of_json_charge_points_are_no_business_of_a_soap_central_system() -> None:
    async with (
        SoapCentralSystem(call_timeout=5.0) as central_system,
        running(configuration(central_system.url)) as gateway,
        a_charge_point("json", gateway) as charge_point,
    ):
        assert await play(charge_point, PARTS["quirks"]) == []
        assert central_system.problems == []


async def test_what_passes_as_it_is_is_judged_by_the_central_system_itself() -> None:
    """Between two that speak the same the gateway mends nothing."""
    async with (
        SoapCentralSystem(call_timeout=5.0) as central_system,
        running(configuration(central_system.url)) as gateway,
        a_charge_point("soap", gateway) as charge_point,
    ):
        refused = await play(charge_point, PARTS["quirks"])
        assert [failure.split(":")[1].strip() for failure in refused] == [
            "unqualified fields",
            "the body in the namespace of ChargePointService",
            "fields in alphabetical order",
            "white space around an identifier",
        ]
        assert len(central_system.problems) >= len(refused)
