"""Numbers from repeats: interleaved rounds, their median and their spread."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

VARIANTS = ("ours", "floor", "naive")


@dataclass(frozen=True, slots=True)
class Figure:
    """The median of one measured value over all rounds; ``spread`` is what the middle half of them covers,
    as a share of the median."""

    median: float
    spread: float

    @classmethod
    def of(cls, values: list[float]) -> Figure:
        median = statistics.median(values)
        low, _, high = (
            statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
        )
        return cls(median, (high - low) / median if median else 0.0)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: the same thing done by each variant, as far as there are.

    ``unit`` is that of the figures; ``more_is_better`` tells how to read them. ``details`` holds what else
    was seen, by variant.
    """

    group: str
    name: str
    unit: str
    figures: Mapping[str, Figure]
    more_is_better: bool = False
    details: Mapping[str, Mapping[str, float]] | None = None

    def times(self, variant: str) -> float | None:
        """How many times as good ours is as *variant*; above 1 is better."""
        ours, other = self.figures.get("ours"), self.figures.get(variant)
        if ours is None or other is None or not ours.median or not other.median:
            return None
        return ours.median / other.median if self.more_is_better else other.median / ours.median

    def as_json(self) -> dict[str, Any]:
        row: dict[str, Any] = {"group": self.group, "name": self.name, "unit": self.unit}
        row["more_is_better"] = self.more_is_better
        for variant in VARIANTS:
            figure = self.figures.get(variant)
            row[variant] = None if figure is None else _rounded(figure.median)
        for variant in VARIANTS[1:]:
            times = self.times(variant)
            row[f"times_{variant}"] = None if times is None else _rounded(times)
        row["spread"] = {variant: round(figure.spread, 3) for variant, figure in self.figures.items()}
        if self.details:
            row["details"] = {
                variant: {name: _rounded(value) for name, value in seen.items()}
                for variant, seen in self.details.items()
            }
        return row


def _rounded(number: float) -> float:
    """Four digits that mean something are more than these numbers have."""
    return float(f"{number:.4g}")


def cpu_times(actions: Mapping[str, Callable[[], object]], rounds: int, seconds: float) -> dict[str, Figure]:
    """Microseconds of CPU for one run of each action.

    Each runs for about *seconds* per round, and all of them in every round, so that noise hits them alike.
    Only this thread's own time counts, whatever else the machine does.
    """
    counts = {name: _count_for(action, seconds) for name, action in actions.items()}
    seen: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            gc.collect()
            seen[name].append(_time(action, counts[name]) / counts[name] * 1e6)
    return {name: Figure.of(values) for name, values in seen.items()}


def _count_for(action: Callable[[], object], seconds: float) -> int:
    count = 1
    while True:
        took = _time(action, count)
        if took >= seconds / 4 or count >= 1 << 20:
            return max(1, round(count * seconds / max(took, 1e-9)))
        count *= 4


def _time(action: Callable[[], object], count: int) -> float:
    began = time.thread_time_ns()
    for _ in range(count):
        action()
    return (time.thread_time_ns() - began) / 1e9
