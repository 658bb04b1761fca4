"""Runs inside the machine that ``prove_boot.py`` boots, as its only job, and writes down what it saw.

It stands for the operator: it starts, reloads, hangs and stops the service, and looks each time. It has
nothing but Python.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import traceback
import urllib.request
from collections.abc import Callable
from pathlib import Path

UNIT = "wattbridge.service"
CONFIGURATION = Path("/etc/wattbridge/gateway.yaml")
ROOTS_PORT = Path("/etc/systemd/system/wattbridge.service.d/port.conf")
LET_IT = """\
[Service]
AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
PrivateUsers=no
"""
SHOWN = ("ActiveState", "SubState", "StatusText", "NRestarts", "Result", "MainPID", "ExecMainStatus")
PATIENCE = 60.0  # seconds


def run(*command: str) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    return f"{ended.returncode} {ended.stdout}{ended.stderr}".strip()


def service() -> dict[str, str]:
    told = run("systemctl", "show", UNIT, "-p", ",".join(SHOWN)).partition(" ")[2]
    return dict(line.split("=", 1) for line in told.splitlines())


def until(wanted: Callable[[dict[str, str]], bool]) -> dict[str, str]:
    """The state of the service once it is as it is *wanted*, or what it is when that takes too long."""
    ends = time.monotonic() + PATIENCE
    while not wanted(state := service()) and time.monotonic() < ends:
        time.sleep(0.1)
    return state


def process(number: str) -> dict[str, str]:
    """What the kernel says the service is and may do."""
    status = Path(f"/proc/{number}/status").read_text(encoding="utf-8")
    told = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    names = ("Uid", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp")
    return {name: told[name].split("\t")[0].strip() for name in names}


def page(name: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:9181/{name}", timeout=5.0) as response:
        return str(response.read().decode())


def journal() -> list[str]:
    lines = run("journalctl", "-u", UNIT, "-o", "cat", "--no-pager").splitlines()
    return [line for line in lines if line.strip()]


def look() -> dict[str, object]:
    seen: dict[str, object] = {}
    seen["system"] = run("systemctl", "--version").splitlines()[0]
    seen["start"] = run("systemctl", "start", UNIT)
    started = seen["started"] = service()
    seen["process"] = process(started["MainPID"])
    seen["readyz"] = page("readyz")
    start = re.search(r"^process_start_time_seconds (\S+)$", page("metrics"), re.MULTILINE)
    seen["age"] = time.time() - float(start[1]) if start else None
    seen["state"] = sorted(file.name for file in Path("/var/lib/private/wattbridge").iterdir())
    seen["healthcheck"] = run("/opt/wattbridge/bin/wattbridge", "healthcheck", "--ready")
    seen["token"] = run(
        "/opt/wattbridge/bin/wattbridge", "reload", "--check", "--token-file", "/etc/wattbridge/admin-token"
    )

    text = CONFIGURATION.read_text(encoding="utf-8")
    CONFIGURATION.write_text(text.replace("drain: 5s", "drain: 6s"), encoding="utf-8")
    seen["reload"] = run("systemctl", "reload", UNIT)
    seen["reloaded"] = until(lambda state: state["ActiveState"] == "active" and took_over())
    CONFIGURATION.write_text(text.replace("drain: 5s", "drain: soon"), encoding="utf-8")
    run("systemctl", "reload", UNIT)
    seen["refused"] = until(lambda state: "refused" in state["StatusText"])
    CONFIGURATION.write_text(text, encoding="utf-8")
    run("systemctl", "reload", UNIT)
    until(lambda state: state["StatusText"].endswith("to deliver"))

    hung = int(service()["MainPID"])
    os.kill(hung, signal.SIGSTOP)
    seen["hung"] = until(lambda state: state["NRestarts"] == "1" and state["ActiveState"] == "active")
    seen["readyz again"] = page("readyz")

    seen["stop"] = run("systemctl", "stop", UNIT)
    seen["stopped"] = service()

    # As deploy/README.md has it for a port that only root may listen at.
    ROOTS_PORT.write_text(LET_IT, encoding="utf-8")
    CONFIGURATION.write_text(text.replace(":8080", ":80"), encoding="utf-8")
    run("systemctl", "daemon-reload")
    seen["port 80"] = run("systemctl", "start", UNIT)
    ROOTS_PORT.unlink()
    run("systemctl", "stop", UNIT)
    run("systemctl", "daemon-reload")
    seen["security"] = run("systemd-analyze", "security", "--no-pager", UNIT).splitlines()[-1]
    seen["verify"] = run("systemd-analyze", "verify", UNIT)
    return seen


def took_over() -> bool:
    return any("configuration reloaded" in line for line in journal())


if __name__ == "__main__":
    seen: dict[str, object] = {}
    try:
        seen = look()
    except BaseException:
        seen = {"failed": traceback.format_exc(), "service": service()}
    finally:
        seen["journal"] = journal()
        Path(sys.argv[1]).write_text(json.dumps(seen, indent=1), encoding="utf-8")
        run("systemctl", "poweroff", "--force")
