"""``wattbridge chargers``: who there is, and what becomes of their messages."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.keeping import Keeping, a_gateway_that_keeps
from tests.kept import NOW
from wattbridge.cli import chargers
from wattbridge.store.base import ChargePoint


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Keeping]:
    with a_gateway_that_keeps(tmp_path) as keeping:
        keeping.deliveries.store.put(
            ChargePoint("A/1", "soap 1.5", vendor="ACME", model="CC-1", firmware="1.3", heard=NOW),
            ChargePoint("B2", "soap 1.5", vendor="ACME", model="CC-2"),
            ChargePoint("CP2", "json 1.6"),
        )
        yield keeping


def test_charge_points_are_a_table(gateway: Keeping) -> None:
    assert gateway.run("chargers", "list") == (
        0,
        "charger  speaks    vendor  model  firmware  central system  speaks    state    losses\n"
        "A/1      soap 1.5  ACME    CC-1   1.3       main            json 1.6  offline  0\n"
        "B2       soap 1.5  ACME    CC-2   -         main            json 1.6  offline  0\n"
        "CP2      json 1.6  -       -      -         main            json 1.6  offline  0\n"
        "EVB-1    -         -       -      -         main            json 1.6  offline  0\n",
        "",
    )
    listed = json.loads(gateway.run("chargers", "list", "--json")[1])
    assert [row["charger"] for row in listed] == ["A/1", "B2", "CP2", "EVB-1"]
    code, out, err = gateway.run("chargers", "list", "--limit", "1")
    assert (code, out.count("\n"), err) == (0, 2, "there is more: --limit 1 was reached\n")


def test_the_report_on_one_says_what_is_lost_changed_and_answered(gateway: Keeping) -> None:
    code, out, err = gateway.run("chargers", "report", "A/1")
    assert (code, err) == (0, "")
    assert out.startswith(
        "charger         A/1\n"
        "speaks          soap 1.5\n"
        "vendor          ACME\n"
        "model           CC-1\n"
        "firmware        1.3\n"
        "route           acme\n"
        "central system  main\n"
        "which speaks    json 1.6\n"
        "session         no\n"
        "heard           2026-09-21T14:13:20Z\n"
        "\n"
        "towards the central system\n"
        "  lost     SendLocalListResponse.hash\n"
        "           left out (a loss)\n"
    )
    assert (
        "\ntowards the charge point\n"
        "  lost     RemoteStartTransaction.chargingProfile\n"
        "           left out (a loss); the transaction is begun without it\n"
        "  changed  BootNotificationResponse.status\n"
    ) in out
    assert "\nanswered here, in the charge point's place\n  TriggerMessage              Accepted, and" in out
    assert "\n  SetChargingProfile          status NotSupported\n" in out
    assert out.endswith("Z\n  nothing\n")
    assert max(map(len, out.splitlines())) <= 100
    told = json.loads(gateway.run("chargers", "report", "A/1", "--json")[1])
    assert (told["charger"], told["csms_dialect"], told["lost"]) == ("A/1", "json 1.6", [])


def test_the_report_on_all_tells_of_those_that_speak_alike_together(
    gateway: Keeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chargers, "PAGE", 2)
    code, out, err = gateway.run("chargers", "report")
    assert (code, err) == (0, "")
    heads = [line for line in out.splitlines() if "→" in line]
    assert heads == [
        "json 1.6 → json 1.6: 1 charge point",
        "soap 1.5 → json 1.6: 2 charge points",
        "not heard yet → json 1.6: 1 charge point",
    ]
    alike, older, unheard = out.split("\n\n\n")
    assert alike.endswith("Both speak the same: messages pass as they are.")
    assert (
        "charger  vendor  model  firmware  profile  route  central system  losses\n"
        "A/1      ACME    CC-1   1.3       -        acme   main            0\n"
        "B2       ACME    CC-2   -         -        acme   main            0\n"
    ) in older
    assert unheard.endswith("What becomes of messages is known when both sides are.\n")
    reports = json.loads(gateway.run("chargers", "report", "--json")[1])
    assert [report["charger"] for report in reports] == ["A/1", "B2", "CP2", "EVB-1"]
    code, _, err = gateway.run("chargers", "report", "--limit", "2")
    assert (code, err) == (0, "there is more: --limit 2 was reached\n")


def test_what_has_been_lost_is_counted(gateway: Keeping) -> None:
    told = json.loads(gateway.run("chargers", "report", "CP2", "--json")[1]) | {
        "lost": [{"rule": "older-phase", "path": "MeterValues.meterValue[]", "count": 12, "last": None}],
        "upstream": None,
        "csms_dialect": None,
    }
    out = io.StringIO()
    chargers.write_report(told, out)
    printed = out.getvalue()
    assert "central system  none: it is turned away\n" in printed
    assert "What becomes of messages is known when both sides are.\n" in printed
    assert printed.endswith(
        "times  rule         where                     last\n"
        "12     older-phase  MeterValues.meterValue[]  -\n"
    )


def test_nobody_and_no_gateway_are_told_by_the_exit_code(gateway: Keeping) -> None:
    assert gateway.run("chargers", "report", "CP9") == (
        1,
        "",
        "wattbridge: charge point 'CP9' is not known here\n",
    )
    gateway.deliveries.store.problem = "disk full"
    assert gateway.run("chargers", "list") == (1, "", "wattbridge: the store: disk full\n")
    assert gateway.run("chargers", "report") == (1, "", "wattbridge: the store: disk full\n")
    gateway.token_file.write_text("another-token")
    assert gateway.run("chargers", "report")[0] == 4
