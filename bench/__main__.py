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

from bench import counting, durable, end_to_end, keeping, mirrors, start, translation
from bench.end_to_end import CPU_GROUP
from bench.gateways import Effort, Gateways, WrongAnswer
from bench.measure import Row
from bench.mirrors import Pace
from bench.pass_through import Pairs
from bench.processes import Cores, ProcessFailed, stopped_by_signals
from bench.report import print_tables, update_page

LATEST = Path(__file__).parent / "results" / "latest.json"
LIBRARIES = (
    "aiohttp", "jsonschema", "lxml", "orjson", "spyne", "uvloop", "wattbridge", "websockets", "zeep",
)  # fmt: skip
PARTS = {
    "translation": "one message, without transports",
    "counting": "what the metrics of one exchange cost",
    "start": "what starting takes",
    "store": "durable appends, beside a commit for each",
    "memory": "an idle session, of a SOAP and of a JSON charge point",
    "end-to-end": "SOAP charge points with a JSON central system",
    "pass-through": "JSON to JSON and SOAP to SOAP, beside a plain relay and a plain proxy",
    "json-to-soap": "JSON charge points with a SOAP central system",
    "mirrors": "the main path with and without mirrors",
    "keeping": "what the store adds to a message",
}
if sys.platform != "linux":  # the CPU and memory of other processes are read as Linux tells them
    PARTS = {part: PARTS[part] for part in ("translation", "counting", "start", "store")}


@dataclass(frozen=True, slots=True)
class Plan:
    """How long everything is measured."""

    rounds: int
    translation_seconds: float  # for each variant of each message in each round
    start_rounds: int
    store_seconds: float  # for each variant with each number of writers in each round
    effort: Effort
    pairs: Effort  # pass-through, and JSON to SOAP
    idle_sessions: int
    pace: Pace


MAIN = ("MeterValues(4)", "Heartbeat", "StartTransaction", "RemoteStartTransaction", "GetConfiguration")
PAIRS = ("MeterValues(4)", "Heartbeat")
FULL = Plan(
    rounds=5,
    translation_seconds=0.04,
    start_rounds=5,
    store_seconds=1.0,
    effort=Effort(clients=32, rounds=9, seconds=0.8, scenarios=MAIN),
    pairs=Effort(clients=32, rounds=7, seconds=0.5, scenarios=PAIRS),
    idle_sessions=1500,  # what the garbage collector has not seen yet would weigh on fewer
    pace=Pace(clients=200, per_second=100, seconds=8, rounds=4),
)
QUICK = Plan(
    rounds=3,
    translation_seconds=0.01,
    start_rounds=1,
    store_seconds=0.5,
    effort=Effort(clients=32, rounds=3, seconds=0.3, scenarios=(MAIN[0], MAIN[3])),
    pairs=Effort(clients=32, rounds=3, seconds=0.2, scenarios=PAIRS),
    idle_sessions=1000,
    pace=Pace(clients=100, per_second=100, seconds=2, rounds=2),
)
SMOKE = Plan(
    rounds=1,
    translation_seconds=0.0,
    start_rounds=1,
    store_seconds=0.05,
    effort=Effort(clients=2, rounds=1, seconds=0.05, scenarios=(MAIN[0], MAIN[3])),
    pairs=Effort(clients=2, rounds=1, seconds=0.05, scenarios=PAIRS),
    idle_sessions=20,
    pace=Pace(clients=4, per_second=40, seconds=0.3, rounds=1),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, or 1 when something could not be measured."""
    given = _arguments(arguments)
    plan = SMOKE if given.smoke else QUICK if given.quick else FULL
    cores = Cores.of_this_machine()
    machine = machine_facts(cores)
    rows: list[Row] = []
    try:
        with stopped_by_signals():
            for row in measure(plan, given.only or tuple(PARTS), cores, machine):
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
    width = max(map(len, PARTS))
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure Wattbridge.",
        epilog="parts:\n" + "\n".join(f"  {part:<{width}}  {what}" for part, what in PARTS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--quick", action="store_true", help="about a minute instead of ten")
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
    if "counting" in parts:
        yield from counting.rows(rounds=plan.rounds, seconds=plan.translation_seconds)
    if "start" in parts:
        yield from start.rows(rounds=plan.start_rounds)
    if "store" in parts:
        yield from durable.rows(rounds=plan.rounds, seconds=plan.store_seconds)
    others: list[float | None] = []
    if "memory" in parts:
        # Fresh ones: a heap that was in use has room for what comes.
        with Gateways(cores) as gateways:
            yield end_to_end.memory_row(gateways, plan.idle_sessions)
            yield Pairs(gateways).memory_row(plan.idle_sessions)
    if "end-to-end" in parts:
        with Gateways(cores) as gateways:
            yield from end_to_end.rows(gateways, plan.effort)
            others.append(gateways.others_busy())
    if "pass-through" in parts:
        with Gateways(cores) as gateways:
            yield from Pairs(gateways).rows(plan.pairs)
            others.append(gateways.others_busy())
    if "json-to-soap" in parts:
        with Gateways(cores) as gateways:
            yield from Pairs(gateways).translated_rows(plan.pairs)
            others.append(gateways.others_busy())
    if "mirrors" in parts:
        with Gateways(cores) as gateways:
            yield from mirrors.rows(gateways, plan.pace)
            others.append(gateways.others_busy())
    if "keeping" in parts:
        with Gateways(cores) as gateways:
            yield from keeping.rows(gateways, plan.pace)
            others.append(gateways.others_busy())
    known = [share for share in others if share is not None]
    if known:
        machine["others_on_gateway_core"] = max(known)


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
