"""A process that is killed loses nothing that it had acknowledged. WATTBRIDGE_KILLS says how often (3)."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.store.producers import Marked

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("WATTBRIDGE_KILLS", "3"))


@pytest.mark.timeout(60 + 5 * KILLS)
def test_a_killed_process_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    dice = random.Random(2026)
    acknowledged = 0
    for round_ in range(KILLS):
        marks = tmp_path / f"marks-{round_}"
        with subprocess.Popen(
            [sys.executable, "-m", "tests.store.producers", str(path), str(marks), str(round_), "100000000"],
            cwd=ROOT,
        ) as producers:
            deadline = time.monotonic() + 20
            while not (marks.exists() and marks.stat().st_size) and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(dice.uniform(0.05, 0.6))
            producers.kill()
        marked = Marked()
        marked.read(marks.read_bytes())
        marks.unlink()
        assert marked.acknowledged > 0
        acknowledged += marked.acknowledged
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
            assert marked.lost(connection, round_) == []
            connection.execute("delete from outbox")
            connection.commit()
    print(f"{KILLS} kills, {acknowledged} acknowledged, 0 lost")  # noqa: T201
