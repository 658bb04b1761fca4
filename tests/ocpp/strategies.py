"""Messages by the thousand: hypothesis strategies made from the shapes themselves."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st
from lxml import etree

from wattbridge.ocpp.actions import CompiledOperation, Message, dialect
from wattbridge.ocpp.messages import Payload
from wattbridge.ocpp.shapes import Field
from wattbridge.ocpp.tolerances import VALUE_ALIASES

Element = etree._Element

OPERATIONS = tuple(dialect().operations.values())


@dataclass(frozen=True, repr=False)
class Case:
    """One of the 58 messages: ``operation``'s .req or .conf."""

    operation: CompiledOperation
    message: Message

    @property
    def namespace(self) -> str:
        return self.operation.described.namespace

    def __repr__(self) -> str:
        return f"{self.message.name} to {self.operation.asked.value}"


CASES = tuple(
    Case(operation, message)
    for operation in OPERATIONS
    for message in (operation.request, operation.response)
)

# What every encoding can say: no surrogates, and none of the control characters that XML leaves out.
CHARACTERS = st.one_of(
    st.sampled_from("\t\n\r<>&'\"]\\ 0aÄ€\u0085\u2028\U0001f50c\ufffd"),
    st.characters(min_codepoint=0x20, exclude_categories=["Cs"], exclude_characters="\ufffe\uffff"),
)


def texts(longest: int | None) -> st.SearchStrategy[str]:
    return st.text(CHARACTERS, max_size=min(longest or 20, 20)) | st.just("x" * (longest or 1000))


def tokens(longest: int | None) -> st.SearchStrategy[str]:
    """Ids and addresses: what begins or ends with a blank is no id."""
    return texts(longest).map(str.strip)


INTEGERS = st.integers(-(10**40) + 1, 10**40 - 1) | st.sampled_from([0, -1, 1, 2**31, 2**63, 2**64])
TENTHS = st.integers(-(10**30), 10**30).map(
    lambda tenths: Decimal(tenths) / 10 if tenths % 10 else tenths // 10
)
DATE_TIMES = st.datetimes().map(lambda moment: moment.replace(microsecond=0).isoformat() + "Z")


def values(field: Field) -> st.SearchStrategy[Any]:
    """Any value of one item of *field*, in the neutral form."""
    if field.kind == "object":
        return payloads(field.fields)
    if field.enum:
        return st.sampled_from([value for value in field.enum if (field.name, value) not in VALUE_ALIASES])
    match field.kind:
        case "integer":
            return INTEGERS
        case "decimal":
            return TENTHS
        case "boolean":
            return st.booleans()
        case "dateTime":
            return DATE_TIMES
    return (
        tokens(field.max_length)
        if field.type_name == "IdToken" or field.kind == "uri"
        else texts(field.max_length)
    )


@st.composite
def payloads(draw: st.DrawFn, fields: tuple[Field, ...]) -> Payload:
    """Any payload of *fields*: every cardinality they allow, optional fields there and not there."""
    payload: Payload = {}
    for field in fields:
        if field.repeated:
            if field.required or draw(st.booleans()):
                payload[field.name] = draw(st.lists(values(field), min_size=field.min_items, max_size=3))
        elif field.required or draw(st.booleans()):
            payload[field.name] = draw(values(field))
    return payload


def written(payload: Payload, fields: tuple[Field, ...], namespace: str) -> list[Element]:
    """The elements of *payload* in the order of *fields*, by lxml and not by our own writer."""
    elements = []
    for field in fields:
        if field.name in payload:
            value = payload[field.name]
            for item in value if field.repeated else [value]:
                element = etree.Element(f"{{{namespace}}}{field.name}")
                if field.kind == "object":
                    element.extend(written(item, field.fields, namespace))
                else:
                    element.text = text_of(item)
                elements.append(element)
    return elements


def text_of(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def element_of(case: Case, payload: Payload) -> Element:
    """The element in the Body that says *payload*, by lxml and not by our own writer."""
    element = etree.Element(f"{{{case.namespace}}}{case.message.element}")
    element.extend(written(payload, case.message.fields, case.namespace))
    return element


# ---------------------------------------------------------------------------- anything at all

NUMBERS = (
    st.integers()
    | st.floats()
    | st.decimals()
    | st.sampled_from(
        [10**4000, -(10**60), Decimal("1e999999"), Decimal("-1e-999999"), Decimal("0e500"), 1e308]
    )
)
LEAVES = st.none() | st.booleans() | NUMBERS | st.text(st.characters(), max_size=30)
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
)


def names_of(fields: tuple[Field, ...]) -> list[str]:
    """Every name of every level, so that nonsense at least is nonsense about OCPP."""
    return [name for field in fields for name in (field.name, *names_of(field.fields))]


def nonsense(case: Case) -> st.SearchStrategy[Any]:
    """JSON that has the names of *case*, and anything at all for their values."""
    names = st.sampled_from([*names_of(case.message.fields), "nothing"]) | st.text(max_size=5)
    items = st.recursive(
        LEAVES,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=8),
        max_leaves=30,
    )
    return st.dictionaries(names, items, max_size=8)


XML_TEXT = st.text(CHARACTERS, max_size=10) | st.sampled_from(
    ["1", "true", "2024-05-01T10:00:00Z", "Accepted", "\n  "]
)


@st.composite
def odd_elements(draw: st.DrawFn, case: Case) -> Element:
    """An element of *case* with children of known and unknown names, anywhere and in any namespace."""
    namespaces = st.sampled_from(
        [case.namespace, case.namespace.rstrip("/"), "urn://Ocpp/Cs/2012/06/", "urn:x", ""]
    )
    names = st.sampled_from([*names_of(case.message.fields), "nothing"])

    def child(depth: int) -> Element:
        namespace = draw(namespaces)
        name = draw(names)
        element = etree.Element(f"{{{namespace}}}{name}" if namespace else name)
        element.text = draw(st.none() | XML_TEXT)
        element.tail = draw(st.none() | XML_TEXT)
        if draw(st.integers(0, 4)) == 0:
            name = draw(st.sampled_from(["unit", "{http://www.w3.org/2001/XMLSchema-instance}nil"]))
            element.set(name, draw(st.sampled_from(["true", "kWh"])))
        for _ in range(draw(st.integers(0, 3)) if depth else 0):
            element.append(child(depth - 1))
        return element

    element = etree.Element(f"{{{case.namespace}}}{case.message.element}")
    for _ in range(draw(st.integers(0, 6))):
        element.append(child(depth=2))
    return element


# ---------------------------------------------------------------------------- what a payload should be


def conforms(value: Any, field: Field) -> bool:
    """Whether *value* is one item of *field* in the neutral form: what the schema says, said once more."""
    match field.kind:
        case "object":
            return type(value) is dict and conforming(value, field.fields)
        case "integer":
            return type(value) is int
        case "decimal":
            return type(value) in (int, Decimal) and value * 10 % 1 == 0
        case "boolean":
            return type(value) is bool
    in_enum = not field.enum or value in field.enum
    return type(value) is str and in_enum and len(value) <= (field.max_length or len(value))


def conforming(payload: Payload, fields: tuple[Field, ...]) -> bool:
    by_name = {field.name: field for field in fields}
    for name, value in payload.items():
        field = by_name.get(name)
        if field is None:
            return False
        if field.repeated:
            if type(value) is not list or len(value) < field.min_items:
                return False
            if not all(conforms(item, field) for item in value):
                return False
        elif not conforms(value, field):
            return False
    return all(field.name in payload for field in fields if field.required)


def plainly_read(element: Element, fields: tuple[Field, ...]) -> Payload:
    """What *element* says, read without any tolerance; of the wrong type where it breaks its schema."""
    by_name = {field.name: field for field in fields}
    payload: Payload = {}
    for child in element:
        field = by_name.get(etree.QName(child).localname)
        if field is None:
            return {"?": child.tag}
        value = (
            plainly_read(child, field.fields)
            if field.kind == "object"
            else plain_value(child.text or "", field)
        )
        if field.repeated:
            payload.setdefault(field.name, []).append(value)
        elif field.name in payload:
            return {"?": "twice"}
        else:
            payload[field.name] = value
    return payload


def plain_value(text: str, field: Field) -> Any:
    try:
        if field.kind in ("integer", "decimal"):
            return int(text) if field.kind == "integer" or "." not in text else Decimal(text)
    except ValueError:
        return text
    return {"true": True, "false": False}.get(text, text) if field.kind == "boolean" else text
