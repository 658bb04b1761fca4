"""``wattbridge store``: backup, migration, pruning and vacuum, beside a gateway and without one."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.test_main import run
from tests.store.rows import a_reply, a_transaction, a_waiting, an_exchange
from wattbridge.store import schema
from wattbridge.store.base import Exchange, Remembered, Row, Transaction, Waiting
from wattbridge.store.files import Claim
from wattbridge.store.sqlite import SqliteStore

FILE = """\
listeners: {field: {bind: "127.0.0.1:0"}}
upstreams: {cloud: {url: "ws://127.0.0.1/n"}}
chargers: {CP3211: {}}
store: {url: "sqlite:///state.db"}
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gateway.yaml").write_text(FILE)


def keep(*rows: Row, path: str = "state.db") -> None:
    async def kept() -> None:
        store = await SqliteStore.open(Path(path))
        await store.write(*rows)
        await store.close()

    asyncio.run(kept())


def kept(kind: type[Row], path: str = "state.db") -> Sequence[Row]:
    async def found() -> Sequence[Row]:
        store = await SqliteStore.open(Path(path))
        rows = await store.find(kind)
        await store.close()
        return rows

    return asyncio.run(found())


def test_a_backup_has_everything() -> None:
    keep(a_waiting(1), a_transaction("1"))
    code, out, err = run("store", "backup", "copy.db")
    assert (code, err) == (0, "")
    assert out == f"ok: state.db copied to copy.db ({Path('copy.db').stat().st_size} bytes)\n"
    assert Path("copy.db").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in Path().glob("copy.db*")) == ["copy.db"]
    assert kept(Waiting, "copy.db") == [a_waiting(1)]
    assert kept(Transaction, "copy.db") == [a_transaction("1")]


async def test_a_backup_is_made_beside_a_gateway_that_writes(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "state.db")
    await asyncio.gather(*(store.write(a_waiting(n)) for n in range(500)))
    async with asyncio.TaskGroup() as tasks:

        async def writes() -> None:
            for n in range(500, 2000):
                await store.write(a_waiting(n))

        writing = tasks.create_task(writes())
        for _ in range(2):  # the second takes the place of the first
            copying = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "wattbridge", "store", "backup", "copy.db")
            )
            assert await copying.wait() == 0
        assert store.problem == ""
        await writing
    assert (await store.sizes(Waiting)).rows == 2000
    await store.close()
    copy = await SqliteStore.open(tmp_path / "copy.db")
    rows = await copy.find(Waiting, limit=5000)
    assert len(rows) >= 500
    assert [row.position for row in rows] == list(range(len(rows)))
    await copy.close()


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("gateway.yaml", "wattbridge: FILE: gateway.yaml is there and is no database; it is left as it is\n"),
        ("state.db", "wattbridge: FILE: state.db is the store itself\n"),
        ("nowhere/copy.db", "wattbridge: FILE: the directory nowhere does not exist\n"),
    ],
)
def test_a_backup_overwrites_nothing_else(target: str, problem: str) -> None:
    keep(a_waiting(1))
    assert run("store", "backup", target) == (2, "", problem)
    assert Path("gateway.yaml").read_text() == FILE
    assert kept(Waiting) == [a_waiting(1)]


def test_a_damaged_store_gives_no_backup() -> None:
    keep(*(an_exchange(n, arrived="x" * 500) for n in range(200)))
    whole = Path("state.db").read_bytes()
    Path("state.db").write_bytes(whole[:40960] + b"\xff" * 8192 + whole[49152:])
    code, out, err = run("store", "backup", "copy.db")
    assert (code, out) == (1, "")
    assert err.startswith("wattbridge: state.db is damaged: ")
    assert not list(Path().glob("copy.db*"))


def test_a_new_store_gets_all_tables_and_then_no_more() -> None:
    names = [migration.name for migration in schema.migrations()]
    assert run("store", "migrate") == (
        0,
        "".join(f"{name}: done\n" for name in names) + "ok: state.db is up to date\n",
        "",
    )
    assert run("store", "migrate") == (0, "ok: state.db is up to date\n", "")
    assert run("store", "migrate", "--sql") == (0, "", "")


def test_the_statements_can_be_seen_before_they_are_run() -> None:
    code, out, err = run("store", "migrate", "--sql")
    assert (code, err) == (0, "")
    assert out.startswith(
        "-- 0001-what-a-gateway-remembers\nbegin;\ncreate table if not exists schema_version ("
    )
    assert out.endswith("commit;\n")
    assert not Path("state.db").exists()


def test_tables_that_were_made_by_hand_are_up_to_date() -> None:
    """As a database has them that was begun by an earlier version."""
    keep()
    with closing(sqlite3.connect("state.db")) as connection:
        for (table,) in connection.execute("select name from sqlite_master where type = 'table'").fetchall():
            connection.execute(f"drop table {table}")
    script = run("store", "migrate", "--sql")[1]
    with closing(sqlite3.connect("state.db")) as connection:
        connection.executescript(script)
    assert run("store", "migrate") == (0, "ok: state.db is up to date\n", "")
    keep(a_waiting(1))
    assert kept(Waiting) == [a_waiting(1)]


def test_pruning_takes_what_the_configuration_calls_old() -> None:
    keep(a_reply("old", 1.0), a_transaction("1"), a_transaction("2", "open"), an_exchange(1))
    keep(a_waiting(1, identity="CP9"))
    assert run("store", "prune") == (
        0,
        "replies: 1 taken away\ntransactions: 1 taken away\nhistory: 1 taken away\n",
        "",
    )
    assert [len(kept(kind)) for kind in (Remembered, Transaction, Exchange, Waiting)] == [0, 1, 0, 1]


def test_pruning_takes_only_what_is_named_and_older_than_said() -> None:
    keep(a_reply("old", 1.0), an_exchange(1))
    assert run("store", "prune", "--history", "--older-than", "36500d")[:2] == (0, "history: 0 taken away\n")
    assert run("store", "prune", "--history", "--older-than", "1h")[:2] == (0, "history: 1 taken away\n")
    assert len(kept(Remembered)) == 1


def test_a_vacuum_gives_room_back() -> None:
    keep(*(an_exchange(n, arrived="x" * 2000) for n in range(500)))
    run("store", "prune", "--history")
    before = Path("state.db").stat().st_size
    code, out, err = run("store", "vacuum")
    after = Path("state.db").stat().st_size
    assert (code, out, err) == (0, f"ok: state.db has {after} bytes, before {before}\n", "")
    assert after < before / 4


@pytest.mark.parametrize("command", [("migrate",), ("prune",), ("vacuum",)])
def test_while_a_gateway_uses_it_a_store_is_left_alone(command: tuple[str, ...]) -> None:
    keep(a_waiting(1))
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert holder.stdout.readline() == "held\n"
        assert run("store", *command) == (
            4,
            "",
            f"wattbridge: state.db is in use by another process (pid {holder.pid}); stop the gateway first\n",
        )
        holder.stdin.close()


HOLDING = f"""
import sys
from pathlib import Path
from {Claim.__module__} import Claim
claim = Claim(Path("state.db"))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("command", [("migrate",), ("migrate", "--sql"), ("prune",)])
def test_tables_of_a_newer_version_are_told_and_left(command: tuple[str, ...]) -> None:
    run("store", "migrate")
    with closing(sqlite3.connect("state.db")) as connection, connection:
        connection.execute("insert into schema_version values (999, '0999-more', 0)")
    code, out, err = run("store", *command)
    assert (code, out) == (3, "")
    assert err.startswith(
        "wattbridge: state.db was written by a newer wattbridge (its tables are version 999"
    )


def test_tables_that_do_not_fit_are_told() -> None:
    """Somebody has taken away the table that tells which migrations were run."""
    run("store", "migrate")
    with closing(sqlite3.connect("state.db")) as connection, connection:
        connection.execute("drop table schema_version")
    code, out, err = run("store", "migrate")
    assert (code, out) == (3, "")
    assert err == (
        "wattbridge: state.db cannot be brought up to date: "
        "table charge_point already exists (SQLITE_ERROR)\n"
    )


@pytest.mark.parametrize("command", [("backup", "copy.db"), ("prune",), ("vacuum",)])
def test_where_there_is_no_store_nothing_is_made(command: tuple[str, ...]) -> None:
    assert run("store", *command) == (3, "", "wattbridge: there is no store at state.db\n")
    assert not Path("state.db").exists()


@pytest.mark.parametrize(
    "command", [("migrate",), ("migrate", "--sql"), ("prune",), ("vacuum",), ("backup", "c")]
)
def test_what_is_no_database_is_told_and_left(command: tuple[str, ...]) -> None:
    Path("state.db").write_text("the shopping list")
    code, out, err = run("store", *command)
    assert (code, out) == (3, "")
    assert err.startswith("wattbridge: state.db ")
    assert "no database" in err or "file is not a database" in err
    assert Path("state.db").read_text() == "the shopping list"


def test_a_store_in_memory_has_no_file() -> None:
    code, out, err = run("store", "backup", "copy.db", "--set", "store.url=memory")
    assert (code, out) == (2, "")
    assert (
        err == "wattbridge: store.url is memory: nothing is remembered over a restart, so nothing is there\n"
    )


def test_a_configuration_that_cannot_be_used_is_told() -> None:
    code, _, err = run("store", "vacuum", "--set", "store.url=mysql:///x")
    assert code == 2
    assert "store.url" in err
