"""What every foreign SOAP peer is put through: all operations of its version, as a charge point before a
central system that speaks JSON, as a central system behind a charge point that does, and between two of them;
refusals, its own and those of the other party.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from tests.interop.older_operations import OPERATIONS
from tests.interop.operations import Asked, Payload
from tests.interop.running import Running, configuration, running
from tests.interop.soap_peer import PeerRefused, SoapPeer, Texts, texts
from tests.simulators.all_operations import Full, Told, meant
from wattbridge.simulators.central_system_json import JsonCentralSystem
from wattbridge.simulators.charge_point_json import JsonChargePoint
from wattbridge.simulators.outcomes import CallRefused

IDENTITY = "CP3211"
NOW = datetime(2024, 5, 1, 10, tzinfo=UTC)

# Starts a peer: its role and version.
Starts = Callable[[str, str], AbstractAsyncContextManager[SoapPeer]]


class FullCentralSystem(Full, JsonCentralSystem):
    pass


class ToldChargePoint(Told, JsonChargePoint):
    pass


def same(action: str, found: object, expected: object) -> None:
    assert found == expected, f"{action}:\nfound    {found}\nexpected {expected}"


@dataclass
class ChargePointSide:
    """A peer that is a charge point, and the gateway and the central system that it is connected to."""

    peer: SoapPeer
    gateway: Running
    central_system: FullCentralSystem

    async def ask(self, action: str, payload: Payload) -> Texts:
        return await self.peer.ask(self.gateway.url, IDENTITY, action, payload)

    async def is_asked(self, action: str, payload: Payload) -> Payload:
        return await self.central_system.call(IDENTITY, action, **payload)

    async def says(self, action: str, example: Asked) -> None:
        same(action, await self.ask(action, example.asked), texts(example.returns))
        identity, name, payload = self.central_system.received[-1]
        same(action, (identity, name, meant(payload)), (IDENTITY, action, meant(example.arrives)))

    async def hears(self, action: str, example: Asked) -> None:
        await self.peer.tell(action, example.answered)
        same(action, meant(await self.is_asked(action, example.asked)), meant(example.returns))
        arrived = await self.peer.arrival()
        assert (arrived.identity, arrived.action) == (IDENTITY, action)
        same(action, arrived.payload, texts(example.arrives))


@asynccontextmanager
async def a_charge_point(starts: Starts, version: str) -> AsyncIterator[ChargePointSide]:
    async with (
        FullCentralSystem(heartbeat_interval=86400, now=lambda: NOW, call_timeout=5.0) as central_system,
        running(configuration(central_system.url)) as gateway,
        starts("charge_point", version) as peer,
    ):
        yield ChargePointSide(peer, gateway, central_system)
        assert central_system.problems == []


async def every_operation_of_a_charge_point(starts: Starts, version: str) -> None:
    """All that it can say, and then all that it can be asked."""
    of_the_central_system, of_the_charge_point = OPERATIONS[version]
    async with a_charge_point(starts, version) as side:
        for action, cases in of_the_central_system.items():
            for example in cases.values():
                await side.says(action, example)
        for action, cases in of_the_charge_point.items():
            for example in cases.values():
                await side.hears(action, example)
        assert {record.reason for record in side.gateway.records} == {""}


@dataclass
class CentralSystemSide:
    """A peer that is a central system, and the gateway and the charge point that are connected to it."""

    peer: SoapPeer
    gateway: Running
    charge_point: ToldChargePoint
    address: str = ""  # where the charge point is called, as the peer has learnt it

    async def hears(self, action: str, example: Asked) -> None:
        await self.peer.tell(action, example.answered)
        same(action, meant(await self.charge_point.call(action, **example.asked)), meant(example.returns))
        arrived = await self.peer.arrival()
        assert (arrived.identity, arrived.action) == (IDENTITY, action)
        same(action, arrived.payload, texts(example.arrives))
        self.address = arrived.address

    async def says(self, action: str, example: Asked) -> None:
        self.charge_point.told = example.answered
        answered = await self.peer.ask(self.address, IDENTITY, action, example.asked)
        same(action, answered, texts(example.returns))
        name, payload = self.charge_point.received[-1]
        same(action, (name, meant(payload)), (action, meant(example.arrives)))


@asynccontextmanager
async def a_central_system(starts: Starts, version: str) -> AsyncIterator[CentralSystemSide]:
    async with (
        starts("central_system", version) as peer,
        running(configuration(peer.url)) as gateway,
        ToldChargePoint(IDENTITY, gateway.json_url, call_timeout=5.0) as charge_point,
    ):
        yield CentralSystemSide(peer, gateway, charge_point)
        assert charge_point.problems + charge_point.failures == []


async def every_operation_of_a_central_system(starts: Starts, version: str) -> None:
    """All that it can be asked, and then all that it can say, to a charge point that speaks 1.6J."""
    of_the_central_system, of_the_charge_point = OPERATIONS[version]
    async with a_central_system(starts, version) as side:
        for action, cases in of_the_central_system.items():
            for example in cases.values():
                await side.hears(action, example)
        for action, cases in of_the_charge_point.items():
            for example in cases.values():
                await side.says(action, example)
        assert {record.reason for record in side.gateway.records} == {""}


async def every_operation_between_two(starts: Starts, version: str) -> None:
    """A charge point of *version* and a central system of 1.6, both of them peers."""
    of_the_central_system, of_the_charge_point = OPERATIONS[version]
    async with (
        starts("central_system", "1.6") as central_system,
        running(configuration(central_system.url)) as gateway,
        starts("charge_point", version) as charge_point,
    ):
        address = ""
        for action, cases in of_the_central_system.items():
            for example in cases.values():
                await central_system.tell(action, example.answered)
                answered = await charge_point.ask(gateway.url, IDENTITY, action, example.asked)
                same(action, answered, texts(example.returns))
                arrived = await central_system.arrival()
                assert (arrived.identity, arrived.action) == (IDENTITY, action)
                same(action, arrived.payload, texts(example.arrives))
                address = arrived.address
        for action, cases in of_the_charge_point.items():
            for example in cases.values():
                await charge_point.tell(action, example.answered)
                answered = await central_system.ask(address, IDENTITY, action, example.asked)
                same(action, answered, texts(example.returns))
                arrived = await charge_point.arrival()
                assert (arrived.identity, arrived.action) == (IDENTITY, action)
                same(action, arrived.payload, texts(example.arrives))
        assert {record.reason for record in gateway.records} == {""}


async def a_charge_point_understands_a_refusal(starts: Starts, version: str) -> None:
    async with a_charge_point(starts, version) as side:
        side.central_system.errors["Authorize"] = ("SecurityError", "not from <you>")
        with pytest.raises(PeerRefused) as refused:
            await side.ask("Authorize", {"idTag": "1"})
        code, subcode, reason = refused.value.args
        same("Authorize", (code.rpartition(":")[2], subcode.rpartition(":")[2]), ("Sender", "SecurityError"))
        same("Authorize", reason, "SecurityError: not from <you>")


async def a_charge_point_refuses(starts: Starts, version: str, not_supported: str) -> None:
    """*not_supported* is how it writes that subcode: ``"ns2:NotSupported"``."""
    async with a_charge_point(starts, version) as side:
        await side.ask("Heartbeat", {})
        await side.peer.tell_to_refuse("Receiver", not_supported, "no <reset> here")
        with pytest.raises(CallRefused) as refused:
            await side.is_asked("Reset", {"type": "Soft"})
        same("Reset", (refused.value.code, refused.value.description), ("NotSupported", "no <reset> here"))
        same("Reset", (await side.peer.arrival()).payload, {"type": ["Soft"]})


async def a_central_system_refuses(starts: Starts, version: str, security_error: str) -> None:
    """*security_error* is how it writes that subcode: ``"ns1:SecurityError"``."""
    async with a_central_system(starts, version) as side:
        await side.peer.tell_to_refuse("Sender", security_error, "not from <you>")
        with pytest.raises(CallRefused) as refused:
            await side.charge_point.call("Authorize", idTag="1")
        same(
            "Authorize", (refused.value.code, refused.value.description), ("SecurityError", "not from <you>")
        )
        same("Authorize", (await side.peer.arrival()).payload, {"idTag": ["1"]})
