"""``python -m bench``: measures everything, prints the tables, writes the JSON and the page."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench import start, translation
from bench.end_to_end import CPU_GROUP, Effort, EndToEnd, WrongAnswer
from bench.measure import Row
from bench.processes import Cores, ProcessFailed, stopped_by_signals
from bench.report import print_tables, update_page

LATEST = Path(__file__).parent / "results" / "latest.json"
LIBRARIES = (
    "aiohttp", "jsonschema", "lxml", "orjson", "spyne", "uvloop", "wattbridge", "websockets", "zeep",
)  # fmt: skip
PARTS = ("translation", "start", "memory", "end-to-end")
if sys.platform != "linux":  # the CPU and memory of other processes are read as Linux tells them
    PARTS = PARTS[:2]


@dataclass(frozen=True, slots=True)
class Plan:
    """How long everything is measured."""

    rounds: int
    translation_seconds: float  # for each variant of each message in each round
    start_rounds: int
    effort: Effort
    idle_sessions: int


MAIN = ("MeterValues(4)", "Heartbeat", "StartTransaction", "RemoteStartTransaction", "GetConfiguration")
FULL = Plan(5, 0.04, 5, Effort(clients=32, rounds=9, seconds=0.8, scenarios=MAIN), 500)
QUICK = Plan(3, 0.01, 1, Effort(clients=32, rounds=3, seconds=0.3, scenarios=(MAIN[0], MAIN[3])), 200)
SMOKE = Plan(1, 0.0, 1, Effort(clients=2, rounds=1, seconds=0.05, scenarios=(MAIN[0], MAIN[3])), 20)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, or 1 when something could not be measured."""
    given = _arguments(arguments)
    plan = SMOKE if given.smoke else QUICK if given.quick else FULL
    cores = Cores.of_this_machine()
    machine = machine_facts(cores)
    rows: list[Row] = []
    try:
        with stopped_by_signals():
            for row in measure(plan, given.only or PARTS, cores, machine):
                rows.append(row)
                show_progress(f"{len(rows)} rows, {row.name}")
    except KeyboardInterrupt:
        show_progress("")
        sys.stderr.write("stopped\n")
        return 130
    except (ProcessFailed, WrongAnswer, translation.Mismatch) as problem:
        show_progress("")
        sys.stderr.write(f"bench: {problem}\n")
        return 1
    show_progress("")
    result = {"machine": machine, "own_time_us": own_times(rows), "rows": [row.as_json() for row in rows]}
    print_tables(result)
    whole = plan is FULL and not given.only
    output = given.output or (LATEST if whole else None)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
        print(f"\nwritten to {output}")
    if output == LATEST:
        update_page(result)
    return 0


def show_progress(text: str) -> None:
    """One line that the next one overwrites, for people who wait."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{text}")
        sys.stderr.flush()


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure Wattbridge.")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--quick", action="store_true", help="about 20 seconds instead of three minutes")
    length.add_argument(
        "--smoke", action="store_true", help="only see that everything runs; numbers mean nothing"
    )
    parser.add_argument(
        "--only", action="append", choices=PARTS, help="one part; may be given more than once"
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help=f"where the JSON goes; a whole run writes {LATEST.name} itself",
    )
    return parser.parse_args(arguments)


def measure(plan: Plan, parts: Sequence[str], cores: Cores, machine: dict[str, Any]) -> Iterator[Row]:
    """All rows of *parts*. What was seen of the machine meanwhile is added to its facts."""
    if "translation" in parts:
        yield from translation.rows(rounds=plan.rounds, seconds=plan.translation_seconds)
    if "start" in parts:
        yield from start.rows(rounds=plan.start_rounds)
    if "memory" in parts:
        with EndToEnd(cores) as gateways:  # fresh ones: a heap that was in use has room for what comes
            yield gateways.memory_row(plan.idle_sessions)
    if "end-to-end" in parts:
        with EndToEnd(cores) as gateways:
            yield from gateways.rows(plan.effort)
            machine["others_on_gateway_core"] = gateways.others_busy()


def own_times(rows: Sequence[Row]) -> dict[str, float]:
    """µs per exchange that are neither the transports' nor the translation's: sessions, journal, metrics.

    What the whole gateway takes, less the floor, less both steps of the translation by themselves.
    """
    alone: dict[str, float] = {}
    for row in rows:
        if row.group == "translation":
            name = row.name.partition(":")[0]
            alone[name] = alone.get(name, 0.0) + row.figures["ours"].median
    whole = {row.name.split()[0]: row.figures for row in rows if row.group == CPU_GROUP}
    return {
        name: round(figures["ours"].median - figures["floor"].median - alone[name], 1)
        for name, figures in whole.items()
        if name in alone
    }


def machine_facts(cores: Cores) -> dict[str, Any]:
    """What the digits depend on."""
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cores": os.cpu_count(),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "gateway_shares_its_core": cores.shared,
        "libraries": {name: _version(name) for name in LIBRARIES},
        "load_average_before": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main())
