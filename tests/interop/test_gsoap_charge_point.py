"""A charge point of gSOAP, which many charge points are made with, and a central system of it. Both are
generated from our service descriptions, and hold what they get against them.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.interop.gsoap_peer import a_gsoap_peer, needs_gsoap
from tests.interop.older_operations import ENERGY
from tests.interop.soap_peer import Unanswered
from tests.interop.soap_peer_sides import (
    IDENTITY,
    a_central_system_refuses,
    a_charge_point,
    a_charge_point_refuses,
    a_charge_point_understands_a_refusal,
    every_operation_between_two,
    every_operation_of_a_central_system,
    every_operation_of_a_charge_point,
)

pytestmark = needs_gsoap

each_version = pytest.mark.parametrize("version", ["1.2", "1.5", "1.6"])


@each_version
async def test_it_says_and_hears_every_operation(version: str) -> None:
    await every_operation_of_a_charge_point(a_gsoap_peer, version)


async def test_a_central_system_of_it_says_and_hears_every_operation() -> None:
    await every_operation_of_a_central_system(a_gsoap_peer, "1.6")


@each_version
async def test_every_operation_between_two_of_them(version: str) -> None:
    await every_operation_between_two(a_gsoap_peer, version)


INTERVAL = {"1.2": "heartbeatInterval", "1.5": "heartbeatInterval", "1.6": "interval"}
CHARGING = {"1.2": "Occupied", "1.5": "Occupied", "1.6": "Charging"}
# What is measured in each version, and how a central system of 1.6 sees it.
MEASURED: dict[str, dict[str, Any]] = {
    "1.2": {"values": [{"timestamp": "2024-05-01T10:15:00Z", "value": 1750}]},
    "1.5": {
        "transactionId": 1,
        "values": [
            {
                "timestamp": "2024-05-01T10:15:00Z",
                "value": [
                    {"$value": "1750", "@unit": "Wh"},
                    {"$value": "16.0", "@measurand": "Current.Import", "@unit": "Amp"},
                ],
            }
        ],
    },
    "1.6": {
        "transactionId": 1,
        "meterValue": [
            {
                "timestamp": "2024-05-01T10:15:00Z",
                "sampledValue": [
                    {"value": "1750", "unit": "Wh"},
                    {"value": "16.0", "measurand": "Current.Import", "unit": "A"},
                ],
            }
        ],
    },
}
SEEN = {
    "1.2": [{"value": "1750", **ENERGY}],
    "1.5": MEASURED["1.6"]["meterValue"][0]["sampledValue"],
    "1.6": MEASURED["1.6"]["meterValue"][0]["sampledValue"],
}


@each_version
async def test_a_visit_from_boot_to_stop(version: str) -> None:
    async with a_charge_point(a_gsoap_peer, version) as side:
        booted = await side.ask("BootNotification", {"chargePointVendor": "V", "chargePointModel": "M"})
        assert booted == {
            "status": ["Accepted"],
            "currentTime": ["2024-05-01T10:00:00Z"],
            INTERVAL[version]: ["86400"],
        }

        await side.peer.tell("RemoteStartTransaction", {"status": "Accepted"})
        asked = await side.is_asked("RemoteStartTransaction", {"connectorId": 1, "idTag": "04A9"})
        assert asked == {"status": "Accepted"}
        arrived = await side.peer.arrival()
        assert arrived.payload == {"connectorId": ["1"], "idTag": ["04A9"]}

        authorized = await side.ask("Authorize", {"idTag": "04A9"})
        assert authorized == {"idTagInfo": [{"status": ["Invalid"]}]}
        started = await side.ask(
            "StartTransaction",
            {"connectorId": 1, "idTag": "04A9", "timestamp": "2024-05-01T10:00:00Z", "meterStart": 1000},
        )
        assert started == {"transactionId": ["1"], "idTagInfo": [{"status": ["Invalid"]}]}
        status = {"connectorId": 1, "status": CHARGING[version], "errorCode": "NoError"}
        assert await side.ask("StatusNotification", status) == {}
        assert await side.ask("MeterValues", {"connectorId": 1, **MEASURED[version]}) == {}

        await side.peer.tell("RemoteStopTransaction", {"status": "Accepted"})
        assert await side.is_asked("RemoteStopTransaction", {"transactionId": 1}) == {"status": "Accepted"}
        assert (await side.peer.arrival()).payload == {"transactionId": ["1"]}

        stopped = await side.ask(
            "StopTransaction", {"transactionId": 1, "timestamp": "2024-05-01T10:20:00Z", "meterStop": 2500}
        )
        assert stopped == {}
        assert await side.ask("Heartbeat", {}) == {"currentTime": ["2024-05-01T10:00:00Z"]}

        assert side.central_system.received == [
            (IDENTITY, "BootNotification", {"chargePointVendor": "V", "chargePointModel": "M"}),
            (IDENTITY, "Authorize", {"idTag": "04A9"}),
            (
                IDENTITY,
                "StartTransaction",
                {"connectorId": 1, "idTag": "04A9", "timestamp": "2024-05-01T10:00:00Z", "meterStart": 1000},
            ),
            (
                IDENTITY,
                "StatusNotification",
                {"connectorId": 1, "status": "Charging", "errorCode": "NoError"},
            ),
            (
                IDENTITY,
                "MeterValues",
                {
                    "connectorId": 1,
                    "transactionId": 1,  # 1.2 does not say it
                    "meterValue": [{"timestamp": "2024-05-01T10:15:00Z", "sampledValue": SEEN[version]}],
                },
            ),
            (
                IDENTITY,
                "StopTransaction",
                {"transactionId": 1, "timestamp": "2024-05-01T10:20:00Z", "meterStop": 2500},
            ),
            (IDENTITY, "Heartbeat", {}),
        ]


@each_version
async def test_it_understands_a_refusal_of_the_central_system(version: str) -> None:
    await a_charge_point_understands_a_refusal(a_gsoap_peer, version)


@each_version
async def test_its_refusal_is_understood(version: str) -> None:
    await a_charge_point_refuses(a_gsoap_peer, version, "ns2:NotSupported")


async def test_a_central_system_of_it_refuses() -> None:
    await a_central_system_refuses(a_gsoap_peer, "1.6", "ns1:SecurityError")


async def test_it_holds_against_the_description_what_it_writes() -> None:
    """That nothing is found wrong proves something only if it would be."""
    async with a_charge_point(a_gsoap_peer, "1.6") as side:
        with pytest.raises(Unanswered, match="occurrence constraint violation"):
            await side.ask("Authorize", {})
        with pytest.raises(Unanswered, match="length"):
            await side.ask("Authorize", {"idTag": "x" * 21})
        assert side.central_system.received == []
