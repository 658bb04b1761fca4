"""Which field of one encoding is which of the other, for showing what belongs together.

Names and places are those of the service descriptions; where an older version calls a field otherwise, the
tables of ``older.py`` tell.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from wattbridge.ocpp import ocppj, older, soap
from wattbridge.ocpp.errors import Violation
from wattbridge.ocpp.payloads import local_name
from wattbridge.operation.trace.filter import notes_of
from wattbridge.store.base import Exchange

MOST_PAIRS = 2000  # of one exchange

# A field of 1.6 by its name, as the neutral form orders it: where it stands, and at which place of its list.
Key = tuple[tuple[str, int], ...]

_ITEM = re.compile(r"([A-Za-z]+)\[(\d+)\]")
_OLDER_NAMES = {row.older_name.lower(): row.field.lower() for row in older.ROWS if row.older_name}


@dataclass(frozen=True, slots=True)
class Leaf:
    """One value: ``path`` is how its own encoding writes the place, ``key`` what it is."""

    path: str
    key: Key


def pairs_of(exchange: Exchange) -> list[dict[str, str]]:
    """``{"message": "call", "charger": PATH, "csms": PATH}``; ``"soap"`` and ``"json"`` too, where there are
    both.

    Paths are without the message's name: ``meterValue[0].sampledValue[1].unit``; of an attribute of 1.5
    ``values[0].value[1].@unit``.
    """
    from_charger = exchange.arrived_from == "charge_point"
    transports = exchange.charger_transport, exchange.csms_transport
    notes = notes_of(exchange)
    found: list[dict[str, str]] = []
    for message, source, target in (
        ("call", exchange.arrived, exchange.asked),
        ("reply", exchange.answered, exchange.replied),
    ):
        if not source or not target:
            continue
        source_is_charger = from_charger is (message == "call")
        gone = _gone(notes, ("arrived", "asked") if message == "call" else ("answered", "replied"))
        first, second = leaves_of(source), leaves_of(target)
        by_key = {leaf.key: leaf.path for leaf in second}
        for leaf in first:
            key = _moved_up(leaf.key, gone)
            if key is None or key not in by_key:
                continue
            charger, csms = leaf.path, by_key[key]
            if not source_is_charger:
                charger, csms = csms, charger
            pair = {"message": message, "charger": charger, "csms": csms}
            if set(transports) == {"soap", "json"}:
                pair |= dict(zip(transports, (charger, csms), strict=True))
            found.append(pair)
            if len(found) == MOST_PAIRS:
                return found
    return found


def leaves_of(text: str) -> list[Leaf]:
    """Every value of one message, SOAP or JSON; none of a fault, a CALLERROR or what cannot be read."""
    try:
        if text.lstrip("\ufeff \t\r\n")[:1] == "[":
            frame = ocppj.read_frame(text)
            return [] if isinstance(frame, ocppj.ErrorFrame) else list(_of_json(frame.payload, "", ()))
        body = soap.read_envelope(text.encode(errors="replace")).body
    except Violation:
        return []
    if body is None or local_name(body) == "Fault":
        return []
    return list(_of_xml(body, "", (), Counter()))


def _of_json(value: Any, path: str, key: Key) -> Iterator[Leaf]:
    if isinstance(value, dict):
        for name, inner in value.items():
            here = f"{path}.{name}" if path else name
            if isinstance(inner, list):
                for position, item in enumerate(inner):
                    yield from _of_json(item, f"{here}[{position}]", (*key, (name.lower(), position)))
            else:
                yield from _of_json(inner, here, (*key, (name.lower(), 0)))
    elif path:
        yield Leaf(path, key)


def _of_xml(element: Any, path: str, key: Key, meter_values: Counter[str]) -> Iterator[Leaf]:
    children = [child for child in element if isinstance(child.tag, str)]
    if not children:
        if path:
            yield Leaf(path, key)
        return
    many = Counter(local_name(child) for child in children)
    seen: Counter[str] = Counter()
    for child in children:
        name = local_name(child)
        position = seen[name]
        seen[name] += 1
        inner_path = f"{path}.{name}" if path else name
        if many[name] > 1 or name in _LISTS:
            inner_path += f"[{position}]"
        lowered = _OLDER_NAMES.get(name.lower(), name.lower())
        if name == "values":  # MeterValue of 1.5 and 1.2
            yield from _of_older_values(child, inner_path, key, position, meter_values)
        else:
            yield from _of_xml(child, inner_path, (*key, (lowered, position)), meter_values)


# Names that are lists wherever they stand, so that a single one is shown as the first of one.
_LISTS = frozenset(
    {
        "meterValue", "sampledValue", "transactionData", "values", "configurationKey", "unknownKey",
        "chargingSchedulePeriod", "localAuthorizationList", "localAuthorisationList",
    }
)  # fmt: skip


def _of_older_values(
    values: Any, path: str, key: Key, position: int, meter_values: Counter[str]
) -> Iterator[Leaf]:
    """``<values><timestamp/><value unit="Wh">5</value></values>``: a meter value with its sampled values.

    In StopTransaction they stand in transactionData, and all of them come to one list.
    """
    if key:
        place: Key = (("transactiondata", meter_values["transactiondata"]),)
        meter_values["transactiondata"] += 1
    else:
        place = (("metervalue", position),)
    samples = 0
    for child in values:
        if not isinstance(child.tag, str):
            continue
        name = local_name(child)
        if name != "value":
            yield Leaf(f"{path}.{name}", (*place, (name.lower(), 0)))
            continue
        here, sample = f"{path}.value[{samples}]", (*place, ("sampledvalue", samples))
        samples += 1
        yield Leaf(here, (*sample, ("value", 0)))
        for attribute in child.attrib:
            yield Leaf(f"{here}.@{attribute}", (*sample, (str(attribute).lower(), 0)))


def _gone(notes: list[dict[str, str]], places: tuple[str, str]) -> list[Key]:
    """The items of lists that were lost on the way: what stood behind them has moved up."""
    lost = [note["lost"] for note in notes if note.get("lost", "").endswith("]") and note.get("at") in places]
    return [
        tuple((name.lower(), int(position)) for name, position in _ITEM.findall(path))
        for path in lost
        if path
    ]


def _moved_up(key: Key, gone: list[Key]) -> Key | None:
    """Where a value of *key* is when the items of *gone* are not there; None when it was in one of them."""
    moved = list(key)
    for item in gone:
        *outer, (name, position) = item
        level = len(outer)
        if len(key) <= level or list(key[:level]) != outer or key[level][0] != name:
            continue
        if key[level][1] == position:
            return None
        if key[level][1] > position:
            moved[level] = (name, moved[level][1] - 1)
    return tuple(moved)
