"""The file of a database on its disk: who may use it, and what becomes of one that cannot be used."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from wattbridge.store.base import CannotOpen

HEADER = b"SQLite format 3\0"


class InUse(CannotOpen):
    """Another process has the database open."""


def beside(path: Path, ending: str) -> Path:
    """``state.db`` and ``-wal`` → ``state.db-wal``."""
    return path.with_name(path.name + ending)


class Claim:
    """One process at a time uses a database to write. Raises CannotOpen when that cannot be us.

    Two processes that write to one file could be of different versions, and SQLite before 3.51.3 can damage
    a database in WAL mode that two connections write to or checkpoint. The claim is a lock on
    ``state.db.lock``, which ends with the process however it ends. It is not on the database itself: closing
    any descriptor of that gives up all locks that SQLite has on it (POSIX, fcntl).
    """

    def __init__(self, path: Path) -> None:
        file = beside(path.resolve(), ".lock")  # whatever name it is found by
        try:
            self._descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            _give(self._descriptor, path)
        except OSError as problem:
            raise CannotOpen(_cannot_be_there(path, problem)) from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            raise InUse(f"{path} is in use by another process (pid {holder or 'unknown'})") from None
        except OSError as problem:
            os.close(self._descriptor)
            raise CannotOpen(
                f"{file} cannot be locked: {problem.strerror}; the store has to be on a local disk"
            ) from None
        # The disk may be full; then nobody can be told who holds it.
        with suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, b"%d\n" % os.getpid(), 0)

    def release(self) -> None:
        """Let others have it. The file stays: who has opened it already would lock one that is gone."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


@contextmanager
def claimed(path: Path) -> Iterator[None]:
    claim = Claim(path)
    try:
        yield
    finally:
        claim.release()


def create(path: Path, *, for_gateway: bool = True) -> None:
    """See that there is a file that only its owner may read. Raises CannotOpen."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return
    except OSError as problem:
        raise CannotOpen(_cannot_be_there(path, problem)) from None
    if for_gateway:
        _give(descriptor, path)
    os.close(descriptor)
    sync_folder(path.parent)


def _give(descriptor: int, path: Path) -> None:
    """Give a file that root made to whom the database belongs, or its directory.

    A command that is run as root must not leave behind what keeps the gateway out.
    """
    if os.geteuid() == 0:
        with suppress(OSError):
            owner = (path if size(path) else path.parent).stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)


def is_database(path: Path) -> bool:
    """Whether a file that is there begins as a database does; an empty one is a database of nothing.

    Only for files that SQLite has not open in this process (see ``Claim``). Raises CannotOpen.
    """
    try:
        with path.open("rb") as file:
            return file.read(len(HEADER)) in (HEADER, b"")
    except OSError as problem:
        raise CannotOpen(_cannot_be_there(path, problem)) from None


def set_aside(path: Path, now: float) -> Path:
    """Give a database that cannot be used another name, with what belongs to it, and return that.

    ``state.db`` → ``state.db.corrupt-20261127T034406Z``. Nothing is overwritten. Raises CannotOpen.
    """
    moment = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    aside = beside(path, f".corrupt-{moment}")
    number = 1
    while any(os.path.lexists(beside(aside, ending)) for ending in ("", "-wal", "-shm")):
        number += 1
        aside = beside(path, f".corrupt-{moment}-{number}")
    try:
        # The database last: if this stops half way, the next start finds it and sets it aside.
        for ending in ("-wal", "-shm", ""):
            with suppress(FileNotFoundError):
                beside(path, ending).rename(beside(aside, ending))
    except OSError as problem:
        raise CannotOpen(f"{path} is damaged and cannot be renamed: {problem.strerror}") from None
    sync_folder(path.parent)
    return aside


def sync_folder(folder: Path) -> None:
    """Make the names in *folder* survive a power cut, where the file system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def size(path: Path) -> int:
    """Bytes; 0 when there is no such file."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _cannot_be_there(path: Path, problem: OSError) -> str:
    folder = path.parent
    if isinstance(problem, FileNotFoundError) or not folder.is_dir():
        return f"{path}: the directory {folder} does not exist; create it, writable by the gateway"
    if isinstance(problem, IsADirectoryError) or path.is_dir():
        return f"{path} is a directory; store.url names a file"
    if isinstance(problem, PermissionError) and path.exists() and os.access(folder, os.W_OK):
        return f"{path} may not be read and written by the gateway (permission denied)"
    if isinstance(problem, PermissionError):
        return f"{path}: the directory {folder} is not writable by the gateway (permission denied)"
    return f"{path} cannot be opened: {problem.strerror}"
