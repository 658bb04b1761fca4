"""The store on a disk: what it does when the disk, another program or a row is at fault."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.store.edge import Disk
from tests.store.rows import a_waiting, an_exchange
from wattbridge.store import schema
from wattbridge.store.base import CannotOpen, Exchange, Forget, NotKept, Waiting
from wattbridge.store.sqlite import (
    APPLICATION_ID,
    MOST_NOTES,
    MOST_WAITING,
    Pace,
    SqliteStore,
    reader,
    writer,
)

# As it is, only faster.
QUICK = Pace(noted_within=0.02, idle=0.05, probe_every=0.05, stalled_after=0.1, lock_timeout=0.05)
PATIENCE = 10.0  # seconds until a test gives up


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@asynccontextmanager
async def opened(path: Path, **more: Any) -> AsyncIterator[SqliteStore]:
    store = await SqliteStore.open(path, **{"pace": QUICK, **more})
    try:
        yield store
    finally:
        await store.close()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def not_kept(future: asyncio.Future[None]) -> str:
    with pytest.raises(NotKept) as told:
        await future
    return str(told.value)


# --- One writer, few transactions


async def test_what_was_written_is_there_after_a_restart(path: Path) -> None:
    async with opened(path) as store:
        await store.write(a_waiting(1))
        store.note(a_waiting(2))
    async with opened(path) as store:
        assert await store.find(Waiting) == [a_waiting(1), a_waiting(2)]


async def test_all_that_wait_are_kept_in_one_transaction(path: Path) -> None:
    disk, seen = Disk(), []
    async with opened(path, connect=disk.connect, observe=lambda *what: seen.append(what)) as store:
        disk.may_commit.clear()
        first = store.write(a_waiting(0))
        await until(lambda: store.waiting == 1)
        others = [store.write(a_waiting(n)) for n in range(1, 65)]
        disk.changes.clear()
        disk.may_commit.set()
        await asyncio.gather(first, *others)
        assert store.counts.commits <= 3
        assert len(disk.changes) <= 8
        assert (store.counts.rows, store.counts.errors, store.waiting) == (65, 0, 0)
    assert sum(rows for _, rows in seen) == 65
    assert all(seconds > 0 for seconds, _ in seen)


async def test_nothing_is_acknowledged_before_the_disk_has_it(path: Path) -> None:
    disk = Disk()
    async with opened(path, connect=disk.connect) as store:
        disk.may_commit.clear()
        future = store.write(a_waiting(1))
        await asyncio.sleep(0.05)
        assert not future.done()
        assert await store.find(Waiting) == []  # reading does not wait for who writes
        disk.may_commit.set()
        await future
        assert await store.find(Waiting) == [a_waiting(1)]


async def test_a_disk_that_does_not_answer_is_a_problem_while_it_does_not(path: Path) -> None:
    disk, told = Disk(), list[str]()
    async with opened(path, connect=disk.connect, on_problem=told.append) as store:
        disk.may_commit.clear()
        future = store.write(a_waiting(1))
        await until(lambda: bool(store.problem))
        assert not future.done()
        disk.may_commit.set()
        await future
        assert store.problem == ""
    assert told == [f"nothing can be kept in {path}: the disk has not answered for 0.1 s", ""]


async def test_too_much_that_waits_for_the_disk_is_refused_at_once(path: Path) -> None:
    disk = Disk()
    async with opened(path, connect=disk.connect) as store:
        disk.may_commit.clear()
        rows = [a_waiting(n) for n in range(1000)]
        futures = [store.write(*rows) for _ in range(MOST_WAITING // 1000)]
        assert "100000 changes wait for the disk already" in await not_kept(store.write(a_waiting(1)))
        disk.may_commit.set()
        await asyncio.gather(*futures)
        await store.write(a_waiting(1))


async def test_the_log_is_emptied_when_nobody_writes(path: Path) -> None:
    async with opened(path) as store:
        await store.write(*(an_exchange(n, arrived="x" * 500) for n in range(100)))
        assert store.log_bytes > 50_000
        await until(lambda: store.log_bytes == 0)
        assert store.file_bytes > 50_000
        assert len(await store.find(Exchange)) == 100


# --- Notes


async def test_a_note_is_kept_soon_without_a_write(path: Path) -> None:
    async with opened(path) as store:
        store.note(a_waiting(1))
        await until(lambda: store.counts.rows == 1)
        assert await store.find(Waiting) == [a_waiting(1)]


async def test_notes_that_are_too_many_are_dropped_and_counted(path: Path) -> None:
    disk = Disk()
    async with opened(path, connect=disk.connect) as store:
        disk.may_commit.clear()
        for n in range(MOST_NOTES + 5):
            store.note(a_waiting(n))
        assert store.notes_dropped == 5
        disk.may_commit.set()
        await store.write()
        assert (await store.sizes(Waiting)).rows == MOST_NOTES
        store.note(a_waiting(MOST_NOTES + 5))
        await store.write()
        assert store.notes_dropped == 5


# --- Rows that cannot be kept


@pytest.mark.parametrize(
    "row",
    [
        a_waiting(2**70),
        a_waiting(2, payload="\ud800"),
        replace(a_waiting(2), payload=None),  # type: ignore[arg-type]
        replace(a_waiting(2), payload=object()),  # type: ignore[arg-type]
        replace(a_waiting(2), kept=float("nan")),
    ],
    ids=["too large", "half a character", "nothing", "no value", "no number"],
)
async def test_a_row_that_cannot_be_kept_takes_nobody_with_it(path: Path, row: Waiting) -> None:
    disk = Disk()
    async with opened(path, connect=disk.connect) as store:
        disk.may_commit.clear()
        before = store.write(a_waiting(0))
        store.note(a_waiting(1))
        bad = store.write(a_waiting(10), row)
        after = store.write(a_waiting(3))
        store.note(row)
        disk.may_commit.set()
        assert (await not_kept(bad)).startswith("the row cannot be kept: ")
        await asyncio.gather(before, after, store.write())
        assert await store.find(Waiting) == [a_waiting(0), a_waiting(1), a_waiting(3)]
        assert (store.problem, store.notes_dropped, store.counts.refused) == ("", 1, 1)


# --- A full or broken disk


async def test_a_full_disk_refuses_and_recovers_without_a_restart(path: Path) -> None:
    disk, told = Disk(), list[str]()
    async with opened(path, connect=disk.connect, on_problem=told.append) as store:
        await store.write(a_waiting(1))
        disk.room = 1
        text = await not_kept(store.write(a_waiting(2, payload="x" * 100_000)))
        assert text == (
            f"nothing can be kept in {path}: the disk is full (database or disk is full, SQLITE_FULL)"
        )
        assert store.problem == text
        store.note(a_waiting(3, payload="x" * 100_000))
        await until(lambda: store.notes_dropped == 1)
        assert await store.find(Waiting) == [a_waiting(1)]
        disk.room = 0
        await until(lambda: not store.problem)  # nobody writes: the store sees for itself
        await store.write(a_waiting(4))
        assert await store.find(Waiting) == [a_waiting(1), a_waiting(4)]
    assert told == [text, ""]


async def test_an_error_of_the_disk_is_told_to_all_who_wait(path: Path) -> None:
    disk = Disk()
    async with opened(path, connect=disk.connect, pace=replace(QUICK, probe_every=60.0)) as store:
        disk.broken = sqlite3.SQLITE_IOERR_FSYNC
        futures = [store.write(a_waiting(n)) for n in range(3)]
        for future in futures:
            assert "the disk reports an error (disk I/O error, SQLITE_IOERR_FSYNC)" in await not_kept(future)
        disk.broken = 0
        await store.write(a_waiting(4))  # tried although there is a problem
        assert store.problem == ""
        assert await store.find(Waiting) == [a_waiting(4)]


async def test_what_writes_nothing_proves_nothing(path: Path) -> None:
    disk = Disk()
    async with opened(path, connect=disk.connect, pace=replace(QUICK, probe_every=60.0)) as store:
        disk.room = 1
        text = await not_kept(store.write(a_waiting(1, payload="x" * 100_000)))
        await store.write()
        await store.write(Forget(Waiting, ("CP3211", 7)))
        assert await store.prune(Exchange, before=1.0) == 0
        assert store.problem == text
        disk.room = 0
        await store.write(a_waiting(1))
        assert store.problem == ""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 3 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode != 0:
        pytest.skip("a small disk can be mounted by root only")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


async def test_a_disk_that_is_really_full_loses_nothing_that_was_acknowledged(small_disk: Path) -> None:
    path = small_disk / "state.db"
    (small_disk / "ballast").write_bytes(b"x" * 1024 * 1024)
    async with opened(path, checkpoint_at=100) as store:
        kept: list[int] = []
        refused: list[NotKept] = []
        for n in range(3000):
            try:
                await store.write(a_waiting(n, payload="x" * 1000))
                kept.append(n)
            except NotKept as problem:
                refused.append(problem)
                if len(refused) == 20:
                    break
        assert len(refused) == 20
        assert all("the disk is full" in str(problem) for problem in refused)
        assert len(kept) > 100
        assert "the disk is full" in store.problem
        (small_disk / "ballast").unlink()
        await until(lambda: not store.problem)
        await store.write(a_waiting(9999))
        kept.append(9999)
        assert {row.position for row in await store.find(Waiting, limit=5000)} >= set(kept)
    async with opened(path) as store:
        assert {row.position for row in await store.find(Waiting, limit=5000)} >= set(kept)


async def test_another_program_that_locks_the_database_is_a_problem_until_it_lets_go(path: Path) -> None:
    async with opened(path) as store:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("begin immediate")
            assert "another program has the database locked" in await not_kept(store.write(a_waiting(1)))
            assert "locked" in store.problem
            other.execute("rollback")
            await until(lambda: not store.problem)
        await store.write(a_waiting(2))
        assert await store.find(Waiting) == [a_waiting(2)]


def removed(path: Path, aside: Path) -> None:
    path.rename(aside)


def replaced(path: Path, aside: Path) -> None:
    path.rename(aside)
    path.write_bytes(aside.read_bytes())


@pytest.mark.parametrize("lost", [removed, replaced])
async def test_a_file_that_is_not_where_it_was_keeps_nothing(
    path: Path, lost: Callable[[Path, Path], None]
) -> None:
    """It would take rows that nobody finds again."""
    aside = path.with_suffix(".aside")
    async with opened(path) as store:
        await store.write(a_waiting(1))
        lost(path, aside)
        told = await not_kept(store.write(a_waiting(2)))
        assert told.startswith(f"nothing can be kept in {path}: the file was {lost.__name__}")
        aside.rename(path)
        await until(lambda: not store.problem)
        await store.write(a_waiting(3))
        assert await store.find(Waiting) == [a_waiting(1), a_waiting(3)]


# --- Opening


async def test_two_cannot_have_it_open(path: Path) -> None:
    async with opened(path):
        with pytest.raises(CannotOpen, match=rf"is in use by another process \(pid {os.getpid()}\)"):
            await SqliteStore.open(path)
    async with opened(path):
        pass


async def test_a_directory_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(CannotOpen, match="nowhere does not exist"):
        await SqliteStore.open(tmp_path / "nowhere" / "state.db")


async def test_files_are_for_their_owner_only(path: Path) -> None:
    async with opened(path) as store:
        await store.write(a_waiting(1))
        modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
        assert modes == dict.fromkeys(("state.db", "state.db-wal", "state.db-shm", "state.db.lock"), 0o600)


def fill(path: Path) -> None:
    async def kept() -> None:
        async with opened(path) as store:
            await store.write(*(an_exchange(n, arrived="x" * 500) for n in range(200)))

    asyncio.run(kept())


@pytest.mark.parametrize(
    ("first", "last"), [(40_960, 49_152), (100, 4096), (4096, 100_000)], ids=["a page", "the head", "much"]
)
def test_a_damaged_database_is_set_aside_and_a_new_one_begun(path: Path, first: int, last: int) -> None:
    fill(path)
    whole = path.read_bytes()
    damaged = whole[:first] + b"\xa5" * (last - first) + whole[last:]
    path.write_bytes(damaged)
    told: list[str] = []

    async def reopened() -> None:
        async with opened(path, on_set_aside=told.append, now=lambda: 1_795_751_046.0) as store:
            assert await store.find(Exchange) == []
            await store.write(an_exchange(1))

    asyncio.run(reopened())
    aside = path.with_name("state.db.corrupt-20261127T034406Z")
    assert aside.read_bytes() == damaged
    [sentence] = told
    assert sentence.startswith(f"{path} is damaged (")
    assert sentence.endswith(f"); it is set aside as {aside}, and an empty store begins")


def test_what_is_no_database_is_set_aside_too(path: Path) -> None:
    path.write_text("the shopping list")
    told: list[str] = []

    async def begun() -> None:
        async with opened(path, on_set_aside=told.append, now=lambda: 1_795_751_046.0) as store:
            await store.write(a_waiting(1))

    asyncio.run(begun())
    aside = path.with_name("state.db.corrupt-20261127T034406Z")
    assert told == [f"{path} is no database; it is set aside as {aside}, and an empty store begins"]
    assert aside.read_text() == "the shopping list"


def test_a_log_whose_database_is_gone_is_set_aside_and_not_deleted(path: Path) -> None:
    """SQLite deletes a log that it finds beside an empty database."""
    log = path.with_name("state.db-wal")
    log.write_bytes(b"the only copy")
    path.touch()
    told: list[str] = []

    async def begun() -> None:
        async with opened(path, on_set_aside=told.append, now=lambda: 1_795_751_046.0) as store:
            await store.write(a_waiting(1))

    asyncio.run(begun())
    aside = path.with_name("state.db.corrupt-20261127T034406Z-wal")
    assert aside.read_bytes() == b"the only copy"
    assert told == [
        f"{path} is gone, but its log is there; that is set aside as {aside}, and an empty store begins"
    ]


def refused_and_left(path: Path, why: str) -> None:
    before = path.read_bytes()
    with pytest.raises(CannotOpen, match=why):
        asyncio.run(SqliteStore.open(path))
    assert path.read_bytes() == before


def test_a_database_of_a_newer_version_is_refused_and_left(path: Path) -> None:
    fill(path)
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("insert into schema_version values (999, '0999-later', 0)")
    newest = schema.newest()
    refused_and_left(
        path, rf"was written by a newer wattbridge \(its tables are version 999, this one knows {newest}\)"
    )


def test_a_database_of_another_program_is_refused_and_left(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("create table songs (title text)")
    refused_and_left(path, "is the database of another program")


async def test_a_disk_that_is_not_waited_for_is_refused(path: Path) -> None:
    with pytest.raises(CannotOpen, match=r"synchronous is 1, not 2"):
        await SqliteStore.open(path, connect=Disk(level=1).connect)
    async with opened(path):  # and nothing is left locked
        pass


def test_who_writes_waits_for_the_disk_and_who_reads_cannot_write(path: Path) -> None:
    path.touch()
    with closing(writer(path)) as writing, closing(reader(path)) as reading:
        assert writing.execute("pragma synchronous").fetchall() == [(2,)]
        assert writing.execute("pragma journal_mode").fetchall() == [("wal",)]
        assert reading.execute("pragma wal_autocheckpoint").fetchall() == [(0,)]
        for connection in (writing, reading):
            assert connection.execute("pragma mmap_size").fetchall() in ([(0,)], [])
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reading.execute("delete from outbox")


# --- The end


async def test_who_waits_when_it_is_closed_gets_an_answer(path: Path) -> None:
    store = await SqliteStore.open(path)
    futures = [store.write(a_waiting(n)) for n in range(2500)]
    await store.close()
    assert [future.result() for future in futures] == [None] * 2500
    for asked in (store.find(Waiting), store.prune(Exchange, 1.0)):
        with pytest.raises(NotKept, match="is closed"):
            await asked
    assert sorted(file.name for file in path.parent.iterdir()) == ["state.db", "state.db.lock"]


async def test_a_read_that_fails_is_told(path: Path) -> None:
    async with opened(path) as store:
        with closing(sqlite3.connect(path)) as other, other:
            other.execute("drop table outbox")
        with pytest.raises(NotKept, match=r"cannot be read: no such table: outbox"):
            await store.find(Waiting)
        with suppress(NotKept):
            await store.write(a_waiting(1))


async def test_exchanges_of_a_version_before_are_still_there(tmp_path: Path) -> None:
    path = tmp_path / "wattbridge.db"
    names = "number, identity, began, arrived_from, action, reason, seconds, peer_seconds, upstream"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"pragma application_id = {APPLICATION_ID}")
        connection.execute(schema.VERSION_TABLE)
        for migration in schema.migrations()[:2]:
            for statement in migration.statements:
                connection.execute(statement)
            connection.execute(
                "insert into schema_version values (?, ?, 0)", (migration.version, migration.name)
            )
        connection.execute(
            f"insert into exchange ({names}, arrived, asked, answered, replied, notes) values "
            "(7, 'CP1', 1.5, 'charge_point', 'Heartbeat', '', 0.1, 0.1, 'cloud', '<a/>', '[2]', '[3]', "
            "'<b/>', '')"
        )
        connection.commit()
    store = await SqliteStore.open(path)
    try:
        [row] = await store.find(Exchange)
        assert (row.number, row.arrived, row.replied) == (7, "<a/>", "<b/>")
        assert (row.how, row.charger_transport, row.losses, row.read_seconds) == ("", "", 0, 0.0)
        await store.write(replace(row, number=8, csms_transport="json"))
        assert [row.number for row in await store.find(Exchange, {"identity": "CP1"})] == [7, 8]
    finally:
        await store.close()
