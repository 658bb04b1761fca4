"""Every operation of OCPP 1.6 between the gateway and ``ocpp-rpc`` in strict mode, on either side of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from tests.interop.node_peer import NodePeer, Refused, a_peer, needs_node
from tests.interop.operations import (
    ASKED_OF_THE_CENTRAL_SYSTEM,
    ASKED_OF_THE_CHARGE_POINT,
    Asked,
)
from tests.interop.running import Running, configuration, running
from tests.simulators.all_operations import Told, meant
from wattbridge.simulators.central_system_soap import SoapCentralSystem
from wattbridge.simulators.charge_point_soap import SoapChargePoint

pytestmark = needs_node

IDENTITY = "CP3211"
NOW = datetime(2024, 5, 1, 10, tzinfo=UTC)


@asynccontextmanager
async def between_two() -> AsyncIterator[tuple[NodePeer, NodePeer, Running]]:
    """Charge point and central system, both of ocpp-rpc."""
    async with (
        a_peer("central_system") as central_system,
        running(configuration(central_system.url)) as gateway,
        a_peer("charge_point", gateway.json_url, IDENTITY) as charge_point,
    ):
        assert await central_system.connected.get() == IDENTITY
        yield charge_point, central_system, gateway
        assert charge_point.problems + central_system.problems == []


async def asks(asker: NodePeer, asked: NodePeer, action: str, example: Asked) -> None:
    await asked.tell(example.answered)
    assert meant(await asker.ask(IDENTITY, action, example.asked)) == meant(example.answered)
    name, payload = asked.received[-1]
    assert (name, meant(payload)) == (action, meant(example.asked))


async def test_all_operations_between_two_of_them() -> None:
    async with between_two() as (charge_point, central_system, gateway):
        for action, cases in ASKED_OF_THE_CENTRAL_SYSTEM.items():
            for example in cases.values():
                await asks(charge_point, central_system, action, example)
        for action, cases in ASKED_OF_THE_CHARGE_POINT.items():
            for example in cases.values():
                await asks(central_system, charge_point, action, example)
        assert {record.reason for record in gateway.records} == {""}
        assert [note for record in gateway.records for note in record.notes] == []


async def test_a_refusal_between_two_of_them_is_the_same_on_both_sides() -> None:
    async with between_two() as (charge_point, central_system, _):
        await central_system.tell_to_refuse("SecurityError", "not from <you>")
        with pytest.raises(Refused) as refused:
            await charge_point.ask(IDENTITY, "Authorize", {"idTag": "1"})
        assert refused.value.args == ("SecurityError", "not from <you>")
        await charge_point.tell_to_refuse("NotSupported", "no remote start")
        with pytest.raises(Refused) as refused:
            await central_system.ask(IDENTITY, "RemoteStartTransaction", {"idTag": "1"})
        assert refused.value.args == ("NotSupported", "no remote start")


async def test_a_soap_central_system_behind_one_as_charge_point() -> None:
    async with (
        SoapCentralSystem(heartbeat_interval=86400, now=lambda: NOW) as central_system,
        running(configuration(central_system.url)) as gateway,
        a_peer("charge_point", gateway.json_url, IDENTITY) as charge_point,
    ):
        for action, cases in ASKED_OF_THE_CENTRAL_SYSTEM.items():
            for example in cases.values():
                await charge_point.ask(IDENTITY, action, example.asked)
                identity, name, payload = central_system.received[-1]
                assert (identity, name, meant(payload)) == (IDENTITY, action, meant(example.arrives))
        for action, cases in ASKED_OF_THE_CHARGE_POINT.items():
            for example in cases.values():
                await charge_point.tell(example.answered)
                returned = await central_system.call(IDENTITY, action, **example.asked)
                assert meant(returned) == meant(example.returns)
                name, payload = charge_point.received[-1]
                assert (name, meant(payload)) == (action, meant(example.arrives))
        assert charge_point.problems + central_system.problems == []
        assert {record.reason for record in gateway.records} == {""}


class ToldChargePoint(Told, SoapChargePoint):
    pass


async def test_a_soap_charge_point_before_one_as_central_system() -> None:
    async with (
        a_peer("central_system") as central_system,
        running(configuration(central_system.url)) as gateway,
        ToldChargePoint(IDENTITY, gateway.url, call_timeout=5.0) as charge_point,
    ):
        for action, cases in ASKED_OF_THE_CENTRAL_SYSTEM.items():
            for example in cases.values():
                await central_system.tell(example.answered)
                assert meant(await charge_point.call(action, **example.asked)) == meant(example.returns)
                name, payload = central_system.received[-1]
                assert (name, meant(payload)) == (action, meant(example.arrives))
        for action, cases in ASKED_OF_THE_CHARGE_POINT.items():
            for example in cases.values():
                charge_point.told = example.answered
                returned = await central_system.ask(IDENTITY, action, example.asked)
                assert meant(returned) == meant(example.returns)
                name, payload = charge_point.received[-1]
                assert (name, meant(payload)) == (action, meant(example.arrives))
        assert charge_point.problems + charge_point.failures + central_system.problems == []
        assert {record.reason for record in gateway.records} == {""}


async def test_one_that_comes_back_finds_its_session_as_it_was() -> None:
    async with (
        a_peer("central_system") as central_system,
        running(configuration(central_system.url)) as gateway,
    ):
        await central_system.tell({"currentTime": "2024-05-01T10:00:00Z"})
        for visit in (1, 2):
            async with a_peer("charge_point", gateway.json_url, IDENTITY) as charge_point:
                answered = await charge_point.ask(IDENTITY, "Heartbeat", {})
                assert answered == {"currentTime": "2024-05-01T10:00:00Z"}
            await gateway.until(lambda: len(gateway.told("charge point disconnected")) == visit)  # noqa: B023
        assert len(gateway.told("central system connected")) == 1
        assert central_system.problems + charge_point.problems == []
