"""Who may use the file of a database, and what becomes of one that cannot be used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from wattbridge.store.base import CannotOpen
from wattbridge.store.files import Claim, InUse, beside, create, is_database, set_aside

NOON = 1_795_780_800.0  # 2026-11-27T12:00:00Z


def test_a_second_claim_is_told_who_has_it(tmp_path: Path) -> None:
    claim = Claim(tmp_path / "state.db")
    with pytest.raises(InUse, match=rf"state\.db is in use by another process \(pid {os.getpid()}\)"):
        Claim(tmp_path / "state.db")
    claim.release()
    Claim(tmp_path / "state.db").release()


def test_a_claim_holds_whatever_name_the_file_is_found_by(tmp_path: Path) -> None:
    create(tmp_path / "state.db")
    (tmp_path / "other.db").symlink_to("state.db")
    claim = Claim(tmp_path / "state.db")
    with pytest.raises(InUse, match=r"other\.db is in use by another process"):
        Claim(tmp_path / "other.db")
    claim.release()


def test_a_claim_ends_with_its_process_however_that_ends(tmp_path: Path) -> None:
    program = "import sys; from pathlib import Path; from wattbridge.store.files import Claim\n"
    program += "claim = Claim(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    path = tmp_path / "state.db"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(InUse, match=rf"\(pid {holder.pid}\)"):
            Claim(path)
        holder.kill()
        holder.wait()
    Claim(path).release()


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CannotOpen, match=r"the directory .*/nowhere does not exist; create it, writable by"):
        Claim(tmp_path / "nowhere" / "state.db")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(CannotOpen, match="closed is not writable by the gateway"):
        Claim(tmp_path / "closed" / "state.db")


def test_a_directory_of_that_name_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "state.db").mkdir()
    with pytest.raises(CannotOpen, match="is a directory; store"):
        is_database(tmp_path / "state.db")


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    create(tmp_path / "state.db")
    Claim(tmp_path / "state.db").release()
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
        "state.db": 0o600,
        "state.db.lock": 0o600,
    }


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files that others cannot use")
def test_what_root_makes_belongs_to_whom_the_directory_belongs(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12345)
    Claim(tmp_path / "state.db").release()
    create(tmp_path / "state.db")
    assert {path.stat().st_uid for path in tmp_path.iterdir()} == {12345}


def test_a_file_that_is_set_aside_overwrites_none(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    names = []
    for text in ("first", "second"):
        path.write_text(text)
        beside(path, "-wal").write_text(f"log of the {text}")
        names.append(set_aside(path, NOON).name)
    assert names == ["state.db.corrupt-20261127T120000Z", "state.db.corrupt-20261127T120000Z-2"]
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {
        "state.db.corrupt-20261127T120000Z": "first",
        "state.db.corrupt-20261127T120000Z-wal": "log of the first",
        "state.db.corrupt-20261127T120000Z-2": "second",
        "state.db.corrupt-20261127T120000Z-2-wal": "log of the second",
    }
