"""A charge point and a central system made with node-soap, from our service descriptions."""

from __future__ import annotations

import pytest

from tests.interop.node_soap_peer import a_node_soap_peer, needs_node_soap
from tests.interop.soap_peer_sides import (
    a_central_system_refuses,
    a_charge_point_refuses,
    a_charge_point_understands_a_refusal,
    every_operation_between_two,
    every_operation_of_a_central_system,
    every_operation_of_a_charge_point,
)

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
    await a_charge_point_understands_a_refusal(a_node_soap_peer, version)


@each_version
async def test_its_refusal_is_understood(version: str) -> None:
    """Its subcode is a text without a namespace."""
    await a_charge_point_refuses(a_node_soap_peer, version, "NotSupported")


async def test_a_central_system_of_it_refuses() -> None:
    await a_central_system_refuses(a_node_soap_peer, "1.6", "SecurityError")
