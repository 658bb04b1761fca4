"""One plain value of one field: from the text of an element, from what JSON has, and into an element again.

Each comes as a pair. The quick function takes the usual form and gives None for everything else; the other
one knows every form that is tolerated, notes what it changed and raises Violation for the rest.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from wattbridge.ocpp.errors import Violation, excerpt, shown
from wattbridge.ocpp.messages import Change, Loss, Note, add_note
from wattbridge.ocpp.rules import FieldRules, Rules
from wattbridge.ocpp.shapes import Field
from wattbridge.ocpp.times import date_time_reader, usual_date_time
from wattbridge.ocpp.tolerances import (
    ANYTHING_AS_TEXT,
    BOOLEANS,
    ROUNDED,
    UNSAYABLE,
    VALUE_ALIASES,
    WORDS_OF_15,
)

Quick = Callable[[Any], Any]
TextReader = Callable[[str, str, list[Note]], Any]
ValueReader = Callable[[Any, str, list[Note]], Any]
ElementWriter = Callable[[Any, str, list[Note]], str]

DIGITS = 40  # of a number, before the point and after it; the largest that OCPP means has ten
_LARGEST = 10**DIGITS
DEEPEST = 64  # arrays and objects inside each other

_INTEGER = re.compile(rf"[+-]?\d{{1,{DIGITS}}}", re.ASCII)
_DECIMAL = re.compile(rf"[+-]?(?:\d{{1,{DIGITS}}}(?:\.\d*)?|\.\d+)", re.ASCII)
_SURROGATE = re.compile("[\ud800-\udfff]")
# What must not stand as it is in the text of an XML element: markup, the carriage return that parsers turn
# into a line feed, and characters XML 1.0 does not have at all.
_XML_SPECIAL = re.compile("[<>&\r\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class Options:
    """What a configuration may choose about reading and writing payloads.

    ``zone`` is the zone of times without offset, ``celsius`` how the unit is spelled towards JSON,
    ``prefix`` the XML prefix of written elements (NKT charge points know only theirs: steve #12). ``rules``
    are those of a charge point's profile; with them, even empty ones, payloads are read and written anew
    where they could pass as they are.
    """

    zone: str = "UTC"
    milliseconds: bool = False
    celsius: str = "Celsius"
    prefix: str = "ocpp"
    rules: Rules | None = None


@dataclass(frozen=True, slots=True)
class ValueReaders:
    """How one field is read.

    ``quick_text`` and ``read_text`` take the text of an element, ``quick_json`` and ``read_json`` what JSON
    has; ``quick_json`` is for values of exactly ``json_type``. A reader gives None for what was dropped.
    ``keeps_empty``: an empty text is a value, and not the absence of one; ``takes_anything``: so is the text
    of whatever stands there.
    """

    quick_text: Quick
    read_text: TextReader
    json_type: type
    quick_json: Quick
    read_json: ValueReader
    keeps_empty: bool = False
    takes_anything: bool = False


def compile_value_readers(field: Field, options: Options, path: str) -> ValueReaders:
    """Make the readers of one plain field; *path* names it in the tables of tolerances (``Reset.type``)."""
    own = NO_RULES if options.rules is None else options.rules.of(path)
    readers = _word(field.name, field.enum, own) if field.enum else _other(field, options, path, own)
    return readers if own.default is None else _empty_is_absent(readers)


NO_RULES = FieldRules({})


def _other(field: Field, options: Options, path: str, own: FieldRules) -> ValueReaders:
    usual: Quick
    read: TextReader
    if field.kind in ("integer", "decimal"):
        if field.kind == "decimal":
            read = _decimal_reader(field.fraction_digits)
        else:
            read = _read_measured_integer if field.name in ROUNDED else _read_integer
        expected = "an integer" if field.kind == "integer" else "a number"
        return ValueReaders(_usual_integer, read, int, _in_range, _number_reader(read, expected))
    if field.kind == "boolean":
        usual = {"true": True, "false": False}.get
        return ValueReaders(usual, _read_boolean, bool, _itself, _read_json_boolean)
    if field.kind == "dateTime":
        z_is_local = options.rules is not None and options.rules.z_is_local
        usual = usual_date_time(milliseconds=options.milliseconds, z_is_local=z_is_local)
        read = date_time_reader(options.zone, milliseconds=options.milliseconds, z_is_local=z_is_local)
        return ValueReaders(usual, read, str, usual, _string_reader(read))
    longest = sys.maxsize if field.max_length is None else field.max_length
    if field.kind == "uri" or field.type_name == "IdToken":
        # Surrounding blanks are no part of ids and addresses; they are part of every other string.
        usual, read = _usual_token(longest), _token_reader(longest)
    else:
        usual, read = _usual_string(longest), _text_reader(longest, cut=own.truncated)
    takes_anything = path in ANYTHING_AS_TEXT
    read_json = _string_reader(read, takes_anything=takes_anything)
    return ValueReaders(
        usual,
        read,
        str,
        _unless_surrogates(usual),
        read_json,
        keeps_empty=True,
        takes_anything=takes_anything,
    )


def _empty_is_absent(readers: ValueReaders) -> ValueReaders:
    """The same for a field that a profile has a default for: nothing in it, or blanks, is no value."""

    def unless_empty(quick: Quick) -> Quick:
        return lambda value: quick(value) if str(value).strip() else None

    return replace(
        readers,
        quick_text=unless_empty(readers.quick_text),
        quick_json=unless_empty(readers.quick_json),
        keeps_empty=False,
    )


# ---------------------------------------------------------------------------- words and strings


def _word(name: str, values: Iterable[str], own: FieldRules = NO_RULES) -> ValueReaders:
    # A value that stands for another is no value of its own, even where a schema lists it (Celcius). In 1.5,
    # Amp stands for itself.
    values = tuple(values)
    aliases = {
        seen: meant
        for (field_name, seen), meant in VALUE_ALIASES.items()
        if field_name == name
        and (meant in values or seen not in values)
        and not ((name, seen) in WORDS_OF_15 and seen in values)
    }
    # The words of a profile come first, whatever the schema says of them.
    own_words: Mapping[str, str] = own.words
    allowed = {value: value for value in values if value not in aliases and value not in own_words}
    # No two words of one enumeration differ in case alone.
    folded = {value.lower(): value for value in allowed}

    def read(text: str, path: str, notes: list[Note]) -> str | None:
        bare = text.strip()
        if bare in own_words:
            add_note(notes, Change(path, excerpt(text), own_words[bare], "profile-value"))
            return own_words[bare]
        meant = aliases.get(bare, bare)
        if meant not in allowed:
            meant = folded.get(bare.lower(), meant)
        if meant in allowed:
            if meant != text:
                rule = "trimmed" if meant == bare else "value-alias"
                add_note(notes, Change(path, excerpt(text), meant, rule))
            return meant
        if (name, meant) in UNSAYABLE:
            add_note(notes, Loss(path, excerpt(text), "unsayable-unit", UNSAYABLE[name, meant]))
            return None
        if own.fallback is not None:
            add_note(notes, Change(path, excerpt(bare), own.fallback, "profile-fallback"))
            return own.fallback
        raise Violation(
            "PropertyConstraintViolation", path, f"{shown(text)} is not one of {expected_values(allowed)}"
        )

    return ValueReaders(allowed.get, read, str, allowed.get, _string_reader(read))


def expected_values(values: Iterable[str]) -> str:
    """The values of an enumeration as an error lists them: the first 24."""
    listed = [repr(value) for value in values]
    return ", ".join(listed) if len(listed) <= 24 else ", ".join(listed[:24]) + ", …"


def _usual_string(longest: int) -> Quick:
    def usual(text: str) -> str | None:
        return text if len(text) <= longest else None

    return usual


def _usual_token(longest: int) -> Quick:
    def usual(text: str) -> str | None:
        return text if len(text) <= longest and text.strip() == text else None

    return usual


def _text_reader(longest: int, *, cut: bool = False) -> TextReader:
    def read(text: str, path: str, notes: list[Note]) -> str:
        if len(text) > longest:
            if cut:
                reason = f"{len(text)} characters, at most {longest} may stand here: cut"
                add_note(notes, Loss(path, excerpt(text), "profile-truncated", reason))
                return text[:longest]
            problem = f"{shown(text)} has {len(text)} characters, expected at most {longest}"
            raise Violation("PropertyConstraintViolation", path, problem)
        return text

    return read


def _token_reader(longest: int) -> TextReader:
    read_text = _text_reader(longest)

    def read(text: str, path: str, notes: list[Note]) -> str:
        bare = text.strip()
        if bare != text:
            add_note(notes, Change(path, excerpt(text), excerpt(bare), "trimmed"))
        return str(read_text(bare, path, notes))

    return read


def _unless_surrogates(usual: Quick) -> Quick:
    """JSON's ``"\\ud800"`` gives half a character, which no encoding can carry; only ASCII is surely free."""

    def usual_ascii(value: str) -> Any:
        return usual(value) if value.isascii() else None

    return usual_ascii


def _string_reader(read_text: TextReader, *, takes_anything: bool = False) -> ValueReader:
    def read(value: Any, path: str, notes: list[Note]) -> Any:
        if isinstance(value, str):
            if not value.isascii() and _SURROGATE.search(value):
                reason = "half of a surrogate pair is no character: written as U+FFFD"
                add_note(notes, Loss(path, excerpt(value), "not-unicode", reason))
                value = _SURROGATE.sub("\ufffd", value)
            return read_text(value, path, notes)
        if isinstance(value, bool):
            text, rule = "true" if value else "false", "number-as-text"
        elif isinstance(value, int | float | Decimal):
            text, rule = _digits(value, path), "number-as-text"
        elif takes_anything:
            text, rule = _serialized(value, path), "data-as-text"
        else:
            raise wrong_type(value, path, "a string")
        add_note(notes, Change(path, excerpt(text), excerpt(text), rule))
        return read_text(text, path, notes)

    return read


def _serialized(value: Any, path: str, depth: int = 0) -> str:
    """The JSON of *value*, compact, every number with the digits it came with."""
    if isinstance(value, dict | list) and depth >= DEEPEST:
        raise Violation("FormationViolation", path, f"is nested deeper than {DEEPEST}, expected a string")
    if isinstance(value, dict):
        members = (f"{_quoted(name)}:{_serialized(item, path, depth + 1)}" for name, item in value.items())
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_serialized(item, path, depth + 1) for item in value) + "]"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, str):
        return _quoted(value)
    # Python refuses to print the largest integers, and JSON has no word for infinity.
    if value.bit_length() > 10_000 if isinstance(value, int) else not Decimal(value).is_finite():
        raise _out_of_range(value, path)
    return str(value)


def _quoted(text: str) -> str:
    return json.dumps(_SURROGATE.sub("\ufffd", text), ensure_ascii=False)


# ---------------------------------------------------------------------------- numbers and booleans


def _usual_integer(text: str) -> int | None:
    return int(text) if len(text) <= DIGITS and text.isdigit() and text.isascii() else None


def _in_range(value: int) -> int | None:
    return value if -_LARGEST < value < _LARGEST else None


def _read_integer(text: str, path: str, notes: list[Note]) -> int:
    bare = text.strip()
    if _INTEGER.fullmatch(bare):
        return int(bare)
    if _DECIMAL.fullmatch(bare) and not bare.partition(".")[2].strip("0"):
        number = int(Decimal(bare))
        add_note(notes, Change(path, excerpt(bare), str(number), "integer-form"))
        return number
    raise Violation("TypeConstraintViolation", path, f"{shown(text)} is not an integer, which was expected")


def _read_measured_integer(text: str, path: str, notes: list[Note]) -> int:
    """Meters report fractions of a Wh where the schema wants an integer (wire-level habit of many)."""
    bare = text.strip()
    if not _DECIMAL.fullmatch(bare) or not bare.partition(".")[2].strip("0"):
        return _read_integer(text, path, notes)
    whole = int(Decimal(bare).to_integral_value(ROUND_HALF_UP))
    reason = f"an integer belongs here: written as {whole}"
    add_note(notes, Loss(path, excerpt(bare), "rounded", reason))
    return whole


def _decimal_reader(digits: int | None) -> TextReader:
    """``digits`` are those after the point (``multipleOf: 0.1`` is one). They are counted in the text: in
    decimal arithmetic 8.1 is 81 tenths, and not 8.0999…"""

    def read(text: str, path: str, notes: list[Note]) -> int | Decimal:
        bare = text.strip()
        if not _DECIMAL.fullmatch(bare):
            raise Violation(
                "TypeConstraintViolation", path, f"{shown(text)} is not a decimal number, which was expected"
            )
        whole, point, fraction = bare.partition(".")
        if not point:
            return int(bare)
        if digits is not None and len(fraction) > digits:
            # Towards zero: a limit must never become larger than was asked for (ev-server #3453).
            shorter = f"{whole or '0'}.{fraction[:digits]}"
            if fraction[digits:].strip("0"):
                reason = f"{digits} digit(s) after the point can be said: written as {shorter}"
                add_note(notes, Loss(path, excerpt(bare), "rounded", reason))
            return Decimal(shorter)
        return Decimal(bare)

    return read


def _number_reader(read_text: TextReader, expected: str) -> ValueReader:
    def read(value: Any, path: str, notes: list[Note]) -> Any:
        if isinstance(value, str):
            add_note(notes, Change(path, excerpt(value), excerpt(value.strip()), "text-as-number"))
            return read_text(value, path, notes)
        if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
            return read_text(_digits(value, path), path, notes)
        raise wrong_type(value, path, expected)

    return read


def _digits(value: int | float | Decimal, path: str) -> str:
    """A number of JSON in full, without an exponent. repr gives the shortest decimal that means a float."""
    number = value if isinstance(value, int | Decimal) else Decimal(repr(value))
    if isinstance(number, Decimal):
        if not number.is_finite() or abs(number.adjusted()) >= DIGITS:
            raise _out_of_range(value, path)
        return format(number, "f")
    if not -_LARGEST < number < _LARGEST:
        raise _out_of_range(value, path)
    return str(number)


def _out_of_range(value: object, path: str) -> Violation:
    problem = f"{shown(value)} is out of range, expected a number of at most {DIGITS} digits"
    return Violation("PropertyConstraintViolation", path, problem)


def _itself(value: bool) -> bool:
    return value


def _read_boolean(text: str, path: str, notes: list[Note]) -> bool:
    value = BOOLEANS.get(text.strip().lower())
    if value is None:
        raise Violation("TypeConstraintViolation", path, f"{shown(text)} is not 'true' or 'false'")
    return value


def _read_json_boolean(value: Any, path: str, notes: list[Note]) -> bool:
    if not isinstance(value, int | str):
        raise wrong_type(value, path, "a boolean")
    read = _read_boolean(value if isinstance(value, str) else excerpt(value), path, notes)
    add_note(notes, Change(path, excerpt(value), "true" if read else "false", "text-as-boolean"))
    return read


def wrong_type(value: object, path: str, expected: str) -> Violation:
    kinds: dict[type, str] = {dict: "object ", list: "array ", str: "string "}
    kind = kinds.get(type(value), "" if value is None or isinstance(value, bool) else "number ")
    return Violation("TypeConstraintViolation", path, f"found {kind}{shown(value)}, expected {expected}")


# ---------------------------------------------------------------------------- writing


def compile_value_writer(field: Field, tag: str) -> tuple[Quick, ElementWriter]:
    """Make the writers of one plain field as an element: quick, and with path and notes.

    The second gives "" for what the service description cannot say.
    """
    opening, closing = f"<{tag}>", f"</{tag}>"
    if field.enum:
        return _word_writer(field, {value: f"{opening}{value}{closing}" for value in field.enum})
    if field.kind == "boolean":
        elements = {True: f"{opening}true{closing}", False: f"{opening}false{closing}"}
        return elements.get, lambda value, path, notes: elements[value]
    if field.kind in ("integer", "decimal"):

        def write_number(value: int | Decimal) -> str:
            return f"{opening}{value if type(value) is int else format(value, 'f')}{closing}"

        return write_number, lambda value, path, notes: write_number(value)
    special = _XML_SPECIAL.search

    def quick(text: str) -> str | None:
        return None if special(text) else f"{opening}{text}{closing}"

    return quick, lambda text, path, notes: f"{opening}{escape(text, path, notes)}{closing}"


def compile_attribute_writer(field: Field) -> ElementWriter:
    """Make the writer of one word as an attribute (`` unit="kWh"``, with the blank before it).

    It gives "" for what the service description cannot say.
    """
    return _word_writer(field, {value: f' {field.name}="{value}"' for value in field.enum})[1]


def _word_writer(field: Field, elements: dict[str, str]) -> tuple[Quick, ElementWriter]:
    def write(value: Any, path: str, notes: list[Note]) -> str:
        element = elements.get(value)
        if element is not None:
            return element
        reason = UNSAYABLE.get((field.name, value))
        if reason is None or field.required:
            problem = f"{shown(value)} is not one of {expected_values(elements)}"
            raise Violation("PropertyConstraintViolation", path, problem)
        add_note(notes, Loss(path, excerpt(value), "unsayable-unit", reason))
        return ""

    return elements.get, write


def escape(text: str, path: str = "", notes: list[Note] | None = None) -> str:
    """*text* as the content of an XML element. A character that XML does not have becomes U+FFFD (a loss)."""
    if not _XML_SPECIAL.search(text):
        return text
    if _NOT_XML.search(text):
        if notes is not None:
            reason = "XML has no such character: written as U+FFFD"
            add_note(notes, Loss(path, excerpt(text), "not-xml", reason))
        text = _NOT_XML.sub("\ufffd", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#13;")
