"""The models, their JSON Schema and the example of the reference say the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.config.certificates import write_certificates
from wattbridge.cli.reference import EXAMPLE, SMALLEST
from wattbridge.config import Config, json_schema, read_text
from wattbridge.config.models import Entries, Items, Upstream, keys_of, shape_of
from wattbridge.config.sections import Section
from wattbridge.ocpp.errors import FAULT_BY_CODE

jsonschema = pytest.importorskip("jsonschema")

SECRETS = {"CSMS_PASSWORD": "x", "CSMS_0012345": "x", "CP_0012345": "x", "ADMIN_TOKEN": "x"}


def schema_errors(data: Any) -> list[str]:
    """What a checker that only knows the JSON Schema finds."""
    validator = jsonschema.Draft202012Validator(json_schema())
    return [".".join(map(str, error.path)) for error in validator.iter_errors(data)]


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    json.dumps(json_schema())


@pytest.mark.parametrize("text", [EXAMPLE, SMALLEST])
def test_the_schema_accepts_what_the_reference_shows(text: str) -> None:
    assert schema_errors(yaml.safe_load(text)) == []


def test_the_schema_refuses_what_is_refused() -> None:
    data = yaml.safe_load(EXAMPLE)
    data["gateway"]["drain"] = 30
    data["listeners"]["field"]["versions"] = ["1.7"]
    data["upstreams"]["a b"] = {"url": "ws://h/"}
    data["routes"][2]["match"] = "al"
    data["routes"][1]["match"]["vendor"] = {}
    data["upstreams"]["old"]["soap"]["from_header"] = "yes"
    data["admni"] = {}
    assert sorted(schema_errors(data)) == [
        "",
        "gateway.drain",
        "listeners.field.versions.0",
        "routes.1.match",
        "routes.2.match",
        "upstreams",
        "upstreams.old.soap",
    ]


def test_the_schema_has_the_defaults_as_they_are_written() -> None:
    definitions = json_schema()["$defs"]
    assert definitions["Gateway"]["properties"]["drain"]["default"] == "30s"
    assert definitions["Limits"]["properties"]["body"]["default"] == "256KiB"
    assert definitions["Limits"]["properties"]["connections"]["default"] == 2000
    assert definitions["Metrics"]["properties"]["bind"]["default"] == "127.0.0.1:9181"


def test_the_example_has_every_key_and_no_findings(tmp_path: Path) -> None:
    write_certificates(tmp_path)
    loaded = read_text(EXAMPLE, folder=tmp_path, env=SECRETS)
    assert loaded.warnings == ()

    def missing(section: type[Section], written: list[dict[str, Any]], path: str) -> list[str]:
        """The keys that none of the sections *written* has."""
        found = []
        for key, known in keys_of(section).items():
            shape = shape_of(known.annotation, known.metadata)
            values = [data[key] for data in written if data.get(key) is not None]
            if not values:
                found.append(path + key)
            elif isinstance(shape, Entries) and isinstance(shape.of, type):
                inside = [entry or {} for value in values for entry in value.values()]
                found += missing(shape.of, inside, f"{path}{key}.")
            elif isinstance(shape, Items) and isinstance(shape.of, type):
                found += missing(shape.of, [item for value in values for item in value], f"{path}{key}.")
            elif isinstance(shape, type):
                inside = [value for value in values if isinstance(value, dict)]
                found += missing(shape, inside, f"{path}{key}.")
        return found

    assert missing(Config, [yaml.safe_load(EXAMPLE)], "") == []


def test_the_smallest_example_runs_without_findings() -> None:
    assert read_text(SMALLEST).warnings == ()


def test_a_configuration_survives_being_written_as_json(tmp_path: Path) -> None:
    write_certificates(tmp_path)
    config = read_text(EXAMPLE, folder=tmp_path, env=SECRETS).config
    written = config.model_dump(mode="json", exclude_none=True)
    written["upstreams"]["cloud"]["auth"]["basic"]["password"] = {"env": "CSMS_PASSWORD"}
    written["chargers"]["0012345"]["password"] = {"env": "CP_0012345"}
    written["chargers"]["0012345"]["upstream_password"] = {"env": "CSMS_0012345"}
    written["admin"]["token"] = {"env": "ADMIN_TOKEN"}
    written["admin"]["tokens"]["grafana"]["token"] = {"env": "ADMIN_TOKEN"}
    again = read_text(json.dumps(written), "gateway.json", env=SECRETS)
    assert again.config == config


def test_models_can_be_built_in_python() -> None:
    config = Config.model_validate(
        {
            "listeners": {"soap": {"bind": "127.0.0.1:0"}},
            "upstreams": {
                "main": {"url": "http://127.0.0.1:9/cs", "call_timeout": 0.5, "soap": {"from_header": False}}
            },
        }
    )
    assert config.upstreams["main"].call_timeout == 0.5
    assert config.upstreams["main"].soap.from_header is False
    assert config.routes[0].upstream == "main"


def test_the_protocol_of_a_central_system_is_that_of_its_address() -> None:
    protocols = {
        url: Upstream.model_validate({"url": url}).protocol
        for url in ("ws://h/", "WSS://h/", "http://h/cs", "HTTPS://h/cs/{charger}")
    }
    assert protocols == {
        "ws://h/": "ocpp-json",
        "WSS://h/": "ocpp-json",
        "http://h/cs": "ocpp-soap",
        "HTTPS://h/cs/{charger}": "ocpp-soap",
    }


def test_the_ping_of_a_charge_point_is_that_of_all_but_for_what_it_says() -> None:
    config = Config.model_validate(
        {
            "listeners": {"soap": {"bind": "127.0.0.1:0"}},
            "upstreams": {"main": {"url": "ws://127.0.0.1:9/"}},
            "websocket": {"ping": {"every": "90s"}},
            "chargers": {"A": {}, "B": {"ping": {"timeout": "5s"}}, "C": {"ping": {"every": "0s"}}},
        }
    )
    pings = {name: config.ping_of(name) for name in ("unknown", "A", "B", "C")}
    assert {name: (ping.every, ping.timeout) for name, ping in pings.items()} == {
        "unknown": (90.0, 30.0),
        "A": (90.0, 30.0),
        "B": (90.0, 5.0),
        "C": (0.0, 30.0),
    }


def test_a_rejection_has_a_code_of_ocpp_j() -> None:
    data = yaml.safe_load(EXAMPLE)
    for code in FAULT_BY_CODE:
        data["routes"][2]["reject"]["error"] = code
        assert schema_errors(data) == []
    data["routes"][2]["reject"]["error"] = "Forbidden"
    assert schema_errors(data) == ["routes.2.reject"]


def test_every_key_has_a_meaning() -> None:
    for section in Section.__subclasses__():
        for key, known in keys_of(section).items():
            assert known.description, f"{section.__name__}.{key}"
            assert known.description.endswith("."), f"{section.__name__}.{key}"
