"""Ten minutes without a central system cost no charge point a message: none is discarded, each arrives once.

The whole gateway runs, from its configuration, in a process of virtual time; the charge points discard what
is refused too often, as the errata of OCPP have it (``tests/outage.py``).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.outage import Play

ROOT = Path(__file__).parent.parent

plays = [
    Play(outage, central_system, start_transaction)
    for outage in ("steady", "flapping", "silent")
    for central_system in ("json", "soap")
    for start_transaction in ("hold", "provisional")
]
every_play = pytest.mark.parametrize(
    "play", plays, ids=lambda play: f"{play.outage}-{play.central_system}-{play.start_transaction}"
)


@cache
def report_of(play: Play) -> dict[str, Any]:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.virtual_process", "tests.outage", json.dumps(asdict(play))],
        capture_output=True, text=True, check=False, timeout=240, cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    report: dict[str, Any] = json.loads(ended.stdout)
    assert report["unhandled"] == []
    return report


def total(report: dict[str, Any], count: str) -> int:
    return sum(charge_point["counts"][count] for charge_point in report["charge_points"].values())


@every_play
def test_no_message_is_lost_or_doubled_in_ten_minutes_without_a_central_system(play: Play) -> None:
    """What is refused may be discarded (OCPP-S errata, 3.2), so nothing is refused that can be delivered."""
    report = report_of(play)
    assert (total(report, "failed"), total(report, "discarded"), total(report, "queued")) == (0, 0, 0)
    for identity, charge_point in report["charge_points"].items():
        assert len(charge_point["made"]) >= 50, identity
        assert charge_point["received"] == charge_point["made"], identity
        if play.central_system == "json" and identity.startswith("JSON"):
            assert len(charge_point["asked_to_stop"]) >= 5, identity
        assert set(charge_point["asked_to_stop"]) <= set(charge_point["told"]), identity
    assert report["wrong"] == []


@every_play
def test_what_can_be_kept_is_acknowledged_while_the_central_system_is_away(play: Play) -> None:
    report = report_of(play)
    for identity, charge_point in report["charge_points"].items():
        assert charge_point["refused"] == [], identity  # Heartbeat, StatusNotification
        kept = charge_point["acknowledged_while_away"]
        assert any(word.startswith(("Meter", "Stop")) for word in kept), identity
        if play.outage == "flapping":
            continue
        left = charge_point["queued_when_it_came_back"]
        if (
            play.start_transaction == "hold"
        ):  # it waits for whoever gives it a number, and all others behind it
            assert left[:1] == ["StartTransaction"], identity
        else:
            assert left == [], identity


def test_a_proxy_that_refuses_only_these_messages_costs_them() -> None:
    """Or the charge points would discard nothing whatever a gateway does."""
    report = report_of(Play(gateway=False))
    assert total(report, "discarded") >= 4
    for charge_point in report["charge_points"].values():
        assert charge_point["counts"]["discarded"] > 0
        missing = [word for word in charge_point["made"] if word not in charge_point["received"]]
        assert len(missing) == charge_point["counts"]["discarded"]
