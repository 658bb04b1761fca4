"""Readers of the live stream: each gets what it wants, and a slow one keeps nobody waiting."""

from __future__ import annotations

import asyncio

import pytest

from tests.fakes import Clock, Listened, listen
from tests.traced import NOW, a_record, traced
from wattbridge.operation.history import History, Keeping
from wattbridge.operation.redaction import Redaction
from wattbridge.operation.trace.filter import parse
from wattbridge.operation.trace.live import Hub, TooManyReaders
from wattbridge.relay.journal import Journal
from wattbridge.store.base import Exchange
from wattbridge.store.memory import MemoryStore


async def a_hub(*, age: float = 3600.0, most_readers: int = 50) -> tuple[Hub, Journal, Listened, MemoryStore]:
    store, journal = MemoryStore(), Journal()
    heard = listen(journal)
    history = History(store, Keeping(age, redaction=Redaction(id_tags=True)), Clock(NOW))
    history.listen_to(journal)
    await history.begin()
    return Hub(history, journal, most_readers), journal, heard, store


async def test_each_reader_gets_what_it_wants() -> None:
    hub, journal, _, _ = await a_hub()
    every, some = hub.read(parse("")), hub.read(parse("charger:HAM-*"))
    journal.record(a_record())
    journal.record(a_record(identity="HAM-1"))
    missed, exchanges = await every.next(1.0) or (0, [])
    assert (missed, [exchange.identity for exchange in exchanges]) == (0, ["BER-0001", "HAM-1"])
    assert [exchange.number for exchange in exchanges] == [1_714_557_600_000_001, 1_714_557_600_000_002]
    assert [exchange.identity for exchange in (await some.next(1.0) or (0, []))[1]] == ["HAM-1"]


async def test_what_is_kept_and_what_is_seen_have_the_same_numbers_and_nothing_that_is_blotted_out() -> None:
    hub, journal, _, store = await a_hub()
    reader = hub.read(parse(""))
    secret = a_record(action="Authorize", arrived=a_record().asked, payload=None)
    journal.record(secret)
    heard = await reader.next(1.0)
    assert heard is not None
    assert heard[1] == await store.find(Exchange)


async def test_a_stream_does_not_need_a_history_that_keeps() -> None:
    hub, journal, _, _ = await a_hub(age=0.0)
    journal.record(a_record())
    reader = hub.read(parse(""))
    journal.record(a_record())
    heard = await reader.next(1.0)
    assert heard is not None
    assert len(heard[1]) == 1
    hub.leave(reader)


async def test_a_slow_reader_loses_the_oldest_and_is_told_how_many() -> None:
    hub, journal, heard, _ = await a_hub()
    reader = hub.read(parse(""), most=3)
    for _ in range(10):
        journal.record(a_record())
    missed, exchanges = await reader.next(1.0) or (0, [])
    assert (missed, [exchange.number % 100 for exchange in exchanges]) == (7, [8, 9, 10])
    [event] = heard.told("records dropped")
    assert event.labels == {"sink": "stream", "count": "7"}
    journal.record(a_record())
    assert (await reader.next(1.0) or (9, []))[0] == 0


async def test_long_messages_fill_a_queue_sooner() -> None:
    hub, journal, _, _ = await a_hub()
    reader = hub.read(parse(""), most_bytes=3 * sum(map(len, (traced().arrived, traced().asked))))
    for _ in range(10):
        journal.record(a_record())
    missed, exchanges = await reader.next(1.0) or (0, [])
    assert missed == 10 - len(exchanges)
    assert 0 < len(exchanges) < 4


async def test_what_a_reader_has_missed_is_told_when_it_leaves() -> None:
    hub, journal, heard, _ = await a_hub()
    reader = hub.read(parse(""), most=1)
    journal.record(a_record())
    journal.record(a_record())
    hub.leave(reader)
    assert [event.labels["count"] for event in heard.told("records dropped")] == ["1"]
    hub.leave(reader)  # twice is nothing


async def test_nothing_comes_for_a_while() -> None:
    hub, _, _, _ = await a_hub()
    assert await hub.read(parse("")).next(0.001) == (0, [])


async def test_no_more_readers_than_may() -> None:
    hub, _, _, _ = await a_hub(most_readers=1)
    reader = hub.read(parse(""))
    with pytest.raises(TooManyReaders, match="1 read along already"):
        hub.read(parse(""))
    hub.leave(reader)
    hub.read(parse(""))
    assert hub.readers == 1


async def test_who_waits_is_told_when_there_will_be_no_more() -> None:
    hub, _, _, _ = await a_hub()
    reader = hub.read(parse(""))
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(reader.next(60.0))
        await asyncio.sleep(0)
        hub.close()
    assert waiting.result() is None


async def test_rows_are_made_only_while_somebody_looks() -> None:
    """Of a history that keeps nothing, and of one in memory, until then."""
    made = 0

    class Counting(History):
        def row(self, *arguments: object) -> object:  # type: ignore[override]
            nonlocal made
            made += 1
            return super().row(*arguments)  # type: ignore[arg-type]

    for history in (
        Counting(MemoryStore(), Keeping(0.0), Clock(NOW)),
        Counting(None, Keeping(60.0), Clock(NOW)),
    ):
        journal, made = Journal(), 0
        history.listen_to(journal)
        await history.begin()
        hub = Hub(history, journal)
        journal.record(a_record())
        assert made == 0
        reader = hub.read(parse(""))
        journal.record(a_record())
        assert made == 1
        hub.leave(reader)
        journal.record(a_record())
        assert made == 1
