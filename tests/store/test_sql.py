"""The statements that rows become."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields

import pytest

from tests.store.rows import a_reply, a_waiting
from wattbridge.store import schema, sql
from wattbridge.store.base import ROWS, Exchange, Forget, Remembered, Row, Waiting


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as opened:
        for migration in schema.migrations():
            for statement in migration.statements:
                opened.execute(statement)
        yield opened


def test_a_row_takes_the_place_of_another_by_plain_sql() -> None:
    [statement] = sql.keeping([a_reply("6d1f", 2.5)], "%s")
    assert statement == sql.Statement(
        "insert into remembered_reply (identity, content_key, action, reply, answered)"
        " values (%s, %s, %s, %s, %s)"
        " on conflict (identity, content_key) do update set action = excluded.action, reply = excluded.reply,"
        " answered = excluded.answered",
        ["CP3211", "6d1f", "StopTransaction", "{}", 2.5],
    )


def test_keys_are_forgotten_together() -> None:
    assert list(sql.keeping([Forget(Remembered, ("CP1", "a")), Forget(Remembered, ("CP1", "b"))], "?")) == [
        sql.Statement(
            "delete from remembered_reply where (identity = ? and content_key = ?)"
            " or (identity = ? and content_key = ?)",
            ["CP1", "a", "CP1", "b"],
        )
    ]


def test_many_changes_are_few_statements() -> None:
    changes = [row for n in range(100) for row in (a_waiting(n), a_reply(str(n), 0.0))]
    statements = list(sql.keeping(changes, "?"))
    assert [text.text.count("(?,") for text in statements] == [64, 32, 4] * 2


def test_of_changes_with_one_key_only_the_last_is_made() -> None:
    [statement] = sql.keeping(
        [a_waiting(1), Forget(Waiting, ("CP3211", 1)), a_waiting(1, payload="last")], "?"
    )
    assert statement.values[3] == "last"


@pytest.mark.parametrize("kind", ROWS)
def test_a_table_has_the_fields_of_its_rows(connection: sqlite3.Connection, kind: type[Row]) -> None:
    types = {"str": "text", "int": "bigint", "float": "double precision"}
    wanted = []
    for field in fields(kind):  # type: ignore[arg-type]
        type_, _, optional = str(field.type).partition(" | ")
        position = kind.key.index(field.name) + 1 if field.name in kind.key else 0
        wanted.append((field.name, types[type_], int(not optional), position))
    columns = connection.execute(f"pragma table_info({kind.table})").fetchall()
    assert [(name, type_.lower(), not_null, key) for _, name, type_, not_null, _, key in columns] == wanted


def test_every_statement_runs_in_sqlite(connection: sqlite3.Connection) -> None:
    for statement in sql.every_statement("?"):
        connection.execute(statement.text, statement.values)


def scans(connection: sqlite3.Connection, statement: sql.Statement) -> list[str]:
    """The steps that read a whole table, or sort rows by themselves."""
    plan = connection.execute(f"explain query plan {statement.text}", statement.values).fetchall()
    return [step for *_, step in plan if step.startswith("SCAN") or "TEMP B-TREE" in step]


@pytest.mark.parametrize(
    "statement",
    [
        sql.Statement(sql.forget(Waiting, 64, "?"), ["CP", 1] * 64),
        sql.prune(Remembered, 1.0, 500, "?"),
        sql.find(Waiting, {"identity": "CP"}, after=("CP", 1), order="first", by="", limit=1, mark="?"),
        sql.find(Waiting, {"state": "waiting"}, after=(), order="first", by="kept", limit=1, mark="?"),
        sql.find(Exchange, {"identity": "CP"}, after=(9,), order="last", by="", limit=50, mark="?"),
    ],
    ids=["forget", "prune", "the next that waits", "the oldest that waits", "history"],
)
def test_what_is_often_asked_reads_no_whole_table(
    connection: sqlite3.Connection, statement: sql.Statement
) -> None:
    assert [step for step in scans(connection, statement) if "RIGHT PART" not in step] == []


def test_migrations_are_numbered_and_their_statements_apart() -> None:
    assert [migration.version for migration in schema.migrations()] == list(range(1, schema.newest() + 1))
    first = schema.migrations()[0]
    assert first.name.startswith("0001-")
    assert all(statement.startswith("create ") for statement in first.statements)
    assert schema.after(schema.newest()) == ()
