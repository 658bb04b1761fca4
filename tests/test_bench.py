"""The benchmark runs and writes what its readers expect; what it measures is no matter of tests."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bench import report

ROOT = Path(__file__).parent.parent
HAS_SPYNE = sys.version_info < (3, 12)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="whole gateways are measured on Linux only")


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    output = tmp_path_factory.mktemp("bench") / "result.json"
    ended = subprocess.run(
        [sys.executable, "-m", "bench", "--smoke", "--output", str(output)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert ended.returncode == 0, ended.stderr
    assert f"written to {output}" in ended.stdout
    read: dict[str, Any] = json.loads(output.read_text())
    return read


def rows(result: dict[str, Any], group: str) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in result["rows"] if row["group"] == group}


def test_every_message_is_translated_by_all_three(result: dict[str, Any]) -> None:
    found = rows(result, "translation")
    assert len(found) == 18
    for name, row in found.items():
        assert row["ours"] > 0, name
        assert row["floor"] > 0, name
        assert row["naive"] is None or row["naive"] > 0, name
        assert row["naive"] or not HAS_SPYNE, name


def test_whole_gateways_carry_messages_both_ways(result: dict[str, Any]) -> None:
    for group in ("end to end", "gateway CPU"):
        found = rows(result, group)
        assert list(found) == [
            "MeterValues(4) from the charge point",
            "RemoteStartTransaction from the central system",
        ]
        for row in found.values():
            assert row["ours"] > 0
            assert row["floor"] > 0
            assert row["naive"] > 0 if HAS_SPYNE else row["naive"] is None


def test_what_passes_stands_beside_what_reads_nothing(result: dict[str, Any]) -> None:
    found = rows(result, "pass-through")
    assert list(found) == [
        f"{name} {pair}, check {check}"
        for pair in ("JSON → JSON", "SOAP → SOAP")
        for name in ("MeterValues(4)", "Heartbeat")
        for check in ("off", "report", "refuse")
    ]
    for row in found.values():
        assert row["ours"] > 0
        assert row["floor"] > 0
        assert row["naive"] is None


def test_json_charge_points_reach_a_soap_central_system_by_all_three(result: dict[str, Any]) -> None:
    found = rows(result, "json to soap")
    assert list(found) == ["MeterValues(4) JSON → SOAP", "Heartbeat JSON → SOAP"]
    for row in found.values():
        assert min(row["ours"], row["floor"], row["naive"]) > 0


def test_mirrors_of_three_kinds_stand_beside_none(result: dict[str, Any]) -> None:
    found = rows(result, "mirrors")
    assert list(found) == [
        f"{what}, with {mirror}"
        for mirror in ("a mirror", "a dead mirror", "a silent mirror")
        for what in ("p50", "p99", "CPU")
    ]
    for row in found.values():
        assert min(row["ours"], row["floor"]) > 0


def test_a_store_on_disk_stands_beside_one_in_memory(result: dict[str, Any]) -> None:
    found = rows(result, "keeping")
    exchanges = ("StartTransaction", "Heartbeat")
    assert list(found) == [f"{each}, {what}" for each in exchanges for what in ("p50", "p99", "CPU")]
    for row in found.values():
        assert min(row["ours"], row["floor"]) > 0


def test_sessions_of_both_transports_are_weighed(result: dict[str, Any]) -> None:
    assert list(rows(result, "memory")) == [
        "one idle session of 20, a SOAP charge point",
        "one idle session of 20, a JSON charge point",
    ]


def test_durable_appends_stand_beside_a_commit_for_each(result: dict[str, Any]) -> None:
    found = rows(result, "store")
    assert list(found) == ["durable appends, 1 writer", "durable appends, 64 writers"]
    for row in found.values():
        assert min(row["ours"], row["floor"], row["naive"]) > 0


def test_the_parts_are_listed() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "bench", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert (
        "  pass-through  JSON to JSON and SOAP to SOAP, beside a plain relay and a plain proxy" in told.stdout
    )


def test_every_row_tells_how_ours_compares(result: dict[str, Any]) -> None:
    for row in result["rows"]:
        for other in ("floor", "naive"):
            times = row[f"times_{other}"]
            assert (times is None) == (not row[other] or not row["ours"]), row
            if times is not None and times != 1:
                better = row["ours"] > row[other] if row["more_is_better"] else row["ours"] < row[other]
                assert (times > 1) == better, row
        assert set(row["spread"]) <= {"ours", "floor", "naive"}


def test_the_page_shows_the_latest_results() -> None:
    latest = json.loads((ROOT / "bench" / "results" / "latest.json").read_text())
    assert "\n".join(report.markdown(latest)) in (ROOT / "docs" / "performance.md").read_text()


def test_the_machine_is_told(result: dict[str, Any]) -> None:
    machine = result["machine"]
    assert machine["cores"] >= 1
    assert machine["python"].endswith(".".join(map(str, sys.version_info[:3])))
    assert machine["libraries"]["lxml"]
