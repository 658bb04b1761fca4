"""After a power cut everything is there that was acknowledged. WATTBRIDGE_CUTS says how many are tried (100).

A real run is recorded, and cut at random places; see ``recordings.py``. The control does not wait for the
disk at each commit, and has to lose something: else the test could not see what it is for.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.store.recordings import Disk, Record, compile_recorder, record
from wattbridge.store.files import is_database
from wattbridge.store.sqlite import Damaged, writer

CUTS = int(os.environ.get("WATTBRIDGE_CUTS", "100"))
CHANGES = 20_000 if CUTS > 500 else 4_000

pytestmark = [
    pytest.mark.skipif(
        shutil.which("gcc") is None and os.environ.get("CI") != "true", reason="gcc is not installed"
    ),
    pytest.mark.timeout(120 + CUTS),
]


@dataclass(slots=True)
class Seen:
    """What became of the cuts."""

    damaged: int = 0
    with_losses: int = 0
    acknowledged: int = 0  # of the last one
    rows_lost: int = 0  # in the worst one


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_recorder(tmp_path_factory.mktemp("recorder"))


def cut_at_random(records: Sequence[Record], folder: Path, seed: int) -> Seen:
    dice = random.Random(seed)
    # A tenth of them while the database is made.
    cuts = sorted(dice.randrange(len(records) if number % 10 else 200) for number in range(CUTS))
    disk, seen, position = Disk(), Seen(), 0
    for number, cut in enumerate(cuts):
        for one in records[position:cut]:
            disk.see(one)
        position = cut
        left = folder / str(number)
        left.mkdir()
        disk.cut(left, dice)
        lost = after_power_cut(disk, left / "state.db")
        seen.damaged += lost is None
        seen.with_losses += bool(lost)
        seen.rows_lost = max(seen.rows_lost, len(lost or ()))
        seen.acknowledged = disk.marked.acknowledged
        shutil.rmtree(left)
    return seen


def after_power_cut(disk: Disk, path: Path) -> list[str] | None:
    """What was lost, in sentences; None when the database is damaged.

    One that is cut while it is made, before anything was acknowledged, may be anything.
    """
    path.touch()
    try:
        if not is_database(path):
            raise Damaged("it does not begin as a database")
        with closing(writer(path)) as connection:
            return disk.marked.lost(connection, 0)
    except Damaged:
        return None if disk.marked.acknowledged else []


def test_a_power_cut_loses_nothing_that_was_acknowledged(recorder: Path, tmp_path: Path) -> None:
    records = record(recorder, tmp_path, CHANGES, weak=False)
    syncs = sum(one.kind == "E" for one in records)
    assert syncs > 50
    seen = cut_at_random(records, tmp_path, seed=2026)
    print(f"{CUTS} cuts, {syncs} syncs, {seen}")  # noqa: T201
    assert (seen.damaged, seen.with_losses) == (0, 0)
    assert seen.acknowledged > CHANGES / 2


def test_a_store_that_does_not_wait_for_the_disk_would_be_found_out(recorder: Path, tmp_path: Path) -> None:
    records = record(recorder, tmp_path, CHANGES, weak=True)
    seen = cut_at_random(records, tmp_path, seed=2026)
    print(f"{CUTS} cuts, {seen}")  # noqa: T201
    assert seen.damaged == 0
    assert seen.with_losses > CUTS / 4
