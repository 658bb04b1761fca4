"""Shapes compiled into readers and writers: plain closures over lxml elements, dicts and text.

Reading is tolerant and says what it changed or lost (notes); what breaks the shape beyond that raises
Violation with path, found and expected. Writing is strict: exact order, exact namespaces. Compiled once at
start, run once per message.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from typing import Any

from lxml import etree

from wattbridge.ocpp.errors import Violation
from wattbridge.ocpp.messages import Change, Loss, Note, Payload
from wattbridge.ocpp.shapes import Field
from wattbridge.ocpp.times import date_time_reader
from wattbridge.ocpp.tolerances import (
    BOOLEANS,
    FIELD_ALIASES,
    MEANINGFUL,
    OCPP_NAMESPACE,
    SALVAGED_LISTS,
    UNSAYABLE,
    VALUE_ALIASES,
)

Element = etree._Element
XSI_NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"

ElementReader = Callable[[Element, str, list[Note]], Payload]
JsonReader = Callable[[Any, str, list[Note]], Payload]
XmlWriter = Callable[[Payload, str, list[Note]], str]
JsonWriter = Callable[[Payload, str, list[Note]], Payload]
# One value of one field: from the text of an element, or from what JSON has.
TextReader = Callable[[str, str, list[Note]], Any]
ValueReader = Callable[[Any, str, list[Note]], Any]
ValueWriter = Callable[[Any, str, list[Note]], "str | None"]

_INTEGER = re.compile(r"[+-]?\d{1,40}", re.ASCII)
_DECIMAL = re.compile(r"[+-]?(?:\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})", re.ASCII)
# What must not stand as it is in the text of an XML element: markup, the carriage return that parsers turn
# into a line feed, and characters XML 1.0 does not have at all.
_XML_SPECIAL = re.compile("[<>&\r\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class Options:
    """What a configuration may choose about reading and writing payloads.

    ``zone`` is the zone of times without offset, ``celsius`` how the unit is spelled towards JSON,
    ``prefix`` the XML prefix of written elements (NKT charge points know only theirs: steve #12).
    """

    zone: str = "UTC"
    milliseconds: bool = False
    celsius: str = "Celsius"
    prefix: str = "ocpp"


def shown(value: object) -> str:
    """*value* as an error names it: quoted, at most 60 characters, no line breaks."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    text = repr(text if len(text) <= 60 else text[:57] + "…")
    return text if isinstance(value, str) else text[1:-1]


def expected_values(values: Iterable[str]) -> str:
    listed = [repr(value) for value in values]
    return ", ".join(listed) if len(listed) <= 24 else ", ".join(listed[:24]) + ", …"


# ---------------------------------------------------------------------------- values


def _text_reader(field: Field, options: Options) -> TextReader:
    """How the text of one element becomes a value. Surrounding blanks are no part of numbers, enumeration
    values, times, addresses and ids; they are part of every other string."""
    name = field.name
    if field.enum:
        return _enum_reader(name, field.enum)
    if field.kind == "integer":
        return _read_integer
    if field.kind == "decimal":
        return _decimal_reader(field.fraction_digits)
    if field.kind == "boolean":
        return _read_boolean
    if field.kind == "dateTime":
        return date_time_reader(options.zone, milliseconds=options.milliseconds)
    trimmed = field.kind == "uri" or field.type_name == "IdToken"
    longest = field.max_length

    def read_string(text: str, path: str, notes: list[Note]) -> str:
        if trimmed:
            bare = text.strip()
            if bare != text:
                notes.append(Change(path, text, bare, "trimmed"))
                text = bare
        if longest is not None and len(text) > longest:
            raise Violation(
                "PropertyConstraintViolation",
                path,
                f"{shown(text)} has {len(text)} characters, expected at most {longest}",
            )
        return text

    return read_string


def _enum_reader(name: str, values: tuple[str, ...]) -> TextReader:
    # A value that stands for another is no value of its own, even where a schema lists it (Celcius).
    aliases = {seen: meant for (field_name, seen), meant in VALUE_ALIASES.items() if field_name == name}
    allowed = {value: value for value in values if value not in aliases}

    def read_enum(text: str, path: str, notes: list[Note]) -> str | None:
        value = allowed.get(text)
        if value is not None:
            return value
        bare = text.strip()
        meant = aliases.get(bare, bare)
        if meant in allowed:
            notes.append(Change(path, text, meant, "trimmed" if meant == bare else "value-alias"))
            return meant
        if (name, meant) in UNSAYABLE:
            notes.append(Loss(path, shown(text), "unsayable-unit", UNSAYABLE[name, meant]))
            return None
        raise Violation(
            "PropertyConstraintViolation", path, f"{shown(text)} is not one of {expected_values(allowed)}"
        )

    return read_enum


def _read_integer(text: str, path: str, notes: list[Note]) -> int:
    bare = text.strip()
    if _INTEGER.fullmatch(bare):
        return int(bare)
    if _DECIMAL.fullmatch(bare):
        return _rounded(Decimal(bare), path, notes)
    raise Violation("TypeConstraintViolation", path, f"{shown(text)} is not an integer")


def _rounded(number: Decimal, path: str, notes: list[Note]) -> int:
    """Meters report fractions of a Wh where the schema wants an integer (wire-level habit of many)."""
    whole = int(number.to_integral_value())
    if number == whole:
        notes.append(Change(path, str(number), str(whole), "integer-form"))
    else:
        notes.append(Loss(path, str(number), "rounded", f"an integer belongs here: written as {whole}"))
    return whole


def _decimal_reader(digits: int | None) -> TextReader:
    step = None if digits is None else Decimal(1).scaleb(-digits)

    def read_decimal(text: str, path: str, notes: list[Note]) -> int | Decimal:
        bare = text.strip()
        if not _DECIMAL.fullmatch(bare):
            raise Violation("TypeConstraintViolation", path, f"{shown(text)} is not a decimal number")
        if "." not in bare:
            return int(bare)
        return cut(Decimal(bare), path, notes)

    def cut(number: Decimal, path: str, notes: list[Note]) -> Decimal:
        exponent = number.as_tuple().exponent
        if step is None or digits is None or not isinstance(exponent, int) or exponent >= -digits:
            return number
        # Towards zero: a limit must never become larger than was asked for (ev-server #3453).
        shorter = number.quantize(step, rounding=ROUND_DOWN)
        if shorter != number:
            notes.append(
                Loss(path, str(number), "rounded", f"at most {digits} decimal(s) can be said: written as {shorter}")
            )
        return shorter

    return read_decimal


def _read_boolean(text: str, path: str, notes: list[Note]) -> bool:
    value = BOOLEANS.get(text.strip().lower())
    if value is None:
        raise Violation("TypeConstraintViolation", path, f"{shown(text)} is not 'true' or 'false'")
    return value


def _value_reader(field: Field, options: Options, action: str) -> ValueReader:
    """How what JSON has becomes a value: like its text, where a peer quotes numbers or forgets to."""
    read_text = _text_reader(field, options)
    kind = field.kind
    takes_anything = action.removesuffix("Response") == "DataTransfer" and field.name == "data"

    if kind in ("integer", "decimal"):

        def read_number(value: Any, path: str, notes: list[Note]) -> Any:
            of = type(value)
            if of is int:
                return value
            if of is str:
                notes.append(Change(path, value, value.strip(), "text-as-number"))
                return read_text(value, path, notes)
            if of is float or of is Decimal:
                # repr gives the shortest decimal that means this float: 8.1 stays 8.1.
                number = value if of is Decimal else Decimal(repr(value))
                if not number.is_finite() or abs(number.adjusted()) > 30:
                    raise Violation("PropertyConstraintViolation", path, f"{shown(str(value))} is out of range")
                return read_text(format(number, "f"), path, notes)
            raise _wrong_type(value, path, "an integer" if kind == "integer" else "a number")

        return read_number

    if kind == "boolean":

        def read_boolean(value: Any, path: str, notes: list[Note]) -> bool:
            if value is True or value is False:
                return bool(value)
            if isinstance(value, int | str):
                notes.append(Change(path, str(value), str(value), "text-as-boolean"))
                return _read_boolean(str(value), path, notes)
            raise _wrong_type(value, path, "a boolean")

        return read_boolean

    def read_string(value: Any, path: str, notes: list[Note]) -> Any:
        if type(value) is str:
            return read_text(value, path, notes)
        if isinstance(value, bool | int | float | Decimal):
            text = "true" if value is True else "false" if value is False else str(value)
            notes.append(Change(path, text, text, "number-as-text"))
            return read_text(text, path, notes)
        if takes_anything:
            text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=str)
            notes.append(Change(path, text, text, "data-as-text"))
            return read_text(text, path, notes)
        raise _wrong_type(value, path, "a string")

    return read_string


def _wrong_type(value: object, path: str, expected: str) -> Violation:
    return Violation("TypeConstraintViolation", path, f"found {_json_type(value)} {shown(value)}, expected {expected}")


def _json_type(value: object) -> str:
    if value is None or isinstance(value, bool):
        return ""
    for of, word in ((dict, "object"), (list, "array"), (str, "string")):
        if isinstance(value, of):
            return word
    return "number"


# ---------------------------------------------------------------------------- fields of an object


@dataclass(frozen=True, slots=True)
class _Reader:
    """One field as the readers use it. ``droppable``: a bad one is lost alone; ``salvaged``: a bad item is."""

    name: str
    read: Callable[[Any, str, list[Note]], Any]
    is_object: bool
    is_text: bool
    repeated: bool
    required: bool
    droppable: bool
    salvaged: bool


def _compile_fields(
    fields: tuple[Field, ...], options: Options, action: str, *, lenient: bool, xml: bool
) -> dict[str, _Reader]:
    readers = {}
    for field in fields:
        read: Callable[[Any, str, list[Note]], Any]
        if field.kind == "object":
            compile_object = compile_element_reader if xml else compile_json_reader
            read = compile_object(field.fields, options, action, lenient=lenient)
        else:
            read = _text_reader(field, options) if xml else _value_reader(field, options, action)
        readers[field.name] = _Reader(
            name=field.name,
            read=read,
            is_object=field.kind == "object",
            is_text=field.kind == "string" and not field.enum,
            repeated=field.repeated,
            required=field.required,
            droppable=lenient and not field.required and field.name not in MEANINGFUL,
            salvaged=lenient and field.repeated and field.name in SALVAGED_LISTS,
        )
    return readers


def _missing(required: list[str], found: Payload, path: str) -> Violation:
    name = next(name for name in required if not _present(found.get(name)))
    what = f"found {', '.join(found)}" if found else "found nothing"
    return Violation("OccurenceConstraintViolation", f"{path}.{name}", f"is missing; {what}, expected {name}")


def _present(value: object) -> bool:
    return value is not None and value != []


def _lose(reader: _Reader, broken: Violation, value: object, notes: list[Note]) -> None:
    """Drop one bad item or optional field; *value* is what stood there."""
    rule = "bad-item" if reader.salvaged else "bad-optional"
    notes.append(Loss(broken.path, shown(value), rule, broken.problem))


def compile_element_reader(
    fields: tuple[Field, ...], options: Options, action: str, *, lenient: bool
) -> ElementReader:
    """Make the reader of one complex type: ``read(element, path, notes)`` gives its payload.

    ``action`` is the message's name for the tables of aliases; ``lenient`` says that a bad optional field or
    a bad item of a salvaged list is a loss, not a refusal.
    """
    readers = _compile_fields(fields, options, action, lenient=lenient, xml=True)
    required = [field.name for field in fields if field.required]
    by_folded_name = {name.lower(): reader for name, reader in readers.items()}
    aliases = {seen: meant for (of, seen), meant in FIELD_ALIASES.items() if of == action.removesuffix("Response")}
    by_tag: dict[str, _Reader] = {}  # filled with the tags that peers use, at most these:
    namespaces = ("urn://Ocpp/Cs/2015/10/", "urn://Ocpp/Cp/2015/10/")
    for name, reader in readers.items():
        for namespace in namespaces:
            by_tag[f"{{{namespace}}}{name}"] = reader
        by_tag[name] = reader  # unqualified children (IZIVIA's production output)

    def read(element: Element, path: str, notes: list[Note]) -> Payload:
        found: Payload = {}
        for child in element:
            reader = by_tag.get(child.tag)
            if reader is None:
                reader = unusual(child, path, notes)
                if reader is None:
                    continue
            name = reader.name
            try:
                if reader.repeated:
                    items = found.get(name)
                    if items is None:
                        items = found[name] = []
                    items.append(read_child(reader, child, f"{path}.{name}[{len(items)}]", notes))
                elif name in found:
                    once_more(reader, child, found[name], f"{path}.{name}", notes)
                elif reader.is_object:
                    found[name] = reader.read(child, f"{path}.{name}", notes)
                else:
                    value = read_child(reader, child, f"{path}.{name}", notes)
                    if value is not None:
                        found[name] = value
            except Violation as broken:
                if not (reader.salvaged or reader.droppable):
                    raise
                _lose(reader, broken, _element_text(child), notes)
        for name in required:
            if not _present(found.get(name)):
                raise _missing(required, found, path)
        for name in [name for name, value in found.items() if value == []]:
            del found[name]  # every item was lost
        if element.text is not None and not element.text.isspace() and element.text:
            notes.append(Loss(path, shown(element.text), "stray-text", "text between elements has no meaning"))
        return found

    def read_child(reader: _Reader, child: Element, path: str, notes: list[Note]) -> Any:
        if reader.is_object:
            return reader.read(child, path, notes)
        if len(child):
            raise Violation(
                "TypeConstraintViolation", path, f"found element <{local_name(child[0])}>, expected plain text"
            )
        text = child.text
        if text is None or (not reader.is_text and not text.strip()):
            # An empty string keeps its meaning; an empty number, time or enumeration value has none.
            nil = child.get(XSI_NIL) in ("true", "1")
            if reader.is_text and not nil:
                return reader.read("", path, notes)
            if reader.required or reader.repeated:
                raise Violation("TypeConstraintViolation", path, "is empty, expected a value")
            notes.append(Change(path, "", "", "empty-is-absent"))
            return None
        return reader.read(text, path, notes)

    def once_more(reader: _Reader, child: Element, first: Any, path: str, notes: list[Note]) -> None:
        """A second element where one belongs: harmless when it says the same, and refused when not."""
        again = read_child(reader, child, path, [])
        if again != first:
            raise Violation(
                "OccurenceConstraintViolation",
                path,
                f"found twice, {shown(first)} and {shown(again)}, expected once",
            )
        notes.append(Loss(path, shown(again), "doubled", "the element stands here twice and says the same"))

    def unusual(child: Element, path: str, notes: list[Note]) -> _Reader | None:
        """A tag that is not in the table: an OCPP namespace spelled otherwise, another case, an alias."""
        name, namespace = local_name(child), namespace_of(child)
        reader = None
        if not namespace or OCPP_NAMESPACE.fullmatch(namespace):
            reader = readers.get(aliases.get(name, name)) or by_folded_name.get(name.lower())
        if reader is None:
            notes.append(
                Loss(f"{path}.{name}", _element_text(child), "unknown-field", f"{path} has no such field")
            )
        elif reader.name != name:
            notes.append(Change(f"{path}.{reader.name}", name, reader.name, "field-alias"))
        return reader

    return read


def compile_json_reader(
    fields: tuple[Field, ...], options: Options, action: str, *, lenient: bool
) -> JsonReader:
    """Make the reader of one JSON object: ``read(value, path, notes)`` gives the neutral payload."""
    readers = _compile_fields(fields, options, action, lenient=lenient, xml=False)
    required = [field.name for field in fields if field.required]
    by_name = dict(readers)
    for (of, seen), meant in FIELD_ALIASES.items():
        if of == action.removesuffix("Response") and meant in readers:
            by_name[seen] = readers[meant]

    def read(value: Any, path: str, notes: list[Note]) -> Payload:
        if type(value) is not dict:
            raise _wrong_type(value, path, "an object")
        found: Payload = {}
        for key, item in value.items():
            reader = by_name.get(key)
            if reader is None:
                notes.append(Loss(f"{path}.{key}", shown(item), "unknown-field", f"{path} has no such field"))
                continue
            name = reader.name
            if name != key:
                if name in value:
                    notes.append(Loss(f"{path}.{key}", shown(item), "doubled", f"{name} stands here too"))
                    continue
                notes.append(Change(f"{path}.{name}", key, name, "field-alias"))
            if item is None:
                # Absent in disguise; what is required will be missed below.
                notes.append(Change(f"{path}.{name}", "null", "", "null-is-absent"))
                continue
            try:
                if reader.repeated:
                    found[name] = read_list(reader, item, f"{path}.{name}", notes)
                else:
                    read_one = reader.read(single(item, f"{path}.{name}", notes), f"{path}.{name}", notes)
                    if read_one is not None:
                        found[name] = read_one
            except Violation as broken:
                if not reader.droppable:
                    raise
                _lose(reader, broken, item, notes)
        for name in required:
            if not _present(found.get(name)):
                raise _missing(required, found, path)
        return found

    def read_list(reader: _Reader, items: Any, path: str, notes: list[Note]) -> list[Any]:
        if type(items) is not list:
            notes.append(Change(path, shown(items), "", "single-as-list"))
            items = [items]
        result = []
        for index, item in enumerate(items):
            try:
                result.append(reader.read(item, f"{path}[{index}]", notes))
            except Violation as broken:
                if not reader.salvaged:
                    raise
                _lose(reader, broken, item, notes)
        return result

    def single(item: Any, path: str, notes: list[Note]) -> Any:
        if type(item) is list and len(item) == 1:
            notes.append(Change(path, shown(item), shown(item[0]), "list-as-single"))
            return item[0]
        return item

    return read


# ---------------------------------------------------------------------------- writing


@dataclass(frozen=True, slots=True)
class _Writer:
    name: str
    write: ValueWriter
    opening: str
    closing: str
    empty: str
    repeated: bool
    required: bool
    salvaged: bool


def compile_xml_writer(
    fields: tuple[Field, ...], options: Options, action: str, *, lenient: bool
) -> XmlWriter:
    """Make the writer of one complex type: ``write(payload, path, notes)`` gives the elements inside it.

    ``fields`` is the service description's own shape; the payload is a neutral one, so only what the
    description cannot say needs care: it is dropped and noted, or raises Violation when it is required.
    """
    prefix = options.prefix
    plan = []
    for field in fields:
        write_one: ValueWriter
        if field.kind == "object":
            write_one = compile_xml_writer(field.fields, options, action, lenient=lenient)
        else:
            write_one = _value_writer(field)
        tag = f"{prefix}:{field.name}"
        salvaged = lenient and field.repeated and field.name in SALVAGED_LISTS
        plan.append(
            _Writer(
                name=field.name,
                write=write_one,
                opening=f"<{tag}>",
                closing=f"</{tag}>",
                empty=f"<{tag}/>",
                repeated=field.repeated,
                required=field.required,
                salvaged=salvaged,
            )
        )

    def write(payload: Payload, path: str, notes: list[Note]) -> str:
        parts: list[str] = []
        for field in plan:
            value = payload.get(field.name)
            if value is None:
                if field.required:
                    raise _missing([field.name], payload, path)
                continue
            if not field.repeated:
                text = field.write(value, f"{path}.{field.name}", notes)
                if text is not None:
                    parts += (field.opening, text, field.closing)
                continue
            written = 0
            for index, item in enumerate(value):
                try:
                    text = field.write(item, f"{path}.{field.name}[{index}]", notes)
                except Violation as broken:
                    if not field.salvaged:
                        raise
                    notes.append(Loss(broken.path, shown(item), "bad-item", broken.problem))
                    continue
                if text is not None:
                    parts += (field.opening, text, field.closing)
                    written += 1
            if field.required and not written:
                raise Violation(
                    "OccurenceConstraintViolation", f"{path}.{field.name}", "is empty, expected at least one"
                )
        return "".join(parts)

    return write


def _value_writer(field: Field) -> ValueWriter:
    if field.enum:
        return _enum_writer(field.name, field.enum)
    if field.kind == "integer":
        return lambda value, path, notes: str(int(value))
    if field.kind == "decimal":
        return lambda value, path, notes: format(value, "f") if isinstance(value, Decimal) else str(value)
    if field.kind == "boolean":
        return lambda value, path, notes: "true" if value else "false"
    return escape


def _enum_writer(name: str, values: tuple[str, ...]) -> ValueWriter:
    allowed = frozenset(values)

    def write_enum(value: Any, path: str, notes: list[Note]) -> str | None:
        if value in allowed:
            return str(value)
        # Only units differ between the schemas (differences.py).
        notes.append(Loss(path, shown(value), "unsayable-unit", UNSAYABLE.get((name, value), "OCPP-S cannot say it")))
        return None

    return write_enum


def escape(text: str, path: str = "", notes: list[Note] | None = None) -> str:
    """*text* as the content of an XML element. A character that XML does not have becomes U+FFFD (a loss)."""
    if not _XML_SPECIAL.search(text):
        return text
    if _NOT_XML.search(text):
        if notes is not None:
            notes.append(Loss(path, shown(text), "not-xml", "XML has no such character: written as U+FFFD"))
        text = _NOT_XML.sub("\ufffd", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#13;")


def compile_json_writer(fields: tuple[Field, ...], options: Options) -> JsonWriter | None:
    """Make the writer of one JSON object, or None where the neutral payload is written as it is."""
    if options.celsius == "Celsius":
        return None
    changing: dict[str, JsonWriter | None] = {}
    for field in fields:
        if field.fields:
            inner = compile_json_writer(field.fields, options)
            if inner is not None:
                changing[field.name] = inner
        elif field.name == "unit" and "Celsius" in field.enum:
            changing[field.name] = None
    if not changing:
        return None

    def write(payload: Payload, path: str, notes: list[Note]) -> Payload:
        written = dict(payload)
        for name, inner in changing.items():
            value = payload.get(name)
            if value is None:
                continue
            if inner is not None:
                written[name] = [inner(item, f"{path}.{name}[{i}]", notes) for i, item in enumerate(value)]
            elif value == "Celsius":
                notes.append(Change(f"{path}.{name}", "Celsius", options.celsius, "celcius"))
                written[name] = options.celsius
        return written

    return write


# ---------------------------------------------------------------------------- elements


def local_name(element: Element) -> str:
    tag = str(element.tag)
    return tag.rpartition("}")[2]


def namespace_of(element: Element) -> str:
    tag = str(element.tag)
    return tag[1:].partition("}")[0] if tag[0] == "{" else ""


def _element_text(element: Element) -> str:
    """The element's text, for a note: its own, or all of it where it has children."""
    return shown(" ".join("".join(str(part) for part in element.itertext()).split()))
