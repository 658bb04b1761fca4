"""All 29 operations of OCPP 1.6 between two simulators, with nothing or with a gateway between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.interop.operations import (
    ALL_OF_IT,
    ASKED_OF_THE_CENTRAL_SYSTEM,
    ASKED_OF_THE_CHARGE_POINT,
    TAG,
    Payload,
)
from wattbridge.simulators.central_system import CentralSystem
from wattbridge.simulators.charge_point import ChargePoint
from wattbridge.simulators.frames import TIMES

IDENTITY = "CP 3211/ä"


class Full(CentralSystem):
    """Knows all there is to know of one idTag, and nothing of the others; mixed into one with a transport."""

    def id_tag_info(self, id_tag: str) -> Payload:
        return ALL_OF_IT if id_tag == TAG else {"status": "Invalid"}


class Told(ChargePoint):
    """Answers what it is told to; mixed into a charge point with a transport."""

    told: Payload

    def _answer(self, action: str, payload: Payload) -> Payload:
        self.received.append((action, payload))
        return self.told


@dataclass
class Seen:
    """Of each exchange what arrived, and what came back."""

    arrived: dict[tuple[str, str, str], object] = field(default_factory=dict)
    returned: dict[tuple[str, str, str], object] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


CALLS = [
    pytest.param((asked, action, case), example, id=f"{asked}-{action}-{case}")
    for asked, operations in (
        ("central system", ASKED_OF_THE_CENTRAL_SYSTEM),
        ("charge point", ASKED_OF_THE_CHARGE_POINT),
    )
    for action, cases in operations.items()
    for case, example in cases.items()
]


async def go_through_all(central_system: CentralSystem, charge_point: Told) -> Seen:
    """Ask both all there is to ask, while they run."""
    seen = Seen()
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
    return seen


def meant(value: Any, name: str = "") -> Any:
    """What a payload says, however it is written: moments in UTC, and no list where it would be empty."""
    if isinstance(value, Mapping):
        return {name: meant(inner, name) for name, inner in value.items() if inner != []}
    if isinstance(value, list):
        return [meant(inner) for inner in value]
    return datetime.fromisoformat(value).astimezone(UTC) if name in TIMES else value
