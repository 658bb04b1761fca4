"""``wattbridge store``: backup, migration, pruning and vacuum of what is remembered over a restart."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from wattbridge.cli.check import write_problems
from wattbridge.config import Config, ConfigErrors, load
from wattbridge.config.places import store_path
from wattbridge.store import schema, upkeep
from wattbridge.store.base import CannotOpen, Exchange, NotKept, Remembered, Row, Transaction
from wattbridge.store.files import InUse
from wattbridge.store.sqlite import SqliteStore

DONE, FAILED, WRONG, UNREACHABLE, REFUSED = 0, 1, 2, 3, 4


def back_up(target: str, file: str | None, overrides: Sequence[str], *, out: TextIO, err: TextIO) -> int:
    """Returns 0, 1 without a whole copy, 2 when the configuration or *target* is wrong, 3 without a store."""

    def work(config: Config, path: Path) -> None:
        size = upkeep.backup(path, Path(target))
        out.write(f"ok: {path} copied to {target} ({size} bytes)\n")

    folder = Path(target).parent
    if not folder.is_dir():
        err.write(f"wattbridge: FILE: the directory {folder} does not exist\n")
        return WRONG
    return _with_the_store(work, file, overrides, err)


def migrate(file: str | None, overrides: Sequence[str], *, as_sql: bool, out: TextIO, err: TextIO) -> int:
    """Returns 0, 2 when the configuration is wrong, 3 without a store, 4 when a gateway uses it."""

    def work(config: Config, path: Path) -> None:
        if as_sql:
            out.writelines(f"{line}\n" for line in schema.script(upkeep.pending(path), time.time()))
            return
        ran = upkeep.bring_up_to_date(path)
        out.writelines(f"{migration.name}: done\n" for migration in ran)
        out.write(f"ok: {path} is up to date\n")

    return _with_the_store(work, file, overrides, err)


def prune(
    what: Sequence[str],
    age: float | None,
    file: str | None,
    overrides: Sequence[str],
    *,
    out: TextIO,
    err: TextIO,
) -> int:
    """Take away what is older than *age* seconds of *what*: ``replies``, ``transactions``, ``history``.

    Returns 0, 1 when it cannot be done, 2 when the configuration is wrong, 3 without a store, 4 when a
    gateway uses it.
    """

    def work(config: Config, path: Path) -> None:
        upkeep.check(path)
        now = time.time()
        kept = config.store
        plan: dict[str, tuple[type[Row], float, int | None]] = {
            "replies": (Remembered, kept.replies, None),
            "transactions": (Transaction, kept.transactions, None),
            "history": (Exchange, kept.history.age, kept.history.size),
        }
        chosen = {name: plan[name] for name in what or plan}
        for name, taken in asyncio.run(_prune(path, chosen, age, now)).items():
            out.write(f"{name}: {taken} taken away\n")

    return _with_the_store(work, file, overrides, err)


def vacuum(file: str | None, overrides: Sequence[str], *, out: TextIO, err: TextIO) -> int:
    """Returns 0, 1 when it cannot be done, 2 when the configuration is wrong, 3 without a store, 4 when a
    gateway uses it."""

    def work(config: Config, path: Path) -> None:
        before, after = upkeep.vacuum(path)
        out.write(f"ok: {path} has {after} bytes, before {before}\n")

    return _with_the_store(work, file, overrides, err)


async def _prune(
    path: Path, chosen: dict[str, tuple[type[Row], float, int | None]], age: float | None, now: float
) -> dict[str, int]:
    store = await SqliteStore.open(path)
    try:
        return {
            name: await store.prune(kind, now - (usual if age is None else age), most_bytes=most)
            for name, (kind, usual, most) in chosen.items()
        }
    finally:
        await store.close()


def _with_the_store(
    work: Callable[[Config, Path], None], file: str | None, overrides: Sequence[str], err: TextIO
) -> int:
    """Do *work* with the store that the configuration names, and turn what goes wrong into an exit code."""
    try:
        loaded = load(file, overrides=overrides)
    except ConfigErrors as errors:
        write_problems(errors.problems, err)
        return WRONG
    path = store_path(loaded.config, loaded.file)
    if path is None:
        err.write(
            "wattbridge: store.url is memory: nothing is remembered over a restart, so nothing is there\n"
        )
        return WRONG
    try:
        work(loaded.config, path)
    except InUse as problem:
        err.write(f"wattbridge: {problem}; stop the gateway first\n")
        return REFUSED
    except upkeep.WrongTarget as problem:
        err.write(f"wattbridge: FILE: {problem}\n")
        return WRONG
    except CannotOpen as problem:
        err.write(f"wattbridge: {problem}\n")
        return UNREACHABLE
    except NotKept as problem:
        err.write(f"wattbridge: {problem}\n")
        return FAILED
    return DONE
