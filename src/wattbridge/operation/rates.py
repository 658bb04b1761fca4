"""How many calls there were lately, and how many failed: the numbers of the first page of the console.

It listens to the journal and keeps a few hundred numbers. What has to be exact and lasts is a metric.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable

from wattbridge.ocpp.messages import Side
from wattbridge.relay.journal import Journal, Record

STEP = 10.0  # seconds of one number of the spark line
STEPS = 60
LATELY = 6  # steps that a rate is the mean of
FAILURES_FOR = 60  # minutes


class Rates:
    """Counts calls by who asked, and failures by reason."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        # Step and calls from charge points and from central systems; the latest last.
        self._steps: deque[tuple[int, Counter[Side]]] = deque(maxlen=STEPS + 1)
        self._minutes: deque[tuple[int, Counter[str]]] = deque(maxlen=FAILURES_FOR + 1)

    def listen_to(self, journal: Journal) -> None:
        journal.listen(record=self.note)

    def note(self, record: Record) -> None:
        if record.asked_by:  # an operator's
            return
        now = self._clock()
        step = int(now // STEP)
        if not self._steps or self._steps[-1][0] != step:
            self._steps.append((step, Counter()))
        self._steps[-1][1][record.arrived_from] += 1
        if record.reason:
            minute = int(now // 60)
            if not self._minutes or self._minutes[-1][0] != minute:
                self._minutes.append((minute, Counter()))
            self._minutes[-1][1][record.reason] += 1

    def per_second(self, asking: Side) -> float:
        """Calls of one party in a second: the mean of the last minute, or of what there was of it."""
        now = self._clock()
        first = int(now // STEP) - LATELY + 1
        calls = sum(counted[asking] for step, counted in self._steps if step >= first)
        seconds = min(now - first * STEP, now - self._began)
        return round(calls / max(seconds, 1.0), 3)

    def spark(self) -> list[int]:
        """Calls of both in each of the last 60 steps of 10 s; the one that is under way comes last."""
        last = int(self._clock() // STEP)
        counted = {step: counter.total() for step, counter in self._steps}
        return [counted.get(step, 0) for step in range(last - STEPS + 1, last + 1)]

    def failures(self) -> dict[str, int]:
        """Calls that failed in the last hour, by reason, the most frequent first."""
        first = int(self._clock() // 60) - FAILURES_FOR + 1
        total: Counter[str] = Counter()
        for minute, counted in self._minutes:
            if minute >= first:
                total += counted
        return dict(total.most_common())
