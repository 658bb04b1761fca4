"""Whoever has nothing but the address of the gateway builds a client from its ?wsdl, as SOAP stacks do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
import zeep
import zeep.exceptions

from tests.interop.operations import ASKED_OF_THE_CENTRAL_SYSTEM, ASKED_OF_THE_CHARGE_POINT, Payload
from tests.interop.running import configuration, running
from tests.simulators.all_operations import Told, meant
from wattbridge.simulators.central_system_json import JsonCentralSystem
from wattbridge.simulators.central_system_soap import SoapCentralSystem
from wattbridge.simulators.charge_point_json import JsonChargePoint

IDENTITY = "CP3211"


class ToldChargePoint(Told, JsonChargePoint):
    pass


@dataclass
class Here:
    client: Any
    url: str
    central_system: JsonCentralSystem

    async def call(self, action: str, payload: Payload) -> Any:
        """Ask with zeep alone: the header is the one that the description binds, by the name of its part."""
        operation = self.client.service[action]
        return await asyncio.to_thread(operation, _soapheaders={"ChargeBoxIdentity": IDENTITY}, **payload)


@contextmanager
def a_client(url: str) -> Iterator[Callable[[], Any]]:
    """Makes a client from the description at *url*, in whatever thread that is done."""
    with requests.Session() as session:
        session.trust_env = False
        transport = zeep.Transport(session=session, operation_timeout=5)  # type: ignore[no-untyped-call]
        strict = zeep.Settings(strict=True, forbid_dtd=True, forbid_external=False)
        yield lambda: zeep.Client(f"{url}?wsdl", transport=transport, settings=strict)  # type: ignore[no-untyped-call]


@pytest.fixture
async def here() -> AsyncIterator[Here]:
    now = datetime(2024, 5, 1, 10, tzinfo=UTC)
    async with (
        JsonCentralSystem(now=lambda: now, heartbeat_interval=300) as central_system,
        running(configuration(central_system.url)) as gateway,
    ):
        with a_client(gateway.url) as make:
            yield Here(await asyncio.to_thread(make), gateway.url, central_system)
        assert central_system.problems == []


async def test_description_names_the_address_it_was_read_from(here: Here) -> None:
    [service] = here.client.wsdl.services.values()
    [port] = service.ports.values()
    assert service.name == "CentralSystemService"
    assert port.binding_options["address"] == here.url


async def test_every_operation_of_the_service_can_be_called(here: Here) -> None:
    operations = here.client.service._operations
    assert sorted(operations) == sorted(ASKED_OF_THE_CENTRAL_SYSTEM)
    for action, cases in ASKED_OF_THE_CENTRAL_SYSTEM.items():
        for example in cases.values():
            await here.call(action, example.asked)
            assert here.central_system.received[-1] == (IDENTITY, action, example.arrives)


async def test_results_are_what_the_description_promises(here: Here) -> None:
    booted = await here.call("BootNotification", {"chargePointVendor": "V", "chargePointModel": "M"})
    assert (booted.status, booted.interval) == ("Accepted", 300)
    assert booted.currentTime == datetime(2024, 5, 1, 10, tzinfo=UTC)
    started = await here.call(
        "StartTransaction",
        {"connectorId": 1, "idTag": "1", "timestamp": datetime(2024, 5, 1, tzinfo=UTC), "meterStart": 0},
    )
    assert started.transactionId == 1
    assert (started.idTagInfo.status, started.idTagInfo.expiryDate) == ("Accepted", None)


async def test_fault_is_understood(here: Here) -> None:
    here.central_system.errors["Authorize"] = ("SecurityError", "not from you")
    with pytest.raises(zeep.exceptions.Fault) as caught:
        await here.call("Authorize", {"idTag": "1"})
    assert caught.value.message == "SecurityError: not from you"
    assert caught.value.code == "soap:Sender"
    [subcode] = caught.value.subcodes
    assert (subcode.namespace, subcode.localname) == ("urn://Ocpp/Cs/2015/10/", "SecurityError")


# --- the other service: a central system calls a charge point ---


async def test_a_central_system_calls_every_operation_of_a_json_charge_point() -> None:
    """All it knows is the address at which charge points are called; this one speaks JSON."""
    async with (
        SoapCentralSystem() as central_system,
        running(configuration(central_system.url)) as gateway,
        ToldChargePoint(IDENTITY, gateway.json_url, call_timeout=5.0) as charge_point,
    ):
        await charge_point.heartbeat()
        assert central_system.connected == [IDENTITY]
        address = f"{gateway.url.removesuffix('/ocpp/cs')}/ocpp/cp/{IDENTITY}"
        with a_client(address) as make:
            client = await asyncio.to_thread(make)
            [service] = client.wsdl.services.values()
            [port] = service.ports.values()
            assert (service.name, port.binding_options["address"]) == ("ChargePointService", address)
            assert sorted(client.service._operations) == sorted(ASKED_OF_THE_CHARGE_POINT)
            for action, cases in ASKED_OF_THE_CHARGE_POINT.items():
                for example in cases.values():
                    charge_point.told = example.answered
                    operation = client.service[action]
                    await asyncio.to_thread(
                        operation, _soapheaders={"ChargeBoxIdentity": IDENTITY}, **example.asked
                    )
                    name, payload = charge_point.received[-1]
                    assert (name, meant(payload)) == (action, meant(example.arrives))
        assert charge_point.problems + charge_point.failures == []
