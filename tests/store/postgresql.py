"""A PostgreSQL of a test's own, where its programs are installed."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

FOLDERS = "usr/lib/postgresql/*/bin"  # where Debian has them, each version apart
ROOT_RUNS_AS = "postgres"  # PostgreSQL refuses to run as root; the package makes this user


def programs() -> Path | None:
    """The folder with ``initdb`` and ``postgres``, of the newest version there is."""
    found = shutil.which("initdb")
    folders = sorted(Path("/").glob(FOLDERS), key=lambda folder: float(folder.parent.name))
    folders += [Path(found).resolve().parent] if found else []
    return next((one for one in reversed(folders) if (one / "postgres").exists()), None)


def missing() -> str:
    """What has to be there and is not; nothing when all of it is."""
    if programs() is None:
        return "PostgreSQL (initdb) is not installed; in Debian it is the package postgresql"
    if os.geteuid() == 0:
        try:
            pwd.getpwnam(ROOT_RUNS_AS)
        except KeyError:
            return f"PostgreSQL does not run as root, and there is no user {ROOT_RUNS_AS}"
    return ""


# Where it is known that all of it is there, nothing is skipped.
needs_postgresql = pytest.mark.skipif(
    bool(missing()) and os.environ.get("CI") != "true", reason=missing() or "it is there"
)


@contextmanager
def a_postgresql() -> Iterator[str]:
    """What to connect to, as long as the context is open."""
    where = programs()
    assert where is not None, missing()
    folder = Path(tempfile.mkdtemp(prefix="wattbridge-pg-"))
    as_whom: dict[str, Any] = {}
    if os.geteuid() == 0:
        user = pwd.getpwnam(ROOT_RUNS_AS)
        os.chown(folder, user.pw_uid, user.pw_gid)
        as_whom = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    data, log = folder / "data", folder / "log"
    options = ("-A", "trust", "-U", "wattbridge", "-E", "UTF8", "--locale=C", "--no-sync")
    try:
        subprocess.run(
            [where / "initdb", "-D", data, *options], check=True, capture_output=True, cwd=folder, **as_whom
        )
        with log.open("wb") as told:
            server = subprocess.Popen(
                [where / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses=", "-F"],
                stdout=told,
                stderr=told,
                cwd=folder,
                **as_whom,
            )
        try:
            _wait_for(folder / ".s.PGSQL.5432", server, log)
            yield f"host={folder} user=wattbridge dbname=postgres"
        finally:
            server.terminate()
            with suppress(subprocess.TimeoutExpired):
                server.wait(10)
            server.kill()
            server.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(socket: Path, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while not (socket.exists() and b"ready to accept" in log.read_bytes()):
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"PostgreSQL does not start: {log.read_text(errors='replace')}")
        time.sleep(0.02)
