"""One schema and one set of statements for SQLite and PostgreSQL: PostgreSQL runs them too."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, cast

import psycopg
import pytest

from tests.store.postgresql import a_postgresql, needs_postgresql
from tests.store.rows import CHARGE_POINT, ONE_OF_EACH, a_reply, a_transaction, a_waiting, an_exchange
from wattbridge.store import schema, sql
from wattbridge.store.base import Change, ChargePoint, Exchange, Forget, Remembered, Row, Transaction, Waiting

pytestmark = needs_postgresql

Run = Callable[[sql.Statement], tuple[list[tuple[Any, ...]], int]]


@pytest.fixture(scope="module")
def postgresql() -> Iterator[psycopg.Connection]:
    with (
        a_postgresql() as where,
        psycopg.connect(where, autocommit=True) as connection,
    ):
        for line in "\n".join(schema.script(schema.migrations(), now=1_714_557_600.5)).split(";\n"):
            connection.execute(cast(Any, line))
        yield connection


@pytest.fixture
def both(postgresql: psycopg.Connection) -> Iterator[dict[str, Run]]:
    """What runs a statement in PostgreSQL and in SQLite, by mark; both without rows."""
    for kind in {type(row) for row in ONE_OF_EACH}:
        postgresql.execute(cast(Any, f"delete from {kind.table}"))
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as sqlite:
        for migration in schema.migrations():
            for statement in migration.statements:
                sqlite.execute(statement)

        def in_sqlite(one: sql.Statement) -> tuple[list[tuple[Any, ...]], int]:
            cursor = sqlite.execute(one.text, one.values)
            return cursor.fetchall(), cursor.rowcount

        def in_postgresql(one: sql.Statement) -> tuple[list[tuple[Any, ...]], int]:
            cursor = postgresql.execute(cast(Any, one.text), one.values)
            return cursor.fetchall() if cursor.description else [], cursor.rowcount

        yield {"?": in_sqlite, "%s": in_postgresql}


def keep(both: dict[str, Run], *changes: Change) -> None:
    for mark, run in both.items():
        for statement in sql.keeping(changes, mark):
            run(statement)


def found(both: dict[str, Run], make: Callable[[str], sql.Statement]) -> list[tuple[Any, ...]]:
    """What both find; it has to be the same."""
    in_sqlite, in_postgresql = (run(make(mark))[0] for mark, run in both.items())
    assert in_sqlite == in_postgresql
    assert [list(map(type, row)) for row in in_sqlite] == [list(map(type, row)) for row in in_postgresql]
    return in_sqlite


def everything(kind: type[Row]) -> Callable[[str], sql.Statement]:
    return lambda mark: sql.find(kind, {}, after=(), order="first", by="", limit=1000, mark=mark)


def test_the_versions_are_kept(postgresql: psycopg.Connection) -> None:
    assert postgresql.execute("select version, applied from schema_version").fetchall() == [
        (migration.version, 1_714_557_600.5) for migration in schema.migrations()
    ]


def test_every_statement_runs(both: dict[str, Run]) -> None:
    for statement in sql.every_statement("%s"):
        both["%s"](statement)


@pytest.mark.parametrize("row", ONE_OF_EACH, ids=lambda row: type(row).__name__)
def test_a_row_comes_back_as_it_was(both: dict[str, Run], row: Row) -> None:
    keep(both, row)
    keep(both, row)
    [values] = found(both, everything(type(row)))
    assert type(row)(*values) == row


def test_many_rows_and_what_is_forgotten_of_them(both: dict[str, Run]) -> None:
    keep(both, *(a_waiting(n) for n in range(200)))
    keep(both, *(Forget(Waiting, ("CP3211", n)) for n in range(199)), a_waiting(199, payload="last"))
    assert [values[:4] for values in found(both, everything(Waiting))] == [
        ("CP3211", 199, "MeterValues", "last")
    ]


def test_pages_and_orders_are_the_same(both: dict[str, Run]) -> None:
    keep(
        both, *(a_waiting(n % 7, identity=identity) for identity in ("CP1", "CP-2", "cp1") for n in range(5))
    )
    keep(both, *(an_exchange(n, began=float(n % 3 + 1)) for n in range(10)))
    keep(both, CHARGE_POINT, replace(CHARGE_POINT, identity="CP2", accepted=None))
    for order in ("first", "last"):
        assert found(
            both,
            lambda mark, order=order: sql.find(  # type: ignore[misc]
                ChargePoint, {}, after=(), order=order, by="accepted", limit=7, mark=mark
            ),
        )
        for after in ((), ("CP1", 2)):
            assert found(
                both,
                lambda mark, order=order, after=after: sql.find(  # type: ignore[misc]
                    Waiting, {}, after=after, order=order, by="", limit=4, mark=mark
                ),
            )
        assert found(
            both,
            lambda mark, order=order: sql.find(  # type: ignore[misc]
                Exchange, {"identity": "CP3211"}, after=(), order=order, by="began", limit=7, mark=mark
            ),
        )


def changed(both: dict[str, Run], make: Callable[[str], sql.Statement]) -> Sequence[int]:
    return [run(make(mark))[1] for mark, run in both.items()]


def test_sizes_and_pruning_are_the_same(both: dict[str, Run]) -> None:
    keep(both, *(an_exchange(n, arrived="Käfer" * n) for n in range(1, 20)))
    keep(both, a_transaction("1", "open"), a_transaction("2"), a_reply("6d1f", 1.0))
    assert found(both, lambda mark: sql.sizes(Exchange, {"identity": "CP3211"}, mark))[0][0] == 19
    for kind in (Exchange, Transaction, Remembered):
        assert found(both, lambda mark, kind=kind: sql.oldest(kind, 5, mark))  # type: ignore[misc]
        assert found(both, lambda mark, kind=kind: sql.prunable(kind, mark))  # type: ignore[misc]
    assert changed(both, lambda mark: sql.prune(Exchange, 10.0, 5, mark)) == [5, 5]
    assert changed(both, lambda mark: sql.prune(Transaction, 10.0, 5, mark)) == [1, 1]
    assert len(found(both, everything(Exchange))) == 14
    assert [values[1] for values in found(both, everything(Transaction))] == ["1"]
