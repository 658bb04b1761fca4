"""The tables, as numbered files of SQL that are run in their order, each once and whole.

``migrations/0001-….sql`` and on. A file that was published is never changed: what is to be different comes in
the next one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

# Where a database keeps which files were run on it.
VERSION_TABLE = """\
create table if not exists schema_version (
    version bigint not null,
    name text not null,
    applied double precision not null,
    primary key (version)
)"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its number, its name without ``.sql``, and its text."""

    version: int
    name: str
    text: str

    @property
    def statements(self) -> tuple[str, ...]:
        """Each ends with a line that ends with a semicolon; comments are lines of their own."""
        lines = [line for line in self.text.splitlines() if line.strip() and not line.startswith("--")]
        return tuple(part.strip() for part in "\n".join([*lines, ""]).split(";\n") if part.strip())


@cache
def migrations() -> tuple[Migration, ...]:
    """All of them in their order."""
    found = sorted(_read(), key=lambda migration: migration.version)
    for position, migration in enumerate(found, start=1):
        if migration.version != position:
            raise ValueError(f"migrations: found {migration.name} where number {position} was expected")
    return tuple(found)


def newest() -> int:
    return migrations()[-1].version


def after(version: int) -> tuple[Migration, ...]:
    """Those that a database of *version* has not seen."""
    return migrations()[version:]


def script(pending: Iterable[Migration], now: float) -> Iterator[str]:
    """The lines of what runs *pending* by hand: each of them whole, and noted as run."""
    for migration in pending:
        statements = (
            *("begin", VERSION_TABLE, *migration.statements),
            f"insert into schema_version (version, name, applied) values ({migration.version}, "
            f"'{migration.name}', {now})",
            "commit",
        )
        yield f"-- {migration.name}"
        yield from (f"{statement};" for statement in statements)


def _read() -> Iterator[Migration]:
    for file in (files(__package__) / "migrations").iterdir():
        if file.name.endswith(".sql"):
            number = int(file.name.partition("-")[0])
            yield Migration(number, file.name.removesuffix(".sql"), file.read_text(encoding="utf-8"))
