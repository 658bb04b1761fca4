"""Every operation of OCPP 1.6 goes through the gateway, between a charge point that zeep speaks for and a
central system that the ``ocpp`` package speaks for, each with its own idea of the schemas.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime

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
from tests.interop.running import configuration, running
from wattbridge.simulators.central_system_json import JsonCentralSystem
from wattbridge.simulators.charge_point_soap import SoapChargePoint

IDENTITY = "CP 3211/ä"


class FullCentralSystem(JsonCentralSystem):
    """Knows all there is to know of one idTag, and nothing of the others."""

    def id_tag_info(self, id_tag: str) -> Payload:
        return ALL_OF_IT if id_tag == TAG else {"status": "Invalid"}


class ToldChargePoint(SoapChargePoint):
    """Answers what it is told to."""

    told: Payload

    def _answer(self, action: str, payload: Payload) -> Payload:
        self.received.append((action, payload))
        return self.told


@dataclass
class Seen:
    """What the two witnesses have seen: of each exchange what arrived, and what came back."""

    arrived: dict[tuple[str, str, str], object] = field(default_factory=dict)
    returned: dict[tuple[str, str, str], object] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: set[str] = field(default_factory=set)


async def go_through_all() -> Seen:
    seen = Seen()
    now = datetime(2024, 5, 1, 10, tzinfo=UTC)
    async with (
        FullCentralSystem(heartbeat_interval=86400, now=lambda: now, call_timeout=5.0) as central_system,
        running(configuration(central_system.url)) as gateway,
        ToldChargePoint(IDENTITY, gateway.url, call_timeout=5.0) as charge_point,
    ):
        for action, cases in ASKED_OF_THE_CENTRAL_SYSTEM.items():
            for case, example in cases.items():
                key = "central system", action, case
                seen.returned[key] = await charge_point.call(action, **example.asked)
                identity, name, payload = central_system.received[-1]
                assert (identity, name) == (IDENTITY, action)
                seen.arrived[key] = payload
        for action, cases in ASKED_OF_THE_CHARGE_POINT.items():
            for case, example in cases.items():
                key = "charge point", action, case
                charge_point.told = example.answered
                seen.returned[key] = await central_system.call(IDENTITY, action, **example.asked)
                name, payload = charge_point.received[-1]
                assert name == action
                seen.arrived[key] = payload
        seen.problems = charge_point.problems + charge_point.failures + central_system.problems
        seen.notes = {note.rule for record in gateway.records for note in record.notes}
        assert not [record for record in gateway.records if record.reason]
    return seen


@pytest.fixture(scope="module")
def seen() -> Seen:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as the gateway is run
        return runner.run(go_through_all())


CALLS = [
    pytest.param((asked, action, case), example, id=f"{asked}-{action}-{case}")
    for asked, operations in (
        ("central system", ASKED_OF_THE_CENTRAL_SYSTEM),
        ("charge point", ASKED_OF_THE_CHARGE_POINT),
    )
    for action, cases in operations.items()
    for case, example in cases.items()
]


def test_these_are_all_the_operations() -> None:
    """OCPP 1.6, 4 and 5."""
    assert len(ASKED_OF_THE_CENTRAL_SYSTEM) == 10
    assert len(ASKED_OF_THE_CHARGE_POINT) == 19


@pytest.mark.parametrize(("key", "example"), CALLS)
def test_call_arrives_and_its_result_returns(seen: Seen, key: tuple[str, str, str], example: Asked) -> None:
    assert seen.arrived[key] == example.arrives
    assert seen.returned[key] == example.returns


def test_no_witness_saw_a_rule_broken(seen: Seen) -> None:
    assert seen.problems == []


def test_nothing_was_lost_and_only_times_were_changed(seen: Seen) -> None:
    # The `ocpp` package writes an empty localAuthorizationList where there is none.
    assert seen.notes == {"to-utc", "empty-list"}
