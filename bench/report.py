"""What was measured, for people: the table on the terminal, and the same in docs/performance.md."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.end_to_end import CPU_GROUP, GROUP
from bench.measure import VARIANTS

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
BEGINS, ENDS = "<!-- measured: begin -->", "<!-- measured: end -->"

TITLES = {
    GROUP: "Whole gateways, exchanges per second on one core",
    CPU_GROUP: "Whole gateways, µs of CPU per exchange",
    "translation": "Translation of one message, µs of CPU",
    "memory": "Resident memory, KiB",
    "start": "Starting, ms of CPU",
}
COLUMNS = ("ours", "floor", "naive", "× floor", "× naive", "spread")

Result = dict[str, Any]


def print_tables(result: Result) -> None:
    """Print everything."""
    rows = result["rows"]
    print(f"{_machine(result)}\n{_libraries(result)}")
    if sys.platform != "linux":
        print("no whole gateways: they are measured on Linux only")
    if sys.version_info >= (3, 12):
        print("no naive glue for SOAP charge points: spyne does not run on this Python")
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
    others = result["machine"].get("others_on_gateway_core")
    if others is not None and others > 0.05:
        print(
            f"\nOther processes took {others:.0%} of the gateway's core meanwhile: trust the CPU rows, and repeat."
        )


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
