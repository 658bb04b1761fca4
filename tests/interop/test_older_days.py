"""Days of charge points and central systems of OCPP 1.5 and 1.2 with the gateway between them: each party
speaks its own version through zeep and spyne, and plays what it has words for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from tests.interop.running import configuration, running
from wattbridge.simulators.central_system import CentralSystem
from wattbridge.simulators.central_system_json import JsonCentralSystem
from wattbridge.simulators.central_system_soap import SoapCentralSystem
from wattbridge.simulators.charge_point import ChargePoint
from wattbridge.simulators.charge_point_json import JsonChargePoint
from wattbridge.simulators.charge_point_soap import SoapChargePoint
from wattbridge.simulators.dialects import Version
from wattbridge.simulators.quirks import quirks_of
from wattbridge.simulators.scenario import PARTS, charging_day, play

IDENTITY = "CP3211"
OLD: tuple[Version, ...] = ("1.5", "1.2")
PAIRS = [
    *((charge_point, central_system) for charge_point in OLD for central_system in ("json", "1.6")),
    *((charge_point, old) for charge_point in ("json", "1.6", "1.5", "1.2") for old in OLD),
]


@dataclass
class Pair:
    charge_point: ChargePoint
    central_system: CentralSystem

    @property
    def problems(self) -> list[str]:
        cp, cs = self.charge_point, self.central_system
        return cp.problems + cp.failures + cs.problems


@asynccontextmanager
async def at_a_gateway(charge_point: str, central_system: str) -> AsyncIterator[Pair]:
    """Each is ``"json"``, or the version it speaks over SOAP."""
    there: CentralSystem = (
        JsonCentralSystem(call_timeout=5.0)
        if central_system == "json"
        else SoapCentralSystem(call_timeout=5.0, version=version_of(central_system))
    )
    async with there:
        upstream = ""
        if central_system in OLD:
            upstream = f'    soap: {{ocpp: "{central_system}", networks: [127.0.0.0/8]}}'
        async with running(configuration(there.url, upstream=upstream)) as gateway:
            here: ChargePoint = (
                JsonChargePoint(IDENTITY, gateway.json_url, call_timeout=5.0)
                if charge_point == "json"
                else SoapChargePoint(
                    IDENTITY, gateway.url, call_timeout=5.0, version=version_of(charge_point)
                )
            )
            async with here:
                yield Pair(here, there)


def version_of(text: str) -> Version:
    [version] = [known for known in ("1.6", "1.5", "1.2") if known == text]
    return version


@pytest.mark.parametrize(("charge_point", "central_system"), PAIRS)
async def test_a_day_goes_well(charge_point: str, central_system: str) -> None:
    async with at_a_gateway(charge_point, central_system) as pair:
        evening = asyncio.Event()
        steps: list[str] = []

        def on_step(step: str) -> None:
            steps.append(step.partition(" ")[2])
            if steps.count("firmware") == 2:
                evening.set()

        result = await charging_day(
            pair.charge_point, pair.central_system, until=evening, pause=0, on_step=on_step
        )
        assert result.failures == []
        assert await play(pair.charge_point, PARTS["offline"]) == []
        assert pair.problems == []
        transactions = pair.central_system.transactions.values()
        assert len(transactions) == 5
        assert None not in [known.meter_stop for known in transactions]


@pytest.mark.parametrize("version", OLD)
async def test_a_central_system_of_1_6_sees_what_a_connector_does(version: Version) -> None:
    """Until 1.6 it is Occupied from the first to the last of it (OCPP 1.6 edition 2, appendix A)."""
    async with at_a_gateway(version, "json") as pair:
        await play(pair.charge_point, PARTS["charge"])
        received = pair.central_system.received
        statuses = [payload["status"] for _, action, payload in received if action == "StatusNotification"]
        assert statuses == [*["Available"] * 3, "Preparing", "Charging", "Finishing", "Available"]
        numbers = [payload["transactionId"] for _, action, payload in received if action == "MeterValues"]
        assert numbers == [1, 1, 1]  # which those of 1.2 do not say


@pytest.mark.parametrize(
    "version",
    [
        "1.5",
        "1.2",
    ],
)
async def test_a_gateway_lives_with_every_quirk(version: Version) -> None:
    async with at_a_gateway(version, "json") as pair:
        assert await play(pair.charge_point, PARTS["quirks"]) == []
        assert pair.central_system.heard == 4 + len(quirks_of(version))
        assert pair.problems == []


@pytest.mark.parametrize("version", OLD)
async def test_no_transaction_message_is_refused_while_the_central_system_is_away(version: Version) -> None:
    """To charge points of before 1.6 a fault means never to send it again (OCPP 1.5, 8.2)."""
    async with at_a_gateway(version, "json") as pair:
        cp, cs = pair.charge_point, pair.central_system
        cp.keep_messages(attempts=1, retry=0.05)
        await cp.power_up()
        await cp.start_transaction("A")
        cs.refuse_handshakes = 503
        cs.cut(IDENTITY)
        await cs.departure_of(IDENTITY)
        await cp.meter_values()
        await cp.stop_transaction()
        await cp.delivered()
        cs.refuse_handshakes = None
        _, _, stop = await cs.arrival_of("StopTransaction", within=10.0)
        assert (stop["transactionId"], stop["meterStop"]) == (1, 1250)
        assert cp.queue is not None
        counts = cp.queue.counts
        assert (counts.failed, counts.discarded, counts.acknowledged) == (0, 0, 3)
        assert pair.problems == []
