"""What a process did to its files (``recorder.c``), and what a disk holds of it after a power cut.

A disk keeps what was synced. Of everything else it keeps any sectors and loses the others, in whatever order
they were written; a new name, a new length is kept or lost likewise.
"""

from __future__ import annotations

import os
import random
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.store.producers import Marked

ROOT = Path(__file__).parents[2]
SECTOR = 512  # bytes
MARKS = "marks"
HEAD = struct.Struct("<IIQQ")


@dataclass(frozen=True, slots=True)
class Record:
    kind: str  # as in recorder.c
    file: int
    at: int
    data: bytes


def compile_recorder(folder: Path) -> Path:
    library = folder / "recorder.so"
    source = Path(__file__).parent / "recorder.c"
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True, timeout=60
    )
    return library


def record(recorder: Path, folder: Path, changes: int, *, weak: bool) -> list[Record]:
    """What the producers do to a new database, from its very beginning."""
    files, log = folder / "files", folder / "log"
    files.mkdir()
    subprocess.run(
        [
            *(sys.executable, "-m", "tests.store.producers", str(files / "state.db"), str(files / MARKS)),
            *("0", str(changes), *(["weak"] if weak else [])),
        ],
        cwd=ROOT,
        env={
            **os.environ,
            "LD_PRELOAD": str(recorder),
            "RECORD_TO": str(log),
            "RECORD_UNDER": str(files.resolve()),
        },
        check=True,
        timeout=120,
    )
    return list(_read(log.read_bytes()))


def _read(log: bytes) -> Iterator[Record]:
    position = 0
    while position < len(log):
        kind, file, at, length = HEAD.unpack_from(log, position)
        position += HEAD.size
        yield Record(chr(kind), file, at, log[position : position + length])
        position += length


@dataclass(slots=True)
class _File:
    name: str
    disk: bytearray = field(default_factory=bytearray)  # what is there for certain
    named: bool = False  # whether its name is
    open_writes: list[Record] = field(default_factory=list)  # what may be there
    begun: dict[int, int] = field(default_factory=dict)  # sync → how many of these it covers


class Disk:
    """A disk that sees one record after another."""

    def __init__(self) -> None:
        self.files: dict[int, _File] = {}
        self.marked = Marked()
        self._names: list[tuple[_File, bool]] = []  # files that came or went, and the directory is not synced
        self._begun: dict[int, int] = {}  # sync of the directory → how many of these it covers

    def see(self, one: Record) -> None:
        if one.kind == "N":
            self.files[one.file] = _File(one.data.decode())
            return
        file = self.files[one.file]
        if file.name == MARKS:
            self.marked.read(one.data)
        elif file.name == ".":
            self._see_directory(one)
        elif one.kind in "CU":
            self._names.append((file, one.kind == "C"))
        elif one.kind in "WT":
            file.open_writes.append(one)
        elif one.kind == "B":
            file.begun[one.at] = len(file.open_writes)
        elif one.kind == "E":
            covered = file.begun.pop(one.at)
            for write in file.open_writes[:covered]:
                _apply(file.disk, write)
            del file.open_writes[:covered]
            file.begun = {sync: max(0, number - covered) for sync, number in file.begun.items()}
        else:
            raise AssertionError(f"{one.kind} of {file.name} is not thought of")

    def _see_directory(self, one: Record) -> None:
        if one.kind == "B":
            self._begun[one.at] = len(self._names)
        elif one.kind == "E":
            covered = self._begun.pop(one.at)
            for file, there in self._names[:covered]:
                file.named = there
            del self._names[:covered]
            self._begun = {sync: max(0, number - covered) for sync, number in self._begun.items()}

    def _is_there(self, file: _File, share: float, dice: random.Random) -> bool:
        there = file.named
        for other, now_there in self._names:
            if other is file and dice.random() < share:
                there = now_there
        return there

    def cut(self, folder: Path, dice: random.Random) -> None:
        """Write what is left when the power goes now into *folder*."""
        share = dice.choice((0.0, 0.5, 1.0, dice.random()))
        for file in self.files.values():
            if file.name in (MARKS, ".") or not self._is_there(file, share, dice):
                continue
            left = bytearray(file.disk)
            for write in file.open_writes:
                if write.kind == "T":
                    if dice.random() < share:
                        _apply(left, write)
                    continue
                for start, end in _sectors(write):
                    if dice.random() < share:
                        _put(left, start, write.data[start - write.at : end - write.at])
            (folder / file.name).write_bytes(left)


def _sectors(write: Record) -> Iterator[tuple[int, int]]:
    """Where the parts of a write begin and end that a disk keeps or loses whole."""
    start, end = write.at, write.at + len(write.data)
    while start < end:
        after = min(end, (start // SECTOR + 1) * SECTOR)
        yield start, after
        start = after


def _apply(content: bytearray, one: Record) -> None:
    if one.kind == "W":
        _put(content, one.at, one.data)
    elif one.at <= len(content):
        del content[one.at :]
    else:
        content.extend(bytes(one.at - len(content)))


def _put(content: bytearray, at: int, data: bytes) -> None:
    if at > len(content):
        content.extend(bytes(at - len(content)))
    content[at : at + len(data)] = data
