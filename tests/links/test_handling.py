"""What a charge point says of its make, and calls that are tried again."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from lxml import etree

from wattbridge.links.handling import Boot, Handling, boot_of_element, boot_of_payload, repeated
from wattbridge.ocpp.errors import Unreachable
from wattbridge.ocpp.messages import Call, CallResult, Passage
from wattbridge.relay.session import Answer

ACCEPTED = Answer(CallResult({"status": "Accepted"}), None, None)
ASKED = Passage("json", b"")


@pytest.mark.parametrize(
    ("payload", "boot"),
    [
        (
            {"chargePointVendor": " ACME ", "chargePointModel": "CC-1", "firmwareVersion": "1.3"},
            Boot("ACME", "CC-1", "1.3"),
        ),
        ({"ChargePointVendor": "ACME", "chargepointmodel": 7}, Boot("ACME", "7", "")),
        ({"chargePointVendor": None, "chargePointModel": ["x"], "firmwareVersion": {}}, Boot("", "", "")),
        ([], Boot("", "", "")),
        (None, Boot("", "", "")),
        ({"chargePointVendor": "A" * 300}, Boot("A" * 255, "", "")),
    ],
)
def test_what_a_payload_says_is_looked_at_leniently(payload: Any, boot: Boot) -> None:
    assert boot_of_payload(payload) == boot


def test_so_is_what_an_element_says() -> None:
    element = etree.fromstring(
        "<b xmlns:o='urn:other'><o:chargePointVendor> ACME\n</o:chargePointVendor><!-- x -->"
        "<chargePointModel/><firmwareVersion>1.3</firmwareVersion><firmwareVersion>2</firmwareVersion></b>"
    )
    assert boot_of_element(element) == Boot("ACME", "", "1.3")


class Party:
    """Answers after some failures."""

    def __init__(self, *failures: Unreachable) -> None:
        self.failures = list(failures)
        self.asked = 0
        self.slept: list[float] = []

    async def ask(self, call: Call) -> Answer:
        self.asked += 1
        if self.failures:
            raise self.failures.pop(0)
        return ACCEPTED

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


HANDLING = Handling(retries=2, retry_after=3.0)


async def test_what_did_not_reach_a_charge_point_is_tried_again() -> None:
    party = Party(Unreachable("refused", "x"), Unreachable("timeout", "x"))
    assert await repeated(Call("Reset", {}), HANDLING, party.ask, party.sleep) == ACCEPTED
    assert (party.asked, party.slept) == (3, [3.0, 3.0])


async def test_it_is_tried_so_often_and_no_more() -> None:
    party = Party(*(Unreachable("refused", f"{number}") for number in range(5)))
    with pytest.raises(Unreachable, match="2"):
        await repeated(Call("Reset", {}), HANDLING, party.ask, party.sleep)
    assert party.asked == 3


@pytest.mark.parametrize(
    ("action", "reason", "asked", "times"),
    [
        ("Reset", "timeout", ASKED, 1),  # nobody knows whether it was done
        ("GetConfiguration", "timeout", ASKED, 2),
        ("Reset", "not_connected", None, 1),  # it will not be reached a moment later
        ("Reset", "draining", None, 1),
    ],
)
async def test_what_may_have_reached_it_is_not(
    action: str, reason: str, asked: Passage | None, times: int
) -> None:
    party = Party(Unreachable(reason, "x", asked))
    with suppress(Unreachable):
        await repeated(Call(action, {}), HANDLING, party.ask, party.sleep)
    assert party.asked == times
