"""The tables of what we forgive are about things that exist."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.ocpp.strategies import CASES
from wattbridge.ocpp.actions import dialect
from wattbridge.ocpp.shapes import Field
from wattbridge.ocpp.tolerances import (
    ANONYMOUS,
    ANYTHING_AS_TEXT,
    BOOLEANS,
    EPOCH,
    FIELD_ALIASES,
    MEANINGFUL,
    OCPP_NAMESPACE,
    ROUNDED,
    SALVAGED_LISTS,
    UNSAYABLE,
    VALUE_ALIASES,
    VERSION_BY_DATE,
    WSA_2004,
    WSA_2005,
)


def fields_with_paths(fields: tuple[Field, ...], path: str) -> Iterator[tuple[str, Field]]:
    for field in fields:
        yield f"{path}.{field.name}", field
        yield from fields_with_paths(field.fields, f"{path}.{field.name}")


FIELDS = {
    path: field
    for case in CASES
    for path, field in fields_with_paths(case.message.neutral, case.message.name)
}
FIELDS_BY_VERSION = {
    version: {
        path
        for operation in dialect(version).operations.values()
        for message in (operation.request, operation.response)
        for path, _ in fields_with_paths(message.fields, message.name)
    }
    for version in ("1.2", "1.5", "1.6")
}
BY_NAME: dict[str, list[Field]] = {}
for found in FIELDS.values():
    BY_NAME.setdefault(found.name, []).append(found)


@pytest.mark.parametrize(
    ("namespace", "version"),
    [
        ("urn://Ocpp/Cs/2015/10/", "1.6"),
        ("urn://Ocpp/Cp/2015/10", "1.6"),
        ("urn://ocpp/cs/2012/06/", "1.5"),
        ("urn://Ocpp/Cs/2010/08/", "1.2"),
        ("urn://Ocpp/Cs/2010/10/", "1.2"),
    ],
)
def test_a_namespace_of_ocpp_is_known_in_any_spelling(namespace: str, version: str) -> None:
    known = OCPP_NAMESPACE.fullmatch(namespace)
    assert known is not None
    assert VERSION_BY_DATE[known[2]] == version


@pytest.mark.parametrize(
    "namespace", ["", "urn://Ocpp/2015/10/", "urn://Ocpp/Cx/2015/10/", "urn://Ocpp/Cs/٢٠١٥/10/"]
)
def test_other_namespaces_are_not(namespace: str) -> None:
    assert OCPP_NAMESPACE.fullmatch(namespace) is None


def test_every_alias_of_a_field_leads_to_a_field() -> None:
    for (message, seen), meant in FIELD_ALIASES.items():
        assert any(f"{message}.{meant}" in fields for fields in FIELDS_BY_VERSION.values())
        for fields in FIELDS_BY_VERSION.values():  # or nobody could tell which one is meant
            assert not {f"{message}.{seen}", f"{message}.{meant}"} <= fields


def test_every_alias_of_a_value_leads_to_a_value() -> None:
    for (name, seen), meant in VALUE_ALIASES.items():
        assert any(meant in field.enum for field in BY_NAME[name])
        assert (name, meant) not in VALUE_ALIASES
        assert seen != meant


def test_what_cannot_be_said_is_a_value_elsewhere() -> None:
    for name, value in UNSAYABLE:
        assert any(value in field.enum for field in BY_NAME[name])
        assert any(value not in field.enum for field in BY_NAME[name])
        assert not any(field.required for field in BY_NAME[name])


def test_salvaged_lists_are_lists_of_facts() -> None:
    lists: dict[str, list[str]] = {name: [] for name in SALVAGED_LISTS}
    for version in ("1.2", "1.5", "1.6"):
        for operation in dialect(version).operations.values():
            for message in (operation.request, operation.response):
                for path, field in fields_with_paths(message.fields, message.name):
                    if field.repeated and field.name in lists:
                        lists[field.name].append(path)
                        assert message is operation.response or operation.asked.value == "central_system"
    assert all(lists.values())


def test_fields_that_give_a_value_its_meaning_are_optional_words_beside_it() -> None:
    for name in MEANINGFUL:
        assert all(field.enum and not field.required for field in BY_NAME[name])
        assert f"MeterValues.meterValue.sampledValue.{name}" in FIELDS


def test_only_meters_are_rounded() -> None:
    for name in ROUNDED:
        assert all(field.kind == "integer" for field in BY_NAME[name])


def test_anything_may_stand_only_where_text_of_any_length_may() -> None:
    for path in ANYTHING_AS_TEXT:
        assert FIELDS[path].kind == "string"
        assert FIELDS[path].max_length is None


def test_booleans_and_times_are_ascii() -> None:
    assert set(BOOLEANS.values()) == {True, False}
    assert EPOCH.fullmatch("1714557600")
    assert EPOCH.fullmatch("1714557600000")
    assert not EPOCH.fullmatch("17145576000")
    assert not EPOCH.fullmatch("١٧١٤٥٥٧٦٠٠")
    assert set(ANONYMOUS) == {WSA_2004, WSA_2005}
