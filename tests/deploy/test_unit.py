"""The unit of systemd: systemd itself finds nothing wrong with it, and little that the service could do."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from wattbridge.config import read_text

UNIT = Path(__file__).parent.parent.parent / "deploy/systemd/wattbridge.service"
TEXT = UNIT.read_text(encoding="utf-8")
BINARY = "/opt/wattbridge/bin/wattbridge"

with_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None and not os.environ.get("CI"),
    reason="systemd-analyze is not here (Debian package systemd)",
)


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a program that is there: systemd looks."""
    file = tmp_path / UNIT.name
    file.write_text(TEXT.replace(BINARY, "/bin/true"), encoding="utf-8")
    return file


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60)


@with_systemd
def test_systemd_understands_every_line(unit: Path) -> None:
    """It exits with 0 in any case, and only says what it does not know."""
    verified = analyze("verify", str(unit))
    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")
    unit.write_text(unit.read_text().replace("ProtectHome=", "ProtectHomes="))
    assert "ProtectHomes" in analyze("verify", str(unit)).stderr


@with_systemd
def test_the_service_can_do_little(unit: Path) -> None:
    """At most 2.0 of 10, as systemd counts."""
    judged = analyze("security", "--offline=true", "--threshold=20", "--no-pager", str(unit))
    assert judged.returncode == 0, judged.stdout
    assert "Overall exposure level for wattbridge.service: 1." in judged.stdout


def test_what_the_gateway_relies_on() -> None:
    lines = TEXT.splitlines()
    for line in (
        "Type=notify",
        "WatchdogSec=30s",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "DynamicUser=yes",
        "StateDirectory=wattbridge",
        "LoadCredential=admin-token:/etc/wattbridge/admin-token",
        f"ExecStart={BINARY} run",
    ):
        assert line in lines
    # The token is where the comment says it is.
    assert "/run/credentials/wattbridge.service/admin-token" in TEXT


def test_the_unit_waits_as_long_as_the_example_may_take_to_stop() -> None:
    assert "TimeoutStopSec=60s" in TEXT
    example = UNIT.parent.parent / "gateway.yaml"
    secrets = dict.fromkeys(("CSMS_PASSWORD", "CP_0012345"), "correct horse battery staple")
    drain = read_text(example.read_text(encoding="utf-8"), env=secrets).config.gateway.drain
    assert drain + 20 <= 60
