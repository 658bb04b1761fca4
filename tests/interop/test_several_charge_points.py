"""Charge points beside each other are never taken for one another, and each is let in by its own name."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack

import pytest

from tests.interop.running import configuration, running
from wattbridge.simulators.central_system_json import JsonCentralSystem
from wattbridge.simulators.charge_point_soap import SoapChargePoint
from wattbridge.simulators.outcomes import Refused
from wattbridge.simulators.scenario import charging_day

IDENTITIES = ("CP3211", "A 1/ä", "%41?b=c&d#<e>")


async def test_three_charge_points_charge_at_once() -> None:
    async with AsyncExitStack() as stack:
        central_system = await stack.enter_async_context(JsonCentralSystem(call_timeout=5.0))
        gateway = await stack.enter_async_context(running(configuration(central_system.url)))
        charge_points = {
            identity: await stack.enter_async_context(
                SoapChargePoint(identity, gateway.url, model=f"M{number}", call_timeout=5.0)
            )
            for number, identity in enumerate(IDENTITIES)
        }
        async with asyncio.TaskGroup() as tasks:
            for charge_point in charge_points.values():
                tasks.create_task(charge_point.power_up())
        assert central_system.connected == sorted(IDENTITIES)

        async with asyncio.TaskGroup() as tasks:
            charging = {
                identity: tasks.create_task(charge_point.charge(f"tag of {identity}"[:20], meter_values=5))
                for identity, charge_point in charge_points.items()
            }
            asking = {
                identity: tasks.create_task(
                    central_system.call(
                        identity, "DataTransfer", vendorId="ACME", data=f"for {identity}", messageId="echo"
                    )
                )
                for identity in IDENTITIES
                for _ in range(5)
            }
        for identity, charge_point in charge_points.items():
            transaction_id = charging[identity].result()["transactionId"]
            transaction = central_system.transactions[transaction_id]
            assert (transaction.identity, transaction.id_tag) == (identity, f"tag of {identity}"[:20])
            assert transaction.meter_stop == charge_point.connectors[1].meter
            assert asking[identity].result() == {"status": "Accepted", "data": f"for {identity}"}
            heard = {payload["data"] for action, payload in charge_point.received}
            assert heard == {f"for {identity}"}
            assert charge_point.problems + charge_point.failures == []
        calls = Counter(identity for identity, _, _ in central_system.received)
        assert calls == dict.fromkeys(IDENTITIES, 4 + 1 + 2 + 5 + 4)
        models = {
            (identity, payload["chargePointModel"])
            for identity, action, payload in central_system.received
            if action == "BootNotification"
        }
        assert models == {(identity, f"M{number}") for number, identity in enumerate(IDENTITIES)}
        assert central_system.problems == []


async def test_day_of_charging_goes_well_for_two_charge_points() -> None:
    async with (
        JsonCentralSystem(call_timeout=5.0) as central_system,
        running(configuration(central_system.url)) as gateway,
        SoapChargePoint("CP1", gateway.url, call_timeout=5.0) as one,
        SoapChargePoint("CP2", gateway.url, call_timeout=5.0) as other,
    ):
        async with asyncio.TaskGroup() as tasks:
            days = [
                tasks.create_task(charging_day(charge_point, central_system, duration=1.0, pause=0.0))
                for charge_point in (one, other)
            ]
        results = [day.result() for day in days]
        assert [failure for result in results for failure in result.failures] == []
        assert sum(result.calls for result in results) == len(gateway.records)
        assert not [record for record in gateway.records if record.reason]
        assert all(transaction.meter_stop is not None for transaction in central_system.transactions.values())


AUTH = "    auth: {basic: {password: {env: CENTRAL_SYSTEM_PASSWORD}}}"


async def test_charge_points_are_let_in_by_name_and_password() -> None:
    """The identity is the user name (OCPP-J 1.6, 6.2.2), whatever letters it has."""
    password = "pass:wörd"
    async with (
        JsonCentralSystem(passwords=dict.fromkeys(("CP3211", "A 1/ä"), password)) as central_system,
        running(
            configuration(central_system.url, upstream=AUTH), {"CENTRAL_SYSTEM_PASSWORD": password}
        ) as gateway,
        SoapChargePoint("CP3211", gateway.url) as one,
        SoapChargePoint("A 1/ä", gateway.url) as other,
    ):
        assert (await one.boot())["status"] == "Accepted"
        assert (await other.boot())["status"] == "Accepted"
        assert central_system.connected == ["A 1/ä", "CP3211"]


@pytest.mark.parametrize(("identity", "password"), [("CP9", "right"), ("CP3211", "wrong")])
async def test_wrong_name_or_password_lets_nobody_in(identity: str, password: str) -> None:
    async with (
        JsonCentralSystem(passwords={"CP3211": "right"}) as central_system,
        running(
            configuration(central_system.url, upstream=AUTH, connect_timeout="500ms"),
            {"CENTRAL_SYSTEM_PASSWORD": password},
        ) as gateway,
        SoapChargePoint(identity, gateway.url) as charge_point,
    ):
        with pytest.raises(Refused, match="it answered HTTP 401 Unauthorized"):
            await charge_point.boot()
        assert central_system.connected == []
        assert password not in str(gateway.events) + str(gateway.records)
