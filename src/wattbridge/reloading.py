"""Reads the configuration again when it has changed, or when somebody asks, and has the gateway take it over.

A new configuration is read whole and built whole before anything of the old one is let go; one that is wrong
changes nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from watchfiles import awatch

from wattbridge.config import Config, ConfigErrors, Loaded, Problem, read_text
from wattbridge.config.changes import Changed, changes
from wattbridge.config.files import reason_of
from wattbridge.counting import counted
from wattbridge.relay.journal import Event, Journal

MOST_TOLD = 50  # changes, or problems, of one reload in the log
LOOK_EVERY = 5000  # milliseconds
SETTLED = 200  # milliseconds without a further change; editors and package managers write in several steps


class CannotReload(Exception):
    """The old configuration stays. ``problems`` are those of the file, when it is the file that is wrong."""

    def __init__(self, text: str, problems: Iterable[Problem] = ()) -> None:
        super().__init__(text)
        self.problems = tuple(problems)


class Stale(Exception):
    """What was to take the place of one configuration would take that of another."""


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What a reload changed, what its author should know, and how many sessions went another way."""

    changed: tuple[Changed, ...]
    warnings: tuple[Problem, ...]
    moved: int = 0


class TakesConfig(Protocol):
    """The gateway, as far as it is the reloader's business."""

    @property
    def config(self) -> Config: ...

    @property
    def journal(self) -> Journal: ...

    async def take_over(self, config: Config) -> None:
        """Raises ``CannotReload``; everything is as it was then."""
        ...

    def move_all(self) -> int: ...


class Reloader:
    """``load`` reads the configuration; *loaded* is what the gateway was started with. ``read`` reads a text
    as if it stood in the file.

    ``on_begin`` and ``on_end`` are called around every reload, the latter with why it failed, or nothing.
    """

    def __init__(
        self,
        gateway: TakesConfig,
        load: Callable[[], Loaded],
        loaded: Loaded,
        read: Callable[[str], Loaded] | None = None,
    ) -> None:
        self._gateway = gateway
        self._load = load
        self._loaded = loaded
        self._read_text = read or (lambda text: read_text(text, loaded.file, folder=Path(loaded.file).parent))
        self._seen = _fingerprints(_files(loaded))
        self._one_at_a_time = asyncio.Lock()
        self.on_begin: Callable[[], None] = lambda: None
        self.on_end: Callable[[CannotReload | None], None] = lambda _: None

    async def reload(self, why: str, *, move: bool = False) -> Reloaded:
        """Read and take over the configuration. With *move*, sessions go where their routes now lead.

        Raises CannotReload.
        """
        async with self._one_at_a_time:
            return await self._told(why, move=move)

    async def replace(self, text: str, etag: str, why: str, *, move: bool = False) -> Reloaded:
        """Write *text* into the file in the place of what has this *etag*, and go on with it.

        Raises Stale when something else stands there, CannotReload when the text is wrong or cannot be
        written or taken over: the file is as it was then.
        """
        async with self._one_at_a_time:
            before = await self._current(etag)
            await self._read(lambda: self._read_text(text))
            path = await asyncio.to_thread(_write, Path(self._loaded.file), text.encode())
            try:
                return await self._told(why, move=move)
            except CannotReload:
                await asyncio.to_thread(_write, path, before)
                self._seen = await asyncio.to_thread(_fingerprints, _files(self._loaded))
                raise

    async def check_text(self, text: str, etag: str) -> Reloaded:
        """What *text* would change in the place of what has this *etag*. Raises Stale and CannotReload."""
        await self._current(etag)
        loaded, changed = await self._read(lambda: self._read_text(text))
        return Reloaded(changed, loaded.warnings)

    async def file(self) -> tuple[str, bytes]:
        """The name of the file, and what stands there now. Raises CannotReload."""
        try:
            return self._loaded.file, await asyncio.to_thread(Path(self._loaded.file).read_bytes)
        except OSError as problem:
            raise CannotReload(f"{self._loaded.file}: {reason_of(problem)}") from None

    async def _current(self, etag: str) -> bytes:
        _, content = await self.file()
        if etag != etag_of(content):
            raise Stale("the configuration is another one by now: read it again")
        return content

    async def _told(self, why: str, *, move: bool) -> Reloaded:
        """Reload, and tell those who want to know of it."""
        failed: CannotReload | None = None
        self.on_begin()
        try:
            return await self._reload(why, move=move)
        except CannotReload as problem:
            failed = problem
            raise
        finally:
            self.on_end(failed)

    async def _reload(self, why: str, *, move: bool) -> Reloaded:
        journal = self._gateway.journal
        # Looked at before it is read: what changes from now on is another change.
        self._seen = await asyncio.to_thread(_fingerprints, _files(self._loaded))
        try:
            loaded, changed = await self._read()
            await self._gateway.take_over(loaded.config)
        except CannotReload as problem:
            for wrong in problem.problems[:MOST_TOLD]:
                journal.event(Event("configuration refused", text=str(wrong)))
            text = f"{why}: {problem}; the old configuration stays"
            journal.event(Event("reload failed", text=text))
            raise
        self._loaded, seen = loaded, self._seen
        new = await asyncio.to_thread(_fingerprints, _files(loaded) - seen.keys())
        self._seen = {path: (seen | new)[path] for path in _files(loaded)}
        for each in changed[:MOST_TOLD]:
            journal.event(Event("configuration changed", text=str(each)))
        moved = self._gateway.move_all() if move else 0
        text = f"{why}: {counted(len(changed), 'value')} changed"
        if move:
            text += f", {counted(moved, 'session')} moved"
        journal.event(Event("configuration reloaded", text=text))
        return Reloaded(changed, loaded.warnings, moved)

    async def check(self) -> Reloaded:
        """Read the configuration and say what it would change. Raises CannotReload."""
        loaded, changed = await self._read()
        return Reloaded(changed, loaded.warnings)

    async def watch(self) -> None:
        """Reload when the file, or a file it refers to, has changed. Goes on until it is cancelled."""
        await self._look()
        while True:
            # Folders, not files: a file that is replaced is another file, and so is where a link leads.
            folders = {path.parent for path in _files(self._loaded)}
            present = [folder for folder in folders if folder.is_dir()]
            # Now and then it looks without being told: what changed before the watch was there, or on a file
            # system that tells nothing, is a change too.
            async for _ in awatch(
                *present,
                recursive=False,
                debounce=1600,
                step=SETTLED,
                rust_timeout=LOOK_EVERY,
                yield_on_timeout=True,
                watch_filter=None,
            ):
                await self._look()
                if folders != {path.parent for path in _files(self._loaded)}:
                    break

    async def _look(self) -> None:
        seen = await asyncio.to_thread(_fingerprints, _files(self._loaded))
        if seen != self._seen:
            with suppress(CannotReload):  # it is told, and the next change may mend it
                await self.reload("a file has changed")

    async def _read(self, read: Callable[[], Loaded] | None = None) -> tuple[Loaded, tuple[Changed, ...]]:
        try:
            # Elsewhere: a large fleet takes a second, and messages must not wait for it.
            loaded = await asyncio.to_thread(read or self._load)
        except ConfigErrors as errors:
            count = sum(problem.severity == "error" for problem in errors.problems)
            found = counted(count, "error")
            raise CannotReload(f"the configuration has {found}", errors.problems) from None
        return loaded, tuple(changes(self._gateway.config, loaded.config))


def etag_of(content: bytes) -> str:
    """What tells one text of the configuration from another, as HTTP writes it."""
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def _write(path: Path, content: bytes) -> Path:
    """Put *content* in the place of what stands at *path*, whole or not at all; returns where that really is.

    Raises CannotReload.
    """
    path = path.resolve()  # a link stays one
    new = path.with_name(f".{path.name}.new")
    try:
        mode = path.stat().st_mode
        with new.open("wb") as file:
            new.chmod(mode & 0o7777)  # before there is anything in it
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as problem:
        with suppress(OSError):
            new.unlink()
        raise CannotReload(f"{path} cannot be written: {reason_of(problem)}") from None
    return path


def _files(loaded: Loaded) -> set[Path]:
    return {path.absolute() for path in (Path(loaded.file), *loaded.files)}


def _fingerprints(files: Iterable[Path]) -> dict[Path, bytes]:
    """What stands in each file; nothing for one that cannot be read."""
    return {path: _fingerprint(path) for path in files}


def _fingerprint(path: Path) -> bytes:
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError:
        return b""
