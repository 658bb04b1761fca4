"""What an operator does with the database besides running a gateway: backup, migration, vacuum."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from wattbridge.store import files, schema
from wattbridge.store.base import CannotOpen, NotKept
from wattbridge.store.sqlite import Damaged, migrate, reason_of, refuse_newer, version_of, writer


class WrongTarget(Exception):
    """A copy must not be written there: a sentence that says why."""


def pending(path: Path) -> tuple[schema.Migration, ...]:
    """The migrations that the database at *path* has not seen: all of them when there is none yet.

    Raises CannotOpen, also for tables of a newer version.
    """
    if not path.exists():
        return schema.migrations()
    with _looking_at(path) as connection:
        version = version_of(connection)
        refuse_newer(version, path)
        return schema.after(version)


def check(path: Path) -> None:
    """See that there is a database that is whole, and that nobody uses it. Raises CannotOpen."""
    with files.claimed(path):
        _there(path)
        with _writing(path):
            pass


def bring_up_to_date(path: Path) -> list[schema.Migration]:
    """Run the migrations that are pending; returns them. Raises CannotOpen."""
    with files.claimed(path):
        files.create(path)
        with _writing(path) as connection:
            try:
                return migrate(connection, path, time.time)
            except sqlite3.Error as problem:
                raise CannotOpen(f"{path} cannot be brought up to date: {reason_of(problem)}") from None


def vacuum(path: Path) -> tuple[int, int]:
    """Write the database anew without the room that nothing is in; returns its bytes before and after.

    Raises CannotOpen, and NotKept when there is no room on the disk for both.
    """
    with files.claimed(path):
        _there(path)
        before = files.size(path)
        with _writing(path) as connection:
            try:
                connection.execute("vacuum")
                connection.execute("pragma wal_checkpoint(truncate)").fetchall()
            except sqlite3.Error as problem:
                raise NotKept(f"{path}: {reason_of(problem)}; it is as it was") from None
        return before, files.size(path)


def backup(path: Path, target: Path) -> int:
    """Copy the database to *target*, also while a gateway writes to it; returns the bytes of the copy.

    The copy is of one moment, is checked, and takes the place of an earlier one only when it is whole and on
    disk. Raises WrongTarget when *target* is no place for it, CannotOpen when there is nothing to copy, and
    NotKept when the copy cannot be made.
    """
    if target.exists() and _there(path).samefile(target):
        raise WrongTarget(f"{target} is the store itself")
    if target.exists() and not (target.is_file() and files.is_database(target)):
        raise WrongTarget(f"{target} is there and is no database; it is left as it is")
    part = files.beside(target, ".part")
    with suppress(FileNotFoundError):
        part.unlink()
    with _looking_at(path) as connection:
        files.create(part, for_gateway=False)
        try:
            # All pages in one step: in several, the copy would begin again after each write of the gateway.
            with closing(sqlite3.connect(part, isolation_level=None)) as copy:
                connection.backup(copy)
                [(said,)] = copy.execute("pragma quick_check(1)").fetchall()
                if said != "ok":
                    raise NotKept(f"{path} is damaged: {said}")
                copy.execute("pragma journal_mode = delete").fetchall()  # one file, without a log beside it
            descriptor = os.open(part, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            part.rename(target)
        except sqlite3.Error as problem:
            part.unlink(missing_ok=True)
            raise NotKept(f"{target} cannot be written: {reason_of(problem)}") from None
        except NotKept:
            part.unlink(missing_ok=True)
            raise
        except OSError as problem:
            part.unlink(missing_ok=True)
            raise NotKept(f"{target} cannot be written: {problem.strerror}") from None
    files.sync_folder(target.parent)
    return files.size(target)


def _there(path: Path) -> Path:
    if not path.exists():
        raise CannotOpen(f"there is no store at {path}")
    return path


@contextmanager
def _looking_at(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that changes nothing and never checkpoints, beside a gateway or without one."""
    _there(path)
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
        ) as connection:
            connection.execute("select count(*) from sqlite_master").fetchall()
            yield connection
    except sqlite3.Error as problem:
        raise CannotOpen(f"{path} cannot be read: {reason_of(problem)}") from None


@contextmanager
def _writing(path: Path) -> Iterator[sqlite3.Connection]:
    if not files.is_database(path):
        raise CannotOpen(f"{path} is no database; the gateway sets it aside at its next start")
    try:
        connection = writer(path, migrating=False)
    except Damaged as damage:
        raise CannotOpen(
            f"{path} is damaged ({damage}); the gateway sets it aside at its next start"
        ) from None
    with closing(connection):
        yield connection
