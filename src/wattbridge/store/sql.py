"""The statements that rows become: plain SQL that SQLite and PostgreSQL both run.

Made of the dataclasses of ``base.py``. Where the values go is marked by *mark*, which is ``?`` for SQLite and
``%s`` for psycopg. Which library runs the statements, and when they are durable, is left to the stores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar, cast

from wattbridge.store.base import (
    ROWS,
    AuditEntry,
    Authorization,
    Change,
    Exchange,
    Forget,
    Order,
    Remembered,
    Row,
    Transaction,
    Waiting,
)

# What a row's age is counted by. Rows of other kinds have no age.
AGE: Mapping[type[Row], str] = {
    Waiting: "kept",
    Exchange: "began",
    Remembered: "answered",
    Transaction: "changed",
    Authorization: "told",
    AuditEntry: "happened",
}
# What may be taken away when it is old enough, and the condition that it must meet besides. What waits for
# its central system is never too old.
PRUNED: Mapping[type[Row], str] = {
    Exchange: "",
    Remembered: "identity not in (select identity from outbox)",
    Authorization: "",
    AuditEntry: "",
    Transaction: "state <> 'open' and identity not in (select identity from outbox)",
}

# Rows in one statement. Each statement makes a thread give up the interpreter and wait for it again, so few
# of many rows are best; only these numbers, so that a database prepares each once. PostgreSQL takes at most
# 65 535 values, SQLite before 3.32 took 999.
ROWS_AT_ONCE = (64, 32, 16, 8, 4, 2, 1)

Value = str | int | float | None
Thing = TypeVar("Thing")
Function = TypeVar("Function", bound=Callable[..., Any])


def _cached(function: Function) -> Function:
    # mypy holds that a class of rows cannot be hashed.
    return cast(Function, cache(function))


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement and the values of its marks."""

    text: str
    values: Sequence[Value]


@_cached
def columns(kind: type[Row]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))  # type: ignore[arg-type]


@_cached
def _reader(kind: type[Row], names: tuple[str, ...]) -> Callable[[Row], tuple[Value, ...]]:
    """What reads the values of *names* off a row."""
    if len(names) > 1:
        return attrgetter(*names)
    get = attrgetter(names[0])
    return lambda row: (get(row),)


def key_of(row: Row) -> tuple[Value, ...]:
    return _reader(type(row), row.key)(row)


def keeping(changes: Iterable[Change], mark: str) -> Iterator[Statement]:
    """The statements that *changes* come to, few and of many rows each.

    A row replaces all of an earlier one, and tables do not know of each other: of all changes with the same
    key only the last one is seen in the end, and the others need not be made. What is left has a key of its
    own each, so its order does not matter. (PostgreSQL would not take a key twice in one statement.)
    """
    last: dict[type[Row], dict[tuple[Value, ...], Row | None]] = {}
    for change in changes:
        if isinstance(change, Forget):
            last.setdefault(change.kind, {})[change.key] = None
        else:
            kind = type(change)
            last.setdefault(kind, {})[_reader(kind, kind.key)(change)] = change
    for kind, rows in last.items():
        kept = [row for row in rows.values() if row is not None]
        values_of = _reader(kind, columns(kind))
        for some in _portions(kept):
            values = [value for row in some for value in values_of(row)]
            yield Statement(keep(kind, len(some), mark), values)
        for keys in _portions([key for key, row in rows.items() if row is None]):
            yield Statement(forget(kind, len(keys), mark), [value for key in keys for value in key])


def _portions(things: Sequence[Thing]) -> Iterator[Sequence[Thing]]:
    at = 0
    for number in ROWS_AT_ONCE:
        while len(things) - at >= number:
            yield things[at : at + number]
            at += number


@_cached
def keep(kind: type[Row], number: int, mark: str) -> str:
    """Write *number* rows, each in the place of the one with the same key."""
    names = columns(kind)
    row = f"({', '.join([mark] * len(names))})"
    others = ", ".join(f"{name} = excluded.{name}" for name in names if name not in kind.key)
    return (
        f"insert into {kind.table} ({', '.join(names)}) values {', '.join([row] * number)}"
        f" on conflict ({', '.join(kind.key)}) do update set {others}"
    )


@_cached
def forget(kind: type[Row], number: int, mark: str) -> str:
    """Take away the rows with *number* keys."""
    one = " and ".join(f"{name} = {mark}" for name in kind.key)
    return f"delete from {kind.table} where {' or '.join([f'({one})'] * number)}"


def find(
    kind: type[Row],
    where: Mapping[str, Any],
    *,
    after: Sequence[Any],
    order: Order,
    by: str,
    limit: int,
    mark: str,
) -> Statement:
    """The rows of *kind*, all columns, as ``Store.find`` tells. Raises ValueError for what it cannot do."""
    if after and (by or len(after) != len(kind.key)):
        raise ValueError(f"after is a whole key of {kind.table}, and not for rows in the order of {by!r}")
    conditions, values = _conditions(kind, where, mark)
    if after:
        sign = ">" if order == "first" else "<"
        marks = ", ".join([mark] * len(after))
        conditions.append(f"({', '.join(kind.key)}) {sign} ({marks})")
        values += after
    direction = "" if order == "first" else " desc"
    # Nothing comes before something; without the first of the two, databases do not agree on that.
    first = [f"{_column(kind, by)} is not null"] if by and by in _optional(kind) else []
    ordered = [*first, *([_column(kind, by)] if by else []), *kind.key]
    return Statement(
        f"select {', '.join(columns(kind))} from {kind.table}{_where(conditions)}"
        f" order by {', '.join(name + direction for name in ordered)} limit {mark}",
        [*values, limit],
    )


def sizes(kind: type[Row], where: Mapping[str, Any], mark: str) -> Statement:
    """One row: how many, how many characters of text, the oldest."""
    conditions, values = _conditions(kind, where, mark)
    oldest = f"min({AGE[kind]})" if kind in AGE else "null"
    return Statement(
        f"select count(*), coalesce(sum({_length(kind)}), 0), {oldest} from {kind.table}{_where(conditions)}",
        values,
    )


def prune(kind: type[Row], before: float, limit: int, mark: str) -> Statement:
    """Take away at most *limit* rows that are older than *before*."""
    key = ", ".join(kind.key)
    return Statement(
        f"delete from {kind.table} where ({key}) in (select {key} from {kind.table}"
        f"{_where([f'{AGE[kind]} < {mark}', *_may_go(kind)])} order by {AGE[kind]} limit {mark})",
        [before, limit],
    )


def prunable(kind: type[Row], mark: str) -> Statement:
    """One row: how many characters of text are in rows that may be taken away."""
    return Statement(f"select coalesce(sum({_length(kind)}), 0) from {kind.table}{_where(_may_go(kind))}", [])


def oldest(kind: type[Row], limit: int, mark: str) -> Statement:
    """The keys of rows that may be taken away, the oldest first; behind each key its characters of text."""
    key = ", ".join(kind.key)
    return Statement(
        f"select {key}, {_length(kind)} from {kind.table}{_where(_may_go(kind))}"
        f" order by {AGE[kind]}, {key} limit {mark}",
        [limit],
    )


def _may_go(kind: type[Row]) -> list[str]:
    return [PRUNED[kind]] if PRUNED[kind] else []


def _conditions(kind: type[Row], where: Mapping[str, Any], mark: str) -> tuple[list[str], list[Any]]:
    conditions = [
        f"{_column(kind, name)} is null" if value is None else f"{_column(kind, name)} = {mark}"
        for name, value in where.items()
    ]
    return conditions, [value for value in where.values() if value is not None]


def _where(conditions: Sequence[str]) -> str:
    return f" where {' and '.join(conditions)}" if conditions else ""


def _column(kind: type[Row], name: str) -> str:
    if name not in columns(kind):
        raise ValueError(f"{kind.table} has no column {name!r}")
    return name


@_cached
def _length(kind: type[Row]) -> str:
    """The characters of a row's texts. (No function that both databases have counts bytes.)"""
    return " + ".join(f"coalesce(length({name}), 0)" for name in texts(kind))


@_cached
def _optional(kind: type[Row]) -> frozenset[str]:
    return frozenset(field.name for field in fields(kind) if "None" in str(field.type))  # type: ignore[arg-type]


@_cached
def texts(kind: type[Row]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind) if "str" in str(field.type))  # type: ignore[arg-type]


def every_statement(mark: str) -> Iterator[Statement]:
    """One of each shape for each kind of row, with values that fit, to see that a database runs them."""
    for kind in ROWS:
        row = _an_example(kind)
        key = key_of(row)
        for number in (1, 2):
            yield Statement(forget(kind, number, mark), key * number)
        yield from keeping([row], mark)
        for by in ("", columns(kind)[-1]):
            for order in ("first", "last"):
                where = {name: value for name, value in zip(kind.key, key, strict=True)}
                after = () if by else key
                yield find(kind, where, after=after, order=order, by=by, limit=10, mark=mark)
        yield sizes(kind, {}, mark)
        if kind in PRUNED:
            yield prunable(kind, mark)
            yield oldest(kind, 10, mark)
            yield prune(kind, 0.5, 10, mark)


def _an_example(kind: type[Row]) -> Row:
    values = {"str": "text", "int": 9_007_199_254_740_993, "float": 1_700_000_000.25}
    return kind(*(values.get(str(field.type).partition(" ")[0]) for field in fields(kind)))  # type: ignore[arg-type]
