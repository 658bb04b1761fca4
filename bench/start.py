"""What starting costs: reading the service descriptions, compiling a dialect, the command line."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.end_to_end import to_central_system
from bench.gateways import usual
from bench.measure import Figure, Row, cpu_times
from wattbridge.ocpp import wsdl
from wattbridge.ocpp.actions import Dialect, described_operations
from wattbridge.ocpp.payloads import Options


def rows(*, rounds: int) -> Iterator[Row]:
    """Milliseconds of CPU; the floor of a command is a Python that does nothing."""
    operations = described_operations()
    files = sorted(wsdl.descriptions_folder().glob("1.6/*.wsdl"))
    steps: dict[str, Callable[[], object]] = {
        "zeep reads the service descriptions": lambda: [wsdl.read_operations(file) for file in files],
        "shapes compiled to a dialect": lambda: Dialect("1.6", operations, Options()),
    }
    for name, step in steps.items():
        [figure] = cpu_times({"ours": step}, rounds, seconds=0.0).values()
        yield Row("start", name, "ms", {"ours": Figure(figure.median / 1000, figure.spread)})
    with tempfile.TemporaryDirectory(prefix="wattbridge-bench-") as folder:
        file = Path(folder, "gateway.yaml")
        file.write_text(json.dumps(usual(port=0, metrics_port=0) | to_central_system("ws://127.0.0.1:1")))
        commands = {
            "wattbridge --help": ["-m", "wattbridge", "--help"],
            "wattbridge run, until ready": ["-m", "wattbridge", "run", "-c", str(file), "--once-ready-exit"],
        }
        for name, arguments in commands.items():
            seen: dict[str, list[float]] = {"ours": [], "floor": []}
            for _ in range(rounds):
                seen["ours"].append(_command(arguments))
                seen["floor"].append(_command(["-c", "pass"]))
            yield Row("start", name, "ms", {variant: Figure.of(times) for variant, times in seen.items()})


def _command(arguments: Sequence[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "NO_COLOR": "1"}
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime) * 1000
