"""Fields say whether they must be there and how often."""

from __future__ import annotations

import dataclasses

import pytest

from wattbridge.ocpp.shapes import Field, Operation


def test_a_field_is_one_required_value_unless_it_says_otherwise() -> None:
    field = Field("status", "string")
    assert (field.required, field.repeated) == (True, False)
    assert not Field("info", "string", min_items=0).required


@pytest.mark.parametrize(("max_items", "repeated"), [(1, False), (2, True), (None, True)])
def test_a_field_that_may_stand_twice_is_a_list(max_items: int | None, repeated: bool) -> None:
    assert Field("key", "string", min_items=0, max_items=max_items).repeated is repeated


def test_shapes_can_be_keys_and_cannot_be_changed() -> None:
    field = Field("status", "string", enum=("Accepted", "Rejected"))
    assert field == Field("status", "string", enum=("Accepted", "Rejected"))
    assert len({field, Field("status", "string")}) == 2
    names = (
        "Reset",
        "ChargePointService",
        "urn:x",
        "resetRequest",
        "resetResponse",
        "/Reset",
        "/ResetResponse",
    )
    operation = Operation(*names, request=(field,), response=(field,))
    for shape, name in ((field, "name"), (operation, "action")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(shape, name, "other")
