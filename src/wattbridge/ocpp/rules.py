"""What the profile of a charge point changes in payloads: rules as data, and compiled.

Rules are made once at start, from a profile of the configuration, and compiled into a dialect through its
options. What a schema would refuse (an unknown word, a text too long, an empty vendor) is a matter of the
value readers, which ask ``Rules.of``; everything else acts on the neutral payload of OCPP 1.6, behind the
reader or before the writer, so that one rule holds for every encoding and version. Whatever a rule changes
is a note.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from fnmatch import translate
from typing import Any, Literal

from wattbridge.ocpp.differences import left_out_by_soap
from wattbridge.ocpp.errors import Violation, excerpt, shown
from wattbridge.ocpp.messages import Change, Loss, Note, Payload, add_note
from wattbridge.ocpp.shapes import Field

Precision = Literal["", "seconds", "milliseconds"]
Reader = Callable[[Any, str, list[Note]], Payload]
Writer = Callable[[Payload, str, list[Note]], Any]
Alter = Callable[[Payload, str, list[Note]], None]

EVERY = "*"  # every field there is

_NUMBER = re.compile(r"[+-]?\d{1,15}(?:\.\d{1,10})?", re.ASCII)  # arithmetic has 28 digits
_INTEGER = re.compile(r"[+-]?\d{1,28}", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{3})?Z", re.ASCII)
_INDEX = re.compile(r"\[\d+\]")


@dataclass(frozen=True, slots=True)
class Word:
    """``seen`` stands for ``meant`` in the fields whose path ends in ``path``."""

    path: str
    seen: str
    meant: str


@dataclass(frozen=True, slots=True)
class Fallback:
    """Any other word becomes ``becomes`` there; what stood there is kept in the first free one of ``keep``,
    fields beside it (``vendorErrorCode``)."""

    path: str
    becomes: str
    keep: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Alias:
    """A field of what the charge point is told is also written as ``name``, or only so (``instead``)."""

    message: str
    field: str
    name: str
    instead: bool = False


@dataclass(frozen=True, slots=True)
class Condition:
    """The field at ``path`` is like one of ``values``: patterns as ``fnmatch`` has them; None: not there.

    A list holds when one of its items does; where the list is on the way to what is changed, it is the same
    item.
    """

    path: str
    values: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Edit:
    """What is changed in one message (``MeterValues``, ``BootNotificationResponse``) when everything of
    ``when`` holds. Paths are whole, or as much of their end as names one field.
    """

    message: str
    when: tuple[Condition, ...] = ()
    set: tuple[tuple[str, str], ...] = ()
    drop: tuple[str, ...] = ()
    scale: tuple[tuple[str, Decimal], ...] = ()


@dataclass(frozen=True, slots=True)
class FieldRules:
    """What a reader has to know of one field."""

    words: dict[str, str]
    fallback: str | None = None
    default: str | None = None
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """Everything a profile changes in payloads.

    ``profile`` is its name. ``defaults`` are paths with what is read where nothing stands, ``truncated``
    paths of texts that are cut to the length OCPP allows (``"*"``: all). ``precision`` is that of times
    which the charge point is told ("": as they are); with ``z_is_local`` the Z behind its own times is an
    error, and they are local. A profile without any of them still has payloads read and written anew.
    """

    profile: str = ""
    words: tuple[Word, ...] = ()
    fallbacks: tuple[Fallback, ...] = ()
    defaults: tuple[tuple[str, str], ...] = ()
    truncated: tuple[str, ...] = ()
    aliases: tuple[Alias, ...] = ()
    edits: tuple[Edit, ...] = ()
    precision: Precision = ""
    z_is_local: bool = False
    _hash: int = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # A dialect is looked up by its options for every message of an older version.
        own = (getattr(self, each.name) for each in dataclasses.fields(self) if each.name != "_hash")
        object.__setattr__(self, "_hash", hash(tuple(own)))

    def __hash__(self) -> int:
        return self._hash

    def of(self, path: str) -> FieldRules:
        """What is said of the field at *path*; later rules count more."""
        fallback = default = None
        for each in self.fallbacks:
            fallback = each.becomes if fits(path, each.path) else fallback
        for place, value in self.defaults:
            default = value if fits(path, place) else default
        return FieldRules(
            {word.seen: word.meant for word in self.words if fits(path, word.path)},
            fallback,
            default,
            any(place == EVERY or fits(path, place) for place in self.truncated),
        )


def fits(path: str, place: str) -> bool:
    """Whether *path* is *place*, or ends in it: ``MeterValues.meterValue.sampledValue.unit`` in ``unit``."""
    return path == place or path.endswith(f".{place}")


# ---------------------------------------------------------------------------- places in a message


def chains(fields: Iterable[Field], before: tuple[Field, ...] = ()) -> Iterator[tuple[Field, ...]]:
    """Every field of a shape, with those it stands in before it."""
    for field in fields:
        chain = (*before, field)
        yield chain
        yield from chains(field.fields, chain)


def dotted(chain: Iterable[Field]) -> str:
    return ".".join(field.name for field in chain)


def find(message: str, fields: tuple[Field, ...], path: str) -> tuple[Field, ...]:
    """The field of *message* that *path* names: whole, or by its end when only one ends so.

    Raises ValueError when there is none, or more than one.
    """
    known = list(chains(fields))
    found = [chain for chain in known if dotted(chain) == path]
    found = found or [chain for chain in known if dotted(chain).endswith(f".{path}")]
    if not found:
        raise ValueError(f"{message} has no field {shown(path)}")
    if len(found) > 1:
        raise ValueError(f"{shown(path)} may be {' or '.join(dotted(chain) for chain in found)} of {message}")
    return found[0]


def typed(field: Field, text: str) -> Any:
    """*text* as a value of *field*. Raises ValueError when it is none."""
    if field.fields:
        raise ValueError(f"{field.name} is an object, no value")
    if field.enum:
        if text not in field.enum:
            raise ValueError(f"{shown(text)} is not one of {', '.join(map(repr, field.enum))}")
        return text
    if field.kind == "integer":
        if not _INTEGER.fullmatch(text):
            raise ValueError(f"{shown(text)} is not an integer")
        return int(text)
    if field.kind == "decimal":
        if not _NUMBER.fullmatch(text):
            raise ValueError(f"{shown(text)} is not a number")
        return _as_decimal(Decimal(text), field)
    if field.kind == "boolean":
        if text not in ("true", "false"):
            raise ValueError(f"{shown(text)} is not true or false")
        return text == "true"
    if field.kind == "dateTime" and not _TIME.fullmatch(text):
        raise ValueError(f"{shown(text)} is not a time like 2024-05-01T10:00:00Z")
    if field.max_length is not None and len(text) > field.max_length:
        raise ValueError(f"{shown(text)} is longer than {field.max_length} characters")
    return text


# ---------------------------------------------------------------------------- compiling


def after_reading(rules: Rules, message: str, fields: tuple[Field, ...], read: Reader) -> Reader:
    """*read*, and then the rules for what the charge point says; *read* itself where there are none.

    ``fields`` is the neutral shape. Raises ValueError when a rule does not fit it.
    """
    changes: list[Alter] = []
    kept = [each for each in rules.fallbacks if each.keep]
    if any(fits(f"{message}.{dotted(chain)}", each.path) for chain in chains(fields) for each in kept):
        changes.append(_keep_originals(kept, fields))
    changes += compile_edits(rules, message, fields, lossy=True)
    if not changes:
        return read

    def read_and_change(value: Any, path: str, notes: list[Note]) -> Payload:
        found = read(value, path, notes)
        for change in changes:
            change(found, path, notes)
        return found

    return read_and_change


def before_writing(
    rules: Rules,
    message: str,
    fields: tuple[Field, ...],
    described: tuple[Field, ...],
    write: Writer | None,
    *,
    lossy: bool,
) -> Writer | None:
    """The rules for what the charge point is told, and then *write* (None: as it is); *write* itself where
    there are none.

    ``described`` is the shape of the service description. ``lossy`` is not for commands: what a profile takes
    away from one is no loss, or SOAP would refuse to carry it. Raises ValueError when a rule does not fit.
    """
    changes = compile_edits(rules, message, fields, lossy=lossy)
    if rules.precision:
        changes += [
            _precise(chain, rules.precision) for chain in chains(fields) if chain[-1].kind == "dateTime"
        ]
    names = {field.name for field in described}
    for alias in rules.aliases:
        if alias.message == message and alias.field in names and alias.name not in names:
            changes.append(_aliased(alias))
    if not changes:
        return write

    def change_and_write(payload: Payload, path: str, notes: list[Note]) -> Any:
        changed: Payload = _copy(payload)  # others have the payload, too
        for change in changes:
            change(changed, path, notes)
        return changed if write is None else write(changed, path, notes)

    return change_and_write


def with_aliases(rules: Rules | None, message: str, fields: tuple[Field, ...]) -> tuple[Field, ...]:
    """*fields* of the service description with those that are written besides, behind the ones they are."""
    if rules is None:
        return fields
    names = {field.name for field in fields}
    written: list[Field] = []
    for field in fields:
        own = [each for each in rules.aliases if each.message == message and each.field == field.name]
        own = [each for each in own if each.name not in names]
        if any(each.instead for each in own):
            field = replace(field, min_items=0)
        written += [field, *(replace(field, name=each.name, min_items=0) for each in own)]
    return tuple(written)


def compile_edits(rules: Rules, message: str, fields: tuple[Field, ...], *, lossy: bool) -> list[Alter]:
    """The edits of one message, each a function that changes a payload in place.

    Raises ValueError when a path or a value does not fit the message.
    """
    found: list[Alter] = []
    for edit in rules.edits:
        if edit.message != message:
            continue
        for path, factor in edit.scale:
            found.append(_scaled(message, fields, path, factor, edit.when))
        for path, text in edit.set:
            found.append(_set(message, fields, path, text, edit.when))
        for path in edit.drop:
            found.append(_dropped(message, fields, path, edit.when, rules.profile, lossy=lossy))
    return found


# Gets what holds the field, the field's path and the notes; tells whether what holds it is to be dropped too.
_Act = Callable[[list[Payload], str, list[Note]], bool]


def _visitor(message: str, chain: tuple[Field, ...], act: _Act) -> Alter:
    """Go to every place where the last field of *chain* may stand, and *act* there."""
    last = len(chain) - 1

    def visit(holders: list[Payload], path: str, notes: list[Note]) -> bool:
        depth = len(holders) - 1
        field, holder = chain[depth], holders[-1]
        path = f"{path}.{field.name}"
        if depth == last:
            return act(holders, path, notes)
        inside = holder.get(field.name)
        if inside is None:
            return False
        if field.repeated:
            kept = [
                item
                for index, item in enumerate(inside)
                if not visit([*holders, item], f"{path}[{index}]", notes)
            ]
            if kept or not inside:
                holder[field.name] = kept
                return False
        elif not visit([*holders, inside], path, notes):
            return False
        del holder[field.name]
        return field.required

    def change(payload: Payload, path: str, notes: list[Note]) -> None:
        lost = visit([payload], path, notes)
        # Of MeterValues nothing may be left: the gateway answers it then.
        if lost and not left_out_by_soap(f"{message}.{chain[0].name}"):
            problem = "nothing is left of it, by the rules of the profile"
            raise Violation("OccurenceConstraintViolation", f"{path}.{chain[0].name}", problem)

    return change


def _checks(
    message: str, fields: tuple[Field, ...], target: tuple[Field, ...], when: tuple[Condition, ...]
) -> Callable[[list[Payload]], bool]:
    """Whether all conditions hold, given what holds the target, from the outermost to the innermost."""
    checks: list[tuple[int, tuple[str, ...], Callable[[str | None], bool]]] = []
    for condition in when:
        chain = find(message, fields, condition.path)
        if chain[-1].fields:
            raise ValueError(f"{condition.path} is an object, no value")
        shared = 0
        while shared < len(chain) - 1 and shared < len(target) and chain[shared] == target[shared]:
            shared += 1
        names = tuple(field.name for field in chain)
        checks.append((shared, names, _like(condition.values)))

    def hold(holders: list[Payload]) -> bool:
        for shared, names, like in checks:
            depth = min(shared, len(holders) - 1)
            if not any(map(like, _texts(holders[depth], names[depth:]))):
                return False
        return True

    return hold


def _like(values: tuple[str | None, ...]) -> Callable[[str | None], bool]:
    patterns = re.compile("|".join(translate(value) for value in values if value is not None) or "(?!)")
    absent = None in values

    def like(text: str | None) -> bool:
        return absent if text is None else patterns.match(text) is not None

    return like


def _texts(holder: Payload, names: tuple[str, ...]) -> list[str | None]:
    """What stands at *names* below *holder*, as texts; one None when nothing does."""
    found: list[Any] = [holder]
    for name in names:
        values = [item.get(name) for item in found]
        found = [
            item for value in values for item in (value if isinstance(value, list) else [value])
            if item is not None
        ]  # fmt: skip
    return [_text(value) for value in found] or [None]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return (
        value if isinstance(value, str) else format(value, "f") if isinstance(value, Decimal) else str(value)
    )


def _plain(message: str, fields: tuple[Field, ...], path: str) -> tuple[Field, ...]:
    chain = find(message, fields, path)
    if chain[-1].fields or chain[-1].repeated:
        what = "a list" if chain[-1].repeated else "an object"
        raise ValueError(f"{path} is {what}, which can only be dropped")
    return chain


def _set(message: str, fields: tuple[Field, ...], path: str, text: str, when: tuple[Condition, ...]) -> Alter:
    chain = _plain(message, fields, path)
    value, name = typed(chain[-1], text), chain[-1].name
    hold = _checks(message, fields, chain, when)

    def act(holders: list[Payload], path: str, notes: list[Note]) -> bool:
        holder = holders[-1]
        was = holder.get(name)
        if was != value and hold(holders):
            holder[name] = value
            add_note(notes, Change(path, "" if was is None else excerpt(was), excerpt(value), "profile-set"))
        return False

    return _visitor(message, chain, act)


def _scaled(
    message: str, fields: tuple[Field, ...], path: str, factor: Decimal, when: tuple[Condition, ...]
) -> Alter:
    chain = _plain(message, fields, path)
    field = chain[-1]
    if field.enum or field.kind not in ("integer", "decimal", "string"):
        raise ValueError(f"{path} is no number")
    hold = _checks(message, fields, chain, when)

    def act(holders: list[Payload], path: str, notes: list[Note]) -> bool:
        holder = holders[-1]
        was = holder.get(field.name)
        # A text that is no number is left alone: the value of another key, a signed reading.
        if was is None or not _NUMBER.fullmatch(_text(was)) or not hold(holders):
            return False
        number = Decimal(_text(was)) * factor
        if field.kind == "integer":
            becomes: Any = int(number.to_integral_value(ROUND_HALF_UP))
        elif field.kind == "decimal":
            becomes = _as_decimal(number, field)
        else:
            becomes = _text(_as_decimal(number, field))
        holder[field.name] = becomes
        add_note(notes, Change(path, excerpt(was), excerpt(becomes), "profile-scaled"))
        return False

    return _visitor(message, chain, act)


def _as_decimal(number: Decimal, field: Field) -> int | Decimal:
    """With the digits that *field* may have, cut towards zero: a limit must not become larger than asked."""
    if field.fraction_digits is not None:
        number = number.quantize(Decimal(1).scaleb(-field.fraction_digits), ROUND_DOWN)
    return int(number) if number == number.to_integral_value() else number.normalize()


def _dropped(
    message: str,
    fields: tuple[Field, ...],
    path: str,
    when: tuple[Condition, ...],
    profile: str,
    *,
    lossy: bool,
) -> Alter:
    chain = find(message, fields, path)
    field = chain[-1]
    if field.required and not field.repeated:
        raise ValueError(f"{path} is required and cannot be dropped")
    hold = _checks(message, fields, chain, when)

    def note(path: str, value: Any, notes: list[Note]) -> None:
        if lossy:
            add_note(notes, Loss(path, excerpt(value), "profile-dropped", f"profile {profile} drops it"))
        else:
            add_note(notes, Change(path, excerpt(value), "", "profile-dropped"))

    def act(holders: list[Payload], path: str, notes: list[Note]) -> bool:
        holder = holders[-1]
        value = holder.get(field.name)
        if value is None:
            return False
        if not field.repeated:
            if hold([*holders, value] if field.fields else holders):
                note(path, value, notes)
                del holder[field.name]
            return False
        kept = []
        for index, item in enumerate(value):
            if hold([*holders, item] if field.fields else holders):
                note(f"{path}[{index}]", item, notes)
            else:
                kept.append(item)
        if kept or not value:
            holder[field.name] = kept
            return False
        del holder[field.name]
        return field.required

    return _visitor(message, chain, act)


def _keep_originals(fallbacks: list[Fallback], fields: tuple[Field, ...]) -> Alter:
    """Keep the words that a fallback was read for, as the notes tell them."""
    lengths = {field.name: field.max_length for field in fields}

    def change(payload: Payload, path: str, notes: list[Note]) -> None:
        for note in list(notes):
            if note.rule != "profile-fallback":
                continue
            place = _INDEX.sub("", note.path)
            for fallback in fallbacks:
                free = [name for name in fallback.keep if name in lengths and name not in payload]
                if fits(place, fallback.path) and free:
                    payload[free[0]] = note.value[: lengths[free[0]]]
                    add_note(notes, Change(f"{path}.{free[0]}", "", payload[free[0]], "profile-kept"))
                    break

    return change


def _precise(chain: tuple[Field, ...], precision: Precision) -> Alter:
    name = chain[-1].name

    def act(holders: list[Payload], path: str, notes: list[Note]) -> bool:
        holder = holders[-1]
        was = holder.get(name)
        if was is None:
            return False
        whole, _, fraction = str(was).removesuffix("Z").partition(".")
        becomes = f"{whole}Z" if precision == "seconds" else f"{whole}.{fraction[:3]:0<3}Z"
        if becomes != was:
            holder[name] = becomes
            add_note(notes, Change(path, excerpt(was), becomes, "profile-time"))
        return False

    return _visitor("", chain, act)


def _aliased(alias: Alias) -> Alter:
    def change(payload: Payload, path: str, notes: list[Note]) -> None:
        if alias.field in payload:
            value = payload.pop(alias.field) if alias.instead else payload[alias.field]
            payload[alias.name] = value
            add_note(notes, Change(f"{path}.{alias.field}", alias.field, alias.name, "profile-alias"))

    return change


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copy(item) for name, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value
