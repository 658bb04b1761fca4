"""``wattbridge run``: a wrong configuration starts nothing, a right one starts the gateway."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_main import run
from tests.config.test_reading import SMALL


def test_a_wrong_configuration_is_told_whole_on_standard_error(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(SMALL + "gatway: {}\n")
    assert run("run", "-c", str(file), "--set", "gateway.drain=soon") == (
        2,
        "",
        f"{file}:6:1: gatway: unknown key (did you mean 'gateway'?)\n"
        "--set gateway.drain: 'soon' is no duration: write 500ms, 30s, 5m, 24h\n",
    )


def test_a_trial_start_ends_by_itself(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(SMALL)
    command = [sys.executable, "-m", "wattbridge", "run", "--once-ready-exit",
               "--set", "metrics.bind=127.0.0.1:0", "--set", "listeners.soap.bind=127.0.0.1:0"]  # fmt: skip
    ended = subprocess.run(
        command,
        env={**os.environ, "WATTBRIDGE_CONFIG": str(file), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ended.returncode, ended.stdout) == (0, "")
    assert "ready" in ended.stderr
    assert "\x1b" not in ended.stderr


@pytest.mark.parametrize("without", ["2>/dev/full", "2>&-", "<&- >&- 2>&-"])
def test_it_runs_without_a_standard_error_to_write_to(tmp_path: Path, without: str) -> None:
    """And without other streams: no socket may get the number of one that is closed."""
    file = tmp_path / "gateway.yaml"
    file.write_text(SMALL)
    ended = subprocess.run(
        ["sh", "-c", f'exec "$0" -m wattbridge run -c "$1" --once-ready-exit {without}'
         ' --set metrics.bind=127.0.0.1:0 --set listeners.soap.bind=127.0.0.1:0',
         sys.executable, str(file)],
        check=False,
        timeout=60,
    )  # fmt: skip
    assert ended.returncode == 0
