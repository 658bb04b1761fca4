"""Every operation of OCPP 1.6 goes through the gateway between charge points and central systems of others:
zeep and the ``ocpp`` package speak for the first, spyne and the ``ocpp`` package for the second, each with
its own idea of the schemas.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
import uvloop

from tests.interop.operations import (
    ALL_OF_IT,
    ASKED_OF_THE_CENTRAL_SYSTEM,
    ASKED_OF_THE_CHARGE_POINT,
    TAG,
    Asked,
    Payload,
)
from tests.interop.package_charge_point import PackageChargePoint, a_package_charge_point
from tests.interop.running import Running, configuration, running
from tests.simulators.all_operations import Seen, Told, meant
from wattbridge.simulators.central_system import CentralSystem
from wattbridge.simulators.central_system_json import JsonCentralSystem
from wattbridge.simulators.central_system_soap import SoapCentralSystem
from wattbridge.simulators.charge_point_json import JsonChargePoint
from wattbridge.simulators.charge_point_soap import SoapChargePoint

IDENTITY = "CP 3211/ä"
NOW = datetime(2024, 5, 1, 10, tzinfo=UTC)


class FullCentralSystem(CentralSystem):
    """Knows all there is to know of one idTag, and nothing of the others."""

    def id_tag_info(self, id_tag: str) -> Payload:
        return ALL_OF_IT if id_tag == TAG else {"status": "Invalid"}


class OfTheOcppPackage(FullCentralSystem, JsonCentralSystem):
    pass


class OfSpyne(FullCentralSystem, SoapCentralSystem):
    pass


class ToldOfZeep(Told, SoapChargePoint):
    pass


class ToldOfWebsockets(Told, JsonChargePoint):
    pass


@dataclass
class Witness:
    """A charge point that answers what it is told to, however it is made."""

    ask: Callable[[str, Payload], Awaitable[Payload]]
    told: Callable[[Payload], None]
    received: list[tuple[str, Payload]]
    problems: Callable[[], list[str]] = list


@asynccontextmanager
async def zeep(gateway: Running) -> AsyncIterator[Witness]:
    async with ToldOfZeep(IDENTITY, gateway.url, call_timeout=5.0) as charge_point:
        yield _of_a_simulator(charge_point)


@asynccontextmanager
async def websockets(gateway: Running) -> AsyncIterator[Witness]:
    async with ToldOfWebsockets(IDENTITY, gateway.json_url, call_timeout=5.0) as charge_point:
        yield _of_a_simulator(charge_point)


@asynccontextmanager
async def the_ocpp_package(gateway: Running) -> AsyncIterator[Witness]:
    async with a_package_charge_point(IDENTITY, gateway.json_url) as charge_point:
        yield Witness(charge_point.ask, lambda payload: _tell(charge_point, payload), charge_point.received)


def _of_a_simulator(charge_point: Told) -> Witness:
    return Witness(
        lambda action, payload: charge_point.call(action, **payload),
        lambda payload: _tell(charge_point, payload),
        charge_point.received,
        lambda: charge_point.problems + charge_point.failures,
    )


def _tell(charge_point: Told | PackageChargePoint, payload: Payload) -> None:
    charge_point.told = payload


Pairing = tuple[Callable[[Running], Any], type[FullCentralSystem]]
PAIRINGS: dict[str, Pairing] = {
    "zeep to spyne": (zeep, OfSpyne),
    "the ocpp package to spyne": (the_ocpp_package, OfSpyne),
    "the ocpp package to itself": (the_ocpp_package, OfTheOcppPackage),
    "websockets to spyne": (websockets, OfSpyne),
    "websockets to the ocpp package": (websockets, OfTheOcppPackage),
}

EVERYTHING: dict[tuple[str, str, str], Asked] = {
    (asked, action, case): example
    for asked, operations in (
        ("central system", ASKED_OF_THE_CENTRAL_SYSTEM),
        ("charge point", ASKED_OF_THE_CHARGE_POINT),
    )
    for action, cases in operations.items()
    for case, example in cases.items()
}


async def go_through_all(pairing: Pairing) -> Seen:
    seen = Seen()
    a_charge_point, a_central_system = pairing
    async with (
        a_central_system(heartbeat_interval=86400, now=lambda: NOW, call_timeout=5.0) as central_system,
        running(configuration(central_system.url)) as gateway,
        a_charge_point(gateway) as charge_point,
    ):
        for (asked, action, case), example in EVERYTHING.items():
            if asked == "central system":
                returned = await charge_point.ask(action, example.asked)
                identity, name, payload = central_system.received[-1]
                assert identity == IDENTITY
            else:
                charge_point.told(example.answered)
                returned = await central_system.call(IDENTITY, action, **example.asked)
                name, payload = charge_point.received[-1]
            assert name == action
            seen.arrived[asked, action, case] = meant(payload)
            seen.returned[asked, action, case] = meant(returned)
        seen.problems = charge_point.problems() + central_system.problems
        # What a party gets wrong by the schema is noted where messages pass as they are.
        seen.problems += [str(note) for record in gateway.records for note in record.notes if is_bad(note)]
        assert not [record for record in gateway.records if record.reason]
    return seen


def is_bad(note: object) -> bool:
    return type(note).__name__ in ("Loss", "Breach")


@pytest.mark.parametrize("pairing", PAIRINGS)
def test_every_call_arrives_and_its_result_returns(pairing: str) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as the gateway is run
        seen = runner.run(go_through_all(PAIRINGS[pairing]))
    # Seconds have fractions only where nothing is translated.
    as_it_is = (PAIRINGS[pairing][0] is zeep) == (PAIRINGS[pairing][1] is OfSpyne)
    for key, example in EVERYTHING.items():
        assert seen.arrived[key] == meant(example.asked if as_it_is else example.arrives)
        assert seen.returned[key] == meant(example.answered if as_it_is else example.returns)
    assert seen.problems == []
