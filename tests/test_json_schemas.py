"""The service descriptions of OCPP-S and the JSON schemas of OCPP-J agree on every field of 1.6, save for the
rows of ``differences.py``; and every row is needed.

The schemas are those that the ``ocpp`` package brings (as libraries have corrected them), and, where they lie
beside the project, the published ones. What a peer could see of a message is laid out as facts, a line each,
from either side without our readers; then the two are compared.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ocpp
from wattbridge.ocpp.actions import described_operations
from wattbridge.ocpp.differences import DIFFERENCES, Difference, neutral
from wattbridge.ocpp.shapes import Field

FOLDERS = {
    "corrected": Path(ocpp.__file__).parent / "v16" / "schemas",
    "published": Path(__file__).parents[2] / "shared" / "reference" / "json",
}
SHAPES = {operation.action: operation.request for operation in described_operations()} | {
    f"{operation.action}Response": operation.response for operation in described_operations()
}

Facts = dict[str, Any]

JSON_TYPES = {"decimal": "number", "dateTime": "string", "uri": "string"}
JSON_FORMATS = {"dateTime": "date-time", "uri": "uri"}
KNOWN_WORDS = {
    *("$schema", "id", "title", "type", "properties", "required", "additionalProperties", "items"),
    *("format", "maxLength", "enum", "minItems", "maxItems", "multipleOf"),
}

every_edition = pytest.mark.parametrize("edition", FOLDERS)


def schema_of(message: str, edition: str) -> dict[str, Any]:
    folder = FOLDERS[edition]
    if not folder.is_dir():
        pytest.skip(f"the {edition} JSON schemas are not beside the project")
    schema: dict[str, Any] = json.loads((folder / f"{message}.json").read_text(encoding="utf-8-sig"))
    return schema


def facts_of_schema(schema: dict[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    """``("MeterValues.meterValue required", True)`` and so on: everything that the schema says."""
    assert set(schema) <= KNOWN_WORDS, f"{path}: {set(schema) - KNOWN_WORDS} would not be compared"
    # Nothing that is not named may stand in a message (OCPP-J 1.6 errata, 3.1).
    assert schema["additionalProperties"] is False, path
    yield f"{path} fields", set(schema.get("properties", {}))
    for name, member in schema.get("properties", {}).items():
        where = f"{path}.{name}"
        yield f"{where} required", name in schema.get("required", [])
        is_list = member["type"] == "array"
        yield f"{where} items", (member.get("minItems", 0), member.get("maxItems")) if is_list else None
        item = member["items"] if is_list else member
        assert set(item) | set(member) <= KNOWN_WORDS, where
        yield f"{where} type", item["type"]
        yield f"{where} format", item.get("format")
        yield f"{where} maxLength", item.get("maxLength")
        yield f"{where} enum", set(item.get("enum", ()))
        yield f"{where} multipleOf", item.get("multipleOf")
        if item["type"] == "object":
            yield from facts_of_schema(item, where)


def facts_of_shape(
    fields: tuple[Field, ...], path: str, rows: Iterable[Difference]
) -> Iterator[tuple[str, Any]]:
    """The same facts, told by the service description and *rows*."""
    yield f"{path} fields", {field.name for field in fields}
    for field in fields:
        where = f"{path}.{field.name}"
        required, min_items, enum = field.required, field.min_items, set(field.enum)
        for row in rows:
            if row.path == where:
                required = required if row.required is None else row.required
                min_items = min_items if row.min_items is None else row.min_items
                enum = (enum | set(row.more_values)) - set(row.fewer_values)
        yield f"{where} required", required
        yield f"{where} items", (min_items, field.max_items) if field.repeated else None
        yield f"{where} type", JSON_TYPES.get(field.kind, field.kind)
        yield f"{where} format", JSON_FORMATS.get(field.kind)
        yield f"{where} maxLength", field.max_length
        yield f"{where} enum", enum
        digits = field.fraction_digits
        yield f"{where} multipleOf", None if digits is None else float(f"1e-{digits}")
        if field.kind == "object":
            yield from facts_of_shape(field.fields, where, rows)


def rows_of(edition: str) -> list[Difference]:
    return [row for row in DIFFERENCES if row.edition in ("both", edition)]


def disagreements(message: str, edition: str, rows: Iterable[Difference]) -> list[tuple[str, Any, Any]]:
    """Fact, as the JSON schema tells it, as description and *rows* tell it."""
    schema: Facts = dict(facts_of_schema(schema_of(message, edition), message))
    shape: Facts = dict(facts_of_shape(SHAPES[message], message, list(rows)))
    return [
        (fact, schema.get(fact), shape.get(fact))
        for fact in schema | shape
        if schema.get(fact, "not said") != shape.get(fact, "not said")
    ]


@every_edition
@pytest.mark.parametrize("message", SHAPES)
def test_description_and_schema_agree_but_for_the_rows(message: str, edition: str) -> None:
    assert disagreements(message, edition, rows_of(edition)) == []


@every_edition
def test_counted_actions_is_compared(edition: str) -> None:
    schema_of("Heartbeat", edition)
    files = {file.stem for file in FOLDERS[edition].glob("*.json")}
    assert set(SHAPES) <= files
    assert len(SHAPES) == 56  # 28 actions; DataTransfer is the same in both directions
    # What is left over belongs to the security extension, which OCPP-S does not have.
    security = ("Certificate", "Log", "Security", "Signed", "Extended")
    assert [stem for stem in files - set(SHAPES) if not any(word in stem for word in security)] == []


@pytest.mark.parametrize(
    ("index", "edition"),
    [
        (index, edition)
        for index, row in enumerate(DIFFERENCES)
        for edition in FOLDERS
        if row.edition in ("both", edition)
    ],
    ids=lambda value: DIFFERENCES[value].path if isinstance(value, int) else value,
)
def test_every_row_is_needed(index: int, edition: str) -> None:
    row = DIFFERENCES[index]
    without = [other for other in rows_of(edition) if other is not row]
    found = disagreements(row.path.partition(".")[0], edition, without)
    assert [fact.partition(" ")[0] for fact, _, _ in found] == [row.path]


@pytest.mark.parametrize("message", SHAPES)
def test_the_neutral_form_says_all_that_the_schema_in_use_says(message: str) -> None:
    """A payload of the neutral form is valid for a strict peer."""
    shape = dict(facts_of_shape(neutral(message, SHAPES[message]), message, ()))
    for fact, said in facts_of_schema(schema_of(message, "corrected"), message):
        if fact.endswith(" items") and said is not None:
            assert shape[fact][0] >= said[0], fact
        else:
            assert shape[fact] == said, fact
