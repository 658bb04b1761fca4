"""The store in a file of SQLite.

One thread writes. It takes all changes that wait, makes them in one transaction, and tells the event loop
once when that is on disk: while the disk is busy with one batch, the next one gathers, so that 64 who write
wait hardly longer than one. Another thread reads, on a connection of its own that can do nothing else.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from wattbridge.store import files, schema, sql
from wattbridge.store.base import AnyRow, CannotOpen, Change, NotKept, Order, Row, Sizes

MARK = "?"
APPLICATION_ID = 0x57417474  # in the header of every database of ours: "WAtt"

CHECKPOINT_AT = 8000  # pages (32 MiB) of log; each checkpoint is a wait for those who write then
LOG_LIMIT = 64 * 1024 * 1024  # bytes; a log that grew beyond is cut when it begins anew
PROBE_LENGTH = 64 * 1024  # characters; room for less is no room

MOST_ROWS = 1000  # changes in one transaction, so that nobody waits for a very large one
MOST_NOTES = 10_000  # changes that were noted and are not made yet
MOST_WAITING = 100_000  # changes that were to be written and are not made yet
PRUNED_AT_ONCE = 500  # rows; writes get through in between

# Bytes; a larger database is read whole at a start, but not compared with its indexes.
WHOLE_CHECK_BELOW = 64 * 1024 * 1024

# What the disk or another program is at fault for; it goes on after "nothing can be kept in FILE: ".
REASONS = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk reports an error",
    sqlite3.SQLITE_BUSY: "another program has the database locked",
    sqlite3.SQLITE_LOCKED: "another program has the database locked",
    sqlite3.SQLITE_READONLY: "the file may not be written",
    sqlite3.SQLITE_CANTOPEN: "a file beside it cannot be opened",
    sqlite3.SQLITE_CORRUPT: "it is damaged; at the next start it is set aside and a new one begun",
    sqlite3.SQLITE_NOTADB: "it is damaged; at the next start it is set aside and a new one begun",
    sqlite3.SQLITE_NOMEM: "there is not enough memory",
}
# What a row is at fault for: the others of its batch are kept without it.
ROWS_FAULT = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.ProgrammingError,
    sqlite3.InterfaceError,
    *(OverflowError, UnicodeError, TypeError, ValueError, AttributeError),
)

Connect = Callable[..., sqlite3.Connection]


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the store waits for what; all in seconds."""

    noted_within: float = 1.0  # that a note waits for a write to go with
    idle: float = 2.0  # without a change, until the log is emptied into the database
    probe_every: float = 1.0  # while nothing can be kept
    stalled_after: float = 10.0  # without a word from the disk
    lock_timeout: float = 2.0  # for another program that has the database locked


PACE = Pace()


@dataclass(slots=True)
class Counts:
    """What the store has done since it was opened."""

    commits: int = 0
    rows: int = 0  # changes that were made
    errors: int = 0  # transactions that failed
    refused: int = 0  # writes that were not kept
    seconds: float = 0.0  # in transactions


@dataclass(slots=True)
class _Asked:
    """Changes to be made together. Without a future they were only noted."""

    changes: Sequence[Change]
    future: asyncio.Future[None] | None = None


@dataclass(slots=True)
class _Job:
    """A statement that says how many rows it changed."""

    statement: sql.Statement
    future: asyncio.Future[int]


@dataclass(slots=True)
class _Outcome:
    """What became of one batch: told to the event loop at once."""

    asked: Sequence[_Asked] = ()
    job: tuple[_Job, int] | None = None  # with the rows it changed
    problem: str = ""  # why nothing of it was kept
    refused: Mapping[int, str] = field(default_factory=dict)  # position in ``asked`` → why this one was not
    seconds: float = 0.0
    rows: int = 0
    changed: bool = False  # whether the disk took something; where nothing was to be done, nothing is proved


class SqliteStore:
    """Rows in one file. Made by ``open``; belongs to the event loop that opened it."""

    def __init__(
        self, path: Path, connection: sqlite3.Connection, reading: sqlite3.Connection, pace: Pace
    ) -> None:
        self.path = path
        self.pace = pace
        there = path.stat()
        self._identity = (there.st_dev, there.st_ino)
        self.counts = Counts()
        self.notes_dropped = 0
        self._loop = asyncio.get_running_loop()
        self._problem = ""
        self._on_problem: Callable[[str], None] = lambda text: None
        self._observe: Callable[[float, int], None] = lambda seconds, rows: None
        self._observe_read: Callable[[float], None] = lambda seconds: None
        self._claim: files.Claim | None = None

        self._noted: list[_Asked] = []
        self._flush: asyncio.TimerHandle | None = None
        self._notes = 0  # changes noted and not made yet
        self._waiting = 0  # changes to be written and not made yet
        self._unheard_since = 0.0  # when the oldest of what the writer has not answered was given to it
        self._unheard = 0  # how many that are
        self._watch: asyncio.TimerHandle | None = None
        self._stalled = False  # whether that is the problem
        self._closing: asyncio.Future[None] | None = None

        self._queue: queue.SimpleQueue[_Asked | _Job | None] = queue.SimpleQueue()
        self._put_back: list[_Job | None] = []  # taken out of the queue, and to be done next
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="store-reader")
        self._reading = reading
        self._connection = connection
        self._thread = threading.Thread(target=self._write_on, name="store-writer", daemon=True)

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        on_problem: Callable[[str], None] | None = None,
        on_set_aside: Callable[[str], None] | None = None,
        observe: Callable[[float, int], None] | None = None,
        observe_read: Callable[[float], None] | None = None,
        pace: Pace = PACE,
        checkpoint_at: int = CHECKPOINT_AT,
        connect: Connect = sqlite3.connect,
        now: Callable[[], float] = time.time,
    ) -> SqliteStore:
        """Open the database at *path*, new or as it was left, with its tables as this version has them.

        One that is damaged, or no database, is given another name, and a new one is begun: *on_set_aside*
        gets a sentence about it, which somebody has to see. *on_problem* gets the new ``problem`` whenever
        that changes, *observe* the seconds and the rows of every transaction; all are called on the event
        loop.
        Raises CannotOpen when there is nothing that can be used, or it is used by somebody else.
        """
        claim = files.Claim(path)
        try:
            loop = asyncio.get_running_loop()
            told: list[str] = []
            prepare = partial(
                _prepare,
                path,
                told.append,
                pace.lock_timeout,
                checkpoint_at=checkpoint_at,
                connect=connect,
                now=now,
            )
            try:
                connection, reading = await loop.run_in_executor(None, prepare)
            finally:
                for sentence in told:
                    (on_set_aside or _ignore)(sentence)
        except BaseException:
            claim.release()
            raise
        store = cls(path, connection, reading, pace)
        store._claim = claim
        store._on_problem = on_problem or store._on_problem
        store._observe = observe or store._observe
        store._observe_read = observe_read or store._observe_read
        store._thread.start()
        return store

    @property
    def problem(self) -> str:
        return self._problem

    @property
    def log_bytes(self) -> int:
        """The size of the write-ahead log beside the database."""
        return files.size(files.beside(self.path, "-wal"))

    @property
    def file_bytes(self) -> int:
        return files.size(self.path)

    @property
    def waiting(self) -> int:
        """Changes that are not on disk yet."""
        return self._waiting + self._notes

    # --- Writing, as the event loop sees it

    def write(self, *changes: Change) -> asyncio.Future[None]:
        future: asyncio.Future[None] = self._loop.create_future()
        if self._closing:
            future.set_exception(NotKept(f"{self.path} is closed"))
        elif self._waiting >= MOST_WAITING:
            future.set_exception(NotKept(f"{self.path}: {self._waiting} changes wait for the disk already"))
        else:
            self._waiting += len(changes)
            self._send_notes()
            self._send(_Asked(changes, future))
        return future

    def note(self, *changes: Change) -> None:
        if self._closing or self._notes + len(changes) > MOST_NOTES:
            self.notes_dropped += len(changes)
            return
        self._notes += len(changes)
        self._noted.append(_Asked(changes))
        if self._flush is None:
            self._flush = self._loop.call_later(self.pace.noted_within, self._send_notes)

    def _send_notes(self) -> None:
        """Notes go before what is written after them."""
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        for noted in self._noted:
            self._send(noted)
        self._noted.clear()

    def _send(self, what: _Asked | _Job) -> None:
        if not self._unheard:
            self._unheard_since = self._loop.time()
        self._unheard += 1
        if self._watch is None:
            self._watch = self._loop.call_later(self.pace.stalled_after, self._look_for_stall)
        self._queue.put(what)

    def _look_for_stall(self) -> None:
        self._watch = None
        if not self._unheard:
            return
        limit = self.pace.stalled_after
        left = self._unheard_since + limit - self._loop.time()
        if left <= 0 and not self._problem:
            self._stalled = True
            self._set_problem(
                f"nothing can be kept in {self.path}: the disk has not answered for {limit:g} s"
            )
        self._watch = self._loop.call_later(left if left > 0 else limit, self._look_for_stall)

    def _hear(self, outcome: _Outcome) -> None:
        """Called by the writer, once for each batch."""
        self._unheard -= len(outcome.asked) + (outcome.job is not None)
        self._unheard_since = self._loop.time()
        for position, asked in enumerate(outcome.asked):
            problem = outcome.problem or outcome.refused.get(position, "")
            if asked.future is None:
                self._notes -= len(asked.changes)
                self.notes_dropped += len(asked.changes) if problem else 0
                continue
            self._waiting -= len(asked.changes)
            self.counts.refused += bool(problem)
            if asked.future.done():
                pass  # who waited was cancelled; what was asked for is done all the same
            elif problem:
                asked.future.set_exception(NotKept(problem))
            else:
                asked.future.set_result(None)
        if outcome.job is not None and not (future := outcome.job[0].future).done():
            if outcome.problem:
                future.set_exception(NotKept(outcome.problem))
            else:
                future.set_result(outcome.job[1])
        if outcome.problem:
            self.counts.errors += 1
        elif outcome.changed:
            self.counts.commits += 1
            self.counts.rows += outcome.rows
            self.counts.seconds += outcome.seconds
        if outcome.problem or outcome.changed or self._stalled:
            self._stalled = False
            self._set_problem(outcome.problem)
        if outcome.changed:
            self._observe(outcome.seconds, outcome.rows)

    def _set_problem(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            self._on_problem(problem)

    # --- Reading

    async def find(
        self,
        kind: type[AnyRow],
        where: Mapping[str, Any] | None = None,
        *,
        after: Sequence[Any] = (),
        order: Order = "first",
        by: str = "",
        limit: int = 1000,
    ) -> list[AnyRow]:
        statement = sql.find(kind, where or {}, after=after, order=order, by=by, limit=limit, mark=MARK)
        return [kind(*values) for values in await self._read(statement)]

    async def sizes(self, kind: type[Row], where: Mapping[str, Any] | None = None) -> Sizes:
        [(rows, length, oldest)] = await self._read(sql.sizes(kind, where or {}, MARK))
        return Sizes(rows, length, oldest)

    async def _read(self, statement: sql.Statement) -> list[tuple[Any, ...]]:
        if self._closing:
            raise NotKept(f"{self.path} is closed")

        def read() -> list[tuple[Any, ...]]:
            return self._reading.execute(statement.text, statement.values).fetchall()

        began = self._loop.time()
        try:
            found = await self._loop.run_in_executor(self._reader, read)
        except sqlite3.Error as problem:
            raise NotKept(f"{self.path} cannot be read: {reason_of(problem)}") from None
        self._observe_read(self._loop.time() - began)
        return found

    # --- Taking away what is old

    async def prune(self, kind: type[Row], before: float, *, most_bytes: int | None = None) -> int:
        if kind not in sql.PRUNED:
            return 0
        taken = 0
        while True:
            some = await self._do(sql.prune(kind, before, PRUNED_AT_ONCE, MARK))
            taken += some
            if some < PRUNED_AT_ONCE:
                break
        if most_bytes is None:
            return taken
        [(length,)] = await self._read(sql.prunable(kind, MARK))
        while length > most_bytes:
            going: list[tuple[Any, ...]] = []
            for *key, size in await self._read(sql.oldest(kind, PRUNED_AT_ONCE, MARK)):
                if length <= most_bytes:
                    break
                length -= size
                going.append(tuple(key))
            if not going:
                break
            for at in range(0, len(going), sql.ROWS_AT_ONCE[0]):
                keys = going[at : at + sql.ROWS_AT_ONCE[0]]
                values = [value for key in keys for value in key]
                taken += await self._do(sql.Statement(sql.forget(kind, len(keys), MARK), values))
        return taken

    async def _do(self, statement: sql.Statement) -> int:
        if self._closing:
            raise NotKept(f"{self.path} is closed")
        job = _Job(statement, self._loop.create_future())
        self._send_notes()
        self._send(job)
        return await job.future

    # --- The end

    async def close(self) -> None:
        if self._closing is None:
            self._send_notes()
            self._closing = self._loop.create_future()
            self._queue.put(None)
        await asyncio.shield(self._closing)

    def _closed(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        if self._claim is not None:
            self._claim.release()
        if self._closing is not None:
            self._closing.set_result(None)

    # --- The thread that writes

    def _write_on(self) -> None:
        """Make what comes through the queue durable, one batch after another, until the end comes through."""
        problem = False
        in_log = True  # whether there may be something in the log
        while True:
            try:
                first = self._next(self.pace.probe_every if problem else self.pace.idle if in_log else None)
            except queue.Empty:
                if problem:
                    outcome = self._probe()
                    problem = bool(outcome.problem)
                    self._tell(outcome)
                else:
                    in_log = not self._empty_log()
                continue
            if first is None:
                break
            outcome = self._run(first) if isinstance(first, _Job) else self._keep(self._all_with(first))
            problem, in_log = bool(outcome.problem) or (problem and not outcome.changed), True
            self._tell(outcome)
        self._end()

    def _next(self, wait: float | None) -> _Asked | _Job | None:
        if self._put_back:
            return self._put_back.pop()
        return self._queue.get(timeout=wait)

    def _all_with(self, first: _Asked) -> list[_Asked]:
        """*first* and all that waits behind it, as far as it goes into one transaction."""
        batch = [first]
        rows = len(first.changes)
        while rows < MOST_ROWS:
            try:
                another = self._queue.get_nowait()
            except queue.Empty:
                break
            if not isinstance(another, _Asked):
                self._put_back.append(another)
                break
            batch.append(another)
            rows += len(another.changes)
        return batch

    def _tell(self, outcome: _Outcome) -> None:
        with suppress(RuntimeError):  # the event loop is gone, and with it all who would hear
            self._loop.call_soon_threadsafe(self._hear, outcome)

    def _keep(self, batch: Sequence[_Asked]) -> _Outcome:
        """Make all changes of *batch* in one transaction."""
        began, before = time.perf_counter(), self._connection.total_changes
        outcome = _Outcome(batch)
        try:
            try:
                self._transact(
                    list(sql.keeping((change for asked in batch for change in asked.changes), MARK))
                )
            except ROWS_FAULT:
                outcome.refused = self._keep_one_by_one(batch)
            outcome.changed = self._connection.total_changes > before
        except Exception as problem:  # whatever it is: the thread has to live, and all have to hear
            outcome.problem = self._cannot_keep(problem)
        outcome.seconds = time.perf_counter() - began
        outcome.rows = sum(len(asked.changes) for n, asked in enumerate(batch) if n not in outcome.refused)
        return outcome

    def _transact(self, statements: Sequence[sql.Statement]) -> int:
        """Returns how many rows were changed. A single statement is a transaction of its own: whoever calls
        the database gives up the interpreter, and may wait for it among those who are busy."""
        run = self._connection.execute
        self._see_the_file()
        if len(statements) == 1:
            return run(statements[0].text, statements[0].values).rowcount
        with _transaction(self._connection):
            return sum(run(statement.text, statement.values).rowcount for statement in statements)

    def _see_the_file(self) -> None:
        """A file that was removed or replaced still takes rows, and nobody would find them again."""
        try:
            seen = self.path.stat()
        except OSError:
            raise Gone("the file was removed") from None
        if (seen.st_dev, seen.st_ino) != self._identity:
            raise Gone("the file was replaced by another")

    def _keep_one_by_one(self, batch: Sequence[_Asked]) -> dict[int, str]:
        """Each in a savepoint of its own, so that those which cannot be kept go alone; returns these."""
        run = self._connection.execute
        self._see_the_file()
        refused: dict[int, str] = {}
        with _transaction(self._connection):
            for position, asked in enumerate(batch):
                run("savepoint one")
                try:
                    for statement in sql.keeping(asked.changes, MARK):
                        run(statement.text, statement.values)
                except ROWS_FAULT as problem:
                    if not self._connection.in_transaction:
                        raise
                    run("rollback to one")
                    refused[position] = f"the row cannot be kept: {problem}"
                run("release one")
        return refused

    def _run(self, job: _Job) -> _Outcome:
        began = time.perf_counter()
        try:
            changed = self._transact([job.statement])
        except Exception as problem:
            return _Outcome(job=(job, 0), problem=self._cannot_keep(problem))
        took = time.perf_counter() - began
        return _Outcome(job=(job, changed), seconds=took, rows=changed, changed=changed > 0)

    def _probe(self) -> _Outcome:
        """See whether something can be kept again."""
        began = time.perf_counter()
        try:
            # What the log holds may have room in the database, and the log then gives its own back.
            self._connection.execute("pragma wal_checkpoint(truncate)").fetchall()
            for length in (PROBE_LENGTH, 0):
                self._transact([sql.Statement("update probe set filling = ?", [" " * length])])
        except Exception as problem:
            return _Outcome(problem=self._cannot_keep(problem))
        return _Outcome(seconds=time.perf_counter() - began, changed=True)

    def _empty_log(self) -> bool:
        """Take the log into the database and cut it; whether that is done."""
        run = self._connection.execute
        try:
            run("pragma busy_timeout = 0")  # somebody may want to write: do not wait for who reads
            try:
                [(busy, _, _)] = run("pragma wal_checkpoint(truncate)").fetchall()
            finally:
                run(f"pragma busy_timeout = {int(self.pace.lock_timeout * 1000)}")
        except sqlite3.Error:
            return False  # the next one that writes will hear of it
        return not busy

    def _cannot_keep(self, problem: Exception) -> str:
        return f"nothing can be kept in {self.path}: {reason_of(problem)}"

    def _end(self) -> None:
        # The reader first: the last connection takes the log into the database; that is the writer's work.
        self._reader.shutdown(wait=True)
        for connection in (self._reading, self._connection):
            with suppress(sqlite3.Error):  # what is in the log is read at the next start
                connection.close()
        try:
            self._loop.call_soon_threadsafe(self._closed)
        except RuntimeError:
            if self._claim is not None:
                self._claim.release()


# --- Opening


def _prepare(
    path: Path,
    tell: Callable[[str], None],
    lock_timeout: float,
    *,
    checkpoint_at: int,
    connect: Connect,
    now: Callable[[], float],
) -> tuple[sqlite3.Connection, sqlite3.Connection]:
    """The connection that writes and the one that reads, on a database that is whole and up to date."""
    if not files.size(path) and files.size(files.beside(path, "-wal")):
        # SQLite would take the log for one of nobody, and delete it.
        aside = files.set_aside(path, now())
        log = files.beside(aside, "-wal")
        tell(f"{path} is gone, but its log is there; that is set aside as {log}, and an empty store begins")
    files.create(path)
    if not files.is_database(path):
        aside = files.set_aside(path, now())
        tell(f"{path} is no database; it is set aside as {aside}, and an empty store begins")
        files.create(path)
    try:
        connection = writer(path, lock_timeout, checkpoint_at=checkpoint_at, connect=connect, now=now)
    except Damaged as damage:
        aside = files.set_aside(path, now())
        tell(f"{path} is damaged ({damage}); it is set aside as {aside}, and an empty store begins")
        files.create(path)
        connection = writer(path, lock_timeout, checkpoint_at=checkpoint_at, connect=connect, now=now)
    try:
        return connection, reader(path, lock_timeout, connect=connect)
    except BaseException:
        connection.close()
        raise


class Gone(Exception):
    """The file is not where it was: a sentence."""


class Damaged(Exception):
    """What SQLite found wrong with a database."""


def writer(
    path: Path,
    lock_timeout: float = PACE.lock_timeout,
    *,
    checkpoint_at: int = CHECKPOINT_AT,
    connect: Connect = sqlite3.connect,
    now: Callable[[], float] = time.time,
    migrating: bool = True,
) -> sqlite3.Connection:
    """The only connection that may write and checkpoint; the caller has the claim on *path*.

    The database is checked, and migrated unless told otherwise. Raises Damaged, or CannotOpen.
    """
    connection: sqlite3.Connection | None = None
    try:
        connection = connect(
            path, timeout=lock_timeout, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        _set_up(connection, path, checkpoint_at)
        _check(connection, path)
        if migrating:
            migrate(connection, path, now)
    except sqlite3.Error as problem:
        if connection is not None:
            connection.close()
        if _code(problem) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise Damaged(str(problem)) from None
        raise CannotOpen(f"{path} cannot be opened: {reason_of(problem)}") from None
    except BaseException:
        if connection is not None:
            connection.close()
        raise
    return connection


def reader(
    path: Path, lock_timeout: float = PACE.lock_timeout, *, connect: Connect = sqlite3.connect
) -> sqlite3.Connection:
    """A connection that cannot write and never checkpoints. Raises CannotOpen."""
    try:
        connection = connect(path, timeout=lock_timeout, isolation_level=None, check_same_thread=False)
        connection.execute("pragma query_only = on")
        connection.execute("pragma wal_autocheckpoint = 0")
        connection.execute("pragma mmap_size = 0")
    except sqlite3.Error as problem:
        raise CannotOpen(f"{path} cannot be opened: {reason_of(problem)}") from None
    return connection


def _set_up(connection: sqlite3.Connection, path: Path, checkpoint_at: int) -> None:
    run = connection.execute
    run("pragma mmap_size = 0")
    [(application,)] = run("pragma application_id").fetchall()
    [(tables,)] = run("select count(*) from sqlite_master").fetchall()
    if tables and application != APPLICATION_ID:
        raise CannotOpen(
            f"{path} is the database of another program; store.url has to name a file of its own"
        )
    [(mode,)] = run("pragma journal_mode = wal").fetchall()
    if mode != "wal":
        raise CannotOpen(
            f"{path}: its disk does not take a write-ahead log; the store has to be on a local disk"
        )
    # Each commit waits until the log is on the disk itself. The setting belongs to the connection.
    run("pragma synchronous = full")
    run("pragma fullfsync = on")  # on macOS, where a disk need not have written what was synced
    [(level,)] = run("pragma synchronous").fetchall()
    if level != 2:
        raise CannotOpen(f"{path}: SQLite does not wait for the disk (synchronous is {level}, not 2)")
    run(f"pragma wal_autocheckpoint = {checkpoint_at}")
    run(f"pragma journal_size_limit = {LOG_LIMIT}")
    if not tables:
        run(f"pragma application_id = {APPLICATION_ID}")


def _check(connection: sqlite3.Connection, path: Path) -> None:
    """Raises Damaged. A large database is read whole too, but not compared with its indexes."""
    [(pages,)] = connection.execute("pragma page_count").fetchall()
    [(page,)] = connection.execute("pragma page_size").fetchall()
    how = "integrity_check" if pages * page < WHOLE_CHECK_BELOW else "quick_check"
    [(said,)] = connection.execute(f"pragma {how}(1)").fetchall()
    if said != "ok":
        raise Damaged(" ".join(said.replace("*** in database main ***", "").split()))


def version_of(connection: sqlite3.Connection) -> int:
    """Which migrations a database has seen; 0 is none."""
    there = "select count(*) from sqlite_master where type = 'table' and name = 'schema_version'"
    if connection.execute(there).fetchall() == [(0,)]:
        return 0
    [(version,)] = connection.execute("select coalesce(max(version), 0) from schema_version").fetchall()
    return int(version)


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All that is done inside is done, or none of it."""
    connection.execute("begin immediate")
    try:
        yield
        connection.execute("commit")
    except BaseException:
        with suppress(sqlite3.Error):  # the next transaction will not begin, and say why
            if connection.in_transaction:  # SQLite may have rolled back itself, as with a full disk
                connection.execute("rollback")
        raise


def refuse_newer(version: int, path: Path) -> None:
    """Raises CannotOpen when the tables at *path* are of a *version* that this program does not know."""
    if version > schema.newest():
        raise CannotOpen(
            f"{path} was written by a newer wattbridge (its tables are version {version}, this one knows "
            f"{schema.newest()}): run that one, or restore a backup made before"
        )


def migrate(connection: sqlite3.Connection, path: Path, now: Callable[[], float]) -> list[schema.Migration]:
    """Bring the tables up to date; returns what was run. Raises CannotOpen for tables of a newer version."""
    version = version_of(connection)
    refuse_newer(version, path)
    run = connection.execute
    # What a probe is written into; no part of what is kept.
    run("create table if not exists probe (filling text not null)")
    if run("select count(*) from probe").fetchall() == [(0,)]:
        run("insert into probe values ('')")
    run(schema.VERSION_TABLE)
    for migration in schema.after(version):
        with _transaction(connection):
            for statement in migration.statements:
                run(statement)
            run(
                "insert into schema_version (version, name, applied) values (?, ?, ?)",
                (migration.version, migration.name, now()),
            )
    return list(schema.after(version))


def _code(problem: BaseException) -> int:
    """SQLite's primary result code."""
    code: int = getattr(problem, "sqlite_errorcode", 0) or 0
    return code & 0xFF


def reason_of(problem: BaseException) -> str:
    """In words, with SQLite's own behind them."""
    if isinstance(problem, Gone):
        return str(problem)
    said = f"{problem}" or type(problem).__name__
    name = getattr(problem, "sqlite_errorname", "") or type(problem).__name__
    reason = REASONS.get(_code(problem)) or (
        "there is not enough memory" if isinstance(problem, MemoryError) else ""
    )
    return f"{reason} ({said}, {name})" if reason else f"{said} ({name})"


def _ignore(sentence: str) -> None:
    pass
