"""The compose file keeps to its specification, what it mounts is there, and its parts know each other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from wattbridge.config import read_text

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
FILE = DEPLOY / "compose.yaml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DEMO = {"demo-central-system", "demo-soap", "demo-json"}
GATEWAY = read_text((DEPLOY / "compose/wattbridge/gateway.yaml").read_text(encoding="utf-8"))


def named(service: str, option: str) -> str:
    """What follows an option of a command."""
    command = SERVICES[service]["command"]
    for word, after in zip(command, [*command[1:], ""], strict=True):
        if word == option:
            return str(after)
        if word.startswith(f"{option}="):
            return str(word.partition("=")[2])
    raise AssertionError(f"{service} has no {option}")


def test_it_keeps_to_the_compose_specification() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (checked.returncode, checked.stdout) == (0, "ok -- validation done\n")


def test_the_demo_is_only_there_when_asked_for() -> None:
    assert set(SERVICES) - DEMO == {"gateway", "prometheus", "alertmanager", "grafana"}
    assert {name for name, service in SERVICES.items() if service.get("profiles") == ["demo"]} == DEMO


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_runs_with_few_rights(name: str) -> None:
    service = SERVICES[name]
    assert (service["cap_drop"], service["security_opt"]) == (["ALL"], ["no-new-privileges:true"])
    assert service["restart"] == "unless-stopped"
    assert service.get("read_only") or name == "grafana", "Grafana writes into its own folders"
    assert "healthcheck" in service


@pytest.mark.parametrize("name", sorted(set(SERVICES) - DEMO - {"gateway"}))
def test_images_of_others_are_pinned(name: str) -> None:
    _, _, tag = SERVICES[name]["image"].rpartition(":")
    assert tag.removeprefix("v").replace(".", "").isdigit()
    assert tag.count(".") == 2


def test_only_charge_points_come_in_from_outside() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == ["0.0.0.0:8080:8080"]


def test_what_is_mounted_is_there() -> None:
    for service in SERVICES.values():
        for mounted in service.get("volumes", ()):
            source, _, rest = mounted.partition(":")
            if source.startswith("."):
                assert (DEPLOY / source).exists(), mounted
                assert rest.endswith(":ro"), mounted
            else:
                assert source in COMPOSE["volumes"], mounted


def test_the_parts_find_each_other() -> None:
    config = GATEWAY.config
    assert GATEWAY.warnings == ()
    [listener] = config.listeners.values()
    [upstream] = config.upstreams.values()
    assert f"0.0.0.0:{listener.bind.port}:{listener.bind.port}" in SERVICES["gateway"]["ports"]
    bind = named("demo-central-system", "--bind")
    assert str(upstream.url) == f"ws://demo-central-system:{bind.rpartition(':')[2]}/ocpp/{{charger}}"
    for service, transport in (("demo-soap", "http"), ("demo-json", "ws")):
        assert named(service, "--url").startswith(f"{transport}://gateway:{listener.bind.port}/ocpp")
        identity, number = named(service, "--identity"), int(named(service, "-n"))
        assert {f"{identity}-{count:04}" for count in range(1, number + 1)} <= set(config.chargers)
    assert named("demo-soap", "--callback-host") == "demo-soap"

    prometheus = yaml.safe_load((DEPLOY / "compose/prometheus.yml").read_text(encoding="utf-8"))
    targets = {
        each["job_name"]: each["static_configs"][0]["targets"] for each in prometheus["scrape_configs"]
    }
    assert targets["wattbridge"] == [f"gateway:{config.metrics.bind.port}"]
    [alertmanager] = prometheus["alerting"]["alertmanagers"]
    assert alertmanager["static_configs"] == [{"targets": ["alertmanager:9093"]}]
    [source] = yaml.safe_load((DEPLOY / "compose/datasource.yaml").read_text(encoding="utf-8"))["datasources"]
    assert source["url"] == "http://prometheus:9090"


def test_the_gateway_is_given_the_time_it_may_take_to_stop() -> None:
    assert SERVICES["gateway"]["stop_grace_period"] == "60s"
    assert GATEWAY.config.gateway.drain + 20 <= 60
