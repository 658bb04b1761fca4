"""The models, their JSON Schema and the example of the reference say the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.config.certificates import AUTHORITY
from wattbridge.cli.reference import EXAMPLE, SMALLEST
from wattbridge.config import Config, json_schema, read_text
from wattbridge.config.models import Entries, Items, Section, shape_of

jsonschema = pytest.importorskip("jsonschema")


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
    data["listeners"]["soap"]["versions"] = ["1.5"]
    data["upstreams"]["a b"] = {"url": "ws://h/"}
    data["routes"][1]["match"] = "al"
    data["admin"] = {}
    assert sorted(schema_errors(data)) == [
        "",
        "gateway.drain",
        "listeners.soap.versions.0",
        "routes.1.match",
        "upstreams",
    ]


def test_the_schema_has_the_defaults_as_they_are_written() -> None:
    definitions = json_schema()["$defs"]
    assert definitions["Gateway"]["properties"]["drain"]["default"] == "30s"
    assert definitions["Limits"]["properties"]["body"]["default"] == "256KiB"
    assert definitions["Limits"]["properties"]["connections"]["default"] == 2000
    assert definitions["Metrics"]["properties"]["bind"]["default"] == "127.0.0.1:9181"


def test_the_example_has_every_key_and_no_findings(tmp_path: Path) -> None:
    (tmp_path / "certs").mkdir()
    (tmp_path / "certs" / "ca.pem").write_text(AUTHORITY)
    loaded = read_text(EXAMPLE, folder=tmp_path, env={"CSMS_PASSWORD": "x"})
    assert loaded.warnings == ()
    written = yaml.safe_load(EXAMPLE)

    def missing(section: type[Section], data: dict[str, Any], path: str) -> list[str]:
        found = []
        for key, known in section.model_fields.items():
            shape = shape_of(known.annotation, known.metadata)
            if key not in data:
                found.append(path + key)
            elif isinstance(shape, type) and isinstance(data[key], dict):
                found += missing(shape, data[key], f"{path}{key}.")
            elif isinstance(shape, Entries) and isinstance(shape.of, type):
                found += missing(shape.of, next(iter(data[key].values())), f"{path}{key}.")
            elif isinstance(shape, Items) and isinstance(shape.of, type):
                found += missing(shape.of, data[key][0], f"{path}{key}.")
        return found

    assert missing(Config, written, "") == []


def test_the_smallest_example_runs_without_findings() -> None:
    assert read_text(SMALLEST).warnings == ()


def test_a_configuration_survives_being_written_as_json(tmp_path: Path) -> None:
    (tmp_path / "certs").mkdir()
    (tmp_path / "certs" / "ca.pem").write_text(AUTHORITY)
    config = read_text(EXAMPLE, folder=tmp_path, env={"CSMS_PASSWORD": "x"}).config
    written = config.model_dump(mode="json")
    written["upstreams"]["cloud"]["auth"]["basic"]["password"] = {"env": "CSMS_PASSWORD"}
    again = read_text(json.dumps(written), "gateway.json", env={"CSMS_PASSWORD": "x"})
    assert again.config == config


def test_models_can_be_built_in_python() -> None:
    config = Config.model_validate(
        {
            "listeners": {"soap": {"bind": "127.0.0.1:0"}},
            "upstreams": {"main": {"url": "ws://127.0.0.1:9/", "call_timeout": 0.5}},
        }
    )
    assert config.upstreams["main"].call_timeout == 0.5
    assert config.route_of("CP1").upstream == "main"


def test_every_key_has_a_meaning() -> None:
    for section in Section.__subclasses__():
        for key, known in section.model_fields.items():
            assert known.description, f"{section.__name__}.{key}"
            assert known.description.endswith("."), f"{section.__name__}.{key}"
