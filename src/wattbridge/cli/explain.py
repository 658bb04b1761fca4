"""``wattbridge explain``: how an action or a field is carried, and what the gateway answers itself, from the
data it works with.
"""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from wattbridge.cli.streams import for_people
from wattbridge.cli.tables import columns_of, wrapped
from wattbridge.ocpp import local_answers, older, security_extension
from wattbridge.ocpp.actions import CompiledOperation, Dialect, Message, dialect
from wattbridge.ocpp.compatibility import happens
from wattbridge.ocpp.differences import DIFFERENCES, HABITS, Difference
from wattbridge.ocpp.local_answers import LocalAnswer
from wattbridge.ocpp.messages import Side
from wattbridge.ocpp.shapes import Field
from wattbridge.ocpp.tolerances import FIELD_ALIASES, SALVAGED_LISTS, VALUE_ALIASES

SENDERS = {
    Side.CHARGE_POINT: "charge point → central system",
    Side.CENTRAL_SYSTEM: "central system → charge point",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One field as the table shows it. ``path`` starts with the message's name."""

    path: str
    depth: int
    field: Field
    differences: tuple[Difference, ...]
    older: tuple[older.Row, ...] = ()

    @property
    def cardinality(self) -> str:
        most = "n" if self.field.max_items is None else str(self.field.max_items)
        return (
            str(self.field.min_items)
            if most == str(self.field.min_items)
            else f"{self.field.min_items}..{most}"
        )

    @property
    def kind(self) -> str:
        field = self.field
        if field.enum:
            return "one of"
        bounds = f" ≤ {field.max_length}" if field.max_length is not None else ""
        digits = f", {field.fraction_digits} decimal" if field.fraction_digits is not None else ""
        return f"{field.kind}{bounds}{digits}"

    @property
    def remarks(self) -> list[str]:
        """Everything that may happen to this field on its way."""
        field = self.field
        said = []
        for row in self.differences:
            said += [
                f"towards SOAP: {row.towards_soap}",
                f"towards JSON: {row.towards_json}",
                f"source: {row.source}",
            ]
        action = self.path.partition(".")[0].removesuffix("Response")
        said += [
            f"read as {field.name}: {seen}"
            for (of, seen), meant in FIELD_ALIASES.items()
            if of == action and meant == field.name
        ]
        said += [
            f"read as {meant}: {seen}" for (name, seen), meant in VALUE_ALIASES.items() if name == field.name
        ]
        if field.name in SALVAGED_LISTS and field.repeated:
            said.append("a bad item is lost alone (recorded); the others are carried")
        if field.kind == "dateTime":
            said.append("any form of xs:dateTime is read; UTC is written, YYYY-MM-DDTHH:MM:SSZ")
        if field.kind == "decimal":
            said.append("decimal arithmetic; what has too many decimals is cut towards zero (recorded)")
        return said

    @property
    def older_remarks(self) -> list[str]:
        """What older versions make of this field."""
        told: dict[str, list[str]] = {}  # what is said → of which versions

        def tell(said: str, row: older.Row) -> None:
            known = told.setdefault(said, [])
            known += [version for version in row.versions if version not in known]

        for row in self.older:
            if row.only_older:
                tell("only in OCPP {}", row)
            if row.older_name and row.path == self.path:
                tell(f"called {row.older_name} in OCPP {{}}", row)
        for row in self.older:
            if happens(row.up) and row.up != row.down:
                tell(f"from OCPP {{}}: {row.up}", row)
        for row in self.older:
            if happens(row.down) and row.up != row.down:
                tell(f"to OCPP {{}}: {row.down}", row)
        return [said.format(and_of(sorted(versions))) for said, versions in told.items()]

    @property
    def older_sources(self) -> list[str]:
        return [f"source: {source}" for source in dict.fromkeys(row.source for row in self.older)]

    def as_json(self) -> dict[str, Any]:
        field = self.field
        return {
            "path": self.path,
            "kind": field.kind,
            "type": field.type_name,
            "minItems": field.min_items,
            "maxItems": field.max_items,
            "maxLength": field.max_length,
            "fractionDigits": field.fraction_digits,
            "enum": list(field.enum),
            "remarks": self.remarks,
            "onlyIn": sorted(version for row in self.older if row.only_older for version in row.versions),
            "older": [
                {"versions": list(row.versions), "up": row.up, "down": row.down, "source": row.source}
                for row in self.older
            ],
        }


class Unknown(Exception):
    """There is no such action or field: a sentence that says so, and what may have been meant."""


def explain(query: str, as_json: bool) -> int:
    """Print the table of ``ACTION`` or ``ACTION.field``, in any letter case.

    ``ActionRequest`` or ``Action.req`` is the call alone, ``ActionResponse`` or ``Action.conf`` the answer.
    Returns 0, or 2 when there is no such thing.
    """
    _, action, _, wanted = _taken_apart(query)
    if not _operations(dialect(), action):
        for side, actions in security_extension.ACTIONS.items():
            for one in actions:
                if one.lower() == action.lower():
                    return _explain_extension(one, side, wanted, as_json)
    try:
        tables = _tables(query)
    except Unknown as unknown:
        sys.stderr.write(f"wattbridge: {unknown}\n")
        return 2
    if as_json:
        sys.stdout.write(json.dumps(_as_json(tables), indent=2) + "\n")
    else:
        _print_text(tables, whole=bool(wanted))
    return 0


def explained(query: str) -> list[dict[str, Any]]:
    """What ``explain`` prints, as JSON has it. Raises Unknown."""
    _, action, _, _ = _taken_apart(query)
    known = [one for actions in security_extension.ACTIONS.values() for one in actions]
    if not _operations(dialect(), action) and action.lower() in map(str.lower, known):
        return [_answer_as_json(row) for row in local_answers.TABLE if row.action.lower() == action.lower()]
    return _as_json(_tables(query))


def _tables(query: str) -> Tables:
    """Raises Unknown."""
    compiled = dialect()
    name, action, part, wanted = _taken_apart(query)
    operations = _operations(compiled, action)
    if not operations:
        known = sorted({operation.action for operation in compiled.operations.values()})
        raise Unknown(f"there is no action {name!r} in OCPP {compiled.version}{_hint(action, known)}")
    tables = [
        (operation, message, rows(message))
        for operation in operations
        for message in (operation.request, operation.response)
        if part != ("conf" if message is operation.request else "req")
    ]
    if not wanted:
        return tables
    found = [(o, m, _fitting(table, wanted)) for o, m, table in tables]
    if not any(table for _, _, table in found):
        names = sorted({row.path.partition(".")[2] for _, _, table in tables for row in table})
        raise Unknown(f"{operations[0].action} has no field {wanted!r}{_hint(wanted, names)}")
    return [entry for entry in found if entry[2]]


def explain_local_answers(query: str | None, as_json: bool) -> int:
    """Print what the gateway answers itself, of one action or of all.

    Returns 0, or 2 when it answers no such action itself.
    """
    table = local_answers.TABLE
    if query is not None:
        wanted = query.strip().lower()
        table = tuple(row for row in table if row.action.lower() == wanted)
        if not table:
            known = sorted({row.action for row in local_answers.TABLE})
            return _unknown(f"the gateway does not answer {query!r} itself", query, known)
    if as_json:
        sys.stdout.write(json.dumps(list(map(_answer_as_json, table)), indent=2) + "\n")
        return 0
    out = for_people(sys.stdout)
    columns = columns_of(out)
    lines: list[str] = []
    for (asked, lacking), rows_of_group in groupby(
        local_answers_in_order(table), key=lambda row: (row.asked, row.lacking)
    ):
        lines += wrapped(f"Asked of {_whom(asked, lacking)}", "", columns)
        group = list(rows_of_group)
        width = max(len(row.action) for row in group)
        sources = {row.source for row in group}
        for row in group:
            indent = " " * (width + 4)
            told = wrapped(row.said, indent, columns, hang="")
            told[0] = f"  {row.action:<{width}}  {told[0].strip()}"
            lines += told
            if len(sources) > 1 or len(group) == 1:
                lines += wrapped(f"· {row.source}", indent, columns)
        if len(sources) == 1 < len(group):  # said once for all of them
            lines.append(f"  · {group[0].source}")
        lines.append("")
    out.write("\n".join(lines).rstrip() + "\n")
    return 0


def local_answers_in_order(table: Iterable[LocalAnswer] = local_answers.TABLE) -> list[LocalAnswer]:
    """Rows of the same party and the same dialects together, those that are for the oldest only first."""
    return sorted(table, key=lambda row: (row.asked.value != "charge_point", len(row.lacking)))


def _whom(asked: Side, lacking: tuple[str, ...]) -> str:
    versions = and_of([spoken.partition(" ")[2] for spoken in lacking], "or")
    return f"a {asked.value.replace('_', ' ')} that speaks SOAP, OCPP {versions}, which has no such operation"


def _answer_as_json(row: LocalAnswer) -> dict[str, Any]:
    return {
        "asked": row.asked.value,
        "action": row.action,
        "dialects": list(row.lacking),
        "answer": row.payload,  # null for a CALLERROR NotSupported
        "said": row.said,
        "source": row.source,
    }


def _explain_extension(action: str, asked: Side, wanted: str, as_json: bool) -> int:
    """An action of the security extension, of which there is no description."""
    if wanted:
        sys.stderr.write(f"wattbridge: the fields of {action} are not known here: nothing looks into it\n")
        return 2
    if as_json:
        return explain_local_answers(action, as_json)
    out = for_people(sys.stdout)
    columns = columns_of(out)
    lines = [
        f"{action}: {SENDERS[asked.other]}, of the security extension of OCPP-J 1.6",
        f'  JSON  [2, id, "{action}", …], as it is',
        *wrapped("SOAP  has no such operation; what happens to it there:", "  ", columns),
    ]
    for row in local_answers.TABLE:
        if row.action == action and row.asked is asked:
            lines += wrapped(f"· {row.said}", " " * 8, columns)
            lines += wrapped(f"· source: {row.source}", " " * 8, columns)
    out.write("\n".join(lines) + "\n")
    return 0


def _taken_apart(query: str) -> tuple[str, str, str, str]:
    """What a query asks for: name as given, action, ``req``, ``conf`` or ``""`` for both, and the field."""
    name, _, wanted = query.strip().partition(".")
    for ending, part in (("request", "req"), ("response", "conf")):
        if name.lower().endswith(ending):
            return name, name[: -len(ending)], part, wanted
    first, _, rest = wanted.partition(".")
    if first.lower() in ("req", "conf"):  # as OCPP 1.6, 6 calls them
        return name, name, first.lower(), rest
    return name, name, "", wanted


def rows(message: Message) -> list[Row]:
    """Every field of a message in wire order, the fields of an object after it; then what only older versions
    have."""
    table = _rows(message.fields, message.name, 0)
    for row in older.ROWS:
        if row.message == message.name and row.only_older:
            table.append(Row(row.path, 0, _field_of(row), (), (row,)))
    return table


def _field_of(row: older.Row) -> Field:
    """A field that 1.6 does not have, as the newest version that does describes it."""
    return next(
        field
        for operation in dialect(max(row.versions)).operations.values()
        for message in (operation.request, operation.response)
        if message.name == row.message
        for field in message.fields
        if field.name == row.field
    )


def _rows(fields: tuple[Field, ...], path: str, depth: int) -> list[Row]:
    table = []
    for field in fields:
        here = f"{path}.{field.name}"
        differences = tuple(row for row in (*DIFFERENCES, *HABITS) if row.path == here)
        of_older = tuple(row for row in older.ROWS if row.path == here)
        table.append(Row(here, depth, field, differences, of_older))
        table += _rows(field.fields, here, depth + 1)
    return table


def and_of(words: list[str], joint: str = "and") -> str:
    """``1.2, 1.5 and 1.6``."""
    *others, last = words
    return f"{', '.join(others)} {joint} {last}" if others else last


def _operations(compiled: Dialect, action: str) -> list[CompiledOperation]:
    return [o for o in compiled.operations.values() if o.action.lower() == action.lower()]


def _fitting(table: list[Row], wanted: str) -> list[Row]:
    """The rows of the wanted field, wherever it stands in the message, and of what is inside of it."""
    end = f".{wanted.lower()}"
    paths = [row.path.lower() for row in table if row.path.lower().endswith(end)]
    inside = tuple(f"{path}." for path in paths)
    return [
        # What an older version makes of all that it stands in, it makes of it as well.
        replace(row, older=tuple(one for one in older.ROWS if f"{row.path}.".startswith(f"{one.path}.")))
        if row.path.lower() in paths
        else row
        for row in table
        if row.path.lower() in paths or row.path.lower().startswith(inside)
    ]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`` (did you mean Reset?)``, or nothing when no word is near. Paths are known by their ends, too."""
    by_lower = {name.lower(): name for path in known for name in (path, path.rpartition(".")[2])}
    near = difflib.get_close_matches(word.lower(), by_lower, n=1)
    return f" (did you mean {by_lower[near[0]]}?)" if near else ""


def _hint(word: str, known: list[str]) -> str:
    return did_you_mean(word, known) or f"; there are: {', '.join(known)}"


def _unknown(problem: str, word: str, known: list[str]) -> int:
    sys.stderr.write(f"wattbridge: {problem}{_hint(word, known)}\n")
    return 2


Tables = list[tuple[CompiledOperation, Message, list[Row]]]


def _as_json(tables: Tables) -> list[dict[str, Any]]:
    return [
        {
            "message": message.name,
            "from": _asker_or_asked(operation, message).value,
            "element": message.element,
            "namespace": operation.described.namespace,
            "fields": [row.as_json() for row in table],
        }
        for operation, message, table in tables
    ]


def _asker_or_asked(operation: CompiledOperation, message: Message) -> Side:
    """Who sends the message."""
    return operation.asked.other if message is operation.request else operation.asked


def _print_text(tables: Tables, *, whole: bool) -> None:
    out = for_people(sys.stdout)
    columns = columns_of(out)
    lines = []
    for operation, message, table in tables:
        is_request = message is operation.request
        way = SENDERS[_asker_or_asked(operation, message)]
        form = f'[2, id, "{operation.action}", …]' if is_request else "[3, id, …]"
        lines += [f"{message.name}: {way}", f"  SOAP  <{message.element}> in {operation.described.namespace}"]
        lines.append(f"  JSON  {form}")
        for answer in local_answers.TABLE if is_request else ():
            if (answer.asked, answer.action) == (operation.asked, operation.action):
                versions = and_of([spoken.partition(" ")[2] for spoken in answer.lacking])
                lines += wrapped(f"not in OCPP {versions}, answered here: {answer.said}", "  ", columns)
        lines.append("")
        shallowest = min((row.depth for row in table), default=0)
        width = max((len(row.field.name) + 2 * (row.depth - shallowest) for row in table), default=0)
        for row in table:
            name = "  " * (row.depth - shallowest) + row.field.name
            lines.append(f"  {name:<{width}}  {row.cardinality:<4}  {row.kind}".rstrip())
            indent = " " * (width + 10)
            if row.field.enum:
                lines += wrapped(", ".join(row.field.enum), indent, columns)
            remarks = row.remarks if whole or row.differences else row.remarks[:1]
            remarks += [*row.older_remarks, *(row.older_sources if whole else ())]
            for remark in remarks:
                lines += wrapped(f"· {remark}", indent, columns)
        if not table:
            lines.append("  no fields")
        lines.append("")
    out.write("\n".join(lines).rstrip() + "\n")
