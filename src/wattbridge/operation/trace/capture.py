"""Captures: exchanges that a filter wants, from a beginning to an end, kept whatever the history forgets.

A capture ends by itself: at its time, or when it has as many exchanges or as many bytes as it may. It
outlives a restart of the gateway.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass, replace

from wattbridge.operation.history import History
from wattbridge.operation.trace.filter import Filter, FilterError, parse
from wattbridge.store.base import Capture, Captured, Exchange, Forget, Store

MOST_CAPTURES = 30  # that are kept, ended ones too
MOST_RUNNING = 10
MOST_BYTES_IN_ALL = 512 << 20
MOST_BYTES_IN_MEMORY = 64 << 20  # likewise, where the store is no more than that
LONGEST = 7 * 86400.0  # seconds
USUAL_TIME = 600.0  # seconds
USUAL_RECORDS, MOST_RECORDS = 10_000, 100_000
USUAL_BYTES, MOST_BYTES = 16 << 20, 128 << 20
PAGE = 100  # rows that are read at a time


class CannotCapture(Exception):
    """A capture cannot be begun: a sentence that says why."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody wants to capture: exchanges that *wanted* fits, for *seconds*."""

    wanted: Filter
    name: str = ""
    seconds: float = USUAL_TIME
    records: int = USUAL_RECORDS
    bytes: int = USUAL_BYTES


class Captures:
    """All captures there are. Nothing can be asked for before ``begin``."""

    def __init__(
        self,
        store: Store,
        history: History,
        new_id: Callable[[], str],
        wall_clock: Callable[[], float] = time.time,
        most_bytes: int = MOST_BYTES_IN_ALL,
    ) -> None:
        self._store = store
        self._most_bytes = most_bytes
        self._history = history
        self._new_id = new_id
        self._wall_clock = wall_clock
        self._known: dict[str, Capture] = {}
        self._running: dict[str, Filter] = {}
        self._changed: set[str] = set()  # whose counts the store does not have yet

    async def begin(self) -> None:
        """Know the captures of before, and go on with those that have not ended. Raises NotKept."""
        for row in await self._store.find(Capture, limit=MOST_CAPTURES):
            self._known[row.id] = row
            if row.ended is None:
                # The counts are written now and then only.
                sizes = await self._store.sizes(Captured, {"capture": row.id})
                self._known[row.id] = replace(row, records=sizes.rows, bytes=sizes.bytes)
                for last in await self._store.find(Captured, {"capture": row.id}, order="last", limit=1):
                    self._history.number = max(self._history.number, last.number)
                try:
                    self._running[row.id] = parse(row.wanted, row.began)
                except FilterError as problem:  # of a version that knew more
                    self._end(row.id, str(problem))
        if self._running:
            self._history.watch(self._hear)

    def all(self) -> list[Capture]:
        """The newest first."""
        self._end_those_over()
        return sorted(self._known.values(), key=lambda capture: (-capture.began, capture.id))

    def find(self, capture: str) -> Capture | None:
        self._end_those_over()
        return self._known.get(capture)

    async def start(self, wanted: Wanted) -> Capture:
        """Begin a capture. Raises CannotCapture, and NotKept."""
        self._end_those_over()
        if len(self._known) >= MOST_CAPTURES:
            raise CannotCapture(f"there are {len(self._known)} captures: delete one first")
        if len(self._running) >= MOST_RUNNING:
            raise CannotCapture(f"{len(self._running)} captures are running: stop one first")
        if (
            sum(self._may_have(capture) for capture in self._known.values()) + wanted.bytes
            > MOST_BYTES_IN_ALL
        ):
            raise CannotCapture(
                f"all captures together may have {MOST_BYTES_IN_ALL >> 20} MiB: delete one first"
            )
        now = self._wall_clock()
        capture = Capture(
            id=self._new_id(),
            name=wanted.name or str(wanted.wanted) or "everything",
            wanted=str(wanted.wanted),
            began=now,
            ends=now + wanted.seconds,
            ended=None,
            reason="",
            records=0,
            bytes=0,
            limit_records=wanted.records,
            limit_bytes=wanted.bytes,
        )
        await self._store.write(capture)
        self._known[capture.id] = capture
        if not self._running:
            self._history.watch(self._hear)
        self._running[capture.id] = wanted.wanted
        return capture

    def stop(self, capture: str) -> None:
        """End a capture before its time; what it has stays."""
        if capture in self._running:
            self._end(capture, "stopped")

    async def delete(self, capture: str) -> None:
        """Take a capture away with all that it has. Raises NotKept."""
        self.stop(capture)
        while rows := await self._store.find(Captured, {"capture": capture}, limit=1000):
            await self._store.write(*(Forget(Captured, (row.capture, row.number)) for row in rows))
        await self._store.write(Forget(Capture, (capture,)))
        self._known.pop(capture, None)
        self._changed.discard(capture)

    async def read(self, capture: str) -> AsyncIterator[list[Exchange]]:
        """Pages of what a capture has, the oldest first. Raises NotKept."""
        await self.save()
        await self._store.write()
        after: tuple[str, int] | tuple[()] = ()
        while rows := await self._store.find(Captured, {"capture": capture}, after=after, limit=PAGE):
            yield [Exchange(**json.loads(row.content)) for row in rows]
            after = (rows[-1].capture, rows[-1].number)

    async def save(self) -> None:
        """Write down how far the captures are; to be called now and then."""
        self._end_those_over()
        changed, self._changed = self._changed, set()
        self._store.note(*(self._known[each] for each in changed if each in self._known))

    def _hear(self, exchange: Exchange) -> None:
        for capture, wanted in list(self._running.items()):
            if self._wall_clock() >= self._known[capture].ends:
                self._end(capture, "its time is over")
            elif wanted.matches(exchange):
                self._keep(self._known[capture], exchange)

    def _keep(self, capture: Capture, exchange: Exchange) -> None:
        content = json.dumps(asdict(exchange), separators=(",", ":"))
        size = capture.bytes + len(content)
        if size > capture.limit_bytes:
            self._end(capture.id, "it has as many bytes as it may")
            return
        self._store.note(Captured(capture.id, exchange.number, exchange.began, content))
        self._known[capture.id] = replace(capture, records=capture.records + 1, bytes=size)
        self._changed.add(capture.id)
        if capture.records + 1 >= capture.limit_records:
            self._end(capture.id, "it has as many exchanges as it may")

    def _end_those_over(self) -> None:
        now = self._wall_clock()
        for capture in [each for each in self._running if now >= self._known[each].ends]:
            self._end(capture, "its time is over")

    def _end(self, capture: str, reason: str) -> None:
        ended = min(self._wall_clock(), self._known[capture].ends)
        self._known[capture] = replace(self._known[capture], ended=ended, reason=reason)
        self._store.note(self._known[capture])
        self._changed.discard(capture)
        if self._running.pop(capture, None) is not None and not self._running:
            self._history.unwatch(self._hear)

    def _may_have(self, capture: Capture) -> int:
        return capture.limit_bytes if capture.ended is None else capture.bytes
