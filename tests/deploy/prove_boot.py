"""The unit in a systemd that has booted: ``make boot-test``.

It is no part of ``make test``, since it takes longer and needs root and systemd-nspawn. The machine has a
network of its own that leads nowhere. What happens in it is in ``booted.py``; here stands what must be seen.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
BASE = ROOT / "build/container/boot.tar"
CONFIGURATION = """\
gateway: {drain: 5s, reload: no}
listeners: {field: {bind: "127.0.0.1:8080"}}
upstreams: {central: {url: "ws://127.0.0.1:9/"}}
chargers: {CP1: }
metrics: {bind: "127.0.0.1:9181"}
admin: {bind: "127.0.0.1:9180", token: {file: /run/credentials/wattbridge.service/admin-token}}
"""
pytestmark = pytest.mark.timeout(1200)  # seconds: the first time, packages are fetched
# The same watchdog, with less to wait for.
SHORTER = "[Service]\nWatchdogSec=4s\nRestartSec=200ms\n"
OPERATOR = """\
[Unit]
After=multi-user.target
[Service]
ExecStart=/usr/bin/python3 /prove/booted.py /prove/seen.json
StandardOutput=journal+console
"""
LAUNCHER = "#!/opt/wattbridge/bin/python3\nfrom wattbridge.cli import main\nmain()\n"


def run(*command: str | Path, **settings: Any) -> None:
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, **settings)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def install(machine: Path, folder: Path) -> None:
    """The gateway as deploy/README.md has it: in an environment of its own, of what is locked."""
    site = machine / "opt/wattbridge/lib/python3.11/site-packages"
    pip = (sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--target", site)
    run("chroot", machine, "python3", "-m", "venv", "--without-pip", "/opt/wattbridge")
    run(*pip, "--only-binary=:all:", "--python-version=3.11", "--require-hashes",
        "-r", DEPLOY / "container/requirements.lock")  # fmt: skip
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT)
    [wheel] = folder.glob("*.whl")
    run(*pip, "--no-deps", "--no-index", wheel)
    launcher = machine / "opt/wattbridge/bin/wattbridge"
    launcher.write_text(LAUNCHER, encoding="utf-8")
    launcher.chmod(0o755)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the operator in the machine has seen."""
    folder = tmp_path_factory.mktemp("boot")
    machine, prove = folder / "machine", folder / "prove"
    machine.mkdir()
    prove.mkdir()
    if not BASE.exists():
        BASE.parent.mkdir(parents=True, exist_ok=True)
        run(DEPLOY / "container/base.sh", "boot", BASE)
    run("tar", "-xf", BASE, "-C", machine, "--exclude=./dev/*")
    install(machine, folder)
    shutil.copy(ROOT / "tests/deploy/booted.py", prove)

    etc = machine / "etc"
    (etc / "wattbridge").mkdir()
    (etc / "wattbridge/gateway.yaml").write_text(CONFIGURATION, encoding="utf-8")
    (etc / "wattbridge/admin-token").write_text("correct horse battery staple\n", encoding="utf-8")
    (etc / "wattbridge/admin-token").chmod(0o600)
    units = etc / "systemd/system"
    shutil.copy(DEPLOY / "systemd/wattbridge.service", units)
    (units / "wattbridge.service.d").mkdir()
    (units / "wattbridge.service.d/shorter.conf").write_text(SHORTER, encoding="utf-8")
    (units / "operator.service").write_text(OPERATOR, encoding="utf-8")
    (units / "multi-user.target.wants").mkdir(exist_ok=True)
    (units / "multi-user.target.wants/operator.service").symlink_to("../operator.service")
    booted = subprocess.run(
        ["systemd-nspawn", "--register=no", "--keep-unit", "--private-network", "--quiet",
         "-D", str(machine), f"--bind={prove}:/prove", "--boot"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    file = prove / "seen.json"
    assert file.exists(), booted.stdout + booted.stderr
    told = json.loads(file.read_text(encoding="utf-8"))
    assert isinstance(told, dict)
    assert "failed" not in told, json.dumps(told, indent=1)
    sys.stdout.write(json.dumps(told, indent=1))  # shown with -s
    return told


def test_it_starts_when_it_listens(seen: dict[str, Any]) -> None:
    assert seen["start"] == "0"
    assert seen["started"]["SubState"] == "running"
    assert seen["started"]["StatusText"] == "ready: 0 charge points, 0 messages to deliver"
    assert seen["readyz"] == "ok\n"
    assert seen["healthcheck"] == "0 ok"


def test_it_is_nobody_and_may_do_nothing(seen: dict[str, Any]) -> None:
    process = seen["process"]
    assert int(process.pop("Uid")) >= 61184, "the users that systemd makes up"
    assert process == {
        "CapEff": "0000000000000000",
        "CapBnd": "0000000000000000",
        "NoNewPrivs": "1",
        "Seccomp": "2",
    }
    assert float(seen["security"].split(": ")[1].split()[0]) <= 2.0
    assert seen["verify"] == "0"


def test_its_state_and_its_secret_are_handed_to_it(seen: dict[str, Any]) -> None:
    assert "wattbridge.db" in seen["state"]
    assert seen["token"] == "0 ok: 0 values would change"


def test_its_metrics_know_when_it_was_started(seen: dict[str, Any]) -> None:
    """It may look at /proc/stat."""
    assert 0 <= seen["age"] < 60


def test_a_reload_is_taken_over_or_refused(seen: dict[str, Any]) -> None:
    assert seen["reload"] == "0"
    assert seen["reloaded"]["StatusText"] == "ready: 0 charge points, 0 messages to deliver"
    assert seen["refused"]["ActiveState"] == "active"
    assert seen["refused"]["StatusText"].endswith(
        "; the last reload was refused: the configuration has 1 error"
    )


def test_it_is_started_anew_when_it_hangs(seen: dict[str, Any]) -> None:
    assert "Watchdog timeout" in "\n".join(seen["journal"])
    assert (seen["hung"]["ActiveState"], seen["hung"]["NRestarts"]) == ("active", "1")
    assert seen["hung"]["MainPID"] != seen["started"]["MainPID"]
    assert seen["readyz again"] == "ok\n"


def test_it_stops_in_good_order(seen: dict[str, Any]) -> None:
    assert seen["stop"] == "0"
    stopped = seen["stopped"]
    assert (stopped["ActiveState"], stopped["Result"], stopped["ExecMainStatus"]) == (
        "inactive",
        "success",
        "0",
    )
    assert "wattbridge.service: Deactivated successfully." in seen["journal"]


def test_it_may_be_let_listen_at_a_port_of_roots(seen: dict[str, Any]) -> None:
    assert seen["port 80"] == "0"
