from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from wattbridge.cli import app
from wattbridge.cli.dashboards import folders

ROOT = Path(__file__).parent.parent.parent


def test_what_there_is_is_listed() -> None:
    listed = CliRunner().invoke(app, ["dashboards", "list"])
    assert listed.exit_code == 0
    assert "dashboards/overview.json               Wattbridge / Overview\n" in listed.stdout
    assert "prometheus/wattbridge.rules.yaml       26 alerts\n" in listed.stdout
    told = json.loads(CliRunner().invoke(app, ["dashboards", "list", "--json"]).stdout)
    assert told[0] == {"file": "dashboards/charge-point.json", "what": "Wattbridge / Charge point"}


def test_files_are_rendered_as_they_are(tmp_path: Path) -> None:
    rendered = CliRunner().invoke(app, ["dashboards", "render", str(tmp_path / "here")])
    assert rendered.exit_code == 0
    for line in rendered.stdout.splitlines():
        written = Path(line)
        origin = folders()[written.parent.name] / written.name
        assert written.read_bytes() == origin.read_bytes()
    assert len(rendered.stdout.splitlines()) == 10


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused = CliRunner().invoke(app, ["dashboards", "render", str(tmp_path / "file")])
    assert refused.exit_code == 2
    assert refused.stderr == f"wattbridge: {tmp_path}/file/dashboards/charge-point.json: Not a directory\n"


def test_they_are_found_in_a_package_and_in_a_checkout(tmp_path: Path) -> None:
    assert folders()["dashboards"] == ROOT / "grafana/dashboards"
    (tmp_path / "wattbridge/watching").mkdir(parents=True)
    assert folders(tmp_path / "wattbridge/cli/dashboards.py") == {
        "dashboards": tmp_path / "wattbridge/watching/dashboards",
        "prometheus": tmp_path / "wattbridge/watching/prometheus",
    }
