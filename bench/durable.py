"""How many rows the store makes durable in a second: with one who writes, and with 64 at once.

Beside it the plain way, a commit for each append, and the floor: the same rows without an event loop, in
batches of as many as there are writers. All of them wait for the disk (``synchronous=FULL``).
"""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from bench.measure import Figure, Row
from wattbridge.counting import counted
from wattbridge.store import sql
from wattbridge.store.base import Waiting
from wattbridge.store.sqlite import SqliteStore, writer

GROUP = "store"
WRITERS = (1, 64)
_POSITIONS = itertools.count()


def rows(*, rounds: int, seconds: float) -> Iterator[Row]:
    """Appends per second, of rows of about 500 bytes."""
    # Not in /tmp, which may be memory.
    with tempfile.TemporaryDirectory(prefix=".wattbridge-bench-", dir=Path.cwd()) as folder:
        for writers in WRITERS:
            seen: dict[str, list[float]] = {"ours": [], "floor": [], "naive": []}
            for number in range(rounds):
                path = Path(folder, f"{writers}-{number}")
                seen["ours"].append(asyncio.run(_ours(path.with_suffix(".ours"), writers, seconds)))
                seen["naive"].append(asyncio.run(_naive(path.with_suffix(".naive"), writers, seconds)))
                seen["floor"].append(_floor(path.with_suffix(".floor"), writers, seconds))
            name = f"durable appends, {counted(writers, 'writer')}"
            figures = {variant: Figure.of(values) for variant, values in seen.items()}
            yield Row(GROUP, name, "appends/s", figures, more_is_better=True)


def _message() -> Waiting:
    position = next(_POSITIONS)
    return Waiting(
        identity=f"CP{position % 1000:04}",
        position=position,
        action="MeterValues",
        payload='{"connectorId":1}'.ljust(380),
        message_id=f"{position:032x}",
        content_key=f"{position:040x}",
        kept=1_714_557_600.0,
    )


async def _ours(path: Path, writers: int, seconds: float) -> float:
    store = await SqliteStore.open(path)
    until = time.perf_counter() + seconds

    async def appends() -> int:
        count = 0
        while time.perf_counter() < until:
            await store.write(_message())
            count += 1
        return count

    began = time.perf_counter()
    count = sum(await asyncio.gather(*(appends() for _ in range(writers))))
    took = time.perf_counter() - began
    await store.close()
    return count / took


async def _naive(path: Path, writers: int, seconds: float) -> float:
    """A thread that runs one statement and one commit after the other, as wrappers of sqlite3 do."""
    loop = asyncio.get_running_loop()
    connection = _plain(path)
    until = time.perf_counter() + seconds

    def append(message: Waiting) -> None:
        [statement] = sql.keeping([message], "?")
        connection.execute(statement.text, statement.values)
        connection.commit()

    async def appends(thread: ThreadPoolExecutor) -> int:
        count = 0
        while time.perf_counter() < until:
            await loop.run_in_executor(thread, append, _message())
            count += 1
        return count

    with ThreadPoolExecutor(1) as thread, closing(connection):
        began = time.perf_counter()
        count = sum(await asyncio.gather(*(appends(thread) for _ in range(writers))))
        return count / (time.perf_counter() - began)


def _floor(path: Path, writers: int, seconds: float) -> float:
    count = 0
    with closing(_plain(path)) as connection:
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            for statement in sql.keeping([_message() for _ in range(writers)], "?"):
                connection.execute(statement.text, statement.values)
            connection.commit()
            count += writers
        return count / (time.perf_counter() - began)


def _plain(path: Path) -> sqlite3.Connection:
    """As sqlite3 opens it, with a log and the tables of the store."""
    writer(path).close()
    connection = sqlite3.connect(path, check_same_thread=False)
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = full")
    return connection
