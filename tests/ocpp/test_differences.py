"""The rows of the differences, and what is made of them. That they are complete is proved in
``tests/test_json_schemas.py``.
"""

from __future__ import annotations

import pytest

from wattbridge.ocpp.actions import described_operations
from wattbridge.ocpp.differences import (
    DIFFERENCES,
    EMPTY_METER_VALUES,
    HABITS,
    Difference,
    answered_here,
    left_out_by_soap,
    neutral,
)
from wattbridge.ocpp.messages import Call, CallError, CallResult, Loss
from wattbridge.ocpp.shapes import Field

SHAPES = {operation.action: operation.request for operation in described_operations()} | {
    f"{operation.action}Response": operation.response for operation in described_operations()
}


def field_at(path: str, shapes: dict[str, tuple[Field, ...]]) -> Field:
    action, *names = path.split(".")
    fields = shapes[action]
    for name in names:
        field = next(field for field in fields if field.name == name)
        fields = field.fields
    return field


NEUTRAL = {action: neutral(action, fields) for action, fields in SHAPES.items()}
TOLERANT = {action: neutral(action, fields, cardinality=False) for action, fields in SHAPES.items()}


@pytest.mark.parametrize("row", DIFFERENCES + HABITS, ids=lambda row: f"{row.name} {row.path}")
def test_every_row_names_a_field_and_tells_its_story(row: Difference) -> None:
    assert field_at(row.path, SHAPES).name == row.path.rpartition(".")[2]
    assert row.name
    assert row.source
    assert row.towards_soap
    assert row.towards_json


def test_the_neutral_form_requires_what_either_side_requires() -> None:
    assert not field_at("MeterValues.meterValue", SHAPES).required
    assert field_at("MeterValues.meterValue", NEUTRAL).min_items == 1
    assert field_at("MeterValues.meterValue", TOLERANT).min_items == 0
    # What only the schema forgets to say stays said.
    for path in ("StopTransaction.transactionData.sampledValue", "MeterValues.meterValue.sampledValue"):
        assert field_at(path, NEUTRAL).min_items == 1


def test_the_neutral_form_has_every_word_of_either_side() -> None:
    described = field_at("MeterValues.meterValue.sampledValue.unit", SHAPES).enum
    for shapes in (NEUTRAL, TOLERANT):
        unit = field_at("MeterValues.meterValue.sampledValue.unit", shapes).enum
        assert set(unit) - set(described) == {"Celcius", "Hertz"}
        unit = field_at("StopTransaction.transactionData.sampledValue.unit", shapes).enum
        assert set(unit) - set(described) == {"Celcius"}


def test_without_rows_the_neutral_form_is_the_described_one() -> None:
    for action, fields in SHAPES.items():
        if not any(row.path.startswith(f"{action}.") for row in DIFFERENCES):
            assert neutral(action, fields) == fields


def test_what_soap_may_leave_out_is_said() -> None:
    assert left_out_by_soap("MeterValues.meterValue").endswith("the gateway answers it itself (a loss)")
    assert left_out_by_soap("MeterValues.connectorId") == ""


@pytest.mark.parametrize("payload", [{"connectorId": 1}, {"connectorId": 1, "meterValue": []}])
def test_meter_values_without_values_are_answered_here(payload: dict[str, object]) -> None:
    unrelated = [Loss("MeterValues.colour", "red", "unknown-field", "no such field")]
    assert answered_here(Call("MeterValues", payload)) == CallResult({}) == EMPTY_METER_VALUES
    assert answered_here(Call("MeterValues", payload), unrelated) == EMPTY_METER_VALUES


def test_meter_values_that_lost_all_they_had_are_refused() -> None:
    lost = Loss("MeterValues.meterValue[0]", "x", "bad-item", "'x' is no object")
    assert answered_here(Call("MeterValues", {"connectorId": 1}), [lost]) == CallError(
        "PropertyConstraintViolation",
        "nothing that can be carried is left; MeterValues.meterValue[0]: 'x' is no object",
        {"path": "MeterValues.meterValue[0]"},
        reason="schema",
    )


def test_everything_else_is_carried() -> None:
    values = [{"timestamp": "2024-05-01T10:00:00Z", "sampledValue": [{"value": "1"}]}]
    assert answered_here(Call("MeterValues", {"connectorId": 1, "meterValue": values})) is None
    assert answered_here(Call("Heartbeat", {})) is None
