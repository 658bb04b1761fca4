"""A charge point and a central system made with node-soap, from our service descriptions."""

from __future__ import annotations

import pytest

from tests.interop.node_soap_peer import a_node_soap_peer, needs_node_soap
from tests.interop.soap_peer import PeerRefused
from tests.interop.soap_peer_sides import (
    a_central_system,
    a_charge_point,
    every_operation_between_two,
    every_operation_of_a_central_system,
    every_operation_of_a_charge_point,
)
from wattbridge.simulators.outcomes import CallRefused

pytestmark = needs_node_soap

each_version = pytest.mark.parametrize("version", ["1.2", "1.5", "1.6"])


@each_version
async def test_it_says_and_hears_every_operation(version: str) -> None:
    await every_operation_of_a_charge_point(a_node_soap_peer, version)


async def test_a_central_system_of_it_says_and_hears_every_operation() -> None:
    await every_operation_of_a_central_system(a_node_soap_peer, "1.6")


@each_version
async def test_every_operation_between_two_of_them(version: str) -> None:
    await every_operation_between_two(a_node_soap_peer, version)


@each_version
async def test_it_understands_a_refusal_of_the_central_system(version: str) -> None:
    async with a_charge_point(a_node_soap_peer, version) as side:
        side.central_system.errors["Authorize"] = ("SecurityError", "not from <you>")
        with pytest.raises(PeerRefused) as refused:
            await side.ask("Authorize", {"idTag": "1"})
        code, subcode, reason = refused.value.args
        assert (code.rpartition(":")[2], subcode.rpartition(":")[2]) == ("Sender", "SecurityError")
        assert reason == "SecurityError: not from <you>"


@each_version
async def test_its_refusal_is_understood(version: str) -> None:
    """Its subcode is a text without a namespace."""
    async with a_charge_point(a_node_soap_peer, version) as side:
        await side.ask("Heartbeat", {})
        await side.peer.tell_to_refuse("Receiver", "NotSupported", "no <reset> here")
        with pytest.raises(CallRefused) as refused:
            await side.is_asked("Reset", {"type": "Soft"})
        assert (refused.value.code, refused.value.description) == ("NotSupported", "no <reset> here")
        assert (await side.peer.arrival()).payload == {"type": ["Soft"]}


async def test_a_central_system_of_it_refuses() -> None:
    async with a_central_system(a_node_soap_peer, "1.6") as side:
        await side.peer.tell_to_refuse("Sender", "SecurityError", "not from <you>")
        with pytest.raises(CallRefused) as refused:
            await side.charge_point.call("Authorize", idTag="1")
        assert (refused.value.code, refused.value.description) == ("SecurityError", "not from <you>")
        assert (await side.peer.arrival()).payload == {"idTag": ["1"]}
