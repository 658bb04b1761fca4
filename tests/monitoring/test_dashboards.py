"""Dashboards: what is committed is what the program makes, they keep the rules of Grafana's dashboard-linter,
and every query has an answer when a real Prometheus watches a gateway that lives through everything."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from grafana.src.pages import FOLDER, PAGES
from tests.monitoring.prometheus import Prometheus, a_prometheus, needs_prometheus
from tests.monitoring.queries import (
    ALL_FAMILIES,
    DASHBOARDS,
    ROOT,
    asked,
    known_series,
    labels,
    marks,
    names,
    panels,
    queries_of_pages,
    targets,
)
from tests.monitoring.scene import a_scene

every_dashboard = pytest.mark.parametrize("name", DASHBOARDS)
# Units of Grafana that are in use, of those its linter knows.
UNITS = {"short", "s", "bytes", "Bps", "reqps", "ops", "percentunit", "bool_yes_no"}
# All that these say in the scene is 0: what does not happen there, and what is counted once a minute.
ALWAYS_ZERO = {
    "wattbridge_draining",
    "wattbridge_trace_records_dropped_total",
    "wattbridge_store_errors_total",
    "wattbridge_store_notes_dropped_total",
    "wattbridge_mirror_refusals_total",
    "wattbridge_transactions_open",
}


# --- What is committed


def test_dashboards_are_up_to_date() -> None:
    """Write them anew with ``make dashboards``."""
    assert {path.name for path in FOLDER.iterdir()} == set(PAGES)
    for name, text in PAGES.items():
        assert (FOLDER / name).read_text(encoding="utf-8") == text(), name


def test_dashboards_have_names_that_stay() -> None:
    assert {name: (made["uid"], made["title"]) for name, made in DASHBOARDS.items()} == {
        "charge-point.json": ("wattbridge-charge-point", "Wattbridge / Charge point"),
        "overview.json": ("wattbridge-overview", "Wattbridge / Overview"),
        "reliability.json": ("wattbridge-reliability", "Wattbridge / Reliability"),
        "runtime.json": ("wattbridge-runtime", "Wattbridge / Runtime & security"),
        "translation.json": ("wattbridge-translation", "Wattbridge / Translation"),
    }


def test_provisioning_leads_to_the_dashboards() -> None:
    folder = ROOT / "grafana/provisioning"
    [source] = yaml.safe_load((folder / "datasources/prometheus.yaml").read_text(encoding="utf-8"))[
        "datasources"
    ]
    assert (source["type"], source["uid"], source["isDefault"]) == ("prometheus", "prometheus", True)
    [provider] = yaml.safe_load((folder / "dashboards/wattbridge.yaml").read_text(encoding="utf-8"))[
        "providers"
    ]
    assert provider["type"] == "file"
    assert provider["allowUiUpdates"] is False
    assert provider["options"] == {"path": "/var/lib/grafana/dashboards", "foldersFromFilesStructure": True}


# --- The rules of dashboard-linter, by their names


def variables(name: str) -> dict[str, dict[str, Any]]:
    return {variable["name"]: variable for variable in DASHBOARDS[name]["templating"]["list"]}


@every_dashboard
def test_template_datasource_rule(name: str) -> None:
    [source] = [each for each in variables(name).values() if each["type"] == "datasource"]
    assert (source["name"], source["label"], source["query"]) == ("datasource", "Data source", "prometheus")


@every_dashboard
@pytest.mark.parametrize(("variable", "label"), [("job", "Job"), ("instance", "Instance")])
def test_template_job_and_instance_rules(name: str, variable: str, label: str) -> None:
    found = variables(name)[variable]
    assert found["type"] == "query"
    assert found["label"] == label
    assert found["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert found["multi"] is True
    assert found["includeAll"] is True
    assert found["allValue"] == ".+"


@every_dashboard
def test_template_label_promql_and_on_time_change_reload_rules(name: str) -> None:
    for variable in variables(name).values():
        if variable["type"] == "query":
            assert re.fullmatch(r"label_values\(\w+(\{[^}]*\})?, \w+\)", variable["query"]), variable["query"]
            assert variable["refresh"] == 2  # on time range change


@every_dashboard
def test_template_unused_rule(name: str) -> None:
    text = str(DASHBOARDS[name])
    for variable in variables(name):
        assert re.search(rf"\$\{{?{variable}\b", text), variable


@every_dashboard
def test_panel_rules(name: str) -> None:
    """panel-datasource-rule, panel-title-description-rule, panel-units-rule, panel-no-targets-rule."""
    titles = [panel["title"] for panel in panels(name)]
    assert len(titles) == len(set(titles))
    for panel in panels(name):
        assert panel["title"], panel
        assert panel["description"].endswith("."), panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
        assert panel["targets"], panel["title"]


@every_dashboard
def test_uneditable_rule_and_what_we_want_besides(name: str) -> None:
    made = DASHBOARDS[name]
    assert made["editable"] is False
    assert made["refresh"] == "30s"
    assert made["time"] == {"from": "now-1h", "to": "now"}
    assert made["graphTooltip"] == 1  # one crosshair
    assert "ocpp" in made["tags"]
    numbers = [panel["id"] for panel in made["panels"]]
    assert numbers == list(range(1, len(numbers) + 1))


@every_dashboard
def test_panels_fill_their_lines(name: str) -> None:
    lines: dict[int, list[dict[str, int]]] = {}
    for panel in DASHBOARDS[name]["panels"]:
        lines.setdefault(panel["gridPos"]["y"], []).append(panel["gridPos"])
    y = 0
    for at, line in sorted(lines.items()):
        assert at == y
        assert [place["x"] for place in line] == [
            sum(each["w"] for each in line[:n]) for n in range(len(line))
        ]
        assert sum(place["w"] for place in line) == 24
        assert len({place["h"] for place in line}) == 1
        y += line[0]["h"]


def test_target_rules() -> None:
    """target-job-rule, target-instance-rule, target-rate-interval-rule, target-counter-agg-rule; that it is
    PromQL at all, target-promql-rule, is for Prometheus to say."""
    for target in targets():
        for selector in re.findall(r"\w+\{([^}]*)\}", target.expr):
            assert selector.startswith('job=~"$job", instance=~"$instance"'), target
        assert target.expr.count("{") >= len(names(target.expr)) > 0, target
        for function, window in re.findall(r"(\w+)\(\w+\{[^}]*\}\[([^\]]+)\]", target.expr):
            assert function in ("rate", "increase"), target
            # Of an hour where the title says so.
            assert window == "$__rate_interval" or "last hour" in target.title, target
        counters = re.findall(r"\w+_(?:total|bucket)\{[^}]*\}(.)", target.expr)
        assert all(next_one == "[" for next_one in counters), target


# --- Names


def test_dashboards_ask_for_what_there_is() -> None:
    known = known_series()
    for target in targets():
        found = names(target.expr)
        assert found <= set(known), target
        allowed = {"job", "instance", *(["generation"] if "python_gc" in target.expr else [])}
        assert labels(target.expr) <= allowed.union(*(known[name] for name in found)), target


def test_every_family_is_drawn() -> None:
    drawn = set().union(*(names(target.expr) for target in targets()))
    for family in ALL_FAMILIES:
        assert drawn & {family.full_name, f"{family.full_name}_bucket"}, family.full_name


# --- A real Prometheus


@needs_prometheus
async def test_every_query_has_an_answer(tmp_path: Path) -> None:
    answers = {}
    async with (
        a_scene(tmp_path) as scene,
        a_prometheus(
            tmp_path, {"wattbridge": scene.metrics, "wattbridge-chargers": f"{scene.metrics}/chargers"}
        ) as prometheus,
    ):
        await scene.everything()
        await asyncio.sleep(1.0)  # the last scrapes
        for query in queries_of_pages():
            await prometheus.now(query)  # which says when it is not PromQL
        for name in DASHBOARDS:
            for variable in variables(name).values():
                if variable["type"] == "query":
                    assert await values_of(prometheus, variable["query"]), variable
        for target in (*targets(), *marks()):
            answers[target] = await prometheus.series(asked(target.expr))
    assert [
        str(target) for target, answer in answers.items() if not any(each.values for each in answer)
    ] == []
    for target, answer in answers.items():
        for label in re.findall(r"\{\{(\w+)\}\}", target.legend):
            assert all(label in each.labels for each in answer), target
    zero = [target for target, answer in answers.items() if not any(any(each.values) for each in answer)]
    # The least that a message is kept is a minute.
    assert [
        str(target)
        for target in zero
        if not names(target.expr) & ALWAYS_ZERO and "Lost, last hour" not in target.title
    ] == []


async def values_of(prometheus: Prometheus, query: str) -> list[str]:
    """What can be chosen of a variable."""
    [(series, label)] = re.findall(r"label_values\((.+), (\w+)\)", query)
    told: list[str] = await prometheus.ask(f"label/{label}/values", **{"match[]": asked(series)})
    return told
