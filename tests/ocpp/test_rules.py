"""Rules of profiles: what they do to payloads, and which of them do not fit."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from wattbridge.ocpp.errors import Violation
from wattbridge.ocpp.messages import Change, Loss, Note, Payload
from wattbridge.ocpp.rules import (
    Alias,
    Condition,
    Edit,
    Fallback,
    Rules,
    Word,
    after_reading,
    before_writing,
    compile_edits,
    dotted,
    find,
    fits,
    typed,
    with_aliases,
)
from wattbridge.ocpp.shapes import Field

SAMPLE = Field(
    "sampledValue",
    "object",
    max_items=None,
    fields=(
        Field("value", "string"),
        Field("unit", "string", min_items=0, enum=("Wh", "A", "Hertz")),
        Field("context", "string", min_items=0, enum=("Other", "Trigger")),
    ),
)
METER_VALUES = (
    Field("connectorId", "integer"),
    Field("meterValue", "object", max_items=None, fields=(Field("timestamp", "dateTime"), SAMPLE)),
)
STATUS = (
    Field("connectorId", "integer"),
    Field("errorCode", "string", enum=("NoError", "OtherError")),
    Field("info", "string", min_items=0, max_length=6),
    Field("vendorErrorCode", "string", min_items=0, max_length=50),
    Field("ready", "boolean", min_items=0),
)
SCHEDULE = (
    Field(
        "profile",
        "object",
        fields=(
            Field("stackLevel", "integer"),
            Field("rateUnit", "string", enum=("A", "W")),
            Field(
                "period",
                "object",
                max_items=None,
                fields=(Field("start", "integer"), Field("limit", "decimal", fraction_digits=1)),
            ),
            Field("note", "object", min_items=0, fields=(Field("text", "string", min_items=0),)),
            Field("keys", "string", min_items=0, max_items=None),
        ),
    ),
)


def edited(
    fields: tuple[Field, ...], payload: Payload, edit: Edit, *, lossy: bool = True
) -> tuple[Payload, list[Note]]:
    """*payload* as *edit* leaves it."""
    notes: list[Note] = []
    rules = Rules("acme", edits=(edit,))
    for change in compile_edits(rules, edit.message, fields, lossy=lossy):
        change(payload, edit.message, notes)
    return payload, notes


def meter_values(*samples: dict[str, Any]) -> Payload:
    return {
        "connectorId": 1,
        "meterValue": [{"timestamp": "2024-05-01T10:00:00Z", "sampledValue": list(samples)}],
    }


# --- places


def test_a_field_is_named_by_its_path_or_by_its_end() -> None:
    assert (
        dotted(find("MeterValues", METER_VALUES, "meterValue.sampledValue.unit"))
        == "meterValue.sampledValue.unit"
    )
    assert dotted(find("MeterValues", METER_VALUES, "sampledValue.unit")) == "meterValue.sampledValue.unit"
    assert dotted(find("MeterValues", METER_VALUES, "unit")) == "meterValue.sampledValue.unit"


def test_a_name_that_is_none_or_two_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^MeterValues has no field 'phase'$"):
        find("MeterValues", METER_VALUES, "phase")
    twice = (
        Field("a", "object", fields=(Field("x", "string"),)),
        Field("b", "object", fields=(Field("x", "string"),)),
    )
    with pytest.raises(ValueError, match=r"^'x' may be a\.x or b\.x of M$"):
        find("M", twice, "x")


def test_a_path_ends_in_a_place() -> None:
    assert fits("MeterValues.meterValue.unit", "unit")
    assert fits("unit", "unit")
    assert not fits("MeterValues.meterValue.subunit", "unit")


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        (Field("e", "string", enum=("A",)), "A", "A"),
        (Field("i", "integer"), "-7", -7),
        (Field("d", "decimal", fraction_digits=1), "8.19", Decimal("8.1")),
        (Field("d", "decimal"), "16.0", 16),
        (Field("b", "boolean"), "true", True),
        (Field("b", "boolean"), "false", False),
        (Field("t", "dateTime"), "2024-05-01T10:00:00.000Z", "2024-05-01T10:00:00.000Z"),
        (Field("s", "string", max_length=3), "abc", "abc"),
        (Field("s", "string"), "", ""),
    ],
)
def test_texts_are_values_of_their_field(field: Field, text: str, value: object) -> None:
    found = typed(field, text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("field", "text", "problem"),
    [
        (Field("o", "object", fields=(Field("x", "string"),)), "", "o is an object, no value"),
        (Field("e", "string", enum=("A", "B")), "C", "'C' is not one of 'A', 'B'"),
        (Field("i", "integer"), "1.5", "'1.5' is not an integer"),
        (Field("d", "decimal"), "1e3", "'1e3' is not a number"),
        (Field("b", "boolean"), "yes", "'yes' is not true or false"),
        (Field("t", "dateTime"), "now", "'now' is not a time like 2024-05-01T10:00:00Z"),
        (Field("s", "string", max_length=3), "abcd", "'abcd' is longer than 3 characters"),
    ],
)
def test_other_texts_are_none(field: Field, text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=f"^{problem}$"):
        typed(field, text)


# --- of single fields


def test_what_is_said_of_a_field_later_rules_counting_more() -> None:
    rules = Rules(
        words=(Word("unit", "Kwh", "kWh"), Word("errorCode", "E", "OtherError")),
        fallbacks=(Fallback("unit", "Wh"), Fallback("sampledValue.unit", "A")),
        defaults=(("unit", "Wh"), ("value", "0")),
        truncated=("info",),
    )
    unit = rules.of("MeterValues.meterValue.sampledValue.unit")
    assert (unit.words, unit.fallback, unit.default, unit.truncated) == ({"Kwh": "kWh"}, "A", "Wh", False)
    assert rules.of("StatusNotification.info").truncated
    assert Rules(truncated=("*",)).of("StatusNotification.info").truncated


def test_rules_that_say_the_same_are_the_same() -> None:
    one, other = Rules("a", truncated=("x",)), Rules("a", truncated=("x",))
    assert one == other
    assert hash(one) == hash(other)
    assert one != Rules("a")


# --- set, drop, scale


def test_a_field_is_set_wherever_it_may_stand() -> None:
    payload, notes = edited(
        METER_VALUES,
        meter_values({"value": "1", "unit": "Wh"}, {"value": "2"}, {"value": "3", "unit": "A"}),
        Edit("MeterValues", set=(("unit", "A"),)),
    )
    assert [sample["unit"] for sample in payload["meterValue"][0]["sampledValue"]] == ["A", "A", "A"]
    path = "MeterValues.meterValue[0].sampledValue"
    assert notes == [
        Change(f"{path}[0].unit", "Wh", "A", "profile-set"),
        Change(f"{path}[1].unit", "", "A", "profile-set"),
    ]


def test_a_condition_is_of_the_same_item() -> None:
    payload, _ = edited(
        METER_VALUES,
        meter_values({"value": "1", "context": "Trigger"}, {"value": "2", "context": "Other"}),
        Edit("MeterValues", (Condition("context", ("Trig*",)),), set=(("unit", "A"),)),
    )
    assert payload["meterValue"][0]["sampledValue"] == [
        {"value": "1", "context": "Trigger", "unit": "A"},
        {"value": "2", "context": "Other"},
    ]


def test_all_conditions_must_hold_and_one_pattern_of_each() -> None:
    when = (Condition("connectorId", ("1", "2")), Condition("ready", ("true",)))
    for payload, set_it in (
        ({"connectorId": 1, "ready": True}, True),
        ({"connectorId": 1, "ready": False}, False),
    ):
        found, notes = edited(STATUS, {**payload}, Edit("S", when, set=(("info", "x"),)))
        assert ("info" in found, bool(notes)) == (set_it, set_it)


def test_a_condition_may_be_that_there_is_nothing() -> None:
    edit = Edit("MeterValues", (Condition("unit", (None, "Wh")),), drop=("context",))
    payload, _ = edited(
        METER_VALUES,
        meter_values(
            {"value": "1", "context": "Other"},
            {"value": "2", "context": "Other", "unit": "Wh"},
            {"value": "3", "context": "Other", "unit": "A"},
        ),
        edit,
    )
    assert ["context" in sample for sample in payload["meterValue"][0]["sampledValue"]] == [
        False,
        False,
        True,
    ]


def test_a_list_beside_holds_when_one_item_does() -> None:
    edit = Edit("MeterValues", (Condition("unit", ("A",)),), set=(("connectorId", "7"),))
    payload, _ = edited(METER_VALUES, meter_values({"value": "1"}, {"value": "2", "unit": "A"}), edit)
    assert payload["connectorId"] == 7
    payload, _ = edited(METER_VALUES, meter_values({"value": "1"}), edit)
    assert payload["connectorId"] == 1


def test_numbers_are_compared_as_they_are_written() -> None:
    edit = Edit("S", (Condition("limit", ("8.1",)),), set=(("stackLevel", "0"),))
    payload = {"profile": {"stackLevel": 3, "period": [{"start": 0, "limit": Decimal("8.1")}]}}
    assert edited(SCHEDULE, payload, edit)[0]["profile"]["stackLevel"] == 0


def test_nothing_happens_where_what_holds_the_field_is_not_there() -> None:
    assert edited(SCHEDULE, {}, Edit("S", set=(("stackLevel", "0"),))) == ({}, [])
    assert edited(SCHEDULE, {"profile": {}}, Edit("S", drop=("note", "text", "keys"))) == (
        {"profile": {}},
        [],
    )
    assert edited(SCHEDULE, {"profile": {"note": {}}}, Edit("S", drop=("text",))) == (
        {"profile": {"note": {}}},
        [],
    )


def test_what_is_dropped_is_a_loss_but_of_a_command() -> None:
    payload: Payload = {"connectorId": 1, "info": "x"}
    assert edited(STATUS, {**payload}, Edit("S", drop=("info",))) == (
        {"connectorId": 1},
        [Loss("S.info", "x", "profile-dropped", "profile acme drops it")],
    )
    _, notes = edited(STATUS, {**payload}, Edit("S", drop=("info",)), lossy=False)
    assert notes == [Change("S.info", "x", "", "profile-dropped")]


def test_items_of_lists_are_dropped_by_what_is_in_them() -> None:
    edit = Edit("MeterValues", (Condition("context", ("Trigger",)),), drop=("sampledValue",))
    samples = ({"value": "1", "context": "Trigger"}, {"value": "2"})
    payload, notes = edited(METER_VALUES, meter_values(*samples), edit)
    assert payload["meterValue"][0]["sampledValue"] == [{"value": "2"}]
    assert [note.path for note in notes] == ["MeterValues.meterValue[0].sampledValue[0]"]


def test_what_nothing_is_left_of_goes_with_it() -> None:
    """A meter value has samples; a MeterValues.req without any is answered by the gateway."""
    edit = Edit("MeterValues", (Condition("context", ("Trigger",)),), drop=("sampledValue",))
    payload, _ = edited(METER_VALUES, meter_values({"value": "1", "context": "Trigger"}), edit)
    assert payload == {"connectorId": 1}


def test_an_empty_list_stays_one() -> None:
    edit = Edit("MeterValues", drop=("sampledValue",))
    empty: Payload = {"meterValue": [{"sampledValue": []}]}
    assert edited(METER_VALUES, empty, edit) == (empty, [])
    nothing: Payload = {"meterValue": []}
    assert edited(METER_VALUES, nothing, edit) == (nothing, [])


def test_a_message_that_nothing_is_left_of_is_refused() -> None:
    payload = {"profile": {"stackLevel": 1, "period": [{"start": 0, "limit": 6}]}}
    with pytest.raises(Violation, match=r"^S\.profile: nothing is left of it, by the rules of the profile$"):
        edited(SCHEDULE, payload, Edit("S", drop=("period",)))


def test_optional_lists_and_objects_are_dropped_whole() -> None:
    payload = {"profile": {"note": {"text": "x"}, "keys": ["a", "b"]}}
    edit = Edit("S", drop=("note", "keys"))
    assert edited(SCHEDULE, payload, edit)[0] == {"profile": {}}
    payload = {"profile": {"note": {"text": "x"}}}
    kept = Edit("S", (Condition("text", ("y",)),), drop=("note",))
    assert edited(SCHEDULE, payload, kept)[0] == payload


def test_numbers_are_scaled_in_the_form_they_have() -> None:
    payload: Payload = {
        "profile": {
            "stackLevel": 3,
            "rateUnit": "A",
            "period": [{"start": 0, "limit": Decimal("8.1")}, {"start": 60}],
        }
    }
    edit = Edit(
        "S",
        (Condition("rateUnit", ("A",)),),
        scale=(("limit", Decimal(1000)), ("stackLevel", Decimal("0.5"))),
    )
    found, notes = edited(SCHEDULE, payload, edit)
    assert found["profile"]["period"] == [{"start": 0, "limit": 8100}, {"start": 60}]
    assert found["profile"]["stackLevel"] == 2  # 1.5, rounded half up
    assert notes[0] == Change("S.profile.period[0].limit", "8.1", "8100", "profile-scaled")


def test_a_limit_is_cut_towards_zero() -> None:
    payload: Payload = {"profile": {"period": [{"limit": 99}]}}
    found, _ = edited(SCHEDULE, payload, Edit("S", scale=(("limit", Decimal("0.001")),)))
    assert found["profile"]["period"] == [{"limit": 0}]


def test_texts_are_scaled_when_they_are_numbers() -> None:
    edit = Edit("MeterValues", scale=(("value", Decimal("0.001")),))
    found, notes = edited(METER_VALUES, meter_values({"value": "20500"}, {"value": "0x1F"}), edit)
    assert [sample["value"] for sample in found["meterValue"][0]["sampledValue"]] == ["20.5", "0x1F"]
    assert len(notes) == 1


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (Edit("S", set=(("note", "x"),)), "note is an object, which can only be dropped"),
        (Edit("S", set=(("period", "x"),)), "period is a list, which can only be dropped"),
        (Edit("S", set=(("rateUnit", "V"),)), "'V' is not one of 'A', 'W'"),
        (Edit("S", scale=(("rateUnit", Decimal(2)),)), "rateUnit is no number"),
        (Edit("S", drop=("stackLevel",)), "stackLevel is required and cannot be dropped"),
        (Edit("S", (Condition("note", ("x",)),), drop=("keys",)), "note is an object, no value"),
        (Edit("S", (Condition("nothing", ("x",)),), drop=("keys",)), "S has no field 'nothing'"),
    ],
)
def test_edits_that_do_not_fit_are_refused(edit: Edit, problem: str) -> None:
    with pytest.raises(ValueError, match=f"^{problem}$"):
        compile_edits(Rules(edits=(edit,)), "S", SCHEDULE, lossy=True)


# --- what the charge point says


def a_reader(payload: Payload, *notes: Note) -> Any:
    def read(value: Any, path: str, found: list[Note]) -> Payload:
        found += notes
        return payload

    return read


def test_what_is_read_is_changed() -> None:
    rules = Rules("acme", edits=(Edit("S", set=(("info", "x"),)), Edit("Other", drop=("nothing",))))
    notes: list[Note] = []
    assert after_reading(rules, "S", STATUS, a_reader({"connectorId": 1}))(None, "S", notes) == {
        "connectorId": 1,
        "info": "x",
    }
    assert notes == [Change("S.info", "", "x", "profile-set")]


def test_a_reader_that_no_rule_is_for_stays_what_it_is() -> None:
    read = a_reader({})
    rules = Rules("acme", fallbacks=(Fallback("status", "X", ("info",)), Fallback("errorCode", "OtherError")))
    assert after_reading(rules, "S", STATUS, read) is read


def test_what_a_fallback_was_read_for_is_kept() -> None:
    rules = Rules(
        "acme", fallbacks=(Fallback("S.errorCode", "OtherError", ("vendorErrorCode", "info", "more")),)
    )
    note = Change("S.errorCode", "Earth leak", "OtherError", "profile-fallback")
    other = Change("S.errorCode", "x", "y", "trimmed")
    elsewhere = Change("S.list[0].word", "x", "y", "profile-fallback")
    for payload, name, kept in (
        ({}, "vendorErrorCode", "Earth leak"),
        ({"vendorErrorCode": "E7"}, "info", "Earth "),  # as long as it may be
    ):
        notes: list[Note] = []
        read = after_reading(rules, "S", STATUS, a_reader({**payload}, other, elsewhere, note))
        assert read(None, "S", notes) == {**payload, name: kept}
        assert notes[3:] == [Change(f"S.{name}", "", kept, "profile-kept")]


def test_what_has_no_room_is_not_kept() -> None:
    rules = Rules("acme", fallbacks=(Fallback("S.errorCode", "OtherError", ("info",)),))
    note = Change("S.errorCode", "Earth leak", "OtherError", "profile-fallback")
    notes: list[Note] = []
    assert after_reading(rules, "S", STATUS, a_reader({"info": "x"}, note))(None, "S", notes) == {"info": "x"}
    assert notes == [note]


# --- what it is told


def written(payload: Payload, path: str, notes: list[Note]) -> Any:
    return payload


def test_what_is_written_is_changed_and_the_payload_is_not() -> None:
    payload: Payload = {"profile": {"stackLevel": 3, "period": [{"start": 0, "limit": Decimal("8.1")}]}}
    rules = Rules("acme", edits=(Edit("S", set=(("stackLevel", "0"),), scale=(("limit", Decimal(10)),)),))
    for write in (written, None):
        notes: list[Note] = []
        changing = before_writing(rules, "S", SCHEDULE, SCHEDULE, write, lossy=False)
        assert changing is not None
        assert changing(payload, "S", notes) == {
            "profile": {"stackLevel": 0, "period": [{"start": 0, "limit": 81}]}
        }
        assert len(notes) == 2
        assert payload["profile"]["stackLevel"] == 3
        assert payload["profile"]["period"][0]["limit"] == Decimal("8.1")


def test_a_writer_that_no_rule_is_for_stays_what_it_is() -> None:
    rules = Rules("acme", aliases=(Alias("Other", "info", "text"),))
    assert before_writing(rules, "S", STATUS, STATUS, written, lossy=True) is written
    assert before_writing(rules, "S", STATUS, STATUS, None, lossy=True) is None


@pytest.mark.parametrize(
    ("precision", "time", "becomes"),
    [
        ("seconds", "2024-05-01T10:00:00.123Z", "2024-05-01T10:00:00Z"),
        ("seconds", "2024-05-01T10:00:00Z", "2024-05-01T10:00:00Z"),
        ("milliseconds", "2024-05-01T10:00:00Z", "2024-05-01T10:00:00.000Z"),
        ("milliseconds", "2024-05-01T10:00:00.123Z", "2024-05-01T10:00:00.123Z"),
    ],
)
def test_times_have_the_precision_that_is_wanted(precision: Any, time: str, becomes: str) -> None:
    write = before_writing(Rules(precision=precision), "M", METER_VALUES, METER_VALUES, None, lossy=True)
    assert write is not None
    notes: list[Note] = []
    payload = {"meterValue": [{"timestamp": time}, {}]}
    assert write(payload, "M", notes) == {"meterValue": [{"timestamp": becomes}, {}]}
    path = "M.meterValue[0].timestamp"
    assert notes == ([] if time == becomes else [Change(path, time, becomes, "profile-time")])


@pytest.mark.parametrize("instead", [False, True])
def test_a_field_is_written_under_another_name(instead: bool) -> None:
    alias = Alias("S", "info", "text", instead)
    rules = Rules("acme", aliases=(alias, Alias("S", "info", "connectorId")))
    write = before_writing(rules, "S", STATUS, STATUS, None, lossy=True)
    assert write is not None
    notes: list[Note] = []
    found = write({"connectorId": 1, "info": "x"}, "S", notes)
    assert found == (
        {"connectorId": 1, "text": "x"} if instead else {"connectorId": 1, "info": "x", "text": "x"}
    )
    assert notes == [Change("S.info", "info", "text", "profile-alias")]
    assert write({"connectorId": 1}, "S", []) == {"connectorId": 1}


def test_the_other_name_stands_behind_the_first() -> None:
    rules = Rules(
        "acme", aliases=(Alias("S", "connectorId", "evse", instead=True), Alias("S", "info", "ready"))
    )
    fields = with_aliases(rules, "S", STATUS)
    assert [field.name for field in fields][:3] == ["connectorId", "evse", "errorCode"]
    assert [field.min_items for field in fields][:2] == [0, 0]
    assert len(fields) == len(STATUS) + 1  # there is a field of the other name already
    assert with_aliases(None, "S", STATUS) is STATUS
