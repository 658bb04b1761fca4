"""Alerts: promtool finds nothing wrong with them, each has a test of when it fires and a page that says
what to do, and a real Prometheus sees a real outage."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fakes import get
from tests.interop.running import configuration, running
from tests.monitoring.prometheus import a_prometheus, needs_prometheus, tool
from tests.monitoring.queries import (
    ROOT,
    RULES,
    RULES_FILE,
    known_series,
    labels,
    names,
    queries_of_pages,
    recorded,
)
from wattbridge.simulators.central_system_json import JsonCentralSystem
from wattbridge.simulators.charge_point_json import JsonChargePoint

FOLDER = RULES_FILE.parent
TESTS_FILE = FOLDER / "wattbridge.rules.test.yaml"
RUNBOOKS = ROOT / "docs/runbooks"
ALERTS = [rule for rule in RULES if "alert" in rule]
NAMES = sorted({rule["alert"] for rule in ALERTS})
SEVERITIES = ("critical", "warning", "info")
HEADINGS = ["Meaning", "Impact", "Diagnosis", "Mitigation"]

every_alert = pytest.mark.parametrize("name", NAMES)


# --- promtool and amtool


@needs_prometheus
def test_promtool_finds_nothing_wrong_with_the_rules() -> None:
    assert tool("promtool", "check", "rules", "--lint=all", "--lint-fatal", RULES_FILE)[0] == 0


@needs_prometheus
def test_alerts_fire_and_keep_quiet_when_they_should() -> None:
    code, said = tool("promtool", "test", "rules", TESTS_FILE)
    assert code == 0, said


@needs_prometheus
def test_the_examples_are_configurations() -> None:
    assert tool("promtool", "check", "config", FOLDER / "prometheus.yml")[0] == 0
    assert tool("amtool", "check-config", FOLDER / "alertmanager.yml")[0] == 0


def test_the_operator_has_the_same_rules() -> None:
    """Write them anew with ``make dashboards``."""
    monitor, rule = yaml.safe_load_all((FOLDER / "operator.yaml").read_text(encoding="utf-8"))
    assert (monitor["kind"], rule["kind"]) == ("ServiceMonitor", "PrometheusRule")
    assert rule["spec"] == yaml.safe_load(RULES_FILE.read_text(encoding="utf-8"))


@needs_prometheus
async def test_promtool_finds_nothing_wrong_with_the_metrics() -> None:
    more = "\n".join(["metrics: {bind: '127.0.0.1:0', per_charger: yes}"])
    text = configuration("ws://127.0.0.1:9").replace('metrics: {bind: "127.0.0.1:0"}', more)
    async with running(text) as here, JsonChargePoint("CP3211", here.json_url):
        for page in (here.gateway.metrics_address, f"{here.gateway.metrics_address}/chargers"):
            answer = await get(page)
            assert answer.status == 200
            assert "# TYPE wattbridge_" in answer.body
            assert tool("promtool", "check", "metrics", said=answer.body) == (0, "")


# --- What is written


@every_alert
def test_every_alert_is_shown_to_fire_and_to_keep_quiet(name: str) -> None:
    cases: list[dict[str, Any]] = yaml.safe_load(TESTS_FILE.read_text(encoding="utf-8"))["tests"]
    shown = [case for test in cases for case in test["alert_rule_test"] if case["alertname"] == name]
    assert any(case["exp_alerts"] for case in shown)
    quiet = [test for test in cases if test["name"] == f"{name} keeps quiet"]
    assert quiet
    assert not any(case["exp_alerts"] for test in quiet for case in test["alert_rule_test"])
    severities = {rule["labels"]["severity"] for rule in ALERTS if rule["alert"] == name}
    fired = {alert["exp_labels"]["severity"] for case in shown for alert in case["exp_alerts"]}
    assert fired == severities


def test_alerts_have_a_severity_and_say_what_is_the_matter() -> None:
    for rule in ALERTS:
        assert rule["alert"].startswith("Wattbridge")
        assert rule["labels"].keys() == {"severity"}
        assert rule["labels"]["severity"] in SEVERITIES
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
        assert rule["annotations"]["description"].endswith("."), rule["alert"]
        assert rule["annotations"]["runbook_url"].endswith(f"/docs/runbooks/{rule['alert']}.md")
        assert "for" in rule, rule["alert"]


def test_rules_ask_for_what_there_is() -> None:
    known = known_series()
    made = {rule["record"] for rule in RULES if "record" in rule}
    used = set()
    for rule in RULES:
        found = names(rule["expr"])
        used |= recorded(rule["expr"])
        assert found <= set(known), rule
        assert found | recorded(rule["expr"]), rule
        assert labels(rule["expr"]) <= {"job", "instance"}.union(*(known[name] for name in found)), rule
    assert used == made


def test_inhibitions_are_of_alerts_that_exist() -> None:
    told = yaml.safe_load((FOLDER / "alertmanager.yml").read_text(encoding="utf-8"))
    for rule in told["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            assert {each for each in re.findall(r"Wattbridge\w+", matcher)} <= set(NAMES), matcher


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    assert sorted(path.stem for path in RUNBOOKS.glob("*.md") if path.stem != "README") == NAMES


@every_alert
def test_a_runbook_says_what_to_do(name: str) -> None:
    text = (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {name}\n")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == HEADINGS
    meaning, impact, diagnosis, mitigation = (
        part.strip() for part in re.split(r"^## .+$", text, flags=re.M)[1:]
    )
    assert meaning
    assert impact
    assert mitigation
    assert re.search(r"^```(console|promql)$", diagnosis, re.MULTILINE), "nothing to run"
    severities = {rule["labels"]["severity"] for rule in ALERTS if rule["alert"] == name}
    assert all(f"**{severity}**" in text for severity in severities)


def test_pages_ask_for_what_there_is() -> None:
    known = known_series()
    queries = queries_of_pages()
    assert len(queries) > 20
    for query in queries:
        found = names(query)
        assert found, query
        assert found <= set(known), query
        assert labels(query) <= {"job", "instance"}.union(*(known[name] for name in found)), query


# --- A real outage


def in_a_hurry(folder: Path) -> Path:
    """The rules, with alerts that fire when they have been pending for a second."""
    told = yaml.safe_load(RULES_FILE.read_text(encoding="utf-8"))
    for group in told["groups"]:
        for rule in group["rules"]:
            if rule.get("for", "0m") != "0m":
                rule["for"] = "1s"
    file = folder / "rules.yaml"
    file.write_text(yaml.safe_dump(told), encoding="utf-8")
    return file


@needs_prometheus
async def test_a_real_outage_fires_and_ends(tmp_path: Path) -> None:
    async with JsonCentralSystem() as central_system:
        text = configuration(central_system.url)
        async with running(text) as here:
            metrics = {"wattbridge": here.gateway.metrics_address}
            async with a_prometheus(tmp_path, metrics, [in_a_hurry(tmp_path)]) as prometheus:

                async def firing() -> list[str]:
                    return sorted(
                        name for name, state in (await prometheus.alerts()).items() if state == "firing"
                    )

                async def outage() -> bool:
                    return "WattbridgeUpstreamDown" in await firing()

                async def quiet() -> bool:
                    return await firing() == []

                async with JsonChargePoint("CP3211", here.json_url) as charge_point:
                    await charge_point.power_up()
                    await prometheus.until(quiet)
                    await central_system.stop()
                    await prometheus.until(outage)
                    assert await firing() == ["WattbridgeUpstreamDown"]
                    await central_system.start()
                    await prometheus.until(quiet)
