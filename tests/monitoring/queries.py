"""PromQL in texts: dashboards, rules and pages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from wattbridge.operation.families import CHARGER_FAMILIES, FAMILIES

ROOT = Path(__file__).parent.parent.parent
DASHBOARDS = {
    path.name: json.loads(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "grafana/dashboards").iterdir())
}
RULES_FILE = ROOT / "deploy/prometheus/wattbridge.rules.yaml"
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load(RULES_FILE.read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]

ALL_FAMILIES = (*FAMILIES.values(), *CHARGER_FAMILIES)

# Families of others that are used: the stock collectors, and what Prometheus itself says of a target.
STOCK = {
    *("process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds", "process_max_fds"),
    *("process_start_time_seconds", "python_gc_collections_total", "up"),
}


def known_series() -> dict[str, set[str]]:
    """Each series that the gateway can have, with its labels."""
    known: dict[str, set[str]] = {name: set() for name in STOCK}
    for family in ALL_FAMILIES:
        suffixes = ("_bucket", "_count", "_sum") if family.kind == "histogram" else ("",)
        for suffix in suffixes:
            known[family.full_name + suffix] = {*family.labels, *(["le"] if suffix == "_bucket" else [])}
    return known


def names(query: str) -> set[str]:
    """The series that *query* asks for."""
    text = re.sub(r'"[^"]*"', '""', query)
    return {
        name
        for name in re.findall(r"(?<![\w:])(?:wattbridge|process|python)_\w+|\bup\b", text)
        if not re.search(rf"\w+:{name}", text)
    }


def recorded(query: str) -> set[str]:
    return set(re.findall(r"\w+:wattbridge_\w+:\w+", query))


def labels(query: str) -> set[str]:
    """The labels that *query* asks for or groups by."""
    found = set(re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"', query))
    for group in re.findall(r"(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)", query):
        found |= {label.strip() for label in group.split(",") if label.strip()}
    return found


@dataclass(frozen=True)
class Target:
    """A query of a panel or of an annotation; ``expr`` and ``legend`` as they stand there."""

    dashboard: str
    title: str
    expr: str
    legend: str

    def __str__(self) -> str:
        return f"{self.dashboard}: {self.title}: {self.expr}"


def panels(name: str) -> Iterator[dict[str, Any]]:
    """The panels of a dashboard, without the headings of rows."""
    return (panel for panel in DASHBOARDS[name]["panels"] if panel["type"] != "row")


def targets() -> list[Target]:
    return [
        Target(name, panel["title"], target["expr"], target["legendFormat"])
        for name in DASHBOARDS
        for panel in panels(name)
        for target in panel["targets"]
    ]


def queries_of_pages() -> list[str]:
    """What pages tell to ask for, in blocks of ``promql``."""
    pages = [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("deploy/*.md"),
        *ROOT.glob("grafana/*.md"),
    ]
    texts = [path.read_text(encoding="utf-8") for path in pages]
    return [query for text in texts for query in re.findall(r"^```promql\n(.*?)^```", text, re.M | re.S)]


def marks() -> list[Target]:
    return [
        Target(name, each["name"], each["expr"], each["titleFormat"])
        for name, made in DASHBOARDS.items()
        for each in made["annotations"]["list"]
        if name != "charge-point.json"  # whose job has nothing of the gateway itself
    ]


def asked(expr: str) -> str:
    """What Grafana asks for when all is chosen; the interval suits two scrapes a second."""
    replaced = {
        "$__rate_interval": "4s",
        "$__interval": "1s",
        "$job": ".+",
        "$instance": ".+",
        "$charger": ".+",
    }
    for variable, value in replaced.items():
        expr = expr.replace(variable, value)
    assert "$" not in expr, expr
    return expr
