"""What was measured, for people: the table on the terminal, and the same in docs/performance.md."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import durable, keeping, mirrors, pass_through
from bench.end_to_end import CPU_GROUP, GROUP
from bench.measure import VARIANTS

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
BEGINS, ENDS = "<!-- measured: begin -->", "<!-- measured: end -->"

TITLES = {
    GROUP: "Whole gateways, exchanges per second on one core",
    CPU_GROUP: "Whole gateways, µs of CPU per exchange",
    pass_through.GROUP: "Pass-through, µs of CPU per exchange (floor: plain relay, plain proxy)",
    pass_through.FROM_JSON_GROUP: "JSON charge points to a SOAP central system, µs of CPU per exchange",
    mirrors.GROUP: "Main path with a mirror (ours) and without (floor); ms, µs of CPU per message",
    keeping.GROUP: "With a store on disk (ours) and in memory (floor); ms, µs of CPU per message",
    "translation": "Translation of one message, µs of CPU",
    "memory": "Memory, KiB",
    "counting": "Journal and metrics of one exchange, µs of CPU (naive: the client library's series)",
    "start": "Starting, ms of CPU",
    durable.GROUP: "Store, durable appends a second (floor: no event loop; naive: a commit each)",
}
COLUMNS = ("ours", "floor", "naive", "× floor", "× naive", "spread")

Result = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Goal:
    """One number the project wants to reach, and where it stands in a result."""

    what: str
    limit: float
    at_least: bool
    unit: str
    find: Callable[[Result], float | None]

    def line(self, result: Result) -> tuple[str, str, str, str] | None:
        """What, goal, seen, and whether that is enough; None when it was not measured."""
        seen = self.find(result)
        if seen is None:
            return None
        met = seen >= self.limit if self.at_least else seen <= self.limit
        sign = "≥" if self.at_least else "≤"
        return (
            self.what,
            f"{sign} {self.limit:g}{self.unit}",
            f"{_number(seen)}{self.unit}",
            "yes" if met else "no",
        )


def _from_row(group: str, name: str, key: str) -> Callable[[Result], float | None]:
    def find(result: Result) -> float | None:
        for row in result["rows"]:
            if row["group"] == group and row["name"].startswith(name):
                value: float | None = row[key]
                return value
        return None

    return find


def _own_time(result: Result) -> float | None:
    value: float | None = result["own_time_us"].get("MeterValues(4)")
    return value


def _ratio(name: str, other: str, limit: float) -> Goal:
    # By CPU, which other work on the machine disturbs least.
    find = _from_row(CPU_GROUP, name, f"times_{other}")
    return Goal(f"{name}, × {other}, by CPU", limit, at_least=True, unit="", find=find)


def _passing(name: str) -> Goal:
    find = _from_row(pass_through.GROUP, name, "times_floor")
    return Goal(f"{name}, × relay, by CPU", 0.8, at_least=True, unit="", find=find)


def _mirrored(mirror: str) -> Goal:
    def find(result: Result) -> float | None:
        times = _from_row(mirrors.GROUP, f"p99, with {mirror}", "times_floor")(result)
        return 1 / times if times else None

    return Goal(f"p99 with {mirror}, × without", 1.2, at_least=False, unit="", find=find)


def _added_by_the_store(exchange: str, limit: float) -> Goal:
    def find(result: Result) -> float | None:
        both = [_from_row(keeping.GROUP, f"{exchange}, p50", key)(result) for key in ("ours", "floor")]
        ours, floor = both
        return None if ours is None or floor is None else round(ours - floor, 3)

    return Goal(f"{exchange}, p50 added by the store", limit, at_least=False, unit=" ms", find=find)


GOALS = (
    _ratio("MeterValues(4)", "naive", 8),
    _ratio("MeterValues(4)", "floor", 0.5),
    _ratio("RemoteStartTransaction", "naive", 30),
    *(
        _passing(f"{name} JSON → JSON, check {check}")
        for name in ("MeterValues(4)", "Heartbeat")
        for check in pass_through.CHECKS
    ),
    *(_mirrored(mirror) for mirror in ("a mirror", "a dead mirror", "a silent mirror")),
    Goal(
        "durable appends, 64 writers",
        20_000,
        at_least=True,
        unit="/s",
        find=_from_row(durable.GROUP, "durable appends, 64", "ours"),
    ),
    _added_by_the_store("StartTransaction", 1.5),
    _added_by_the_store("Heartbeat", 0.2),  # nothing, but for what is measured of other things
    Goal("MeterValues(4), own time", 25, at_least=False, unit=" µs", find=_own_time),
    Goal(
        "idle session of a SOAP charge point",
        25,
        at_least=False,
        unit=" KiB",
        find=_from_row("memory", "", "ours"),
    ),
)


def print_tables(result: Result) -> None:
    """Print everything."""
    rows = result["rows"]
    print(f"{_machine(result)}\n{_libraries(result)}")
    if sys.platform != "linux":
        print("no whole gateways: they are measured on Linux only")
    if sys.version_info >= (3, 12):
        print("no naive glue for SOAP charge points: spyne is not installed")
    width = max([len(row["name"]) for row in rows] + [len(title) for title in TITLES.values()])
    for group, title in TITLES.items():
        chosen = [row for row in rows if row["group"] == group]
        if chosen:
            print(f"\n{title:<{width}}" + "".join(f"{column:>10}" for column in COLUMNS))
        for row in chosen:
            print(f"{row['name']:<{width}}" + "".join(f"{cell:>10}" for cell in _cells(row)))
            if "details" in row:
                print(_details(row))
    if result["own_time_us"]:
        print(f"\n{'Own time, µs of CPU per exchange':<{width}}{'ours':>10}")
        for name, microseconds in result["own_time_us"].items():
            print(f"{name:<{width}}{microseconds:>10.1f}")
    for line in goals(result):
        print("goal: {}: {}, seen {}, met: {}".format(*line))
    others = result["machine"].get("others_on_gateway_core")
    if others is not None and others > 0.05:
        print(f"\nOther processes took {others:.0%} of the core of the gateway: trust the CPU rows, repeat.")


def goals(result: Result) -> list[tuple[str, str, str, str]]:
    """Every goal that was measured: what, goal, seen, met."""
    return [line for goal in GOALS if (line := goal.line(result)) is not None]


def update_page(result: Result) -> None:
    """Put the tables into docs/performance.md, between the two marks. Raises ValueError without them."""
    text = PAGE.read_text()
    before, begins, rest = text.partition(BEGINS)
    _, ends, after = rest.partition(ENDS)
    if not begins or not ends:
        raise ValueError(f"{PAGE}: found no {BEGINS} … {ENDS} to write the tables between")
    PAGE.write_text(before + BEGINS + "\n" + "\n".join(markdown(result)) + "\n" + ENDS + after)


def markdown(result: Result) -> Iterator[str]:
    """The lines of the tables as the page has them."""
    machine = result["machine"]
    yield f"{machine['date']}: {_machine(result)}; {_libraries(result)}."
    others = machine.get("others_on_gateway_core")
    if others:
        yield f"Other processes took {others:.0%} of the gateway's core meanwhile."
    yield ""
    yield "| Goal | wanted | seen | met |"
    yield "|---|---:|---:|---|"
    for line in goals(result):
        yield f"| {' | '.join(line)} |"
    for group, title in TITLES.items():
        chosen = [row for row in result["rows"] if row["group"] == group]
        if not chosen:
            continue
        latency = group == GROUP
        columns = (*COLUMNS, "p50 / p99 ms, ours", "floor", "naive") if latency else COLUMNS
        yield ""
        yield f"| {title} | " + " | ".join(columns) + " |"
        yield "|---|" + "---:|" * len(columns)
        for row in chosen:
            cells = _cells(row)
            if latency:
                cells += [_latency(row["details"].get(variant)) for variant in VARIANTS]
            yield f"| {row['name']} | " + " | ".join(cells) + " |"
    if result["own_time_us"]:
        yield ""
        yield "| Own time, µs of CPU per exchange | ours |"
        yield "|---|---:|"
        for name, microseconds in result["own_time_us"].items():
            yield f"| {name} | {microseconds:.0f} |"


def _machine(result: Result) -> str:
    machine = result["machine"]
    return f"{machine['python']}, {machine['cores']} cores, {machine['processor']}, {machine['system']}"


def _libraries(result: Result) -> str:
    libraries = result["machine"]["libraries"]
    return ", ".join(f"{name} {number}" for name, number in libraries.items() if number)


def _cells(row: dict[str, Any]) -> list[str]:
    values = [row[variant] for variant in VARIANTS] + [row["times_floor"], row["times_naive"]]
    spread = max(row["spread"].values())
    return [*("–" if value is None else _number(value) for value in values), f"{spread:.0%}"]


def _details(row: dict[str, Any]) -> str:
    said = (
        f"{variant} {_latency(seen)} ms with its core {seen['gateway_busy']:.0%} busy"
        for variant, seen in row["details"].items()
    )
    return f"  p50 / p99: {'; '.join(said)}"


def _latency(seen: dict[str, float] | None) -> str:
    return "–" if seen is None else f"{seen['p50_ms']:.1f} / {seen['p99_ms']:.1f}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
