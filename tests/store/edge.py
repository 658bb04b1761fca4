"""The edge between the store and SQLite, where a test can make the disk slow, full or broken."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any


@dataclass
class Disk:
    """What happens to the connections that ``connect`` makes."""

    may_commit: threading.Event = field(default_factory=threading.Event)  # cleared: each change waits
    room: int = 0  # pages that the database may have, 0 for any number
    broken: int = 0  # a result code that each change ends with, as SQLite would say it
    level: int | None = None  # what SQLite says of ``synchronous``
    changes: list[str] = field(default_factory=list)  # the statements that wrote

    def __post_init__(self) -> None:
        self.may_commit.set()

    @property
    def connect(self) -> Callable[..., sqlite3.Connection]:
        return partial(sqlite3.connect, factory=partial(_Connection, self))


class Broken(sqlite3.OperationalError):
    def __init__(self, code: int) -> None:
        super().__init__("disk I/O error")
        self.sqlite_errorcode = code
        self.sqlite_errorname = "SQLITE_IOERR_FSYNC"


class _Connection(sqlite3.Connection):
    def __init__(self, disk: Disk, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.disk = disk

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        if statement == "pragma synchronous" and self.disk.level is not None:
            statement = f"select {self.disk.level}"
        if statement.startswith(("insert into", "delete", "update")):
            super().execute(f"pragma max_page_count = {self.disk.room or 1_073_741_823}").fetchall()
            self.disk.may_commit.wait()
            if self.disk.broken:
                raise Broken(self.disk.broken)
            self.disk.changes.append(statement)
        return super().execute(statement, *values)
