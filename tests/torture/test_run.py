"""A minute of the crash test with each central system, on a small fleet. ``make torture`` is the long one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATIENCE = 240.0  # seconds; it takes about sixty on a machine with nothing else to do


def torture(*arguments: str) -> tuple[int, str]:
    """Run it; its status, and what it has said."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.torture", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            said, _ = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.terminate()  # and not killed: it takes its gateway and its file system with it
            said, _ = process.communicate(timeout=30.0)
    return process.returncode, said


@pytest.mark.skipif(sys.platform != "linux", reason="a gateway without a parent is ended on Linux only")
@pytest.mark.parametrize(("central_system", "seconds"), [("json", "30"), ("soap", "20")])
def test_nothing_that_was_acknowledged_is_lost_or_doubled_by_crashes(
    central_system: str, seconds: str, tmp_path: Path
) -> None:
    status, said = torture(
        *("--seed", "7", "--charge-points", "6", "--seconds", seconds, "--rest-every", "8"),
        *("--central-system", central_system, "--folder", str(tmp_path)),
    )
    assert status == 0, said
