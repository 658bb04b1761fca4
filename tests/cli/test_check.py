"""``wattbridge check``: problems on standard output, a summary on standard error, an exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.test_main import run
from tests.config.test_reading import SMALL


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WATTBRIDGE_CONFIG", raising=False)
    return tmp_path


def test_a_sound_configuration_is_summed_up(folder: Path) -> None:
    (folder / "gateway.yaml").write_text(SMALL)
    assert run("check") == (0, "", "ok: 1 listener, 1 upstream, 1 route, 1 charge point\n")
    assert run("check", "--strict")[0] == 0


def test_every_problem_is_a_line(folder: Path) -> None:
    (folder / "north.yaml").write_text(SMALL + "gateway: {drain: soon}\ntime: {zone: Mars}\n")
    assert run("check", "-c", "north.yaml") == (
        2,
        "north.yaml:6:11: gateway.drain: 'soon' is no duration: write 500ms, 30s, 5m, 24h\n"
        "north.yaml:7:8: time.zone: 'Mars' is no time zone of the IANA database: "
        "write UTC or Europe/Berlin\n",
        "2 errors\n",
    )


def test_warnings_fail_only_under_strict(folder: Path) -> None:
    (folder / "gateway.yaml").write_text(SMALL.replace("chargers: {CP1: {}}", ""))
    code, out, err = run("check")
    assert code == 0
    assert out.startswith("gateway.yaml:1:1: warning: gateway.unknown: every charge point is refused")
    assert err == "ok: 1 listener, 1 upstream, 1 route, 0 charge points; 1 warning\n"
    assert run("check", "--strict") == (1, out, err)


def test_overrides_are_checked_too(folder: Path) -> None:
    (folder / "gateway.yaml").write_text(SMALL)
    assert run("check", "--set", "gateway.drain=5s", "--set", "gateway.drian=5s") == (
        2,
        "--set gateway.drian: unknown key (did you mean 'drain'?)\n",
        "1 error\n",
    )


def test_json_is_for_programs(folder: Path) -> None:
    (folder / "gateway.yaml").write_text(SMALL + "gatway: {}\n")
    code, out, err = run("check", "--json")
    assert (code, err) == (2, "")
    assert json.loads(out) == {
        "ok": False,
        "problems": [
            {
                "file": "gateway.yaml",
                "line": 6,
                "column": 1,
                "path": "gatway",
                "message": "unknown key (did you mean 'gateway'?)",
                "severity": "error",
            }
        ],
    }


def test_no_file_at_all_is_one_line(folder: Path) -> None:
    assert run("check", "-c", "missing.yaml") == (2, "missing.yaml: no such file\n", "1 error\n")


def test_a_file_with_a_thousand_errors_does_not_fill_the_screen(folder: Path) -> None:
    lines = "".join(f"x{number}: 1\n" for number in range(1000))
    (folder / "gateway.yaml").write_text(SMALL + lines)
    code, out, err = run("check")
    assert (code, err) == (2, "1000 errors\n")
    assert len(out.splitlines()) == 201
    assert out.endswith("… and 800 more\n")
