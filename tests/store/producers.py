"""A process that keeps rows as fast as it can, and marks which were acknowledged: to be killed.

    python -m tests.store.producers DATABASE MARKS ROUND CHANGES [weak]

64 producers keep messages, and forget each of them some messages later, as an outbox does. Each mark is what
was done, by which producer, with which position; it is written at once, and survives the process.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import struct
import sys
from functools import partial
from pathlib import Path

from wattbridge.store.base import Forget, Waiting
from wattbridge.store.sqlite import SqliteStore

PRODUCERS = 64
KEPT_FOR = 5  # messages until one is forgotten
KEPT, FORGETS, FORGOTTEN = b"K", b"F", b"G"
MARK = struct.Struct("<cBI")


class Weak(sqlite3.Connection):
    """One that does not wait for the disk, once it was asked whether it does."""

    def execute(self, statement: str, *values: object) -> sqlite3.Cursor:
        if statement.startswith(("begin", "insert into outbox")) and not self.in_transaction:
            super().execute("pragma synchronous = normal")
        return super().execute(statement, *values)  # type: ignore[arg-type]


def name(producer: int, round_: int) -> str:
    return f"CP-{round_}-{producer}"


async def produce(database: Path, marks: Path, round_: int, changes: int, weak: bool) -> None:
    connect = partial(sqlite3.connect, factory=Weak) if weak else sqlite3.connect
    # A log that is taken into the database often, so that it is cut in the middle of that too.
    store = await SqliteStore.open(database, checkpoint_at=100, connect=connect)
    descriptor = os.open(marks, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    async def produces(producer: int) -> None:
        for position in range(changes // PRODUCERS):
            message = Waiting(
                name(producer, round_), position, "MeterValues", "x" * 300, f"{round_}-{producer}-{position}"
            )
            if position < KEPT_FOR:
                await store.write(message)
                os.write(descriptor, MARK.pack(KEPT, producer, position))
                continue
            gone = position - KEPT_FOR
            os.write(descriptor, MARK.pack(FORGETS, producer, gone))
            await store.write(message, Forget(Waiting, (message.identity, gone)))
            os.write(descriptor, MARK.pack(KEPT, producer, position) + MARK.pack(FORGOTTEN, producer, gone))

    async with asyncio.TaskGroup() as tasks:
        for producer in range(PRODUCERS):
            tasks.create_task(produces(producer))
    os._exit(0)  # as it was left, without the order that closing makes


class Marked:
    """What a database has to have, and what it must not have, by the marks up to some moment."""

    def __init__(self) -> None:
        self.there: set[tuple[int, int]] = set()
        self.gone: set[tuple[int, int]] = set()
        self.acknowledged = 0

    def read(self, marks: bytes) -> None:
        for what, producer, position in MARK.iter_unpack(marks[: len(marks) // MARK.size * MARK.size]):
            one = (producer, position)
            if what == KEPT:
                self.there.add(one)
                self.acknowledged += 1
            elif what == FORGETS:
                self.there.discard(one)  # may be there or not, until that is acknowledged
            else:
                self.gone.add(one)

    def lost(self, connection: sqlite3.Connection, round_: int) -> list[str]:
        """What is wrong with a database, in sentences."""
        found: set[tuple[int, int]] = set()
        if connection.execute("select count(*) from sqlite_master where name = 'outbox'").fetchall() == [
            (1,)
        ]:
            for identity, position in connection.execute("select identity, position from outbox"):
                _, of, producer = identity.split("-")
                if int(of) == round_:
                    found.add((int(producer), position))
        return [f"{one} was acknowledged and is not there" for one in sorted(self.there - found)] + [
            f"{one} was acknowledged as forgotten and is there" for one in sorted(self.gone & found)
        ]


if __name__ == "__main__":
    asyncio.run(
        produce(
            Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), "weak" in sys.argv[5:]
        )
    )
