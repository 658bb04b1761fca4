"""Exchanges as they happen: each reader has a queue of its own, which drops the oldest when it is full.

Nothing is done for a reader that is not there: the hub watches the history only while somebody reads.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from wattbridge.operation.history import History
from wattbridge.operation.trace.filter import Filter
from wattbridge.relay.journal import Event, Journal
from wattbridge.store.base import Exchange

MOST_QUEUED = 1000  # exchanges that wait for one reader
MOST_QUEUED_BYTES = 8 << 20  # characters of their messages
MOST_READERS = 50


class TooManyReaders(Exception):
    """As many read already as may: a sentence that says so."""


class Reader:
    """What waits for one reader; ``missed`` counts what it was too slow for since it last asked."""

    def __init__(
        self,
        wanted: Filter,
        tell_drop: Callable[[int], None],
        most: int = MOST_QUEUED,
        most_bytes: int = MOST_QUEUED_BYTES,
    ) -> None:
        self.missed = 0
        self._wanted = wanted
        self._tell_drop = tell_drop
        self._most = most
        self._most_bytes = most_bytes
        self._waiting: deque[tuple[Exchange, int]] = deque()
        self._bytes = 0
        self._news = asyncio.Event()
        self._closed = False

    def hear(self, exchange: Exchange) -> None:
        """Take in an exchange, if it is wanted."""
        if not self._wanted.matches(exchange):
            return
        texts = (exchange.arrived, exchange.asked, exchange.answered, exchange.replied)
        length = sum(map(len, texts))
        self._waiting.append((exchange, length))
        self._bytes += length
        while len(self._waiting) > self._most or (self._bytes > self._most_bytes and len(self._waiting) > 1):
            self._bytes -= self._waiting.popleft()[1]
            self.missed += 1
        self._news.set()

    async def next(self, within: float) -> tuple[int, list[Exchange]] | None:
        """How many were missed, and those that wait: none when nothing came *within* so many seconds.

        None when there will be no more.
        """
        if not self._waiting and not self._closed:
            self._news.clear()
            try:
                async with asyncio.timeout(within):
                    await self._news.wait()
            except TimeoutError:
                return 0, []
        if self._closed:
            return None
        missed = self._missed_now()
        found = [exchange for exchange, _ in self._waiting]
        self._waiting.clear()
        self._bytes = 0
        return missed, found

    def close(self) -> None:
        self._closed = True
        self._missed_now()
        self._news.set()

    def _missed_now(self) -> int:
        """How many were missed since it was last asked; they are told of once."""
        missed, self.missed = self.missed, 0
        if missed:
            self._tell_drop(missed)
        return missed


class Hub:
    """Who reads along. What a reader was too slow for is told to *journal*."""

    def __init__(self, history: History, journal: Journal, most_readers: int = MOST_READERS) -> None:
        self._history = history
        self._journal = journal
        self._most_readers = most_readers
        self._readers: list[Reader] = []

    @property
    def readers(self) -> int:
        return len(self._readers)

    def read(self, wanted: Filter, most: int = MOST_QUEUED, most_bytes: int = MOST_QUEUED_BYTES) -> Reader:
        """Begin to read along. Raises TooManyReaders."""
        if len(self._readers) >= self._most_readers:
            raise TooManyReaders(f"{self._most_readers} read along already")
        reader = Reader(wanted, self._tell_drop, most, most_bytes)
        if not self._readers:
            self._history.watch(self._hear)
        self._readers.append(reader)
        return reader

    def leave(self, reader: Reader) -> None:
        if reader in self._readers:
            self._readers.remove(reader)
            reader.close()
            if not self._readers:
                self._history.unwatch(self._hear)

    def close(self) -> None:
        """Tell every reader that there will be no more."""
        for reader in self._readers:
            reader.close()

    def _tell_drop(self, missed: int) -> None:
        labels = {"sink": "stream", "count": str(missed)}
        text = f"{missed} exchanges: whoever reads along was too slow for them"
        self._journal.event(Event("records dropped", text=text, labels=labels))

    def _hear(self, exchange: Exchange) -> None:
        for reader in self._readers:
            reader.hear(exchange)
