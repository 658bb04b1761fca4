"""Every operation of OCPP 1.6 goes through the gateway, between a charge point that zeep speaks for and a
central system that the ``ocpp`` package speaks for, each with its own idea of the schemas.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
import uvloop

from tests.interop.operations import (
    ASKED_OF_THE_CENTRAL_SYSTEM,
    ASKED_OF_THE_CHARGE_POINT,
    Asked,
)
from tests.interop.running import configuration, running
from tests.simulators.all_operations import CALLS, IDENTITY, Full, Seen, Told, go_through_all
from wattbridge.simulators.central_system_json import JsonCentralSystem
from wattbridge.simulators.charge_point_soap import SoapChargePoint


class FullCentralSystem(Full, JsonCentralSystem):
    pass


class ToldChargePoint(Told, SoapChargePoint):
    pass


@dataclass
class SeenWithNotes:
    """What the two witnesses have seen, and the rules by which the gateway changed something."""

    witnesses: Seen
    notes: set[str]


async def through_the_gateway() -> SeenWithNotes:
    now = datetime(2024, 5, 1, 10, tzinfo=UTC)
    async with (
        FullCentralSystem(heartbeat_interval=86400, now=lambda: now, call_timeout=5.0) as central_system,
        running(configuration(central_system.url)) as gateway,
        ToldChargePoint(IDENTITY, gateway.url, call_timeout=5.0) as charge_point,
    ):
        seen = await go_through_all(central_system, charge_point)
        notes = {note.rule for record in gateway.records for note in record.notes}
        assert not [record for record in gateway.records if record.reason]
    return SeenWithNotes(seen, notes)


@pytest.fixture(scope="module")
def seen() -> SeenWithNotes:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as the gateway is run
        return runner.run(through_the_gateway())


def test_these_are_all_the_operations() -> None:
    """OCPP 1.6, 4 and 5."""
    assert len(ASKED_OF_THE_CENTRAL_SYSTEM) == 10
    assert len(ASKED_OF_THE_CHARGE_POINT) == 19


@pytest.mark.parametrize(("key", "example"), CALLS)
def test_call_arrives_and_its_result_returns(
    seen: SeenWithNotes, key: tuple[str, str, str], example: Asked
) -> None:
    assert seen.witnesses.arrived[key] == example.arrives
    assert seen.witnesses.returned[key] == example.returns


def test_no_witness_saw_a_rule_broken(seen: SeenWithNotes) -> None:
    assert seen.witnesses.problems == []


def test_nothing_was_lost_and_only_times_were_changed(seen: SeenWithNotes) -> None:
    # The `ocpp` package writes an empty localAuthorizationList where there is none.
    assert seen.notes == {"to-utc", "empty-list"}
