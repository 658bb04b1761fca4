"""A central system that is silent, slow, hung up or away: what can still be delivered is never refused to the
charge point, everything else is refused in words, and afterwards all goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from tests.interop.raw import an_ear, envelope, post, talk
from tests.interop.running import configuration, running
from wattbridge.simulators.central_system import ALL
from wattbridge.simulators.central_system_json import JsonCentralSystem
from wattbridge.simulators.charge_point_soap import SoapChargePoint
from wattbridge.simulators.outcomes import CallRefused, Refused, Unanswered

IDENTITY = "CP3211"
TIME = "2024-05-01T10:00:00Z"

# What the gateway keeps, and confirms.
KEPT_CALLS: dict[str, dict[str, Any]] = {
    "StatusNotification": {"connectorId": 1, "status": "Available", "errorCode": "NoError"},
    "MeterValues": {
        "connectorId": 1,
        "transactionId": 1,
        "meterValue": [{"timestamp": TIME, "sampledValue": [{"value": "1"}]}],
    },
    "StopTransaction": {"transactionId": 1, "timestamp": TIME, "meterStop": 1},
}
# Only the central system gives a number: it is left without any answer, so that the charge point keeps it.
START = {"StartTransaction": {"connectorId": 1, "idTag": "1", "timestamp": TIME, "meterStart": 0}}
OTHER_CALLS: dict[str, dict[str, Any]] = {"Authorize": {"idTag": "2"}, "DataTransfer": {"vendorId": "V"}}
EVERY_CALL: dict[str, dict[str, Any]] = START | KEPT_CALLS | OTHER_CALLS


async def outcomes_of(charge_point: SoapChargePoint) -> dict[str, str]:
    """How each call ends: ``answered``, ``closed`` (no HTTP response at all) or the text of the fault."""
    outcomes = {}
    for action, payload in EVERY_CALL.items():
        try:
            await charge_point.call(action, **payload)
            outcomes[action] = "answered"
        except Refused as refused:
            outcomes[action] = str(refused)
        except Unanswered as unanswered:
            outcomes[action] = "closed" if "RemoteDisconnected" in str(unanswered) else str(unanswered)
    return outcomes


async def meet(charge_point: SoapChargePoint, central_system: JsonCentralSystem) -> None:
    """Have the gateway connect, however long that takes where it gives up early."""
    with suppress(Refused):
        await charge_point.heartbeat()
    await central_system.connection_of(charge_point.identity)


def all_is_well() -> dict[str, str]:
    return dict.fromkeys(EVERY_CALL, "answered")


def kept_and_refused(fault: Callable[[str], str]) -> dict[str, str]:
    """StartTransaction closed without an answer, what can wait confirmed, a fault for the others."""
    kept = dict.fromkeys(KEPT_CALLS, "answered")
    return dict.fromkeys(START, "closed") | kept | {action: fault(action) for action in OTHER_CALLS}


async def test_silent_central_system() -> None:
    async with (
        JsonCentralSystem() as central_system,
        running(configuration(central_system.url, call_timeout="250ms", hold="0s")) as gateway,
        SoapChargePoint(IDENTITY, gateway.url, call_timeout=5.0) as charge_point,
    ):
        central_system.silent_on = {ALL}
        outcomes = await outcomes_of(charge_point)
        assert outcomes | dict.fromkeys(OTHER_CALLS, "") == kept_and_refused(lambda action: "")
        for action in OTHER_CALLS:
            assert outcomes[action].startswith("Receiver/InternalError: GenericError: ")
        assert {record.how for record in gateway.records} == {"", "kept"}

        central_system.silent_on.clear()
        await gateway.until(lambda: not gateway.gateway.deliveries.waiting.messages)
        assert await outcomes_of(charge_point) == all_is_well()
        assert charge_point.problems + central_system.problems == []


async def test_central_system_that_hangs_up_at_every_call() -> None:
    async with (
        JsonCentralSystem() as central_system,
        running(configuration(central_system.url, hold="0s")) as gateway,
        SoapChargePoint(IDENTITY, gateway.url, call_timeout=5.0) as charge_point,
    ):
        central_system.hang_up_on = {ALL}
        outcomes = await outcomes_of(charge_point)
        assert outcomes | dict.fromkeys(OTHER_CALLS, "") == kept_and_refused(lambda action: "")
        for action in OTHER_CALLS:
            assert outcomes[action].startswith("Receiver/InternalError: GenericError: ")
        assert {record.how for record in gateway.records} == {"", "kept"}

        central_system.hang_up_on.clear()
        await gateway.until(lambda: not gateway.gateway.deliveries.waiting.messages)
        assert await outcomes_of(charge_point) == all_is_well()
        assert charge_point.problems + central_system.problems == []


@pytest.mark.parametrize("status", [401, 404, 503])
async def test_central_system_that_lets_nobody_in(status: int) -> None:
    async with (
        JsonCentralSystem() as central_system,
        running(configuration(central_system.url, connect_timeout="500ms", hold="0s")) as gateway,
        SoapChargePoint(IDENTITY, gateway.url, call_timeout=5.0) as charge_point,
    ):
        central_system.refuse_handshakes = status
        outcomes = await outcomes_of(charge_point)
        assert outcomes | dict.fromkeys(OTHER_CALLS, "") == kept_and_refused(lambda action: "")
        for action in OTHER_CALLS:
            assert outcomes[action].startswith("Receiver/InternalError: GenericError: ")
        assert f"central system main: it answered HTTP {status}" in outcomes["DataTransfer"]
        assert {record.reason for record in gateway.records} <= {"refused", "not_connected", ""}

        central_system.refuse_handshakes = None
        await central_system.connection_of(IDENTITY)
        await gateway.until(lambda: not gateway.gateway.deliveries.waiting.messages)
        assert await outcomes_of(charge_point) == all_is_well()
        assert charge_point.problems + central_system.problems == []


async def test_central_system_that_is_away_for_a_while() -> None:
    async with (
        JsonCentralSystem() as central_system,
        running(configuration(central_system.url, connect_timeout="100ms", hold="0s")) as gateway,
        SoapChargePoint(IDENTITY, gateway.url, call_timeout=5.0) as charge_point,
    ):
        await meet(charge_point, central_system)
        await central_system.stop()
        outcomes = await outcomes_of(charge_point)
        assert outcomes | dict.fromkeys(OTHER_CALLS, "") == kept_and_refused(lambda action: "")
        assert "it refused the connection" in outcomes["DataTransfer"]
        assert "is away; nothing is known of this idTag" in outcomes["Authorize"]

        await central_system.start()
        await central_system.connection_of(IDENTITY)
        await gateway.until(lambda: not gateway.gateway.deliveries.waiting.messages)
        assert await outcomes_of(charge_point) == all_is_well()
        assert [event.kind for event in gateway.events if event.kind.startswith("central system ")][:2] == [
            "central system connected",
            "central system lost",
        ]
        assert charge_point.problems + central_system.problems == []


async def test_what_was_confirmed_arrives_when_the_central_system_is_back() -> None:
    async with (
        JsonCentralSystem() as central_system,
        running(configuration(central_system.url, connect_timeout="100ms")) as gateway,
        SoapChargePoint(IDENTITY, gateway.url, call_timeout=5.0) as charge_point,
    ):
        await meet(charge_point, central_system)
        await charge_point.start_transaction("1")
        await central_system.stop()
        await charge_point.stop_transaction()
        assert gateway.records[-1].how == "kept"
        await central_system.start()
        await gateway.until(lambda: bool(gateway.told("message delivered")))
        [transaction] = central_system.transactions.values()
        assert transaction.meter_stop == 1000
        assert charge_point.problems + central_system.problems == []


async def test_a_start_that_was_left_without_an_answer_is_sent_again_and_begins_once() -> None:
    """It is tried again (OCPP 1.6, 3.7.1), and so nothing is lost."""
    async with (
        JsonCentralSystem() as central_system,
        running(configuration(central_system.url, connect_timeout="100ms", hold="100ms")) as gateway,
        SoapChargePoint(IDENTITY, gateway.url, call_timeout=5.0) as charge_point,
    ):
        charge_point.configuration["TransactionMessageAttempts"].value = "20"
        charge_point.configuration["TransactionMessageRetryInterval"].value = "0.05"
        await meet(charge_point, central_system)
        await central_system.stop()
        async with asyncio.TaskGroup() as tasks:
            starting = tasks.create_task(charge_point.start_transaction("1"))
            await gateway.until(lambda: gateway.records[-1].action == "StartTransaction")
            assert not starting.done()
            await central_system.start()
        assert len(central_system.transactions) == 1
        starts = [record.reason for record in gateway.records if record.action == "StartTransaction"]
        assert starts[0] in ("not_connected", "refused")
        assert starts[-1] == ""


async def test_central_system_that_says_pending_and_then_yes() -> None:
    async with (
        JsonCentralSystem(heartbeat_interval=0) as central_system,
        running(configuration(central_system.url)) as gateway,
        SoapChargePoint(IDENTITY, gateway.url, call_timeout=5.0) as charge_point,
    ):
        charge_point.own_interval = 0.01
        central_system.boot_status = "Pending"
        async with asyncio.TaskGroup() as tasks:
            booting = tasks.create_task(charge_point.power_up())
            await central_system.arrival_of("BootNotification", after=2)
            # While it is pending it may be asked things (OCPP 1.6, 4.2).
            configured = await central_system.call(IDENTITY, "GetConfiguration", key=["NumberOfConnectors"])
            assert configured["configurationKey"][0]["value"] == "2"
            central_system.boot_status = "Accepted"
        assert booting.result()["status"] == "Accepted"
        assert charge_point.problems + charge_point.failures + central_system.problems == []


async def test_slow_central_system_is_called_back_while_it_still_thinks() -> None:
    """Calls of the two parties may cross (OCPP-J 1.6, 4.1.1)."""
    async with (
        JsonCentralSystem() as central_system,
        running(configuration(central_system.url)) as gateway,
        SoapChargePoint(IDENTITY, gateway.url, call_timeout=5.0) as charge_point,
    ):
        central_system.answer_delay = 0.3
        async with asyncio.TaskGroup() as tasks:
            metering = tasks.create_task(charge_point.meter_values())
            await central_system.arrival_of("MeterValues")
            assert await central_system.call(IDENTITY, "GetLocalListVersion") == {"listVersion": 0}
            assert not metering.done()
        assert metering.result() == {}
        assert charge_point.problems + charge_point.failures + central_system.problems == []


async def test_gateway_that_stops_lets_the_call_under_way_end() -> None:
    async with JsonCentralSystem() as central_system, asyncio.TaskGroup() as tasks:
        async with running(configuration(central_system.url)) as gateway:
            charge_point = SoapChargePoint(IDENTITY, gateway.url, call_timeout=5.0)
            await charge_point.start()
            central_system.answer_delay = 0.2
            charging = tasks.create_task(charge_point.start_transaction("1"))
            await central_system.arrival_of("StartTransaction")
        assert (await charging)["transactionId"] == 1
        with pytest.raises(Unanswered):
            await charge_point.heartbeat()
        await charge_point.stop()
        assert central_system.connected == []


async def test_charge_point_that_falls_silent_is_offline_until_it_speaks_again() -> None:
    """It has no connection of its own: three heartbeats late, here one, it counts as gone."""
    async with (
        JsonCentralSystem(heartbeat_interval=1) as central_system,
        running(configuration(central_system.url, more="sessions: {alive: 1}")) as gateway,
        SoapChargePoint(IDENTITY, gateway.url, call_timeout=5.0) as charge_point,
    ):
        await charge_point.boot()
        charge_point.configuration["HeartbeatInterval"].value = "0"
        await charge_point.heartbeat()
        await gateway.until(lambda: bool(gateway.told("session closed")))
        with pytest.raises(Unanswered):
            await central_system.call(IDENTITY, "ClearCache")

        await charge_point.heartbeat()
        assert central_system.connected == [IDENTITY]
        assert await central_system.call(IDENTITY, "ClearCache") == {"status": "Accepted"}
        assert charge_point.problems + charge_point.failures + central_system.problems == []


async def test_charge_point_that_does_not_answer_in_time_is_told_to_the_central_system() -> None:
    async with (
        JsonCentralSystem() as central_system,
        running(configuration(central_system.url, callback_timeout="100ms")) as gateway,
        an_ear() as ear,
    ):
        await talk(gateway.host_and_port, post(envelope(IDENTITY, url=ear.url)))
        ear.may_answer.clear()
        for _ in range(2):
            with pytest.raises(CallRefused) as refusal:
                await central_system.call(IDENTITY, "ClearCache")
            assert refusal.value.code == "GenericError"
            assert "within 0.1 s" in refusal.value.description
        assert len(ear.heard) == 2
        assert {record.reason for record in gateway.records if record.action == "ClearCache"} == {"timeout"}
