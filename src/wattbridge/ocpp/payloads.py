"""Shapes compiled into readers and writers: plain closures over lxml elements, dicts and text.

Reading is tolerant and says what it changed or lost (notes); what breaks the shape beyond that raises
Violation with path, found and expected. Writing is strict: exact order, exact namespaces. Compiled once at
start, run once per message; plain values are left to ``values.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from lxml import etree

from wattbridge.ocpp.differences import left_out_by_soap
from wattbridge.ocpp.errors import Violation, excerpt, shown
from wattbridge.ocpp.messages import Change, Loss, Note, Payload, add_note
from wattbridge.ocpp.rules import typed
from wattbridge.ocpp.shapes import Field
from wattbridge.ocpp.tolerances import (
    FIELD_ALIASES,
    MEANINGFUL,
    OCPP_NAMESPACE,
    SALVAGED_LISTS,
)
from wattbridge.ocpp.values import (
    ElementWriter,
    Options,
    Quick,
    ValueReaders,
    compile_attribute_writer,
    compile_value_readers,
    compile_value_writer,
    escape,
    wrong_type,
)

__all__ = [
    "Element",
    "ElementReader",
    "JsonReader",
    "JsonWriter",
    "Options",
    "XmlWriter",
    "compile_element_reader",
    "compile_json_reader",
    "compile_json_writer",
    "compile_xml_writer",
    "escape",
    "local_name",
    "namespace_of",
    "shown",
]

Element = etree._Element
XSI = "http://www.w3.org/2001/XMLSchema-instance"
XSI_NIL = f"{{{XSI}}}nil"

ElementReader = Callable[[Element, str, list[Note]], Payload]
JsonReader = Callable[[Any, str, list[Note]], Payload]
XmlWriter = Callable[[Payload, str, list[Note]], str]
JsonWriter = Callable[[Payload, str, list[Note]], Payload]

# The namespaces as they should be; every other spelling is found by a slower way. "" is for unqualified
# children (IZIVIA's production output).
_USUAL_NAMESPACES = (
    "{urn://Ocpp/Cs/2015/10/}",
    "{urn://Ocpp/Cp/2015/10/}",
    "{urn://Ocpp/Cs/2012/06/}",
    "{urn://Ocpp/Cp/2012/06/}",
    "{urn://Ocpp/Cs/2010/08/}",
    "{urn://Ocpp/Cp/2010/08/}",
    "",
)

# No element but the meter values of 1.5 has attributes, and looking for one in C costs a microsecond.
_has_attributes = etree.XPath("boolean(.//@*)")

_LOST = object()  # stands for a lost item until its list is complete, so that indices stay those of the wire


# ---------------------------------------------------------------------------- fields of an object


@dataclass(frozen=True, slots=True)
class _Field:
    """One field as the readers use it.

    ``read`` reads one item; ``values`` are the readers of a plain value, None for an object.
    ``droppable``: a bad one is lost alone; ``salvaged``: a bad item of the list is lost alone.
    """

    name: str
    read: Callable[[Any, str, list[Note]], Any]
    values: ValueReaders | None
    repeated: bool
    required: bool
    droppable: bool
    salvaged: bool
    takes_anything: bool


class _Fields:
    """The fields of one object, and what it takes to tell which one is meant and whether one is missing."""

    def __init__(
        self,
        fields: tuple[Field, ...],
        options: Options,
        path: str,
        compile_object: Callable[..., Callable[[Any, str, list[Note]], Payload]],
        compile_value: Callable[..., Callable[[Any, str, list[Note]], Any]],
        *,
        lenient: bool,
    ) -> None:
        self.lenient = lenient
        self.by_name: dict[str, _Field] = {}
        self._defaults: dict[str, Any] = {}  # what a profile says where nothing stands
        for field in fields:
            field_path = f"{path}.{field.name}"
            values = None
            default = None if options.rules is None else options.rules.of(field_path).default
            if default is not None:
                self._defaults[field.name] = typed(field, default)
            if field.kind == "object":
                read = compile_object(field.fields, options, field_path, lenient=lenient)
            else:
                values = compile_value_readers(field, options, field_path)
                needed = (field.required or field.repeated) and default is None
                read = compile_value(values, may_be_absent=not needed)
            self.by_name[field.name] = _Field(
                name=field.name,
                read=read,
                values=values,
                repeated=field.repeated,
                required=field.required,
                droppable=lenient and not (field.required or field.repeated) and field.name not in MEANINGFUL,
                salvaged=lenient and field.repeated and field.name in SALVAGED_LISTS,
                takes_anything=values is not None and values.takes_anything,
            )
        # What OCPP-J requires and OCPP-S may leave out: nothing left of it is no mistake, but a loss.
        self.left_out = {name: why for name in self.by_name if (why := left_out_by_soap(f"{path}.{name}"))}
        self.required = tuple(
            field.name for field in fields if field.required or field.name in self._defaults
        )
        self._aliases = {seen: meant for (of, seen), meant in FIELD_ALIASES.items() if of == path}
        self._by_folded_name = {name.lower(): field for name, field in self.by_name.items()}

    def unusual(self, name: str, path: str, notes: list[Note]) -> _Field | None:
        """The field that is meant by another name or in another case; None when there is none."""
        field = self.by_name.get(self._aliases.get(name, name)) or self._by_folded_name.get(name.lower())
        if field is not None and field.name != name:
            add_note(notes, Change(f"{path}.{field.name}", excerpt(name), field.name, "field-alias"))
        return field

    def drop(self, name: str, value: str, rule: str, problem: str, path: str, notes: list[Note]) -> None:
        """Drop what has no place in OCPP. From a command nothing is dropped: who asks must know."""
        where = f"{path}.{excerpt(name)}" if name else path
        if not self.lenient:
            raise Violation("FormationViolation", where, f"found {value}, expected nothing: {problem}")
        add_note(notes, Loss(where, value, rule, problem))

    def supply(self, name: str, found: Payload, path: str, notes: list[Note]) -> bool:
        """Put what a profile says in the place of a field that is missing; False when it says nothing."""
        if name not in self._defaults:
            return False
        found[name] = self._defaults[name]
        add_note(notes, Change(f"{path}.{name}", "", excerpt(found[name]), "profile-default"))
        return True

    def missing(self, found: Payload, path: str) -> Violation:
        return _missing(next(name for name in self.required if name not in found), found, path)


def _once_more(field: _Field, first: Any, again: Any, path: str, notes: list[Note]) -> None:
    """A second value where one belongs: harmless when it says the same, and refused when not."""
    if again != first:
        problem = f"found twice, {shown(first)} and {shown(again)}, expected once"
        raise Violation("OccurenceConstraintViolation", path, problem)
    reason = f"{field.name} stands here twice and says the same"
    add_note(notes, Loss(path, excerpt(again), "doubled", reason))


def _lose(broken: Violation, value: str, rule: str, notes: list[Note], mark: int) -> None:
    """Drop one bad item or optional field; *value* is what stood there.

    ``mark`` is how many notes there were before it. What was changed in it was not carried after all; what
    was lost in it stays, for it tells why nothing usable is left.
    """
    notes[mark:] = [note for note in notes[mark:] if isinstance(note, Loss)]
    add_note(notes, Loss(broken.path, value, rule, broken.problem))


def _remove_lost(found: Payload) -> None:
    for name, items in list(found.items()):
        if type(items) is list:
            kept = [item for item in items if item is not _LOST]
            if kept:
                found[name] = kept
            else:
                del found[name]


def _note_left_out(fields: _Fields, found: Payload, path: str, notes: list[Note]) -> None:
    for name, why in fields.left_out.items():
        where = f"{path}.{name}"
        # Where every item was lost, that has been said.
        if name not in found and not any(note.path.startswith(where) for note in notes):
            add_note(notes, Loss(where, "", "empty-meter-values", why))


# ---------------------------------------------------------------------------- reading elements


def compile_element_reader(
    fields: tuple[Field, ...], options: Options, action: str, *, lenient: bool
) -> ElementReader:
    """Make the reader of one message: ``read(element, path, notes)`` gives its payload.

    ``action`` is the message's name for the tables of tolerances (``BootNotificationResponse``); ``lenient``
    says that a bad optional field or a bad item of a salvaged list is a loss, not a refusal.
    """
    read_object = _compile_element_reader(fields, options, action, lenient=lenient)
    with_attributes = frozenset(_texts_with_attributes(fields))

    def read(element: Element, path: str, notes: list[Note]) -> Payload:
        if _has_attributes(element):
            _drop_attributes(element, path, notes, with_attributes, lenient=lenient)
        return read_object(element, path, notes)

    return read


def _compile_element_reader(
    fields: tuple[Field, ...], options: Options, shape_path: str, *, lenient: bool
) -> ElementReader:
    if _is_text(fields):
        return _compile_text_reader(fields, options, shape_path, lenient=lenient)
    known = _Fields(
        fields, options, shape_path, _compile_element_reader, _compile_value_of_element, lenient=lenient
    )
    required, left_out = known.required, known.left_out
    # Tag → field, its name, and the quick reader of a plain value that stands once.
    by_tag: dict[Any, tuple[_Field, str, Quick | None]] = {
        f"{namespace}{name}": (
            field,
            name,
            field.values.quick_text if field.values and not field.repeated else None,
        )
        for name, field in known.by_name.items()
        for namespace in _USUAL_NAMESPACES
    }

    def read(element: Element, path: str, notes: list[Note]) -> Payload:
        found: Payload = {}
        lost = False
        stray = element.text or ""
        for child in element:
            tail = child.tail
            if tail is not None and not tail.isspace():
                stray = tail
            usual = by_tag.get(child.tag)
            if usual is not None:
                field, name, quick = usual
                text = child.text
                if quick is not None and text and name not in found and not len(child):
                    value = quick(text)
                    if value is not None:
                        found[name] = value
                        continue
                lost |= take(field, child, found, path, notes)
            else:
                odd = unusual(child, path, notes)
                if odd is not None:
                    lost |= take(odd, child, found, path, notes)
        if lost:
            _remove_lost(found)
        for name in required:
            if name not in found and not known.supply(name, found, path, notes):
                raise known.missing(found, path)
        if left_out:
            _note_left_out(known, found, path, notes)
        if stray and not stray.isspace():
            problem = "text between elements has no meaning"
            known.drop("", excerpt(stray.strip()), "stray-text", problem, path, notes)
        return found

    def take(field: _Field, child: Element, found: Payload, path: str, notes: list[Note]) -> bool:
        """Read *child* into *found*; True when it was lost and *found* is to be tidied up."""
        path = f"{path}.{field.name}"
        mark = len(notes)
        items = None
        try:
            if field.repeated:
                items = found.get(field.name)
                if items is None:
                    items = found[field.name] = []
                items.append(field.read(child, f"{path}[{len(items)}]", notes))
            elif field.name in found:
                _once_more(field, found[field.name], field.read(child, path, []), path, notes)
            else:
                value = field.read(child, path, notes)
                if value is not None:
                    found[field.name] = value
        except Violation as broken:
            if _is_nil(child) and not field.required and not field.repeated:
                add_note(notes, Change(path, "nil", "", "nil-is-absent"))
            elif field.salvaged and items is not None:
                _lose(broken, _all_text(child), "bad-item", notes, mark)
                items.append(_LOST)
                return True
            elif field.droppable:
                _lose(broken, _all_text(child), "bad-optional", notes, mark)
            else:
                raise
        return False

    def unusual(child: Element, path: str, notes: list[Note]) -> _Field | None:
        """A tag that is not in the table: an OCPP namespace spelled otherwise, another case, an alias."""
        tag: object = child.tag
        if not isinstance(tag, str):
            return None  # a comment or a processing instruction, from a parser that kept them
        name, namespace = local_name(child), namespace_of(child)
        if not namespace or OCPP_NAMESPACE.fullmatch(namespace):
            field = known.unusual(name, path, notes)
            if field is not None:
                return field
        known.drop(name, _all_text(child), "unknown-field", f"{path} has no such field", path, notes)
        return None

    return read


def _compile_value_of_element(
    values: ValueReaders, *, may_be_absent: bool
) -> Callable[[Element, str, list[Note]], Any]:
    def read(element: Element, path: str, notes: list[Note]) -> Any:
        text = element.text or ""
        if len(element):
            if not values.takes_anything:
                problem = f"found element <{local_name(element[0])}>, expected plain text"
                raise Violation("TypeConstraintViolation", path, problem)
            # As it stood there. Written one by one, each element would repeat every namespace of the
            # envelope, and kilobytes would become gigabytes.
            whole = etree.tostring(element, encoding="unicode", with_tail=False)
            text = whole[whole.index(">") + 1 : whole.rindex("</")]
            add_note(notes, Change(path, _all_text(element), excerpt(text), "data-as-text"))
        elif not text.strip() and (not values.keeps_empty or (not text and _is_nil(element))):
            # An empty string keeps its meaning; an empty number, time or word has none.
            if not may_be_absent:
                raise Violation("TypeConstraintViolation", path, "found nothing, expected a value")
            add_note(notes, Change(path, "", "", "nil-is-absent" if _is_nil(element) else "empty-is-absent"))
            return None
        return values.read_text(text, path, notes)

    return read


def _compile_text_reader(
    fields: tuple[Field, ...], options: Options, shape_path: str, *, lenient: bool
) -> ElementReader:
    """The reader of a text with attributes, as the meter values of 1.5 are: ``<value unit="kWh">5</value>``
    gives ``{"value": "5", "unit": "kWh"}``."""
    known = _Fields(
        fields, options, shape_path, _compile_element_reader, _compile_value_of_element, lenient=lenient
    )
    [text] = [field.name for field in fields if field.place == "text"]
    attributes = {field.name for field in fields if field.place == "attribute"}

    def read(element: Element, path: str, notes: list[Note]) -> Payload:
        found: Payload = {text: known.by_name[text].read(element, f"{path}.{text}", notes)}
        for name, value in _attributes(element):
            field = known.by_name.get(name) or known.unusual(name, path, notes)
            if field is None or field.name not in attributes:
                known.drop(name, excerpt(value), "unknown-field", f"{path} has no such field", path, notes)
            else:
                take(field, value, found, f"{path}.{field.name}", notes)
        return found

    def take(field: _Field, value: str, found: Payload, path: str, notes: list[Note]) -> None:
        assert field.values is not None  # no attribute is an object
        mark = len(notes)
        if not value.strip():
            add_note(notes, Change(path, "", "", "empty-is-absent"))
            return
        try:
            read_value = field.values.read_text(value, path, notes)
        except Violation as broken:
            if not field.droppable:
                raise
            _lose(broken, excerpt(value), "bad-optional", notes, mark)
        else:
            if field.name in found:
                _once_more(field, found[field.name], read_value, path, notes)
            elif read_value is not None:
                found[field.name] = read_value

    return read


def _is_text(fields: tuple[Field, ...]) -> bool:
    return any(field.place == "text" for field in fields)


def _texts_with_attributes(fields: tuple[Field, ...]) -> Iterable[str]:
    """The names, in lower case, of the elements that are texts with attributes."""
    for field in fields:
        if _is_text(field.fields):
            yield field.name.lower()
        else:
            yield from _texts_with_attributes(field.fields)


def _attributes(element: Element) -> Iterable[tuple[str, str]]:
    """Local names and values; attributes of other namespaces than OCPP's are none of our business."""
    for name, value in element.attrib.items():
        namespace, _, bare = str(name).rpartition("}")
        if not namespace or OCPP_NAMESPACE.fullmatch(namespace[1:]):
            yield bare, str(value)


def _drop_attributes(
    element: Element, path: str, notes: list[Note], expected_at: frozenset[str], *, lenient: bool
) -> None:
    """Drop the attributes of all elements but those whose names are in *expected_at*."""
    for inner in element.iter(etree.Element):
        if inner is not element and local_name(inner).lower() in expected_at:
            continue
        for name, value in _attributes(inner):
            inside = [local_name(inner)] if inner is not element else []
            where = ".".join([path, *inside, f"@{excerpt(name)}"])
            if not lenient:
                problem = f"found {shown(value)}, expected nothing: no attributes are defined here"
                raise Violation("FormationViolation", where, problem)
            add_note(notes, Loss(where, excerpt(value), "unknown-field", "no attributes are defined here"))


def _is_nil(element: Element) -> bool:
    return element.get(XSI_NIL) in ("true", "1")


# ---------------------------------------------------------------------------- reading JSON


def compile_json_reader(
    fields: tuple[Field, ...], options: Options, action: str, *, lenient: bool
) -> JsonReader:
    """Make the reader of one JSON object: ``read(value, path, notes)`` gives the neutral payload.

    ``action`` and ``lenient`` are those of ``compile_element_reader``.
    """
    known = _Fields(fields, options, action, compile_json_reader, _compile_value_of_json, lenient=lenient)
    required, left_out = known.required, known.left_out
    # Name → field, the type a plain value usually has, and its quick reader.
    by_name: dict[str, tuple[_Field, type | None, Quick | None]] = {
        name: (field, field.values.json_type, field.values.quick_json)
        if field.values and not field.repeated
        else (field, None, None)
        for name, field in known.by_name.items()
    }

    def read(value: Any, path: str, notes: list[Note]) -> Payload:
        if type(value) is not dict:
            raise wrong_type(value, path, "an object")
        found: Payload = {}
        lost = False
        for name, item in value.items():
            usual = by_name.get(name)
            if usual is not None:
                field, usual_type, quick = usual
                if quick is not None and type(item) is usual_type and name not in found:
                    read_item = quick(item)
                    if read_item is not None:
                        found[name] = read_item
                        continue
                lost |= take(field, item, found, path, notes)
            else:
                odd = known.unusual(name, path, notes)
                if odd is not None:
                    lost |= take(odd, item, found, path, notes)
                else:
                    known.drop(name, excerpt(item), "unknown-field", f"{path} has no such field", path, notes)
        if lost:
            _remove_lost(found)
        for name in required:
            if (
                name not in found
                and not (name in left_out and value.get(name) is not None)
                and not known.supply(name, found, path, notes)
            ):
                raise known.missing(found, path)
        if left_out:
            _note_left_out(known, found, path, notes)
        return found

    def take(field: _Field, item: Any, found: Payload, path: str, notes: list[Note]) -> bool:
        """Read *item* into *found*; True when something of it was lost and *found* is to be tidied up."""
        path = f"{path}.{field.name}"
        mark = len(notes)
        if item is None:
            # Absent in disguise; what is required will be missed later.
            add_note(notes, Change(path, "null", "", "null-is-absent"))
            return False
        try:
            if field.repeated:
                return take_list(field, item, found, path, notes)
            if type(item) is list and len(item) == 1 and not field.takes_anything:
                add_note(notes, Change(path, excerpt(item), excerpt(item[0]), "list-as-single"))
                item = item[0]
            value = field.read(item, path, notes)
            if value is not None and field.name in found:
                _once_more(field, found[field.name], value, path, notes)
            elif value is not None:
                found[field.name] = value
        except Violation as broken:
            if not field.droppable:
                raise
            _lose(broken, excerpt(item), "bad-optional", notes, mark)
        return False

    def take_list(field: _Field, items: Any, found: Payload, path: str, notes: list[Note]) -> bool:
        if type(items) is not list:
            add_note(notes, Change(path, excerpt(items), "", "single-as-list"))
            items = [items]
        lost = False
        result: list[Any] = []
        for index, item in enumerate(items):
            mark = len(notes)
            try:
                result.append(field.read(item, f"{path}[{index}]", notes))
            except Violation as broken:
                if not field.salvaged:
                    raise
                _lose(broken, excerpt(item), "bad-item", notes, mark)
                result.append(_LOST)
                lost = True
        if field.name in found:
            _once_more(field, found[field.name], result, path, notes)
        elif result or not field.required:
            found[field.name] = result
        elif field.name not in left_out:
            raise Violation("OccurenceConstraintViolation", path, "found [], expected at least one item")
        return lost

    return read


def _compile_value_of_json(
    values: ValueReaders, *, may_be_absent: bool
) -> Callable[[Any, str, list[Note]], Any]:
    def read(item: Any, path: str, notes: list[Note]) -> Any:
        if type(item) is str and not values.keeps_empty and not item.strip():
            if not may_be_absent:
                raise Violation("TypeConstraintViolation", path, "found '', expected a value")
            add_note(notes, Change(path, "", "", "empty-is-absent"))
            return None
        return values.read_json(item, path, notes)

    return read


# ---------------------------------------------------------------------------- writing


def compile_xml_writer(
    fields: tuple[Field, ...], options: Options, action: str, *, lenient: bool
) -> XmlWriter:
    """Make the writer of one complex type: ``write(payload, path, notes)`` gives the elements inside it.

    ``fields`` is the service description's own shape; the payload is a neutral one, so only what the
    description cannot say needs care: it is dropped and noted, or raises Violation when it is required.
    """
    plan: list[tuple[str, Quick | None, bool, Callable[[Any, str, list[Note]], str]]] = []
    for field in fields:
        tag = f"{options.prefix}:{field.name}"
        quick: Quick | None = None
        if _is_text(field.fields):
            write_one = _text_writer(field.fields, tag)
        elif field.kind == "object":
            write_one = _object_writer(
                compile_xml_writer(field.fields, options, action, lenient=lenient), tag
            )
        else:
            quick, write_one = compile_value_writer(field, tag)
        if field.repeated:
            salvaged = lenient and field.name in SALVAGED_LISTS
            quick, write_one = None, _list_writer(write_one, required=field.required, salvaged=salvaged)
        plan.append((field.name, quick, field.required, write_one))

    def write(payload: Payload, path: str, notes: list[Note]) -> str:
        written = ""
        for name, quick, required, write_any in plan:
            value = payload.get(name)
            if value is None:
                if required:
                    raise _missing(name, payload, path)
                continue
            element = quick(value) if quick is not None else None
            written += write_any(value, f"{path}.{name}", notes) if element is None else element
        return written

    return write


def _object_writer(write: XmlWriter, tag: str) -> ElementWriter:
    opening, closing, empty = f"<{tag}>", f"</{tag}>", f"<{tag}/>"

    def write_object(payload: Payload, path: str, notes: list[Note]) -> str:
        inside = write(payload, path, notes)
        return f"{opening}{inside}{closing}" if inside else empty

    return write_object


def _text_writer(fields: tuple[Field, ...], tag: str) -> ElementWriter:
    """The writer of a text with attributes, in the order of the description."""
    [text] = [field for field in fields if field.place == "text"]
    attributes = [(field, compile_attribute_writer(field)) for field in fields if field is not text]

    def write_text(payload: Payload, path: str, notes: list[Note]) -> str:
        opening = f"<{tag}"
        for field, write in attributes:
            value = payload.get(field.name)
            if value is not None:
                opening += write(value, f"{path}.{field.name}", notes)
        value = payload.get(text.name)
        if value is None:
            raise _missing(text.name, payload, path)
        return f"{opening}>{escape(value, f'{path}.{text.name}', notes)}</{tag}>"

    return write_text


def _missing(name: str, payload: Payload, path: str) -> Violation:
    found = f"found {', '.join(payload)}" if payload else "found nothing"
    return Violation(
        "OccurenceConstraintViolation", f"{path}.{name}", f"is missing; {found}, expected {name}"
    )


def _list_writer(write_item: ElementWriter, *, required: bool, salvaged: bool) -> ElementWriter:
    def write_list(items: list[Any], path: str, notes: list[Note]) -> str:
        written = []
        for index, item in enumerate(items):
            mark = len(notes)
            try:
                written.append(write_item(item, f"{path}[{index}]", notes))
            except Violation as broken:
                if not salvaged:
                    raise
                _lose(broken, excerpt(item), "bad-item", notes, mark)
        if not written and required:
            problem = "is empty, expected at least one"
            raise Violation("OccurenceConstraintViolation", path, problem)
        if not items:
            add_note(notes, Change(path, "[]", "", "empty-list"))
        return "".join(written)

    return write_list


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
                add_note(notes, Change(f"{path}.{name}", "Celsius", options.celsius, "celcius"))
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


def _all_text(element: Element) -> str:
    """The element's text, for a note: its own, or that of all elements in it."""
    return _joined(str(text) for text in element.itertext())


def _joined(texts: Iterable[str]) -> str:
    words: list[str] = []
    for text in texts:
        words += text[:100].split()
        if len(words) > 60:
            break
    return excerpt(" ".join(words))
