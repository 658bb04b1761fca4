"""Plain values: every form in which one is read, and the one form in which it is written."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from tests.ocpp.strategies import ANYTHING, CHARACTERS
from wattbridge.ocpp.errors import Violation, shown
from wattbridge.ocpp.messages import Change, Loss, Note
from wattbridge.ocpp.rules import Fallback, Rules, Word
from wattbridge.ocpp.shapes import Field, Kind
from wattbridge.ocpp.values import (
    Options,
    compile_attribute_writer,
    compile_value_readers,
    compile_value_writer,
    escape,
    expected_values,
)

INTEGER = Field("connectorId", "integer")
METER = Field("meterStart", "integer")
LIMIT = Field("limit", "decimal", fraction_digits=1)
DECIMAL = Field("any", "decimal")
FLAG = Field("readonly", "boolean")
TIME = Field("timestamp", "dateTime")
UNIT = Field("unit", "string", min_items=0, enum=("Celsius", "W", "A", "Hertz"))
SOAP_UNIT = Field("unit", "string", min_items=0, enum=("Celsius", "W", "A"))
ID_TAG = Field("idTag", "string", "IdToken", max_length=20)
INFO = Field("info", "string", "CiString50Type", max_length=5)
DATA = Field("data", "string")
LOCATION = Field("location", "uri")


def from_text(field: Field, text: str, options: Options | None = None) -> tuple[Any, list[Note]]:
    """*text* read as the readers of payloads do it: quickly if possible."""
    readers = compile_value_readers(field, options or Options(), f"Some.{field.name}")
    notes: list[Note] = []
    value = readers.quick_text(text)
    return (value, []) if value is not None else (readers.read_text(text, "p", notes), notes)


def from_json(field: Field, value: Any, path: str = "") -> tuple[Any, list[Note]]:
    readers = compile_value_readers(field, Options(), path or f"Some.{field.name}")
    notes: list[Note] = []
    read = readers.quick_json(value) if type(value) is readers.json_type else None
    return (read, []) if read is not None else (readers.read_json(value, "p", notes), notes)


def to_xml(field: Field, value: Any) -> tuple[str, list[Note]]:
    quick, write = compile_value_writer(field, "t")
    notes: list[Note] = []
    element = quick(value)
    slow = write(value, "p", notes)
    assert element is None or element == slow
    return slow, notes


def refused(field: Field, value: Any, *, json: bool = False) -> Violation:
    with pytest.raises(Violation) as caught:
        (from_json if json else from_text)(field, value)
    assert caught.value.path == "p"
    return caught.value


# ---------------------------------------------------------------------------- integers


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7),
        (" 7\n", 7),
        ("-1", -1),
        ("+5", 5),
        ("007", 7),
        ("-0", 0),
        ("2147483648", 2**31),
        ("99999999999999999999", 99999999999999999999),
        ("9" * 40, 10**40 - 1),
    ],
)
def test_integers_of_any_size_are_read(text: str, value: int) -> None:
    """steve #740: Alfen's transaction ids are beyond int32."""
    assert from_text(INTEGER, text) == (value, [])


@pytest.mark.parametrize(
    "text",
    ["seven", "7a", "0x7", "1e3", "1_000", "٧", "²", "--7", "9" * 41, "7.5", "", ".", "7,0", "\u00a07x"],
)
def test_other_texts_are_no_integers(text: str) -> None:
    broken = refused(INTEGER, text)
    assert broken.code == "TypeConstraintViolation"
    assert broken.problem.endswith(" is not an integer, which was expected")


def test_an_integer_with_a_fraction_of_zero_is_an_integer() -> None:
    assert from_text(INTEGER, "7.0") == (7, [Change("p", "7.0", "7", "integer-form")])
    assert from_json(INTEGER, Decimal("300.00")) == (300, [Change("p", "300.00", "300", "integer-form")])
    assert from_json(INTEGER, 7.0) == (7, [Change("p", "7.0", "7", "integer-form")])
    assert from_text(METER, "7.") == (7, [Change("p", "7.", "7", "integer-form")])
    assert from_text(INTEGER, "-.0") == (0, [Change("p", "-.0", "0", "integer-form")])
    assert from_text(INTEGER, "9" * 40 + ".0")[0] == 10**40 - 1


@pytest.mark.parametrize(
    ("text", "value"), [("10.5", 11), ("10.49", 10), ("-1.5", -2), (".7", 1), (" 1234.6 ", 1235), ("0.2", 0)]
)
def test_meters_are_rounded(text: str, value: int) -> None:
    assert from_text(METER, text) == (
        value,
        [Loss("p", text.strip(), "rounded", f"an integer belongs here: written as {value}")],
    )


def test_a_transaction_is_never_rounded() -> None:
    """The nearest one would be somebody else's."""
    assert refused(Field("transactionId", "integer"), "7.5").code == "TypeConstraintViolation"
    assert (
        refused(Field("transactionId", "integer"), Decimal("7.5"), json=True).code
        == "TypeConstraintViolation"
    )


def test_meters_read_what_every_integer_reads() -> None:
    assert from_text(METER, "10") == (10, [])
    assert refused(METER, "ten").code == "TypeConstraintViolation"


def test_numbers_in_quotes_are_numbers() -> None:
    assert from_json(INTEGER, " 7 ") == (7, [Change("p", " 7 ", "7", "text-as-number")])
    assert from_json(LIMIT, "16.5") == (Decimal("16.5"), [Change("p", "16.5", "16.5", "text-as-number")])


@pytest.mark.parametrize(
    "number",
    [10**40, -(10**40), 10**5000, 1e40, 1e308, Decimal("1e999999"), Decimal("1e-41"), Decimal("0e500")],
    ids=shown,
)
@pytest.mark.parametrize("field", [INTEGER, METER, LIMIT, DATA, TIME, UNIT], ids=lambda field: field.name)
def test_numbers_out_of_range_are_refused(field: Field, number: Any) -> None:
    broken = refused(field, number, json=True)
    assert broken.code == "PropertyConstraintViolation"
    assert broken.problem.endswith(" is out of range, expected a number of at most 40 digits")
    assert len(broken.problem) < 150


@pytest.mark.parametrize("number", [float("nan"), float("inf"), Decimal("-Infinity"), Decimal("sNaN")])
def test_what_is_no_number_is_refused(number: Any) -> None:
    assert refused(LIMIT, number, json=True).code == "PropertyConstraintViolation"
    with pytest.raises(Violation, match="out of range"):
        from_json(DATA, [number], "DataTransfer.data")


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"a": 1}, 'found object {"a": 1}, expected an integer'),
        ([1, 2], "found array [1, 2], expected an integer"),
        (True, "found true, expected an integer"),
        (None, "found null, expected an integer"),
    ],
)
def test_what_is_no_number_at_all_is_named(value: Any, problem: str) -> None:
    broken = refused(INTEGER, value, json=True)
    assert (broken.code, broken.problem) == ("TypeConstraintViolation", problem)


# ---------------------------------------------------------------------------- decimals


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("16", 16),
        ("8.1", Decimal("8.1")),
        (" 8.1 ", Decimal("8.1")),
        ("7400.0", Decimal("7400.0")),
        (".5", Decimal("0.5")),
        ("-0.5", Decimal("-0.5")),
        ("5.", Decimal("5")),
        ("8.10", Decimal("8.1")),
        ("9" * 40 + ".9", Decimal("9" * 40 + ".9")),
    ],
)
def test_decimals_stay_exact(text: str, value: Any) -> None:
    """SteVe writes 7400.0; and 8.1 must not become 8.0999 (citrineos-core #959)."""
    read, notes = from_text(LIMIT, text)
    assert (read, str(read), notes) == (value, str(value), [])


@pytest.mark.parametrize("tenths", range(0, 401))
def test_every_tenth_is_a_multiple_of_a_tenth(tenths: int) -> None:
    """134 of these fail in binary arithmetic (mikuso/ocpp-rpc #50)."""
    value = Decimal(tenths) / 10
    assert from_json(LIMIT, float(value)) == (value, [])
    assert from_json(LIMIT, value) == (value, [])


def test_more_digits_than_one_are_cut_towards_zero() -> None:
    """A limit must never become larger than was asked for (ev-server #3453)."""
    reason = "1 digit(s) after the point can be said: written as 15.9"
    assert from_text(LIMIT, "15.999") == (Decimal("15.9"), [Loss("p", "15.999", "rounded", reason)])
    assert from_text(LIMIT, "-15.99")[0] == Decimal("-15.9")
    assert from_text(LIMIT, ".99")[0] == Decimal("0.9")
    assert from_json(LIMIT, 8.100000000000001)[0] == Decimal("8.1")
    assert from_text(LIMIT, "1" * 39 + ".55")[0] == Decimal("1" * 39 + ".5")
    value, notes = from_json(LIMIT, Decimal("0." + "1" * 5000))
    assert value == Decimal("0.1")
    assert len(notes[0].value) == 60


def test_a_decimal_without_a_facet_keeps_its_digits() -> None:
    assert from_text(DECIMAL, "1.2345") == (Decimal("1.2345"), [])
    assert from_json(DECIMAL, Decimal("1E+2")) == (100, [])


@pytest.mark.parametrize("text", ["", ".", "1e3", "NaN", "INF", "1,5", "1.5.5", "١.٥", "1" * 41])
def test_other_texts_are_no_decimals(text: str) -> None:
    broken = refused(LIMIT, text)
    assert broken.code == "TypeConstraintViolation"
    assert broken.problem.endswith("is not a decimal number, which was expected")


def test_a_wrong_type_is_no_decimal() -> None:
    assert refused(LIMIT, [], json=True).problem == "found array [], expected a number"


# ---------------------------------------------------------------------------- booleans


@pytest.mark.parametrize("text", ["true", "TRUE", "True", "1", " true\n"])
def test_true_is_read_in_every_spelling(text: str) -> None:
    assert from_text(FLAG, text) == (True, [])


@pytest.mark.parametrize("text", ["false", "FALSE", "0", " 0 "])
def test_false_is_read_in_every_spelling(text: str) -> None:
    assert from_text(FLAG, text) == (False, [])


def test_booleans_of_json_may_stand_in_quotes_or_be_numbers() -> None:
    assert from_json(FLAG, True) == (True, [])
    assert from_json(FLAG, False) == (False, [])
    assert from_json(FLAG, " TRUE\n") == (True, [Change("p", " TRUE\\n", "true", "text-as-boolean")])
    assert from_json(FLAG, 0) == (False, [Change("p", "0", "false", "text-as-boolean")])


@pytest.mark.parametrize("value", ["yes", "", "2", 2, 1.0, None, []])
def test_other_values_are_no_booleans(value: Any) -> None:
    assert refused(FLAG, value, json=True).code == "TypeConstraintViolation"


def test_a_wrong_boolean_is_named() -> None:
    assert refused(FLAG, "perhaps").problem == "'perhaps' is not 'true' or 'false'"
    assert refused(FLAG, 1.5, json=True).problem == "found number 1.5, expected a boolean"


# ---------------------------------------------------------------------------- times


def test_times_are_read_by_the_options() -> None:
    """times.py has the forms; here is only that the options arrive."""
    assert from_text(TIME, "2024-05-01T10:00:00Z") == ("2024-05-01T10:00:00Z", [])
    options = Options(zone="Europe/Berlin", milliseconds=True)
    assert from_text(TIME, "2024-05-01T10:00:00", options)[0] == "2024-05-01T08:00:00.000Z"
    value, notes = from_json(TIME, 1662550826863)
    assert value == "2022-09-07T11:40:26Z"
    assert [note.rule for note in notes] == ["number-as-text", "epoch"]


# ---------------------------------------------------------------------------- words


def test_words_are_read_with_blanks_around_them() -> None:
    assert from_text(UNIT, "W") == ("W", [])
    assert from_text(UNIT, "\n  W\n") == ("W", [Change("p", "\\n  W\\n", "W", "trimmed")])
    assert from_json(UNIT, " W") == ("W", [Change("p", " W", "W", "trimmed")])
    notes: list[Note] = []
    assert compile_value_readers(UNIT, Options(), "Some.unit").read_text("W", "p", notes) == "W"
    assert notes == []


@pytest.mark.parametrize(
    ("seen", "meant"), [("Celcius", "Celsius"), ("C", "Celsius"), (" Amp ", "A"), ("Hz", "Hertz")]
)
def test_other_words_for_the_same_are_understood(seen: str, meant: str) -> None:
    assert from_text(UNIT, seen) == (meant, [Change("p", seen, meant, "value-alias")])


def test_a_spelling_in_the_schema_is_still_only_a_spelling() -> None:
    """The JSON schemas list Celcius and Celsius; inside there is one (OCPP-J 1.6 errata, 2.1)."""
    field = Field("unit", "string", enum=("Celcius", "Celsius"))
    assert from_json(field, "Celcius") == ("Celsius", [Change("p", "Celcius", "Celsius", "value-alias")])


def test_a_unit_that_cannot_be_said_is_dropped_and_noted() -> None:
    reason = "there is no such unit here; the measurand Frequency says it"
    assert from_text(SOAP_UNIT, "Hz") == (None, [Loss("p", "Hz", "unsayable-unit", reason)])


@pytest.mark.parametrize("form", [from_text, from_json])
def test_a_word_in_another_letter_case_is_the_same_word(form: Any) -> None:
    assert form(UNIT, " hertz ") == ("Hertz", [Change("p", " hertz ", "Hertz", "value-alias")])
    assert form(UNIT, "w") == ("W", [Change("p", "w", "W", "value-alias")])


def test_an_unknown_word_is_refused_with_what_was_expected() -> None:
    broken = refused(UNIT, "Watts")
    assert broken.code == "PropertyConstraintViolation"
    assert broken.problem == "'Watts' is not one of 'Celsius', 'W', 'A', 'Hertz'"
    assert refused(UNIT, "ww").problem.startswith("'ww' is not one of")
    assert refused(UNIT, ["W"], json=True).problem == 'found array ["W"], expected a string'
    assert refused(UNIT, 5, json=True).problem.startswith("'5' is not one of")


def test_an_error_lists_at_most_24_words() -> None:
    assert expected_values("ab") == "'a', 'b'"
    assert expected_values(str(n) for n in range(30)).endswith("'22', '23', …")


# ---------------------------------------------------------------------------- strings


def test_strings_are_kept_as_they_are() -> None:
    text = " a\r\n\tb "
    assert from_text(DATA, text) == (text, [])
    assert from_json(DATA, text) == (text, [])
    assert from_json(DATA, "ÄÖ €") == ("ÄÖ €", [])
    assert from_json(DATA, "") == ("", [])


def test_ids_and_addresses_are_trimmed() -> None:
    """Pretty-printing charge points put line ends around them; SteVe would not know the tag."""
    assert from_text(ID_TAG, "04A2") == ("04A2", [])
    assert from_text(ID_TAG, "\n  04A2 ") == ("04A2", [Change("p", "\\n  04A2 ", "04A2", "trimmed")])
    assert from_json(LOCATION, " ftp://x/ ") == (
        "ftp://x/",
        [Change("p", " ftp://x/ ", "ftp://x/", "trimmed")],
    )
    assert from_text(ID_TAG, " " * 30 + "x" * 20)[0] == "x" * 20


def test_a_string_that_is_too_long_is_refused() -> None:
    broken = refused(ID_TAG, "x" * 21)
    assert broken.code == "PropertyConstraintViolation"
    assert broken.problem == f"'{'x' * 21}' has 21 characters, expected at most 20"
    assert refused(INFO, "x" * 100_000).problem == f"'{'x' * 57}…' has 100000 characters, expected at most 5"
    assert from_text(INFO, "💡" * 5) == ("💡" * 5, [])
    assert from_json(INFO, "💡" * 5) == ("💡" * 5, [])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (230, "230"),
        (0, "0"),
        (Decimal("8.10"), "8.10"),
        (8.1, "8.1"),
        (1e22, "10000000000000000000000"),
        (Decimal("1E-7"), "0.0000001"),
        (True, "true"),
        (False, "false"),
    ],
)
def test_numbers_without_quotes_are_texts(value: Any, text: str) -> None:
    """OpenEVSE #335: the value of a sample is a string, and comes as a number."""
    assert from_json(DATA, value) == (text, [Change("p", text, text, "number-as-text")])


def test_other_things_are_no_texts() -> None:
    assert refused(DATA, {"a": 1}, json=True).problem == 'found object {"a": 1}, expected a string'


def test_data_may_be_anything() -> None:
    value = {"ü": ["<&>", Decimal("1.50"), 2**70, None, True, 1.5, {}], "e": Decimal("1E+50")}
    text = '{"ü":["<&>",1.50,1180591620717411303424,null,true,1.5,{}],"e":1E+50}'
    read, notes = from_json(DATA, value, "DataTransfer.data")
    assert read == text
    assert notes == [Change("p", text[:59] + "…", text[:59] + "…", "data-as-text")]
    with pytest.raises(Violation, match="a number of 16610 bits is out of range"):
        from_json(DATA, [10**5000], "DataTransfer.data")


def test_data_is_not_followed_into_the_deep() -> None:
    deep: Any = "bottom"
    for _ in range(64):
        deep = [deep]
    assert from_json(DATA, deep, "DataTransfer.data")[0] == "[" * 64 + '"bottom"' + "]" * 64
    with pytest.raises(Violation, match="is nested deeper than 64, expected a string") as caught:
        from_json(DATA, {"a": deep}, "DataTransferResponse.data")
    assert caught.value.code == "FormationViolation"


def test_half_a_surrogate_pair_is_no_character() -> None:
    reason = "half of a surrogate pair is no character: written as U+FFFD"
    assert from_json(DATA, "a\ud800b") == ("a\ufffdb", [Loss("p", "a\\ud800b", "not-unicode", reason)])
    assert from_json(ID_TAG, "\udfff") == ("\ufffd", [Loss("p", "\\udfff", "not-unicode", reason)])
    assert from_json(DATA, ["\ud800", {"\udfff": 1}], "DataTransfer.data")[0] == '["\ufffd",{"\ufffd":1}]'


# ---------------------------------------------------------------------------- writing


@pytest.mark.parametrize(
    ("field", "value", "element"),
    [
        (INTEGER, 2**70, "<t>1180591620717411303424</t>"),
        (INTEGER, -1, "<t>-1</t>"),
        (LIMIT, Decimal("8.1"), "<t>8.1</t>"),
        (LIMIT, Decimal("1E+2"), "<t>100</t>"),
        (LIMIT, 16, "<t>16</t>"),
        (FLAG, True, "<t>true</t>"),
        (FLAG, False, "<t>false</t>"),
        (TIME, "2024-05-01T10:00:00Z", "<t>2024-05-01T10:00:00Z</t>"),
        (UNIT, "W", "<t>W</t>"),
        (DATA, "", "<t></t>"),
        (DATA, "a<b>&c]]>", "<t>a&lt;b&gt;&amp;c]]&gt;</t>"),
        (DATA, "\r\n\t", "<t>&#13;\n\t</t>"),
        (LOCATION, "http://x/?a=1&b=2", "<t>http://x/?a=1&amp;b=2</t>"),
    ],
)
def test_values_are_written_in_one_form(field: Field, value: Any, element: str) -> None:
    assert to_xml(field, value) == (element, [])


def test_a_word_that_soap_cannot_say_is_dropped_and_noted() -> None:
    reason = "there is no such unit here; the measurand Frequency says it"
    assert to_xml(SOAP_UNIT, "Hertz") == ("", [Loss("p", "Hertz", "unsayable-unit", reason)])


def test_a_word_that_must_be_said_and_cannot_is_refused() -> None:
    required = Field("unit", "string", enum=("W",))
    for field, value in ((required, "Hertz"), (SOAP_UNIT, "Furlong")):
        with pytest.raises(Violation, match=f"p: '{value}' is not one of 'W'|'Celsius'"):
            to_xml(field, value)


@pytest.mark.parametrize("character", ["\0", "\x08", "\x0b", "\x1f", "\ufffe", "\uffff", "\ud800"])
def test_a_character_that_xml_does_not_have_is_replaced_and_noted(character: str) -> None:
    element, notes = to_xml(DATA, f"a{character}<")
    assert element == "<t>a\ufffd&lt;</t>"
    assert [(note.path, note.rule) for note in notes] == [("p", "not-xml")]
    assert isinstance(notes[0], Loss)
    assert notes[0].reason == "XML has no such character: written as U+FFFD"


def test_text_is_escaped_without_notes_where_nobody_asks_for_them() -> None:
    assert escape("plain") == "plain"
    assert escape("a\0&") == "a\ufffd&amp;"


# ---------------------------------------------------------------------------- what holds for all


@given(text=st.text(CHARACTERS))
def test_every_text_survives_its_element(text: str) -> None:
    element, notes = to_xml(DATA, text)
    assert notes == []
    assert (etree.fromstring(element).text or "") == text


@given(text=st.text(st.characters()))
def test_every_text_becomes_well_formed_xml(text: str) -> None:
    assert etree.fromstring(to_xml(DATA, text)[0]) is not None


KINDS: list[Kind] = ["string", "integer", "decimal", "boolean", "dateTime", "uri"]


@pytest.mark.parametrize("kind", KINDS)
@given(value=ANYTHING | st.text())
def test_anything_is_read_or_refused(kind: Kind, value: Any) -> None:
    field = Field("data", kind, max_length=20 if kind == "string" else None)
    for path in ("Some.data", "DataTransfer.data"):
        try:
            read, notes = from_json(field, value, path)
        except Violation as broken:
            problem = broken.problem
        else:
            assert all(len(note.value) <= 60 for note in notes)
            # And what was read can be written, and read again.
            element, _ = to_xml(field, read)
            text = etree.fromstring(element).text or ""
            assert from_text(field, text)[0] == read or "\ufffd" in text
            continue
        assert 0 < len(problem) < 200


def test_a_word_is_written_as_an_attribute_with_the_blank_before_it() -> None:
    write = compile_attribute_writer(SOAP_UNIT)
    notes: list[Note] = []
    assert write("A", "p", notes) == ' unit="A"'
    assert write("Hertz", "p", notes) == ""
    assert [note.rule for note in notes] == ["unsayable-unit"]
    with pytest.raises(Violation, match="'furlong' is not one of"):
        write("furlong", "p", notes)


def test_a_word_that_stands_for_another_stands_for_itself_where_there_is_no_other() -> None:
    of_1_5 = Field("unit", "string", min_items=0, enum=("Wh", "Amp", "Volt"))
    assert from_text(of_1_5, "Amp") == ("Amp", [])
    assert from_text(of_1_5, "amp") == ("Amp", [Change("p", "amp", "Amp", "value-alias")])


# --- by the rules of a profile


def by_rules(field: Field, value: str, rules: Rules) -> tuple[Any, list[Note]]:
    """*value* read from an element, and the same from JSON."""
    options, path = Options(rules=rules), f"Some.{field.name}"
    readers = compile_value_readers(field, options, path)
    notes: list[Note] = []
    quick = readers.quick_text(value)
    found = quick if quick is not None else readers.read_text(value, "p", notes)
    json_notes: list[Note] = []
    quick = readers.quick_json(value)
    assert (quick if quick is not None else readers.read_json(value, "p", json_notes)) == found
    assert json_notes == notes
    return found, notes


def test_a_word_of_a_profile_is_read_whatever_the_schema_says() -> None:
    rules = Rules(words=(Word("unit", "Watt", "W"), Word("unit", "A", "W")))
    for seen in ("Watt", "A"):
        assert by_rules(UNIT, seen, rules) == ("W", [Change("p", seen, "W", "profile-value")])
    assert by_rules(UNIT, "Celsius", rules) == ("Celsius", [])
    assert by_rules(UNIT, "C", rules) == ("Celsius", [Change("p", "C", "Celsius", "value-alias")])


def test_an_unknown_word_becomes_what_a_profile_names() -> None:
    rules = Rules(fallbacks=(Fallback("unit", "W"),))
    assert by_rules(UNIT, "furlong", rules) == ("W", [Change("p", "furlong", "W", "profile-fallback")])
    with pytest.raises(Violation, match="is not one of"):
        by_rules(UNIT, "furlong", Rules(fallbacks=(Fallback("other", "W"),)))


def test_a_text_is_cut_where_a_profile_says_so() -> None:
    reason = "7 characters, at most 5 may stand here: cut"
    loss = Loss("p", "1234567", "profile-truncated", reason)
    assert by_rules(INFO, "1234567", Rules(truncated=("info",))) == ("12345", [loss])
    with pytest.raises(Violation, match="expected at most 5"):
        by_rules(INFO, "1234567", Rules(truncated=("other",)))


def test_a_field_with_a_default_is_absent_when_it_is_empty() -> None:
    readers = compile_value_readers(INFO, Options(rules=Rules(defaults=(("info", "x"),))), "Some.info")
    assert not readers.keeps_empty
    for blank in ("", "  "):
        assert readers.quick_text(blank) is None
        assert readers.quick_json(blank) is None
    assert readers.quick_text("abc") == "abc"


def test_a_z_may_stand_behind_local_time() -> None:
    readers = compile_value_readers(
        TIME, Options(zone="Europe/Berlin", rules=Rules(z_is_local=True)), "Some.timestamp"
    )
    notes: list[Note] = []
    assert readers.quick_text("2019-05-10T16:05:33Z") is None
    assert readers.read_text("2019-05-10T16:05:33Z", "p", notes) == "2019-05-10T14:05:33Z"
    assert [note.rule for note in notes] == ["profile-time"]
